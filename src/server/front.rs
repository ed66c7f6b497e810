//! One request from its head to the head of its answer: read, recognise, decide, act.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONNECTION, EXPECT, SET_COOKIE, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::answer::{self, Answer, Desk};
use crate::app::App;
use crate::error::{Error, Fault};
use crate::flow;
use crate::gate::{self, Verdict, endpoint};
use crate::http::body::RequestBody;
use crate::http::client;
use crate::http::cookie::{self, Found};
use crate::http::visit::{Credential, ReplyTo, Visit};
use crate::id::RequestId;
use crate::proxy::Sending;
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::server::connection::{Client, ReplyBody};
use crate::server::read;
use crate::server::worker::Worker;
use crate::session::Recognised;
use crate::time::Now;
use crate::visitor::Visitor;

/// The answer to a request, whatever becomes of it.
pub(super) async fn answer(
    worker: Rc<Worker>,
    client: Arc<Client>,
    mut request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Infallible> {
    let app = &*worker.app;
    let id = RequestId::next();
    let sound = client.begin();
    let upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    let body = RequestBody::new(body);
    let limits = &app.config.limits;
    let path = match sound.and_then(|()| read::read(&mut parts, &app.config.public, limits.target)) {
        Ok(path) => path,
        Err(refusal) => return Ok(malformed(&client, desk(app), &parts.headers, (id, refusal))),
    };
    let peer = client.peer.ip().to_canonical();
    let mut visit = Visit {
        id,
        now: app.clock.now(),
        peer,
        client: client::address(peer, &parts.headers, &app.config.trusted_proxies),
        version: parts.version,
        method: parts.method,
        path,
        headers: parts.headers,
        visitor: Visitor::Stranger,
        credential: Credential::None,
        body: Bytes::new(),
    };
    recognise(&worker, &mut visit).await;
    let verdict = gate::decide(&app.rules, &visit);
    let renewed = match &verdict {
        Verdict::Ours(_) | Verdict::Forward(_) => renewed_cookie(&worker, &visit).await,
        Verdict::AskToSignIn | Verdict::Refuse(_) => None,
    };
    let mut response = match verdict {
        Verdict::Forward(pass) => {
            let sending = Sending { body, upgrade };
            match worker.proxy.forward(&visit, pass, sending).await {
                Ok(response) => {
                    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        client.switch();
                    }
                    response.map(|body| ReplyBody::app(Arc::clone(&client), body))
                }
                Err(failure) => {
                    tracing::warn!(request_id = %id, reason = failure.reason(), "the request could not be forwarded");
                    let told = answer::told(desk(app), &visit.reply_to(), failure.refusal());
                    close(own(&client, told))
                }
            }
        }
        Verdict::Ours(endpoint) => {
            let reply_to = visit.reply_to();
            match body.collect_whole(limits.body_idle).await {
                Ok(bytes) => {
                    visit.body = bytes;
                    let answer = in_office(&worker.app, endpoint, visit).await;
                    return Ok(finish(app, own(&client, answer), (&reply_to, renewed)));
                }
                Err(refusal) => close(own(&client, answer::told(desk(app), &reply_to, refusal))),
            }
        }
        Verdict::AskToSignIn => {
            let mut asked = answer::ask_to_sign_in(desk(app), &visit.reply_to());
            if visit.credential == Credential::Cookie {
                asked.headers_mut().append(SET_COOKIE, app.sessions.forget_cookie());
            }
            unread(&visit.headers, body, own(&client, asked)).await
        }
        Verdict::Refuse(refusal) => {
            let mut told = answer::told(desk(app), &visit.reply_to(), refusal);
            if refusal == Refusal::MethodNotAllowed {
                answer::allow(
                    told.headers_mut(),
                    &endpoint::allowed(app.rules.endpoint_of(visit.path.raw())),
                );
            }
            unread(&visit.headers, body, own(&client, told)).await
        }
    };
    if let Some(cookie) = renewed {
        add_cookie(response.headers_mut(), cookie);
    }
    if app.config.log.access {
        log(&visit, response.status());
    }
    Ok(response)
}

/// What follows an endpoint's own answer: the renewed cookie, unless the answer sets another, and the log line.
fn finish(
    app: &App,
    mut response: Response<ReplyBody>,
    (reply_to, renewed): (&ReplyTo, Option<HeaderValue>),
) -> Response<ReplyBody> {
    if let Some(cookie) = renewed
        && !response.headers().contains_key(SET_COOKIE)
    {
        add_cookie(response.headers_mut(), cookie);
    }
    if app.config.log.access {
        tracing::info!(target: "access", request_id = %reply_to.id, status = response.status().as_u16(), "answered");
    }
    response
}

