//! One request from its head to the head of its answer: read, recognise, decide, act.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, EXPECT, SET_COOKIE, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::{Error, Fault};
use crate::flow::{self, desk};
use crate::gate::endpoint::{self, Endpoint};
use crate::gate::{self, Pass, Verdict};
use crate::http::body::RequestBody;
use crate::http::client;
use crate::http::visit::{Credential, ReplyTo, Visit};
use crate::id::RequestId;
use crate::proxy::Sending;
use crate::proxy::failure::Failure;
use crate::refusal::Refusal;
use crate::server::reply::ReplyBody;
use crate::server::watched::Client;
use crate::server::worker::Worker;
use crate::server::{http2, read, recognise};
use crate::session::renewal::Renewal;
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
    let http2 = request.version() == Version::HTTP_2;
    let (mut parts, body) = {
        let leaves = request.headers().contains_key(UPGRADE) || request.method() == Method::CONNECT;
        let upgrade = leaves.then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        (parts, Sending { body: RequestBody::new(body), upgrade, http2 })
    };
    let sound = if http2 { sound.and_then(|()| http2::adapt(&mut parts)) } else { sound };
    let longest = app.config.limits.target;
    let read = match sound.and_then(|()| read::read(&mut parts, &app.config.public, longest)) {
        Ok(read) => read,
        Err(refusal) => return Ok(malformed(app, &client, &parts.headers, id, refusal)),
    };
    let peer = client.peer;
    let mut visit = Visit {
        id,
        now: app.clock.now(),
        peer,
        client: client::address(peer, &parts.headers, &app.config.proxies),
        method: parts.method,
        path: read.path,
        upgrade: read.upgrade,
        headers: parts.headers,
        visitor: Visitor::Stranger,
        credential: Credential::None,
        body: Bytes::new(),
    };
    let renewal = recognise::recognise(&worker, &mut visit).await;
    let verdict = gate::decide(&app.rules, &visit);
    visit.path.judged();
    let mut response = match verdict {
        Verdict::Forward(pass) => forward(&worker, &client, &visit, pass, body).await,
        // Boxed: what is not forwarded need not be carried along by what is.
        verdict => Box::pin(act(&worker.app, &client, visit, verdict, body.body)).await,
    };
    if let Some(renewal) = renewal {
        add_renewed(app, response.headers_mut(), &renewal);
    }
    Ok(response)
}

/// Gives the browser what its refresh cookie was exchanged for, but for cookies that the answer itself sets or takes
/// back.
#[cold]
fn add_renewed(app: &App, headers: &mut HeaderMap, renewal: &Renewal) {
    for cookie in renewal.cookies(app.clock.now(), app.tokens.refresh_grace()) {
        let name = |line: &HeaderValue| line.as_bytes().split(|&b| b == b'=').next().map(<[u8]>::to_vec);
        if !headers.get_all(SET_COOKIE).iter().any(|line| name(line) == name(cookie)) {
            add_cookie(headers, cookie.clone());
        }
    }
}

/// Lets the app answer.
async fn forward(
    worker: &Worker,
    client: &Arc<Client>,
    visit: &Visit,
    pass: Pass,
    sending: Sending,
) -> Response<ReplyBody> {
    let app = &worker.app;
    if let Some(session) = pass.session()
        && let Err(fault) = app.tokens.assert(session, visit.now)
    {
        return close(own(client, answer::refuse(desk(app), &visit.reply_to(), fault.into())));
    }
    let renewed = recognise::renew(app, visit).await;
    let mut response = match worker.proxy.forward(visit, pass, sending).await {
        Ok(response) => {
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                client.switch();
            }
            response.map(|body| ReplyBody::app(Arc::clone(client), body))
        }
        Err(failure) => failed(app, client, visit, &failure),
    };
    if let Some(cookie) = renewed {
        add_cookie(response.headers_mut(), cookie);
    }
    if app.config.log.access {
        log(visit, response.status());
    }
    response
}

