//! A forgotten password: the address is asked for, a link goes there, and its page takes a new one.
//!
//! Who sets a password by a link has proved the mailbox, and nothing else of what was there before counts: all
//! sessions end, and providers that were connected in the week before are disconnected: a reset is what people
//! turn to when somebody else got in. If nobody had proved the mailbox until then, whoever made the account was
//! perhaps not its owner, and every other way to sign in goes too.

use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::account::agent;
use crate::account::email::Email;
use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::provider::{self, Change};
use crate::flow::ticket::{self, Link};
use crate::flow::{
    allowed_callback, callback_if_ours, desk, ending, entry, form_again, log_entry, post, read_json,
    set_cookie, success, to_sign_in, typed, with_cookies,
};
use crate::http::form::Form;
use crate::http::visit::{Visit, is_form};
use crate::refusal::Refusal;
use crate::store::auth_log::Action;
use crate::store::tickets::{Ticket, TicketKind};
use crate::ui::mails::Mail;
use crate::ui::pages::mailed;
use crate::ui::pages::{Notice, Problem};
use crate::visitor::User;

/// The page that asks for the address.
pub(super) fn show_request(app: &App, visit: &Visit) -> Result<Answer, Error> {
    if app.config.mail.is_none() {
        return Err(Refusal::ResetDisabled.into());
    }
    let query = Form::parse(visit.path.query().unwrap_or_default().as_bytes())?;
    let view = app.ui.view(visit.language());
    let callback_url = callback_if_ours(app, query.find("callback_url"));
    let email = typed::kept(app, visit).unwrap_or_default();
    let html =
        mailed::ForgotPassword { view, email: &email, callback_url: callback_url.as_deref(), problems: &[] };
    Ok(answer::page(desk(app), StatusCode::OK, view, html.render()))
}

/// Whose password is forgotten.
#[derive(Deserialize)]
struct Wish {
    email: String,
    #[serde(rename = "redirectTo", alias = "callback_url")]
    callback_url: Option<String>,
}

#[derive(Serialize)]
struct Sent {
    status: bool,
    message: &'static str,
}

/// `POST request-password-reset` and its form: the same answer whatever the address is.
pub(super) async fn request(app: &App, visit: Visit) -> Result<Answer, Error> {
    if !is_form(&visit.headers) {
        let wish: Wish = read_json(&visit)?;
        let callback_url = allowed_callback(app, wish.callback_url.as_deref())?;
        send(app, &visit, &wish.email, callback_url.as_deref()).await??;
        let message = "If there is an account with this address, a mail with a link is on its way.";
        return Ok(answer::json(desk(app), StatusCode::OK, &Sent { status: true, message }));
    }
    let form = Form::parse(&visit.body)?;
    let callback_url = callback_if_ours(app, form.find("callback_url"));
    let email = form.get("email");
    let problem = if email.trim().is_empty() {
        Problem::EmailMissing
    } else {
        match send(app, &visit, email, callback_url.as_deref()).await? {
            Ok(()) => {
                let answer = to_sign_in(app, callback_url.as_deref(), Notice::ResetSent);
                return Ok(with_cookies(answer, vec![typed::keep(app, email, visit.now)]));
            }
            Err(refusal) => Problem::Refused(refusal),
        }
    };
    let view = app.ui.view(visit.language());
    let problems = [problem];
    let html =
        mailed::ForgotPassword { view, email, callback_url: callback_url.as_deref(), problems: &problems };
    Ok(form_again(app, view, &problems, html.render()))
}

async fn send(
    app: &App,
    visit: &Visit,
    email: &str,
    callback_url: Option<&str>,
) -> Result<Result<(), Refusal>, Error> {
    if app.config.mail.is_none() {
        return Ok(Err(Refusal::ResetDisabled));
    }
    let email = match Email::parse(email) {
        Ok(email) => email,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Err(refusal) = app.limits.mail(visit.now, visit.client, &email) {
        return Ok(Err(refusal));
    }
    let mut tx = app.store.begin().await?;
    let user = tx.user_by_email(email.as_str()).await?;
    if let Some(user) = &user {
        ticket::send(app, visit, &mut tx, user, Link::ResetPassword { callback_url }).await?;
    }
    let error = user.is_none().then_some("USER_NOT_FOUND");
    let whose = user.as_ref().map(|user| &user.id);
    tx.auth_log_insert(&log_entry(visit, Action::ResetRequest, whose, error)).await?;
    tx.commit().await?;
    Ok(Ok(()))
}

/// The page behind the link. Shows, and spends nothing.
pub(super) async fn show(app: &App, visit: &Visit) -> Result<Answer, Error> {
    let query = Form::parse(visit.path.query().unwrap_or_default().as_bytes())?;
    let (_, ticket) = ticket::look(app, visit, TicketKind::ResetPassword, query.get("token")).await?;
    Ok(page(app, visit, &ticket.user, (query.get("token"), query.find("callback_url")), &[]))
}

fn page(
    app: &App,
    visit: &Visit,
    user: &User,
    (token, callback_url): (&str, Option<&str>),
    problems: &[Problem],
) -> Answer {
    let view = app.ui.view(visit.language());
    let callback_url = callback_if_ours(app, callback_url);
    let callback_url = callback_url.as_deref();
    let html = mailed::ResetPassword { view, email: &user.email, token, callback_url, problems }.render();
    if problems.is_empty() {
        return answer::page(desk(app), StatusCode::OK, view, html);
    }
    form_again(app, view, problems, html)
}

/// What comes back from the page.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Renewal {
    new_password: Zeroizing<String>,
    token: String,
}

