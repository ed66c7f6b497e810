//! Proving an address: a link by mail, a page, and a button that spends the link.
//!
//! The mailbox alone does not make an account somebody's: who signed up first may not have owned it. So the
//! button counts in a browser that is signed in to the account, and elsewhere together with its password.
//! Whoever has the mailbox and not the password takes the account over by setting a new one, which ends
//! whatever was there before.

use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::account::email::Email;
use crate::answer::shapes::UserShape;
use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::entry::{self, By, Entered, Proved};
use crate::flow::pair::Delivery;
use crate::flow::ticket::{self, Link};
use crate::flow::{
    allowed_callback, callback_if_ours, callback_or_home, confirm, desk, form_again, log_entry, read_json,
    success, to_account, to_sign_in, typed, with_cookies,
};
use crate::http::form::Form;
use crate::http::visit::{Visit, is_form};
use crate::refusal::Refusal;
use crate::store::auth_log::Action;
use crate::store::tickets::{Ticket, TicketKind};
use crate::ui::pages::mailed;
use crate::ui::pages::{Notice, Problem};
use crate::visitor::User;

/// The page behind the link. Shows, and spends nothing.
pub(super) async fn show(app: &App, visit: &Visit) -> Result<Answer, Error> {
    let query = Form::parse(visit.path.query().unwrap_or_default().as_bytes())?;
    let (_, ticket) = ticket::look(app, visit, TicketKind::VerifyEmail, query.get("token")).await?;
    let callback_url = query.find("callback_url").or(query.find("callbackURL"));
    Ok(page(app, visit, &ticket.user, (query.get("token"), callback_url), &[]))
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
    let html = mailed::VerifyEmail {
        view,
        email: &user.email,
        token,
        callback_url: callback_url.as_deref(),
        password: !is_own(visit, user),
        problems,
    }
    .render();
    if problems.is_empty() {
        return answer::page(desk(app), StatusCode::OK, view, html);
    }
    form_again(app, view, problems, html)
}

fn is_own(visit: &Visit, user: &User) -> bool {
    visit.visitor.session().is_some_and(|session| session.user.id == user.id)
}

/// What comes back from the page.
#[derive(Deserialize)]
struct Proof {
    token: String,
    #[serde(default)]
    password: Zeroizing<String>,
    #[serde(rename = "callbackURL", alias = "callback_url")]
    callback_url: Option<String>,
}

#[derive(Serialize)]
struct Verified<'a> {
    status: bool,
    user: UserShape<'a>,
}

/// `POST verify-email`: the button, or a program.
pub(super) async fn submit(app: &App, visit: Visit) -> Result<Answer, Error> {
    let form = is_form(&visit.headers);
    let proof = if form {
        let form = Form::parse(&visit.body)?;
        Proof {
            token: form.get("token").to_owned(),
            password: Zeroizing::new(form.get("password").to_owned()),
            callback_url: form.find("callback_url").map(str::to_owned),
        }
    } else {
        read_json(&visit)?
    };
    let target = proof.callback_url.as_deref();
    if !form {
        allowed_callback(app, target)?;
    }
    app.limits.ticket(visit.now, visit.client)?;
    let (user, cookies) = match attempt(app, &visit, &proof).await? {
        Ok(verified) => verified,
        Err((user, refusal)) if form => {
            let problems = [Problem::Refused(refusal)];
            return Ok(page(app, &visit, &user, (&proof.token, target), &problems));
        }
        Err((_, refusal)) => return Err(refusal.into()),
    };
    let answer = if !form {
        answer::json(desk(app), StatusCode::OK, &Verified { status: true, user: (&user).into() })
    } else if target.is_none() && is_own(&visit, &user) {
        to_account(app, Ok(Notice::EmailVerified))?
    } else {
        answer::redirect(desk(app), StatusCode::SEE_OTHER, &callback_or_home(app, target))
    };
    Ok(with_cookies(answer, cookies))
}

