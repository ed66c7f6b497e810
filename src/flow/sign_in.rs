//! Signing in with address and password: a page with a form, and two JSON doors to the same attempt.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::account::device::Shown;
use crate::account::email::Email;
use crate::account::password::Verdict;
use crate::answer::shapes::{self, SessionShape, UserShape};
use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::entry::{self, By, Entered, Proved, Waiting};
use crate::flow::pair::{self, Delivery};
use crate::flow::{
    allowed_callback, callback_if_ours, callback_or_home, desk, form_again, log_entry, read_json,
    signed_in_already, typed, with_cookies,
};
use crate::http::form::Form;
use crate::http::visit::{Visit, is_form};
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::store::auth_log::{Action, LogEntry};
use crate::time::Now;
use crate::ui::pages::{self, Notice, Problem};
use crate::visitor::User;

/// What the visitor sends.
struct Credentials {
    email: String,
    password: Zeroizing<String>,
    remember: bool,
    /// Where to go afterwards; checked.
    callback_url: Option<String>,
    delivery: Delivery,
}

/// The page. Who is signed in already is told so, unless it is to be proved `again`.
pub(super) fn show(app: &App, visit: &Visit) -> Result<Answer, Error> {
    let query = Form::parse(visit.path.query().unwrap_or_default().as_bytes())?;
    let callback_url = query.find("callback_url");
    let again = query.find("again").is_some();
    if !again && let Some(answer) = signed_in_already(app, visit, callback_url) {
        return Ok(answer);
    }
    let view = app.ui.view(visit.language());
    let callback_url = callback_if_ours(app, callback_url);
    let typed = typed::kept(app, visit).unwrap_or_default();
    let html = pages::SignIn {
        view,
        email: visit.visitor.session().map_or(&typed, |session| &session.user.email),
        remember: true,
        callback_url: callback_url.as_deref(),
        problems: &[],
        notice: query.find("notice").and_then(Notice::parse).or_else(|| signed_out_there(app, &query)),
    };
    Ok(answer::page(desk(app), StatusCode::OK, view, html.render()))
}

/// What is said to who comes back from signing out at a provider: the `state` is one that we gave.
fn signed_out_there(app: &App, query: &Form) -> Option<Notice> {
    let state = Token::parse(query.find("state")?.as_bytes())?;
    app.flow_key.issued(&state).then_some(Notice::SignedOut)
}

/// The form: on to where the visitor wanted to go, or the page again.
pub(super) async fn submit(app: &App, visit: Visit) -> Result<Answer, Error> {
    if !is_form(&visit.headers) {
        return Err(Refusal::UnsupportedMediaType.into());
    }
    let form = Form::parse(&visit.body)?;
    let credentials = Credentials {
        email: form.get("email").to_owned(),
        password: Zeroizing::new(form.get("password").to_owned()),
        remember: form.find("remember").is_some(),
        callback_url: callback_if_ours(app, form.find("callback_url")),
        delivery: Delivery::Cookie,
    };
    let mut problems = Vec::new();
    if credentials.email.trim().is_empty() {
        problems.push(Problem::EmailMissing);
    }
    if credentials.password.is_empty() {
        problems.push(Problem::PasswordMissing);
    }
    if problems.is_empty() {
        match attempt(app, &visit, &credentials).await? {
            Ok(entered) => {
                let (target, cookies) = match entered {
                    Entered::SignedIn(signed_in) => {
                        (callback_or_home(app, form.find("callback_url")), signed_in.cookies)
                    }
                    Entered::Pending(waiting) => (answer::verify_url(desk(app)), waiting.cookies),
                };
                let answer = answer::redirect(desk(app), StatusCode::SEE_OTHER, &target);
                return Ok(with_cookies(answer, cookies));
            }
            Err(refusal) => problems.push(Problem::Refused(refusal)),
        }
    }
    Ok(again(app, &visit, &credentials, &problems, form.find("callback_url")))
}

