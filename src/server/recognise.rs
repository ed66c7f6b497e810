//! Who is asking: found in memory without waiting, or asked of the store through the office; and the renewal
//! that a visit may bring.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::AUTHORIZATION;

use crate::app::App;
use crate::error::Fault;
use crate::gate;
use crate::http::cookie::{self, Found};
use crate::http::fields::Fields;
use crate::http::visit::{Credential, Visit};
use crate::secret::{PERSONAL_PREFIX, TOKEN_TEXT, Token, TokenHash};
use crate::server::worker::Worker;
use crate::session::bearer::Vouched;
use crate::session::cache;
use crate::session::memory::Recognised;
use crate::session::renewal::Renewal;
use crate::time::Now;
use crate::token::Change;
use crate::token::access::Look;
use crate::visitor::{Session, Visitor};

mod signed;

use signed::Carried;

/// What it took to find out who is asking.
#[derive(Default)]
pub(super) struct Effort {
    /// Somebody had to be asked.
    pub(super) waited: bool,
    /// The exchange of a refresh cookie, whose cookies the answer must carry.
    pub(super) renewal: Option<Arc<Renewal>>,
}

/// Finds out who is asking: from memory without waiting, or from the store through the office.
///
/// A token of ours in `Authorization` is taken out of the request whatever it opens: the app has no use for
/// it.
pub(super) async fn recognise(worker: &Worker, visit: &mut Visit) -> Effort {
    let app = &worker.app;
    let shown = shown(worker, visit);
    let by_cookie = match cookie::find(&visit.headers, app.sessions.cookies.session) {
        // One of them was planted.
        Found::Conflict => Some(Question::STRANGER),
        found if app.sessions.signed => signed::question(worker, visit, &found),
        Found::One(value) => {
            let recognised = app.sessions.recognise(&mut worker.near.borrow_mut(), value, visit.now);
            Some(question(recognised, Question::Session).unwrap_or(Question::STRANGER))
        }
        Found::Nothing => None,
    };
    let (credential, question) = match by_cookie {
        Some(question) => (Credential::Cookie, question),
        None => match shown {
            Shown::Nothing => (Credential::None, Question::STRANGER),
            Shown::Foreign => (Credential::UnknownBearer, Question::STRANGER),
            Shown::Ours(question) | Shown::Doubtful(question) => (Credential::UnknownBearer, question),
        },
    };
    visit.credential = credential;
    match &question {
        Question::Answered(Visitor::Known(_)) => worker.recorder.recognised(true),
        Question::Answered(_) => {}
        _ => worker.recorder.recognised(false),
    }
    let mut effort = Effort::default();
    visit.visitor = match question {
        Question::Answered(visitor) => visitor,
        // What is open to everybody does not wait for the store.
        _ if gate::open_to_all(&app.rules, visit) => Visitor::Unsure,
        // Boxed: what is rare need not be carried along by every request.
        Question::Carried(carried) => {
            let (visitor, renewal) = Box::pin(signed::ask(app, visit, *carried)).await;
            effort = Effort { waited: true, renewal };
            visitor
        }
        question => {
            effort.waited = true;
            Box::pin(ask(app, visit, question)).await
        }
    };
    if visit.credential == Credential::UnknownBearer && visit.visitor.session().is_some() {
        visit.credential = Credential::Bearer;
        visit.headers.remove(&AUTHORIZATION);
    }
    // Only who has no session can be on the way to one; what is open to everybody does not wait for the store.
    if let Visitor::Stranger = visit.visitor
        && let Some(hash) = pending_token(app, &visit.headers)
        && !gate::open_to_all(&app.rules, visit)
    {
        effort.waited = true;
        visit.visitor = Box::pin(ask_for_pending(app, visit, hash)).await;
    }
    effort
}

/// What stands in `Authorization: Bearer` (RFC 6750 §2.1).
enum Shown {
    /// Nothing.
    Nothing,
    /// Nothing of ours; perhaps the app knows it.
    Foreign,
    /// A token of ours: of a session, a personal one, or an access token.
    Ours(Question),
    /// An access token by a key that we have yet to hear of. It stays in the request until it is known to be ours.
    Doubtful(Question),
}

impl Shown {
    /// What memory says of a token; nothing if it was not issued here.
    fn of(found: Option<Question>) -> Self {
        found.map_or(Self::Foreign, Self::Ours)
    }
}

/// Who is asking, or what has to be found out first.
enum Question {
    /// Nothing.
    Answered(Visitor),
    /// What this token opens.
    Session(TokenHash),
    /// What this personal access token opens.
    Personal(TokenHash),
    /// What this access token opens: it was verified, is good until then, and leads to that session.
    Verified(Bytes, Now, TokenHash),
    /// Whether this access token is good, and what it opens.
    Access(Bytes),
    /// Whether this signed cookie is good, and if not, what the refresh cookie opens.
    Carried(Box<Carried>),
}

impl Question {
    /// Nobody whom we know.
    const STRANGER: Self = Self::Answered(Visitor::Stranger);
}