fn add_cookie(headers: &mut HeaderMap, cookie: HeaderValue) {
    headers.append(SET_COOKIE, cookie);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn desk(app: &App) -> Desk<'_> {
    flow::desk(app)
}

/// Finds out who is asking: from memory without waiting, or from the store through the office.
async fn recognise(worker: &Worker, visit: &mut Visit) {
    let app = &worker.app;
    let token = match cookie::find(&visit.headers, app.sessions.cookies.session) {
        Found::One(value) => {
            visit.credential = Credential::Cookie;
            Token::parse(value)
        }
        // One of them was planted.
        Found::Conflict => {
            visit.credential = Credential::Cookie;
            return;
        }
        Found::Nothing => {
            let Some(bearer) = bearer(&visit.headers) else { return };
            visit.credential = Credential::UnknownBearer;
            Token::parse(bearer)
        }
    };
    let Some(token) = token else { return };
    let recognised = app.sessions.recognise(&mut worker.near.borrow_mut(), &token, visit.now);
    visit.visitor = match recognised {
        Recognised::Known(session) => Visitor::Known(session),
        Recognised::Nobody => Visitor::Stranger,
        Recognised::Ask(hash) => {
            let (office, now) = (Arc::clone(app), visit.now);
            match app.office.spawn(async move { office.sessions.fetch(hash, now).await }).await {
                Ok(Ok(Some(session))) => Visitor::Known(session),
                Ok(Ok(None)) => Visitor::Stranger,
                Ok(Err(fault)) => unsure(visit, &fault),
                Err(panic) => unsure(visit, &Fault::new("recognising a session", panic)),
            }
        }
    };
    if visit.credential == Credential::UnknownBearer && visit.visitor.session().is_some() {
        visit.credential = Credential::Bearer;
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
async fn renewed_cookie(worker: &Worker, visit: &Visit) -> Option<HeaderValue> {
    let app = &worker.app;
    let session = visit.visitor.session()?;
    if !app.sessions.claims_renewal(session, visit.now) {
        return None;
    }
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

/// Has the office answer. A panic there is one request's bad luck.
async fn in_office(app: &Arc<App>, endpoint: endpoint::Endpoint, visit: Visit) -> Answer {
    let reply_to = visit.reply_to();
    let office = Arc::clone(app);
    match app.office.spawn(async move { flow::run(&office, endpoint, visit).await }).await {
        Ok(answer) => answer,
        Err(panic) => answer::refuse(desk(app), &reply_to, Error::Fault(Fault::new("answering", panic))),
    }
}

fn own(client: &Arc<Client>, answer: Answer) -> Response<ReplyBody> {
    answer.map(|body| ReplyBody::own(Arc::clone(client), body))
}

/// The connection ends with this answer.
fn close(mut response: Response<ReplyBody>) -> Response<ReplyBody> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An answer to a request whose message is in doubt: nothing that follows on the connection is believed.
fn malformed(
    client: &Arc<Client>,
    desk: Desk<'_>,
    headers: &HeaderMap,
    (id, refusal): (RequestId, Refusal),
) -> Response<ReplyBody> {
    tracing::debug!(request_id = %id, refusal = refusal.code(), "refused a malformed request");
    let mut told = answer::told(desk, &ReplyTo::to_malformed(id, headers), refusal);
    if refusal == Refusal::MethodNotAllowed {
        answer::allow(told.headers_mut(), "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }
    close(own(client, told))
}

/// Answers a request without using its body: a small one is read away so that the connection can go on, otherwise the
/// connection ends, so that nothing of the body is ever taken for a request.
async fn unread(
    headers: &HeaderMap,
    body: RequestBody,
    response: Response<ReplyBody>,
) -> Response<ReplyBody> {
    if body.is_end_stream() {
        return response;
    }
    // To read the body would be to ask for it.
    let invited = headers.contains_key(EXPECT);
    if !invited && body.collect_whole(DRAIN_PATIENCE).await.is_ok() {
        return response;
    }
    close(response)
}

/// How long an unwanted body is read away.
const DRAIN_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

fn log(visit: &Visit, status: StatusCode) {
    let user = visit.visitor.session().map(|session| session.user.id.as_str());
    tracing::info!(
        target: "access",
        request_id = %visit.id,
        client = %visit.client,
        method = %visit.method,
        path = visit.path.raw(),
        status = status.as_u16(),
        user,
        "answered"
    );
}