/// The page once more, with what went wrong.
fn again(
    app: &App,
    visit: &Visit,
    credentials: &Credentials,
    problems: &[Problem],
    callback_url: Option<&str>,
) -> Answer {
    let view = app.ui.view(visit.language());
    let callback_url = callback_if_ours(app, callback_url);
    let html = pages::SignIn {
        view,
        email: &credentials.email,
        remember: credentials.remember,
        callback_url: callback_url.as_deref(),
        problems,
        notice: None,
    };
    form_again(app, view, problems, html.render())
}

/// The body of better-auth's sign-in.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EmailBody {
    email: String,
    password: Zeroizing<String>,
    #[serde(rename = "callbackURL", alias = "callback_url")]
    callback_url: Option<String>,
    remember_me: Option<bool>,
    #[serde(default)]
    delivery: Delivery,
}

/// `POST sign-in/email`.
pub(super) async fn email(app: &App, visit: Visit) -> Result<Answer, Error> {
    let EmailBody { email, password, callback_url, remember_me, delivery } = read_json(&visit)?;
    let callback_url = allowed_callback(app, callback_url.as_deref())?;
    let remember = remember_me.unwrap_or(true);
    let credentials = Credentials { email, password, remember, callback_url, delivery };
    Ok(match attempt(app, &visit, &credentials).await?? {
        Entered::SignedIn(signed_in) if delivery == Delivery::Bearer => {
            pair::first(app, &visit, &signed_in.session).await?
        }
        Entered::SignedIn(signed_in) => {
            let shape = shapes::signed_in(&signed_in.session, credentials.callback_url);
            with_cookies(answer::json(desk(app), StatusCode::OK, &shape), signed_in.cookies)
        }
        Entered::Pending(waiting) => waits(app, waiting),
    })
}

/// The body of the short sign-in.
#[derive(Deserialize)]
struct LoginBody {
    email: String,
    password: Zeroizing<String>,
    #[serde(alias = "callbackURL")]
    callback_url: Option<String>,
    remember: Option<bool>,
    #[serde(default)]
    delivery: Delivery,
}

#[derive(Serialize)]
struct LoginShape<'a> {
    user: UserShape<'a>,
    session: SessionShape<'a>,
    expires_at: Now,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<String>,
}

/// `POST login`.
pub(super) async fn login(app: &App, visit: Visit) -> Result<Answer, Error> {
    let LoginBody { email, password, callback_url, remember, delivery } = read_json(&visit)?;
    let callback_url = allowed_callback(app, callback_url.as_deref())?;
    let remember = remember.unwrap_or(true);
    let credentials = Credentials { email, password, remember, callback_url, delivery };
    Ok(match attempt(app, &visit, &credentials).await?? {
        Entered::SignedIn(signed_in) if delivery == Delivery::Bearer => {
            pair::first(app, &visit, &signed_in.session).await?
        }
        Entered::SignedIn(signed_in) => {
            let session = &signed_in.session;
            let shape = LoginShape {
                user: (&session.user).into(),
                session: session.into(),
                expires_at: session.expires,
                callback_url: credentials.callback_url,
            };
            with_cookies(answer::json(desk(app), StatusCode::OK, &shape), signed_in.cookies)
        }
        Entered::Pending(waiting) => waits(app, waiting),
    })
}

/// What a program hears whose sign-in goes on with a code.
fn waits(app: &App, Waiting { cookies, token }: Waiting) -> Answer {
    let token = token.as_ref().map(|token| token.as_str());
    with_cookies(answer::json(desk(app), StatusCode::OK, &shapes::pending(desk(app), token)), cookies)
}