/// What the client is told when the app did not answer.
#[cold]
fn failed(app: &App, client: &Arc<Client>, visit: &Visit, failure: &Failure) -> Response<ReplyBody> {
    tracing::warn!(request_id = %visit.id, reason = failure.reason(), "the request could not be forwarded");
    close(own(client, answer::told(desk(app), &visit.reply_to(), failure.refusal())))
}

/// Does what the gate decided, when that is not to forward.
async fn act(
    app: &Arc<App>,
    client: &Arc<Client>,
    mut visit: Visit,
    verdict: Verdict,
    body: RequestBody,
) -> Response<ReplyBody> {
    let response = match verdict {
        Verdict::Ours(endpoint) => {
            let renewed = recognise::renew(app, &visit).await;
            let mut response = match body.collect_whole(app.config.limits.body_idle).await {
                Ok(bytes) => {
                    visit.body = bytes;
                    own(client, in_office(app, endpoint, &mut visit).await)
                }
                Err(refusal) => close(own(client, answer::told(desk(app), &visit.reply_to(), refusal))),
            };
            // An answer that opens or ends a session has the last word on its cookie.
            if let Some(cookie) = renewed
                && !response.headers().contains_key(SET_COOKIE)
            {
                add_cookie(response.headers_mut(), cookie);
            }
            response
        }
        Verdict::AskToSignIn => {
            let mut asked = answer::ask_to_sign_in(desk(app), &visit.reply_to());
            if visit.credential == Credential::Cookie {
                for cookie in app.sessions.forget_cookies() {
                    asked.headers_mut().append(SET_COOKIE, cookie);
                }
            }
            unread(client, &visit.headers, body, own(client, asked)).await
        }
        Verdict::AskForCode => {
            let asked = answer::ask_for_code(desk(app), &visit.reply_to());
            unread(client, &visit.headers, body, own(client, asked)).await
        }
        Verdict::Refuse(refusal) => {
            let mut told = answer::told(desk(app), &visit.reply_to(), refusal);
            if refusal == Refusal::MethodNotAllowed {
                let below = app.rules.endpoint_of(visit.path.raw());
                answer::allow(told.headers_mut(), &endpoint::allowed(below));
            }
            unread(client, &visit.headers, body, own(client, told)).await
        }
        // Only the gate makes a pass, and it was taken before.
        Verdict::Forward(_) => own(client, answer::told(desk(app), &visit.reply_to(), Refusal::Internal)),
    };
    if app.config.log.access {
        log(&visit, response.status());
    }
    response
}

fn add_cookie(headers: &mut HeaderMap, cookie: HeaderValue) {
    headers.append(SET_COOKIE, cookie);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Has the office answer. A panic there is one request's bad luck.
async fn in_office(app: &Arc<App>, endpoint: Endpoint, visit: &mut Visit) -> Answer {
    let reply_to = visit.reply_to();
    let (office, visit) = (Arc::clone(app), visit.for_the_office());
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
#[cold]
fn malformed(
    app: &App,
    client: &Arc<Client>,
    headers: &HeaderMap,
    id: RequestId,
    refusal: Refusal,
) -> Response<ReplyBody> {
    tracing::debug!(request_id = %id, refusal = refusal.code(), "refused a malformed request");
    let mut told = answer::told(desk(app), &ReplyTo::to_malformed(id, headers), refusal);
    if refusal == Refusal::MethodNotAllowed {
        answer::allow(told.headers_mut(), "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }
    close(own(client, told))
}

/// Answers a request without using its body: a small one is read away so that the connection can go on,
/// otherwise the connection ends, so that nothing of the body is ever taken for a request.
async fn unread(
    client: &Client,
    headers: &HeaderMap,
    body: RequestBody,
    response: Response<ReplyBody>,
) -> Response<ReplyBody> {
    // A stream of HTTP/2 ends without its connection (RFC 9113 §8.1).
    if body.is_end_stream() || client.speaks_http2() {
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

#[inline(never)]
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
