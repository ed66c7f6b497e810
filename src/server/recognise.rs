//! Who is asking: found in memory without waiting, or asked of the store through the office; and the renewal
//! that a visit may bring.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use crate::app::App;
use crate::error::Fault;
use crate::gate;
use crate::http::cookie::{self, Found};
use crate::http::visit::{Credential, Visit};
use crate::secret::{Token, TokenHash};
use crate::server::worker::Worker;
use crate::session::Recognised;
use crate::time::Now;
use crate::visitor::{Session, Visitor};

/// Finds out who is asking: from memory without waiting, or from the store through the office.
///
/// A token of ours in `Authorization` is taken out of the request whatever it opens: the app has no use for
/// it.
pub(super) async fn recognise(worker: &Worker, visit: &mut Visit) {
    let app = &worker.app;
    let shown = bearer(&visit.headers);
    let ours = shown.and_then(Token::parse).filter(|token| app.sessions.issued(token));
    let without_cookie = if shown.is_some() { Credential::UnknownBearer } else { Credential::None };
    if ours.is_some() {
        visit.headers.remove(AUTHORIZATION);
    }
    let (credential, token) = match cookie::find(&visit.headers, app.sessions.cookies.session) {
        Found::One(value) => (Credential::Cookie, Token::parse(value)),
        // One of them was planted.
        Found::Conflict => (Credential::Cookie, None),
        Found::Nothing => (without_cookie, ours),
    };
    visit.credential = credential;
    if let Some(token) = token {
        by_session(worker, visit, &token).await;
    }
    // Only who has no session can be on the way to one; what is open to everybody does not wait for the store.
    if let Visitor::Stranger = visit.visitor
        && let Some(hash) = pending_token(app, &visit.headers)
        && !gate::open_to_all(&app.rules, visit)
    {
        visit.visitor = Box::pin(ask_for_pending(app, visit, hash)).await;
    }
}

/// Whose session a token opens.
async fn by_session(worker: &Worker, visit: &mut Visit, token: &Token) {
    let app = &worker.app;
    let recognised = app.sessions.recognise(&mut worker.near.borrow_mut(), token, visit.now);
    visit.visitor = match recognised {
        Recognised::Known(session) => Visitor::Known(session),
        Recognised::Nobody => Visitor::Stranger,
        // What is open to everybody does not wait for the store.
        Recognised::Ask(_) if gate::open_to_all(&app.rules, visit) => Visitor::Unsure,
        // Boxed: what is rare need not be carried along by every request.
        Recognised::Ask(hash) => Box::pin(ask_store(app, visit, hash)).await,
    };
    if visit.credential == Credential::UnknownBearer && visit.visitor.session().is_some() {
        visit.credential = Credential::Bearer;
    }
}

/// One question to the store, asked by the office.
async fn ask_store(app: &Arc<App>, visit: &Visit, token: TokenHash) -> Visitor {
    let (office, now) = (Arc::clone(app), visit.now);
    match app.office.spawn(async move { office.sessions.fetch(token, now).await }).await {
        Ok(Ok(Some(session))) => Visitor::Known(session),
        Ok(Ok(None)) => Visitor::Stranger,
        Ok(Err(fault)) => unsure(visit, &fault),
        Err(panic) => unsure(visit, &Fault::new("recognising a session", panic)),
    }
}

/// The token of a sign-in that waits for its code, if it is one that we made.
fn pending_token(app: &App, headers: &HeaderMap) -> Option<TokenHash> {
    let Found::One(value) = cookie::find(headers, app.sessions.cookies.pending) else { return None };
    let token = Token::parse(value)?;
    app.pending_key.issued(&token).then(|| token.hash())
}

/// Whether a sign-in still waits for its code, asked by the office.
async fn ask_for_pending(app: &Arc<App>, visit: &Visit, token: TokenHash) -> Visitor {
    let (office, now) = (Arc::clone(app), visit.now);
    match app.office.spawn(async move { office.store.pending_by_hash(token, now).await }).await {
        Ok(Ok(Some(id))) => Visitor::Pending(id),
        Ok(Ok(None)) => Visitor::Stranger,
        Ok(Err(fault)) => unsure(visit, &fault),
        Err(panic) => unsure(visit, &Fault::new("recognising a pending sign-in", panic)),
    }
}

fn unsure(visit: &Visit, fault: &Fault) -> Visitor {
    tracing::error!(request_id = %visit.id, "{fault}");
    Visitor::Unsure
}

/// The token behind `Authorization: Bearer` (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Moves the end of a session that is used again after a while, once, and has its cookie sent again.
pub(super) async fn renew(app: &Arc<App>, visit: &Visit) -> Option<HeaderValue> {
    let session = visit.visitor.session()?;
    if !app.sessions.claims_renewal(session, visit.now) {
        return None;
    }
    Box::pin(renewed_cookie(app, visit, session)).await
}

async fn renewed_cookie(app: &Arc<App>, visit: &Visit, session: &Arc<Session>) -> Option<HeaderValue> {
    let (office, session, now) = (Arc::clone(app), Arc::clone(session), visit.now);
    let renewed = app.office.spawn(async move { office.sessions.renew(session, now).await }).await;
    match renewed {
        Ok(Ok(true)) => cookie_again(app, visit, now),
        Ok(Ok(false)) | Err(_) => None,
        Ok(Err(fault)) => {
            // The session is good as it is; the next copy of it tries again.
            tracing::warn!(request_id = %visit.id, "{fault}");
            None
        }
    }
}

fn cookie_again(app: &App, visit: &Visit, now: Now) -> Option<HeaderValue> {
    let Found::One(value) = cookie::find(&visit.headers, app.sessions.cookies.session) else { return None };
    let value = std::str::from_utf8(value).ok()?.to_owned();
    let session = visit.visitor.session()?;
    Some(app.sessions.cookie(value, session.remember, app.sessions.life_left(session, now)))
}