/// Reads `Authorization` and takes it out of the request if it is ours.
fn shown(worker: &Worker, visit: &mut Visit) -> Shown {
    let app = &worker.app;
    let Some(value) = visit.headers.get(&AUTHORIZATION) else { return Shown::Nothing };
    let Some(text) = bearer(value.as_bytes()) else { return Shown::Nothing };
    let near = &mut *worker.near.borrow_mut();
    let shown = if text.len() == TOKEN_TEXT {
        Shown::of(question(app.sessions.recognise(near, text, visit.now), Question::Session))
    } else if text.starts_with(PERSONAL_PREFIX.as_bytes()) {
        let found = question(app.sessions.recognise_personal(near, text, visit.now), Question::Personal);
        // Where they are not taken, they are ours all the same.
        let taken = app.config.tokens.personal;
        Shown::of(if taken { found } else { found.map(|_| Question::STRANGER) })
    } else {
        match app.sessions.vouched(near, text, visit.now) {
            Some(Vouched::Opens(session)) => Shown::Ours(Question::Answered(Visitor::Known(session))),
            Some(Vouched::Over) => Shown::Ours(Question::STRANGER),
            Some(Vouched::Verified(token, until)) => {
                Shown::Ours(Question::Verified(visit.headers.keep(value), until, token))
            }
            None => match app.tokens.look(text, visit.now) {
                Look::Ours => Shown::Ours(Question::Access(visit.headers.keep(value))),
                Look::UnknownKey if app.tokens.may_look_again(visit.now) => {
                    Shown::Doubtful(Question::Access(visit.headers.keep(value)))
                }
                Look::UnknownKey | Look::Foreign => Shown::Foreign,
            },
        }
    };
    if let Shown::Ours(_) = shown {
        visit.headers.remove(&AUTHORIZATION);
    }
    shown
}

/// Who holds a token, as far as memory knows; `None` if it was not issued here.
fn question(recognised: Recognised, ask: impl FnOnce(TokenHash) -> Question) -> Option<Question> {
    Some(match recognised {
        Recognised::Known(session) => Question::Answered(Visitor::Known(session)),
        Recognised::Gone => Question::STRANGER,
        Recognised::Foreign => return None,
        Recognised::Ask(hash) => ask(hash),
    })
}

/// One question to the store, asked by the office.
async fn ask(app: &Arc<App>, visit: &Visit, question: Question) -> Visitor {
    let (office, now) = (Arc::clone(app), visit.now);
    match app.office.spawn(async move { answered(&office, question, now).await }).await {
        Ok(Ok(visitor)) => visitor,
        Ok(Err(fault)) => unsure(visit, &fault),
        Err(panic) => unsure(visit, &Fault::new("recognising a session", panic)),
    }
}

/// Runs in the office.
async fn answered(app: &App, question: Question, now: Now) -> Result<Visitor, Arc<Fault>> {
    let found = match question {
        Question::Answered(visitor) => return Ok(visitor),
        // It has an office of its own.
        Question::Carried(_) => None,
        Question::Session(token) => app.sessions.fetch(token, now).await?,
        Question::Personal(token) => app.sessions.personal_fetch(&app.office, token, now).await?,
        Question::Verified(value, until, token) => {
            let (text, epoch) = (bearer(&value).unwrap_or_default(), app.sessions.cache.epoch());
            // Its key may have been taken back since it was verified.
            if app.tokens.look(text, now) != Look::Ours {
                return Ok(Visitor::Stranger);
            }
            let found = app.sessions.fetch(token, now).await?;
            app.sessions.vouch(text, until, found.clone(), epoch);
            found
        }
        Question::Access(value) => access(app, bearer(&value).unwrap_or_default(), now).await?,
    };
    Ok(found.map_or(Visitor::Stranger, Visitor::Known))
}

/// The session that an access token opens, if it is good.
async fn access(app: &App, text: &[u8], now: Now) -> cache::Found {
    if app.tokens.look(text, now) == Look::UnknownKey && app.tokens.look_again(now).await? == Change::Gone {
        app.sessions.forget_all();
    }
    let epoch = app.sessions.cache.epoch();
    let Some(access) = app.tokens.verify(text, now) else { return Ok(None) };
    let found = app.sessions.fetch_by_id(&access.session, now).await?;
    let found = found.filter(|session| session.user.id == access.user);
    app.sessions.vouch(text, access.expires, found.clone(), epoch);
    Ok(found)
}

/// The token of a sign-in that waits for its code, if it is one that we made.
fn pending_token(app: &App, headers: &Fields) -> Option<TokenHash> {
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

/// The token behind `Bearer`, parted from it in any way that an app may accept.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(6)?;
    let parted = token.starts_with(b" ") || token.starts_with(b"\t");
    (parted && scheme.eq_ignore_ascii_case(b"bearer")).then(|| token.trim_ascii())
}

/// Whether [`renew`] would do anything.
pub(super) fn renewal_due(app: &App, visit: &Visit) -> bool {
    visit.visitor.session().is_some_and(|session| app.sessions.renewal_due(session, visit.now))
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
    if app.sessions.signed {
        return None;
    }
    let Found::One(value) = cookie::find(&visit.headers, app.sessions.cookies.session) else { return None };
    let value = std::str::from_utf8(value).ok()?.to_owned();
    let session = visit.visitor.session()?;
    Some(app.sessions.cookie(value, session.remember, app.sessions.life_left(session, now)))
}
