//! Making an account. The answer is the same whether the address was free or taken, and nobody is signed in
//! by it: only who can sign in afterwards learns that the account is theirs.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::account::email::Email;
use crate::account::profile::{LONGEST_NAME, is_name, is_picture};
use crate::answer::shapes::UserShape;
use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::ticket::{self, Link};
use crate::flow::{
    allowed_callback, callback_if_ours, desk, form_again, log_entry, post, read_json, reader,
    signed_in_already, to_sign_in, typed, with_cookies,
};
use crate::http::form::Form;
use crate::http::visit::{Visit, is_form};
use crate::id::UserId;
use crate::refusal::Refusal;
use crate::store::auth_log::Action;
use crate::ui::mails::Mail;
use crate::ui::pages::{self, Notice, Problem};
use crate::visitor::User;

/// What the visitor sends.
struct Wish {
    name: String,
    email: String,
    password: Zeroizing<String>,
    image: Option<String>,
}

/// The page. Who is signed in already is told so.
pub(super) fn show(app: &App, visit: &Visit) -> Result<Answer, Error> {
    if !app.config.sign_up.open {
        return Err(Refusal::SignUpDisabled.into());
    }
    let query = Form::parse(visit.path.query().unwrap_or_default().as_bytes())?;
    let callback_url = query.find("callback_url");
    if let Some(answer) = signed_in_already(app, visit, callback_url) {
        return Ok(answer);
    }
    let view = app.ui.view(visit.language());
    let callback_url = callback_if_ours(app, callback_url);
    let html =
        pages::SignUp { view, name: "", email: "", callback_url: callback_url.as_deref(), problems: &[] };
    Ok(answer::page(desk(app), StatusCode::OK, view, html.render()))
}

/// The form: on to the sign-in page, or the page again.
pub(super) async fn submit(app: &App, visit: Visit) -> Result<Answer, Error> {
    if !is_form(&visit.headers) {
        return Err(Refusal::UnsupportedMediaType.into());
    }
    let form = Form::parse(&visit.body)?;
    let wish = Wish {
        name: form.get("name").trim().to_owned(),
        email: form.get("email").to_owned(),
        password: Zeroizing::new(form.get("password").to_owned()),
        image: None,
    };
    let mut problems = missing(&wish);
    if problems.is_empty() {
        let target = form.find("callback_url");
        match attempt(app, &visit, &wish, callback_if_ours(app, target).as_deref()).await? {
            Ok(user) => {
                let answer = to_sign_in(app, target, signed_up(app));
                return Ok(with_cookies(answer, vec![typed::keep(app, &user.email, visit.now)]));
            }
            Err(refusal) => problems.push(Problem::Refused(refusal)),
        }
    }
    let view = app.ui.view(visit.language());
    let callback_url = callback_if_ours(app, form.find("callback_url"));
    let html = pages::SignUp {
        view,
        name: &wish.name,
        email: &wish.email,
        callback_url: callback_url.as_deref(),
        problems: &problems,
    };
    Ok(form_again(app, view, &problems, html.render()))
}

/// What is said afterwards, whether the address was free or taken.
fn signed_up(app: &App) -> Notice {
    if app.config.mail.is_some() { Notice::MailSent } else { Notice::SignedUp }
}

fn missing(wish: &Wish) -> Vec<Problem> {
    let mut problems = Vec::new();
    if wish.name.is_empty() {
        problems.push(Problem::NameMissing);
    }
    if wish.name.chars().count() > LONGEST_NAME {
        problems.push(Problem::NameTooLong);
    }
    if wish.email.trim().is_empty() {
        problems.push(Problem::EmailMissing);
    }
    if wish.password.is_empty() {
        problems.push(Problem::PasswordMissing);
    }
    problems
}

/// The body of better-auth's sign-up.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EmailBody {
    name: String,
    email: String,
    password: Zeroizing<String>,
    image: Option<String>,
    #[serde(rename = "callbackURL", alias = "callback_url")]
    callback_url: Option<String>,
}

#[derive(Serialize)]
struct EmailShape<'a> {
    /// Always `null`: nobody is signed in by signing up.
    token: Option<&'a str>,
    user: UserShape<'a>,
}

/// `POST sign-up/email` and `POST signup`.
pub(super) async fn email(app: &App, visit: Visit) -> Result<Answer, Error> {
    let EmailBody { name, email, password, image, callback_url } = read_json(&visit)?;
    let callback_url = allowed_callback(app, callback_url.as_deref())?;
    let wish = Wish { name: name.trim().to_owned(), email, password, image };
    let user = attempt(app, &visit, &wish, callback_url.as_deref()).await??;
    Ok(answer::json(desk(app), StatusCode::OK, &EmailShape { token: None, user: (&user).into() }))
}

/// Makes the account if the address is free. Everything that can be said of the wish is said before the store
/// is asked; after that the answer, and the work, are the same in both cases.
async fn attempt(
    app: &App,
    visit: &Visit,
    wish: &Wish,
    callback_url: Option<&str>,
) -> Result<Result<User, Refusal>, Error> {
    if !app.config.sign_up.open {
        return Ok(Err(Refusal::SignUpDisabled));
    }
    if !is_name(&wish.name) {
        return Ok(Err(Refusal::Validation));
    }
    let email = match Email::parse(&wish.email) {
        Ok(email) => email,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let context = [email.as_str(), wish.name.as_str(), app.config.public.name.as_str()];
    if let Err(refusal) = app.passwords.policy(&wish.password, &context) {
        return Ok(Err(refusal));
    }
    if let Err(refusal) = app.limits.sign_up(visit.now, visit.client) {
        return Ok(Err(refusal));
    }
    if app.config.mail.is_some()
        && let Err(refusal) = app.limits.recipient(visit.now, &email)
    {
        return Ok(Err(refusal));
    }
    let hash = app.passwords.hash(&wish.password).await?;
    let user = User {
        id: UserId::random(),
        name: wish.name.clone(),
        email: email.as_str().to_owned(),
        email_verified: false,
        image: wish.image.clone().filter(|image| is_picture(image)),
        created: visit.now,
        updated: visit.now,
    };
    let mut tx = app.store.begin().await?;
    let new = tx.user_insert(&user).await?;
    if new {
        tx.account_insert_credential(&user.id, &hash, visit.now).await?;
        reader::note(&mut tx, &user.id, visit).await?;
        if app.config.mail.is_some() {
            ticket::send(app, visit, &mut tx, &user, Link::VerifyEmail { callback_url }).await?;
        }
    } else if let Some(owner) = tx.user_by_email(email.as_str()).await? {
        let link = post::link(app, "sign-in");
        ticket::tell(app, visit, &mut tx, &owner, &Mail::AlreadyRegistered { link: &link }).await?;
    }
    let error = (!new).then_some("USER_ALREADY_EXISTS");
    tx.auth_log_insert(&log_entry(visit, Action::SignUp, new.then_some(&user.id), error)).await?;
    tx.commit().await?;
    Ok(Ok(user))
}
