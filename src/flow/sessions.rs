//! A user's sessions: seen, and ended one by one or all at once.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;

use crate::answer::shapes::SessionShape;
use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::{desk, ending, log_entry, read_json, success, to_account};
use crate::http::form::Form;
use crate::http::visit::{Visit, is_form};
use crate::id::SessionId;
use crate::refusal::Refusal;
use crate::secret::TokenHash;
use crate::session::rules::is_fresh;
use crate::store::Tx;
use crate::store::auth_log::Action;
use crate::ui::pages::Notice;
use crate::visitor::Session;

/// `GET list-sessions`; asks for a recent sign-in.
pub(super) async fn list(app: &App, visit: Visit) -> Result<Answer, Error> {
    let session = signed_in(&visit)?;
    if !is_fresh(session, visit.now) {
        return Err(Refusal::SessionNotFresh.into());
    }
    let sessions = app.sessions.of_user(&session.user.id, visit.now).await?;
    let shapes: Vec<SessionShape<'_>> = sessions.iter().map(Into::into).collect();
    Ok(answer::json(desk(app), StatusCode::OK, &shapes))
}

/// Names a session by its public handle.
#[derive(Deserialize)]
struct RevokeBody {
    token: String,
}

/// `POST revoke-session`; the answer is the same for a session that is not there or not the caller's.
pub(super) async fn revoke_one(app: &App, visit: Visit) -> Result<Answer, Error> {
    let session = may_change(app, &visit)?;
    let token = if is_form(&visit.headers) {
        Form::parse(&visit.body)?.get("token").to_owned()
    } else {
        read_json::<RevokeBody>(&visit)?.token
    };
    let mut tx = app.store.begin().await?;
    let ended = match SessionId::parse(&token) {
        Some(id) => tx.session_delete_by_id(&session.user.id, &id).await?,
        None => None,
    };
    let error = ended.is_none().then_some("SESSION_NOT_FOUND");
    finish(app, &visit, tx, ended.as_slice(), error).await?;
    done(app, &visit, Notice::SessionEnded)
}

/// `POST revoke-sessions`: this one too.
pub(super) async fn revoke_all(app: &App, visit: Visit) -> Result<Answer, Error> {
    let session = may_change(app, &visit)?;
    let mut tx = app.store.begin().await?;
    let ended = ending::end_all(&mut tx, &session.user.id, None).await?;
    finish(app, &visit, tx, &ended, None).await?;
    Ok(success(app))
}

/// `POST revoke-other-sessions`.
pub(super) async fn revoke_others(app: &App, visit: Visit) -> Result<Answer, Error> {
    let session = may_change(app, &visit)?;
    let mut tx = app.store.begin().await?;
    // EM-8: an intruder may have asked for another address, or wait for a code. The tokens that the user made
    // for programs are no sessions.
    tx.tickets_withdraw(&session.user.id).await?;
    tx.pendings_delete_of_user(&session.user.id).await?;
    let ended = tx.sessions_delete_of_user(&session.user.id, Some(&session.id)).await?;
    finish(app, &visit, tx, &ended, None).await?;
    done(app, &visit, Notice::SessionsEnded)
}

/// Logs what was done or tried, and makes it last.
async fn finish(
    app: &App,
    visit: &Visit,
    mut tx: Tx,
    ended: &[TokenHash],
    error: Option<&'static str>,
) -> Result<(), Error> {
    let user = &signed_in(visit)?.user.id;
    tx.auth_log_insert(&log_entry(visit, Action::Revoke, Some(user), error)).await?;
    app.sessions.commit_ended(tx, ended).await?;
    Ok(())
}

/// JSON is told so, a form of the account page leads back there.
fn done(app: &App, visit: &Visit, notice: Notice) -> Result<Answer, Error> {
    if is_form(&visit.headers) {
        return to_account(app, Ok(notice));
    }
    Ok(success(app))
}

fn signed_in(visit: &Visit) -> Result<&Arc<Session>, Refusal> {
    visit.visitor.session().ok_or(Refusal::SignInRequired)
}

/// The session of a caller who has not changed too much of late.
fn may_change<'v>(app: &App, visit: &'v Visit) -> Result<&'v Arc<Session>, Refusal> {
    let session = signed_in(visit)?;
    app.limits.change(visit.now, &session.user.id)?;
    Ok(session)
}