/// `POST reset-password`: the page, or a program.
pub(super) async fn submit(app: &App, visit: Visit) -> Result<Answer, Error> {
    app.limits.ticket(visit.now, visit.client)?;
    let mut answer = if is_form(&visit.headers) {
        let form = Form::parse(&visit.body)?;
        let renewal = Renewal {
            new_password: Zeroizing::new(form.get("newPassword").to_owned()),
            token: form.get("token").to_owned(),
        };
        let target = form.find("callback_url");
        match attempt(app, &visit, &renewal).await? {
            Ok((user, device)) => {
                let answer = to_sign_in(app, target, Notice::PasswordReset);
                with_cookies(answer, vec![device, typed::keep(app, &user.email, visit.now)])
            }
            Err((user, refusal)) => {
                let problems = [Problem::Refused(refusal)];
                return Ok(page(app, &visit, &user, (&renewal.token, target), &problems));
            }
        }
    } else {
        let renewal: Renewal = read_json(&visit)?;
        let (_, device) = attempt(app, &visit, &renewal).await?.map_err(|(_, refusal)| refusal)?;
        with_cookies(success(app), vec![device])
    };
    app.sessions.forget_cookies().for_each(|cookie| set_cookie(answer.headers_mut(), cookie));
    Ok(answer)
}

/// Spends the link, and trusts this browser. The inner error goes back to the page of this user.
async fn attempt(
    app: &App,
    visit: &Visit,
    renewal: &Renewal,
) -> Result<Result<(User, HeaderValue), (User, Refusal)>, Error> {
    let kind = TicketKind::ResetPassword;
    let (hash, Ticket { user, .. }) = ticket::look(app, visit, kind, &renewal.token).await?;
    let context = [user.email.as_str(), user.name.as_str(), app.config.public.name.as_str()];
    if let Err(refusal) = app.passwords.policy(&renewal.new_password, &context) {
        return Ok(Err((user, refusal)));
    }
    let password = app.passwords.hash(&renewal.new_password).await?;
    let mut tx = app.store.begin().await?;
    tx.user_hold(&user.id).await?;
    let Ticket { user, .. } = tx.ticket_take(hash, kind, visit.now).await?.ok_or(Refusal::InvalidTicket)?;
    // The password comes first: a sign-in that compared the earlier one has written its session before this
    // returns, or writes none.
    tx.account_set_password(&user.id, &password, visit.now).await?;
    let ended = ending::end_all_and_distrust(&mut tx, &user.id, visit.now).await?;
    let gone = if tx.user_prove_email(&user.id, &user.email, visit.now).await? {
        // LK-2, LK-3: nobody had proved the mailbox, so whoever added these may have been somebody else.
        tx.accounts_delete_providers(&user.id).await?
    } else {
        ending::remove_added(&mut tx, &user.id, visit.now).await?
    };
    tx.auth_log_insert(&log_entry(visit, Action::PasswordReset, Some(&user.id), None)).await?;
    let device = agent::family(visit.agent(), None);
    let occasion = ticket::occasion(visit, &device);
    let again = post::link(app, "forgot-password");
    let changed = Mail::PasswordChanged { occasion, link: &again };
    ticket::tell(app, visit, &mut tx, &user, &changed).await?;
    for id in &gone {
        provider::tell(app, visit, &mut tx, &user, (provider::name(app, id), Change::Unlinked)).await?;
    }
    // The link came to the mailbox as a code would have.
    let device = entry::trust_here(app, visit, &mut tx, &user).await?;
    app.sessions.commit_ended(tx, &ended).await?;
    Ok(Ok((user, device)))
}
