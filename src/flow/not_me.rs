//! "This was not me": the link in the mails about sign-ins. GET shows, POST ends all by which somebody is in,
//! removes the password and what was added of late to sign in with, and mails a link for another password.

use http::StatusCode;
use serde::Deserialize;

use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::provider::{self, Change};
use crate::flow::ticket::{self, Link};
use crate::flow::{desk, ending, entry, log_entry, read_json, set_cookie, success};
use crate::http::form::Form;
use crate::http::visit::{Visit, is_form};
use crate::refusal::Refusal;
use crate::secret::TokenHash;
use crate::store::Tx;
use crate::store::auth_log::{Action, LogEntry};
use crate::store::tickets::{Ticket, TicketKind};
use crate::ui::pages::verify::{NotMe, NotMeStep};

/// What the log says of who did this.
const DETAIL: &str = "not me";

/// The page behind the link. Shows, and spends nothing.
pub(super) async fn show(app: &App, visit: &Visit) -> Result<Answer, Error> {
    let query = Form::parse(visit.path.query().unwrap_or_default().as_bytes())?;
    let token = query.get("token");
    ticket::look(app, visit, TicketKind::NotMe, token).await?;
    let view = app.ui.view(visit.language());
    Ok(answer::page(desk(app), StatusCode::OK, view, NotMe { view, step: NotMeStep::Asked(token) }.render()))
}

/// What a program sends.
#[derive(Deserialize)]
struct TokenBody {
    token: String,
}

/// Spends the link.
pub(super) async fn submit(app: &App, visit: Visit) -> Result<Answer, Error> {
    app.limits.ticket(visit.now, visit.client)?;
    let form = is_form(&visit.headers);
    let token = if form {
        Form::parse(&visit.body)?.get("token").to_owned()
    } else {
        read_json::<TokenBody>(&visit)?.token
    };
    let back = secure(app, &visit, &token).await?;
    let mut answer = if form {
        let view = app.ui.view(visit.language());
        let step = if back { NotMeStep::Secured } else { NotMeStep::Closed };
        answer::page(desk(app), StatusCode::OK, view, NotMe { view, step }.render())
    } else {
        success(app)
    };
    app.sessions.forget_cookies().for_each(|cookie| set_cookie(answer.headers_mut(), cookie));
    set_cookie(answer.headers_mut(), entry::forget_pending(app));
    Ok(answer)
}

/// Whether the user has the address to which the link went.
async fn secure(app: &App, visit: &Visit, token: &str) -> Result<bool, Error> {
    let (hash, found) = ticket::look(app, visit, TicketKind::NotMe, token).await?;
    let mut tx = app.store.begin().await?;
    tx.user_hold(&found.user.id).await?;
    let spent = tx.ticket_take(hash, TicketKind::NotMe, visit.now).await?;
    let Ticket { mut user, email, .. } = spent.ok_or(Refusal::InvalidTicket)?;
    let mut ended = Vec::new();
    let back = user.email == email || free(visit, &mut tx, &email, &mut ended).await?;
    // Whoever got in gave the account an address of their own.
    if back && user.email != email {
        if !tx.user_set_email(&user.id, &user.email, &email, visit.now).await? {
            return Err(Refusal::InvalidTicket.into());
        }
        (user.email, user.email_verified) = (email, true);
    }
    // The password comes first: a sign-in that compared it has written its session before this returns, or
    // writes none.
    tx.account_clear_password(&user.id, visit.now).await?;
    ended.extend(ending::end_all_and_distrust(&mut tx, &user.id, visit.now).await?);
    let removed = ending::remove_added(&mut tx, &user.id, visit.now).await?;
    if back {
        for id in &removed {
            provider::tell(app, visit, &mut tx, &user, (provider::name(app, id), Change::Unlinked)).await?;
        }
        ticket::send(app, visit, &mut tx, &user, Link::ResetPassword { callback_url: None }).await?;
    } else {
        // The mailbox of the address that it keeps would open it.
        tx.user_disable(&user.id, visit.now).await?;
    }
    let entry = log_entry(visit, Action::Revoke, Some(&user.id), None);
    tx.auth_log_insert(&LogEntry { detail: Some(DETAIL.to_owned()), ..entry }).await?;
    app.sessions.commit_ended(tx, &ended).await?;
    Ok(back)
}

/// Whether an address can be given back to the user from whom it was taken. Who made an account under it meanwhile and
/// never proved the mailbox is perhaps whoever took it: that account goes, and what `ended` with it. Who did prove it
/// keeps it, and who was disabled stays so.
async fn free(visit: &Visit, tx: &mut Tx, email: &str, ended: &mut Vec<TokenHash>) -> Result<bool, Error> {
    let Some(found) = tx.user_by_email(email).await? else { return Ok(true) };
    tx.user_hold(&found.id).await?;
    // The mailbox may have been proved while it was waited for.
    let Some(other) = tx.user_by_email(email).await? else { return Ok(true) };
    if other.email_verified || other.id != found.id || tx.user_disabled(&other.id).await?.is_some() {
        return Ok(false);
    }
    ended.extend(ending::end_all(tx, &other.id, None).await?);
    tx.user_delete(&other.id).await?;
    let entry = log_entry(visit, Action::Delete, Some(&other.id), None);
    tx.auth_log_insert(&LogEntry { detail: Some(DETAIL.to_owned()), ..entry }).await?;
    Ok(true)
}
