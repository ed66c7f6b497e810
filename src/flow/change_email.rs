//! Another address: asked for soon after signing in, and confirmed by a link to the new mailbox in a browser
//! that is signed in to the account, so that the link alone is worth nothing to whoever reads a mistyped mailbox.

use http::{HeaderValue, StatusCode};
use serde::Deserialize;

use crate::account::agent;
use crate::account::email::Email;
use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::post;
use crate::flow::ticket::{self, Link};
use crate::flow::{allowed_callback, cookies, desk, log_entry, read_json, success, to_account, with_cookies};
use crate::http::form::Form;
use crate::http::visit::{Credential, Visit, is_form};
use crate::refusal::Refusal;
use crate::session::rules::is_fresh;
use crate::store::auth_log::Action;
use crate::store::tickets::{Ticket, TicketKind};
use crate::ui::mails::Mail;
use crate::ui::pages::Notice;
use crate::ui::pages::mailed::{Confirm, Step};
use crate::visitor::{Session, User};

/// The page behind the link. Shows, and spends nothing. Who reads the mail in another browser signs in there first.
pub(super) async fn show(app: &App, visit: &Visit) -> Result<Answer, Error> {
    if visit.visitor.session().is_none() {
        return Ok(answer::ask_to_sign_in(desk(app), &visit.reply_to()));
    }
    let query = Form::parse(visit.path.query().unwrap_or_default().as_bytes())?;
    let (_, ticket) = ticket::look(app, visit, TicketKind::ChangeEmail, query.get("token")).await?;
    let new = own(visit, &ticket)?;
    let view = app.ui.view(visit.language());
    let html = Confirm { view, step: Step::ChangeEmail(new), token: query.get("token") };
    Ok(answer::page(desk(app), StatusCode::OK, view, html.render()))
}

/// The address that a ticket of the visitor's own is for.
fn own<'t>(visit: &Visit, ticket: &'t Ticket) -> Result<&'t str, Refusal> {
    let session = visit.visitor.session().ok_or(Refusal::SignInRequired)?;
    let new = ticket.new_email.as_deref().filter(|_| session.user.id == ticket.user.id);
    new.ok_or(Refusal::Forbidden)
}

/// What the visitor sends: a new address, or the token that confirms it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wish {
    #[serde(default)]
    new_email: String,
    token: Option<String>,
    #[serde(rename = "callbackURL")]
    callback_url: Option<String>,
}

/// `POST change-email`: a form, or a program.
pub(super) async fn submit(app: &App, visit: Visit) -> Result<Answer, Error> {
    let session = visit.visitor.session().ok_or(Refusal::SignInRequired)?;
    let form = is_form(&visit.headers);
    let wish = if form {
        let form = Form::parse(&visit.body)?;
        Wish {
            new_email: form.get("newEmail").to_owned(),
            token: form.find("token").map(str::to_owned),
            callback_url: None,
        }
    } else {
        read_json(&visit)?
    };
    allowed_callback(app, wish.callback_url.as_deref())?;
    let (done, notice, cookies) = match &wish.token {
        Some(token) => {
            let cookies = confirm(app, &visit, session, token).await?;
            (Ok(()), Notice::EmailChanged, cookies)
        }
        None => (request(app, &visit, session, &wish.new_email).await?, Notice::NewEmailSent, Vec::new()),
    };
    let answer = if form {
        to_account(app, done.map(|()| notice))?
    } else {
        done?;
        success(app)
    };
    Ok(with_cookies(answer, cookies))
}

/// Mails the link to the new address. A taken one is answered alike; its owner is told.
async fn request(
    app: &App,
    visit: &Visit,
    session: &Session,
    new_email: &str,
) -> Result<Result<(), Refusal>, Error> {
    if app.config.mail.is_none() {
        return Ok(Err(Refusal::ChangeEmailDisabled));
    }
    if !is_fresh(session, visit.now) {
        return Ok(Err(Refusal::SessionNotFresh));
    }
    let new = match Email::parse(new_email) {
        Ok(new) if new.as_str() == session.user.email => return Ok(Err(Refusal::Validation)),
        Ok(new) => new,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let limits = &app.limits;
    if let Err(refusal) =
        limits.change(visit.now, &session.user.id).and_then(|()| limits.mail(visit.now, visit.client, &new))
    {
        return Ok(Err(refusal));
    }
    let mut tx = app.store.begin().await?;
    let user = tx.user_by_id(&session.user.id).await?.ok_or(Refusal::SignInRequired)?;
    let owner = tx.user_by_email(new.as_str()).await?;
    if let Some(owner) = &owner {
        let link = post::link(app, "sign-in");
        ticket::tell(app, visit, &mut tx, owner, &Mail::AlreadyRegistered { link: &link }).await?;
    } else {
        ticket::send(app, visit, &mut tx, &user, Link::ChangeEmail(new.as_str())).await?;
    }
    let error = owner.is_some().then_some("USER_ALREADY_EXISTS");
    tx.auth_log_insert(&log_entry(visit, Action::EmailRequest, Some(&user.id), error)).await?;
    tx.commit().await?;
    Ok(Ok(()))
}

/// Spends the link: from now on the new address counts, and what was sent to the old one is void.
async fn confirm(
    app: &App,
    visit: &Visit,
    session: &Session,
    token: &str,
) -> Result<Vec<HeaderValue>, Error> {
    app.limits.ticket(visit.now, visit.client)?;
    let kind = TicketKind::ChangeEmail;
    let (hash, ticket) = ticket::look(app, visit, kind, token).await?;
    own(visit, &ticket)?;
    let mut tx = app.store.begin().await?;
    tx.user_hold(&ticket.user.id).await?;
    let ticket = tx.ticket_take(hash, kind, visit.now).await?.ok_or(Refusal::InvalidTicket)?;
    let (user, new) = (&ticket.user, own(visit, &ticket)?);
    if !tx.user_set_email(&user.id, &user.email, new, visit.now).await? {
        return Err(Refusal::InvalidTicket.into());
    }
    tx.tickets_withdraw(&user.id).await?;
    // Their codes are in the other mailbox.
    tx.pendings_delete_of_user(&user.id).await?;
    let mut cookies = None;
    if visit.credential == Credential::Cookie {
        let user = User { email: new.to_owned(), email_verified: true, ..user.clone() };
        cookies = cookies::replaced(app, &mut tx, (session, &user), visit.now).await?;
        if cookies.is_none() {
            return Err(Refusal::SignInRequired.into());
        }
    }
    tx.auth_log_insert(&log_entry(visit, Action::EmailChange, Some(&user.id), None)).await?;
    let device = agent::family(visit.agent(), None);
    let changed = Mail::EmailChanged { occasion: ticket::occasion(visit, &device), new };
    ticket::tell(app, visit, &mut tx, user, &changed).await?;
    let ended = cookies.is_some().then_some(session.token);
    app.sessions.commit_ended(tx, ended.as_slice()).await?;
    app.sessions.user_changed(&user.id, visit.now).await;
    Ok(cookies.unwrap_or_default())
}
