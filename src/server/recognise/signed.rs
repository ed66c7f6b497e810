//! Who is asking, where the session cookie is a signed one: read without the store while it is good, and exchanged
//! with the refresh cookie beside it, within the same request, when it is not.
//!
//! The app is told what a signed cookie says. Our own endpoints act on the session as the store has it.

use std::sync::Arc;

use crate::app::App;
use crate::error::Fault;
use crate::flow::cookies;
use crate::flow::exchange::{self, Asking};
use crate::http::cookie::{self, Found};
use crate::http::visit::Visit;
use crate::secret::Token;
use crate::server::recognise::{Question, unsure};
use crate::server::worker::Worker;
use crate::session::cache::Epoch;
use crate::session::renewal::{Renewal, Renewed};
use crate::time::Now;
use crate::token::Change;
use crate::token::access::Look;
use crate::token::refresh::Holder;
use crate::visitor::{Session, Visitor};

/// What a browser showed that memory does not know.
pub(super) struct Carried {
    /// The session cookie.
    text: Option<Box<[u8]>>,
    /// What may be exchanged for new cookies.
    refresh: Option<Refresh>,
    /// Whether it is for an endpoint of ours.
    ours: bool,
}

/// What may be exchanged for new cookies.
enum Refresh {
    /// A refresh token.
    Token(Token),
    /// The token of a session from a time when cookies were not signed.
    Session(Token),
}

/// Who is asking, as far as memory knows; `None` if there is no cookie. Never waits.
pub(super) fn question(worker: &Worker, visit: &Visit, found: &Found<'_>) -> Option<Question> {
    let (app, now) = (&*worker.app, visit.now);
    let ours = app.rules.below_mount(visit.path.raw()).is_some();
    let text = match found {
        Found::One(value) => Some(*value),
        Found::Nothing | Found::Conflict => None,
    };
    let carried = text.and_then(|text| app.sessions.carried(&mut worker.near.borrow_mut(), text, now));
    if let Some(session) = carried {
        return Some(if ours { as_stored(worker, &session, now) } else { known(session) });
    }
    let refresh =
        match (text.and_then(Token::parse), cookie::find(&visit.headers, app.sessions.cookies.refresh)) {
            (_, Found::Conflict) => return Some(Question::STRANGER),
            (Some(token), _) => app.sessions.issued(&token).then_some(Refresh::Session(token)),
            (None, Found::One(value)) => app.tokens.refresh_parse(Holder::Browser, value).map(Refresh::Token),
            (None, Found::Nothing) if text.is_none() => return None,
            (None, Found::Nothing) => None,
        };
    let refresh = refresh.filter(|refresh| !app.sessions.cache.is_gone(&refresh.token().hash()));
    let text = text.filter(|text| app.tokens.cookie_look(text, now) != Look::Foreign);
    if text.is_none() && refresh.is_none() {
        return Some(Question::STRANGER);
    }
    Some(Question::Carried(Box::new(Carried { text: text.map(Into::into), refresh, ours })))
}

/// The session of a good cookie, as the store has it.
fn as_stored(worker: &Worker, session: &Session, now: Now) -> Question {
    let sessions = &worker.app.sessions;
    match sessions.remembered(&session.token, now) {
        Some(session) => known(session),
        None if sessions.cache.is_gone(&session.token) => Question::STRANGER,
        None => Question::Session(session.token),
    }
}

fn known(session: Arc<Session>) -> Question {
    Question::Answered(Visitor::Known(session))
}

/// Asks the office.
pub(super) async fn ask(app: &Arc<App>, visit: &Visit, carried: Carried) -> (Visitor, Option<Arc<Renewal>>) {
    let (office, asking, now) = (Arc::clone(app), Asking::of(visit), visit.now);
    match app.office.spawn(async move { answered(&office, carried, &asking, now).await }).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(fault)) => (unsure(visit, &fault), None),
        Err(panic) => (unsure(visit, &Fault::new("recognising a session", panic)), None),
    }
}

/// Runs in the office.
async fn answered(
    app: &App,
    carried: Carried,
    asking: &Asking,
    now: Now,
) -> Result<(Visitor, Option<Arc<Renewal>>), Arc<Fault>> {
    if let Some(text) = &carried.text
        && let (Some(session), epoch) = verified(app, text, now).await?
        && !app.sessions.cache.has_ended(&session.token)
    {
        // What ended before we listened is known to the store alone.
        let heard = app.sessions.cache.hears_of(session.opened);
        let stored =
            if carried.ours || !heard { app.sessions.fetch(session.token, now).await? } else { None };
        let kept =
            if heard || stored.is_some() { app.sessions.keep_carried(text, session, epoch) } else { None };
        let session = if carried.ours { stored } else { kept };
        return Ok((session.map_or(Visitor::Stranger, Visitor::Known), None));
    }
    let Some(refresh) = carried.refresh else { return Ok((Visitor::Stranger, None)) };
    let hash = refresh.token().hash();
    let renewal = app.sessions.renewals.of(hash, now);
    let renewed = renewal.settle(async || renew(app, asking, &refresh, now).await).await?;
    let session = match renewed.map(|renewed| &renewed.session) {
        // An app may take long to answer, and whoever comes meanwhile gets what was made before.
        Some(session) if !session.usable(now) => app.sessions.fetch(session.token, now).await?,
        session => session.map(Arc::clone),
    };
    if let Some(session) = session.filter(|session| !app.sessions.cache.has_ended(&session.token)) {
        return Ok((Visitor::Known(session), Some(renewal)));
    }
    app.sessions.cache.note_gone(hash);
    Ok((Visitor::Stranger, None))
}

/// What a cookie says that is good, and in which epoch it was.
async fn verified(app: &App, text: &[u8], now: Now) -> Result<(Option<Session>, Epoch), Fault> {
    if app.tokens.cookie_look(text, now) == Look::UnknownKey
        && app.tokens.look_again(now).await? == Change::Gone
    {
        app.sessions.forget_all();
    }
    let epoch = app.sessions.cache.epoch();
    Ok((app.tokens.cookie_opens(text, now), epoch))
}

/// Exchanges what the browser showed for new cookies.
async fn renew(app: &App, asking: &Asking, refresh: &Refresh, now: Now) -> Result<Option<Renewed>, Fault> {
    let exchanged = match refresh {
        Refresh::Token(token) => exchange::exchange(app, asking, Holder::Browser, token).await?,
        Refresh::Session(token) => exchange::adopt(app, asking, token).await?,
    };
    let Some(exchange::Exchanged { session, next, .. }) = exchanged else { return Ok(None) };
    let cookies = cookies::signed(app, (&session, session.token), &session.user, (next.as_ref().ok(), now))?;
    Ok(Some(Renewed { session: Arc::new(session), cookies }))
}

impl Refresh {
    fn token(&self) -> &Token {
        match self {
            Self::Token(token) | Self::Session(token) => token,
        }
    }
}