/// Spends the link. The inner error goes back to the page of this user.
async fn attempt(
    app: &App,
    visit: &Visit,
    proof: &Proof,
) -> Result<Result<(User, Vec<HeaderValue>), (User, Refusal)>, Error> {
    let kind = TicketKind::VerifyEmail;
    let (hash, Ticket { user, .. }) = ticket::look(app, visit, kind, &proof.token).await?;
    let own = is_own(visit, &user);
    let known = if own {
        None
    } else {
        match confirm::password(app, visit, Action::Verify, &user.id, &proof.password).await? {
            Ok((_, known)) => Some(known),
            Err(refusal) => return Ok(Err((user, refusal))),
        }
    };
    let mut tx = app.store.begin().await?;
    tx.user_hold(&user.id).await?;
    let Ticket { user, .. } = tx.ticket_take(hash, kind, visit.now).await?.ok_or(Refusal::InvalidTicket)?;
    if let Some(known) = &known
        && !tx.account_hold_password(&user.id, known).await?
    {
        return Ok(Err((user, Refusal::InvalidPassword)));
    }
    // LK-4: what was begun before the mailbox was proved does not go on after it.
    tx.tickets_withdraw(&user.id).await?;
    tx.user_prove_email(&user.id, &user.email, visit.now).await?;
    tx.auth_log_insert(&log_entry(visit, Action::Verify, Some(&user.id), None)).await?;
    let user = User { email_verified: true, updated: visit.now, ..user };
    let cookies = if own {
        tx.commit().await?;
        Vec::new()
    } else {
        let delivery = Delivery::Cookie;
        let proved = Proved { user: &user, by: By::Mailbox, remember: true, callback_url: None, delivery };
        match entry::enter(app, visit, tx, proved).await? {
            Entered::SignedIn(signed_in) => signed_in.cookies,
            Entered::Pending(waiting) => waiting.cookies,
        }
    };
    app.sessions.user_changed(&user.id, visit.now).await;
    Ok(Ok((user, cookies)))
}

/// Asks for the mail once more.
#[derive(Deserialize)]
struct Wish {
    email: String,
    #[serde(rename = "callbackURL", alias = "callback_url")]
    callback_url: Option<String>,
}

/// `POST send-verification-email`. A stranger hears the same whatever the address is; who is signed in can
/// have it sent to the own address only.
pub(super) async fn send(app: &App, visit: Visit) -> Result<Answer, Error> {
    let form = is_form(&visit.headers);
    let wish = if form {
        let form = Form::parse(&visit.body)?;
        Wish {
            email: form.get("email").to_owned(),
            callback_url: form.find("callback_url").map(str::to_owned),
        }
    } else {
        read_json(&visit)?
    };
    let target = wish.callback_url.as_deref();
    let callback_url = if form { callback_if_ours(app, target) } else { allowed_callback(app, target)? };
    let sent = request(app, &visit, &wish.email, callback_url.as_deref()).await?;
    if !form {
        sent?;
        return Ok(success(app));
    }
    if visit.visitor.session().is_some() {
        return to_account(app, sent.map(|()| Notice::VerificationSent));
    }
    sent?;
    let answer = to_sign_in(app, target, Notice::VerificationSent);
    Ok(with_cookies(answer, vec![typed::keep(app, &wish.email, visit.now)]))
}

async fn request(
    app: &App,
    visit: &Visit,
    email: &str,
    callback_url: Option<&str>,
) -> Result<Result<(), Refusal>, Error> {
    if app.config.mail.is_none() {
        return Ok(Err(Refusal::VerificationDisabled));
    }
    let email = match Email::parse(email) {
        Ok(email) => email,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let session = visit.visitor.session();
    if session.is_some_and(|session| session.user.email != email.as_str()) {
        return Ok(Err(Refusal::EmailMismatch));
    }
    if let Err(refusal) = app.limits.mail(visit.now, visit.client, &email) {
        return Ok(Err(refusal));
    }
    let mut tx = app.store.begin().await?;
    let user = tx.user_by_email(email.as_str()).await?;
    let error = match &user {
        None => Some("USER_NOT_FOUND"),
        Some(user) if user.email_verified => Some(Refusal::EmailAlreadyVerified.code()),
        Some(user) => {
            ticket::send(app, visit, &mut tx, user, Link::VerifyEmail { callback_url }).await?;
            None
        }
    };
    let whose = user.as_ref().map(|user| &user.id);
    tx.auth_log_insert(&log_entry(visit, Action::VerifyRequest, whose, error)).await?;
    tx.commit().await?;
    let proved = user.is_some_and(|user| user.email_verified);
    Ok(if proved && session.is_some() { Err(Refusal::EmailAlreadyVerified) } else { Ok(()) })
}
