//! The exchange of a refresh token for its successor, whoever holds it: of many that do so together one makes the
//! exchange and the others get what it made, and nobody is signed out by being late.

use std::net::IpAddr;

use crate::app::App;
use crate::error::Fault;
use crate::http::visit::Visit;
use crate::id::{RequestId, SessionId, UserId};
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::store::auth_log::{Action, LogEntry};
use crate::time::Now;
use crate::token::refresh::{Holder, Standing};
use crate::visitor::Session;

/// What is known of who asks.
pub struct Asking {
    id: RequestId,
    now: Now,
    client: IpAddr,
    agent: Option<String>,
}

impl Asking {
    /// Who asks in this request.
    pub fn of(visit: &Visit) -> Self {
        Self { id: visit.id, now: visit.now, client: visit.client, agent: visit.agent().map(str::to_owned) }
    }
}

/// A refresh token that was good, and what came of it.
pub struct Exchanged {
    /// The session, which is used by it and so lives on.
    pub session: Session,
    /// The successor; a refusal if too many were asked for of late, while the token that was shown stays good.
    pub next: Result<Token, Refusal>,
    /// When the family ends.
    pub ends: Now,
}

/// Exchanges a refresh token; `None` if it opens nothing. One that was used before, and not just now, ends its
/// session.
pub async fn exchange(
    app: &App,
    asking: &Asking,
    holder: Holder,
    token: &Token,
) -> Result<Option<Exchanged>, Fault> {
    let now = asking.now;
    // The second look finds what whoever was quicker has made.
    for _ in 0..2 {
        let Some(family) = app.tokens.refresh_family(token).await? else { return Ok(None) };
        let Some(mut session) = app.sessions.by_id(&family.session, now).await? else { return Ok(None) };
        let (next, ends) = (app.tokens.refresh_next(holder, token), family.expires);
        match app.tokens.refresh_standing(token, &family, now) {
            Standing::Current => {
                if let Err(refusal) = app.limits.exchange(now, &session.id) {
                    return Ok(Some(Exchanged { session, next: Err(refusal), ends }));
                }
                let mut tx = app.store.begin().await?;
                // The session first, as whoever ends it does, so that neither waits for the other.
                let rotated = app.sessions.touch(&mut tx, &mut session, now).await?
                    && tx.refresh_rotate(&family.id, token.hash(), next.hash(), now).await?;
                if rotated {
                    // A browser does it within any request, every few minutes, and nobody decides on it.
                    if holder == Holder::Program {
                        let entry = entry(asking, &session.user.id, Action::Refresh, None);
                        tx.auth_log_insert(&entry).await?;
                    }
                    tx.commit().await?;
                    return Ok(Some(Exchanged { session, next: Ok(next), ends }));
                }
                app.limits.give_back_exchange(&session.id);
            }
            Standing::JustUsed => return Ok(Some(Exchanged { session, next: Ok(next), ends })),
            Standing::Replayed => {
                tracing::warn!(
                    request_id = %asking.id,
                    user = session.user.id.as_str(),
                    generation = family.generation,
                    "a refresh token was used a second time: its session is ended"
                );
                end(app, asking, (&session.user.id, &session.id), Some("REFRESH_TOKEN_REUSED")).await?;
                return Ok(None);
            }
            Standing::Expired => return Ok(None),
        }
    }
    Ok(None)
}

/// Exchanges the token of a session that a browser got while cookies were not signed for a refresh token: once, as
/// if it were the first of its family.
pub async fn adopt(app: &App, asking: &Asking, token: &Token) -> Result<Option<Exchanged>, Fault> {
    let now = asking.now;
    if app.tokens.refresh_family(token).await?.is_none() {
        let Some(mut session) = app.sessions.by_hash(token.hash(), now).await? else { return Ok(None) };
        let mut tx = app.store.begin().await?;
        if app.sessions.touch(&mut tx, &mut session, now).await? {
            let ends = app.sessions.last_end(&session);
            if let Some(next) = app.tokens.refresh_adopt(&mut tx, &session, token, (now, ends)).await? {
                tx.commit().await?;
                return Ok(Some(Exchanged { session, next: Ok(next), ends }));
            }
        }
    }
    exchange(app, asking, Holder::Browser, token).await
}

/// Ends a session, and with it its refresh tokens.
pub(super) async fn end(
    app: &App,
    asking: &Asking,
    (user, session): (&UserId, &SessionId),
    error: Option<&'static str>,
) -> Result<(), Fault> {
    let mut tx = app.store.begin().await?;
    let ended = tx.session_delete_by_id(user, session).await?;
    if ended.is_some() {
        tx.auth_log_insert(&entry(asking, user, Action::Revoke, error)).await?;
    }
    app.sessions.commit_ended(tx, ended.as_slice()).await
}

/// The line of the log for what was done.
fn entry(asking: &Asking, user: &UserId, action: Action, error: Option<&'static str>) -> LogEntry {
    LogEntry {
        user: Some(user.clone()),
        action,
        at: asking.now,
        success: error.is_none(),
        error,
        address: Some(asking.client.to_string()),
        agent: asking.agent.clone(),
        detail: None,
        way: None,
    }
}