/// The sign-in itself. Budgets are spent before anything is looked up.
async fn attempt(app: &App, visit: &Visit, given: &Credentials) -> Result<Result<Entered, Refusal>, Error> {
    let Ok(email) = Email::parse(&given.email) else { return Ok(Err(Refusal::InvalidEmail)) };
    let shown = entry::shown(app, visit);
    let known = shown.proof(&app.device_key, &email);
    let mut spent = match app.limits.sign_in(visit.now, visit.client, &email, known) {
        Ok(spent) => spent,
        Err(refusal) => return Ok(Err(refusal)),
    };
    // A proof lasts for as long as the browser keeps it: whether it still counts is the store's to say.
    if known.is_some() {
        match is_trusted(app, &shown, &email).await {
            Ok(true) => {}
            Ok(false) => match app.limits.as_stranger(visit.now, visit.client, &email, spent) {
                Ok(again) => spent = again,
                Err(refusal) => return Ok(Err(refusal)),
            },
            Err(error) => {
                app.limits.give_back(spent);
                return Err(error);
            }
        }
    }
    let (found, verdict) = match judge(app, &email, &given.password).await {
        Ok(judged) => judged,
        Err(error) => {
            app.limits.give_back(spent);
            return Err(error);
        }
    };
    let (user, hash) = match found {
        Some((user, Some(hash))) if verdict.matches => (user, hash),
        found => {
            let (user, error) =
                (found.as_ref().map(|(user, _)| &user.id), Refusal::InvalidCredentials.code());
            let entry = by_password(log_entry(visit, Action::SignIn, user, Some(error)));
            let mut tx = app.store.begin().await?;
            tx.auth_log_insert(&entry).await?;
            tx.commit().await?;
            return Ok(Err(Refusal::InvalidCredentials));
        }
    };
    app.limits.give_back(spent);
    if app.config.sign_up.require_verified_email && !user.email_verified {
        let error = Refusal::EmailNotVerified;
        let mut tx = app.store.begin().await?;
        let entry = log_entry(visit, Action::SignIn, Some(&user.id), Some(error.code()));
        tx.auth_log_insert(&by_password(entry)).await?;
        tx.commit().await?;
        return Ok(Err(error));
    }
    // A better hash can wait for the next sign-in.
    let rehashed = if verdict.rehash { app.passwords.hash(&given.password).await.ok() } else { None };
    let mut tx = app.store.begin().await?;
    tx.user_hold(&user.id).await?;
    // The password may have been replaced, and all sessions ended, while it was compared.
    let holds = match rehashed {
        Some(better) => tx.account_replace_password(&user.id, &hash, &better, visit.now).await?,
        None => tx.account_hold_password(&user.id, &hash).await?,
    };
    if !holds {
        return Ok(Err(Refusal::InvalidCredentials));
    }
    let callback_url = given.callback_url.as_deref();
    let (remember, delivery) = (given.remember, given.delivery);
    let proved = Proved { user: &user, by: By::Password, remember, callback_url, delivery };
    match entry::enter(app, visit, tx, proved).await {
        Ok(entered) => Ok(Ok(entered)),
        Err(Error::Refused(refusal)) => Ok(Err(refusal)),
        Err(fault) => Err(fault),
    }
}

/// Who has this address, and whether this is the password: one hash is computed whatever is found.
async fn judge(
    app: &App,
    email: &Email,
    password: &str,
) -> Result<(Option<(User, Option<String>)>, Verdict), Error> {
    let found = app.store.credential_by_email(email.as_str()).await?;
    let stored = found.as_ref().and_then(|(_, hash)| hash.as_deref());
    let verdict = app.passwords.verify(password, stored).await?;
    Ok((found, verdict))
}

/// Whether the store trusts the browser with whoever has this address.
async fn is_trusted(app: &App, shown: &Shown<'_>, email: &Email) -> Result<bool, Error> {
    let Some(secret) = &shown.secret else { return Ok(false) };
    Ok(app.store.device_trusted(secret.hash(), email.as_str()).await?)
}

/// The line of the log for a sign-in by password.
fn by_password(entry: LogEntry) -> LogEntry {
    LogEntry { way: Some("password".to_owned()), ..entry }
}
