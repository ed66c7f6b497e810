//! Deleting one's account: with the password, or, where there is none, by a link to the mailbox. The log stays.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::account::agent;
use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::ticket::{self, Link};
use crate::flow::{
    allowed_callback, confirm, desk, ending, log_entry, read_json, set_cookie, to_account, to_sign_in,
};
use crate::http::form::Form;
use crate::http::visit::{Visit, is_form};
use crate::refusal::Refusal;
use crate::session::rules::is_fresh;
use crate::store::Tx;
use crate::store::auth_log::Action;
use crate::store::tickets::TicketKind;
use crate::ui::mails::Mail;
use crate::ui::pages::Notice;
use crate::ui::pages::mailed::{Confirm, Step};
use crate::visitor::{Session, User};

/// The page behind the link. Shows, and spends nothing. Who reads the mail in another browser signs in there first.
pub(super) async fn show(app: &App, visit: &Visit) -> Result<Answer, Error> {
    allowed(app)?;
    let Some(session) = visit.visitor.session() else {
        return Ok(answer::ask_to_sign_in(desk(app), &visit.reply_to()));
    };
    let query = Form::parse(visit.path.query().unwrap_or_default().as_bytes())?;
    let (_, ticket) = ticket::look(app, visit, TicketKind::DeleteAccount, query.get("token")).await?;
    if session.user.id != ticket.user.id {
        return Err(Refusal::Forbidden.into());
    }
    let view = app.ui.view(visit.language());
    let step = Step::DeleteAccount(&ticket.user.email);
    let html = Confirm { view, step, token: query.get("token") };
    Ok(answer::page(desk(app), StatusCode::OK, view, html.render()))
}

fn allowed(app: &App) -> Result<(), Refusal> {
    if app.config.accounts.delete { Ok(()) } else { Err(Refusal::NotFound) }
}

/// What the visitor sends: nothing, the password, or the link's token.
#[derive(Deserialize)]
struct Wish {
    password: Option<Zeroizing<String>>,
    token: Option<String>,
    #[serde(rename = "callbackURL")]
    callback_url: Option<String>,
}

#[derive(Serialize)]
struct Answered {
    success: bool,
    message: &'static str,
}

/// What became of it.
enum Outcome {
    /// The account is gone.
    Deleted,
    /// A link is on its way.
    Asked,
}

/// `POST delete-user`: a form, or a program.
pub(super) async fn submit(app: &App, visit: Visit) -> Result<Answer, Error> {
    allowed(app)?;
    let session = visit.visitor.session().ok_or(Refusal::SignInRequired)?;
    let form = is_form(&visit.headers);
    let wish = if form {
        let form = Form::parse(&visit.body)?;
        Wish {
            password: form.find("password").map(|password| Zeroizing::new(password.to_owned())),
            token: form.find("token").map(str::to_owned),
            callback_url: None,
        }
    } else {
        read_json(&visit)?
    };
    allowed_callback(app, wish.callback_url.as_deref())?;
    let outcome = match &wish.token {
        Some(token) => Ok(by_link(app, &visit, session, token).await?),
        None => attempt(app, &visit, session, wish.password.as_ref().map(|text| text.as_str())).await?,
    };
    let mut answer = match (outcome, form) {
        (Err(refusal), false) => return Err(refusal.into()),
        (Err(refusal), true) => return to_account(app, Err(refusal)),
        (Ok(Outcome::Asked), true) => return to_account(app, Ok(Notice::DeletionSent)),
        (Ok(Outcome::Asked), false) => {
            let shape = Answered { success: true, message: "Verification email sent" };
            return Ok(answer::json(desk(app), StatusCode::OK, &shape));
        }
        (Ok(Outcome::Deleted), true) => to_sign_in(app, None, Notice::AccountDeleted),
        (Ok(Outcome::Deleted), false) => {
            let shape = Answered { success: true, message: "User deleted" };
            answer::json(desk(app), StatusCode::OK, &shape)
        }
    };
    app.sessions.forget_cookies().for_each(|cookie| set_cookie(answer.headers_mut(), cookie));
    Ok(answer)
}

/// With the password, if there is one; else a link is sent. Where no mail can be sent a recent sign-in will do.
async fn attempt(
    app: &App,
    visit: &Visit,
    session: &Session,
    password: Option<&str>,
) -> Result<Result<Outcome, Refusal>, Error> {
    if let Err(refusal) = app.limits.change(visit.now, &session.user.id) {
        return Ok(Err(refusal));
    }
    let Some((user, hash)) = app.store.credential_by_user(&session.user.id).await? else {
        return Ok(Err(Refusal::SignInRequired));
    };
    if hash.is_some() {
        let password = password.unwrap_or_default();
        let (user, known) = match confirm::password(app, visit, Action::Delete, &user.id, password).await? {
            Ok(confirmed) => confirmed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut tx = app.store.begin().await?;
        tx.user_hold(&user.id).await?;
        if !tx.account_hold_password(&user.id, &known).await? {
            return Ok(Err(Refusal::InvalidPassword));
        }
        return Ok(Ok(delete(app, visit, tx, &user).await?));
    }
    let mut tx = app.store.begin().await?;
    if app.config.mail.is_some() {
        ticket::send(app, visit, &mut tx, &user, Link::DeleteAccount).await?;
        tx.auth_log_insert(&log_entry(visit, Action::DeleteRequest, Some(&user.id), None)).await?;
        tx.commit().await?;
        return Ok(Ok(Outcome::Asked));
    }
    if !is_fresh(session, visit.now) {
        return Ok(Err(Refusal::SessionNotFresh));
    }
    Ok(Ok(delete(app, visit, tx, &user).await?))
}

async fn by_link(app: &App, visit: &Visit, session: &Session, token: &str) -> Result<Outcome, Error> {
    app.limits.ticket(visit.now, visit.client)?;
    let kind = TicketKind::DeleteAccount;
    let (hash, ticket) = ticket::look(app, visit, kind, token).await?;
    if ticket.user.id != session.user.id {
        return Err(Refusal::Forbidden.into());
    }
    let mut tx = app.store.begin().await?;
    tx.user_hold(&ticket.user.id).await?;
    let ticket = tx.ticket_take(hash, kind, visit.now).await?.ok_or(Refusal::InvalidTicket)?;
    delete(app, visit, tx, &ticket.user).await
}

/// Sessions end first, so that other replicas hear of each.
async fn delete(app: &App, visit: &Visit, mut tx: Tx, user: &User) -> Result<Outcome, Error> {
    let ended = ending::end_all(&mut tx, &user.id, None).await?;
    tx.user_delete(&user.id).await?;
    tx.auth_log_insert(&log_entry(visit, Action::Delete, Some(&user.id), None)).await?;
    let device = agent::family(visit.agent(), None);
    let deleted = Mail::AccountDeleted { occasion: ticket::occasion(visit, &device) };
    ticket::tell(app, visit, &mut tx, user, &deleted).await?;
    app.sessions.commit_ended(tx, &ended).await?;
    Ok(Outcome::Deleted)
}
