//! One request from its head to the head of its answer: read, recognise, decide, act.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, SET_COOKIE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body::Body as _;

use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::{Error, Fault};
use crate::flow::forward_auth::About;
use crate::flow::{self, desk};
use crate::gate::endpoint::{self, Asker, Endpoint};
use crate::gate::{self, Decision, Pass, Verdict};
use crate::http::body::RequestBody;
use crate::http::client::{self, Peer};
use crate::http::fields::Fields;
use crate::http::reply::{Reply, Said};
use crate::http::visit::{Credential, ReplyTo, Visit};
use crate::id::RequestId;
use crate::proxy::failure::{Failed, Failure};
use crate::proxy::{Leaving, Sending};
use crate::refusal::Refusal;
use crate::server::read::{self, Head};
use crate::server::recognise;
use crate::server::record::{Record, Via};
use crate::server::reply::ReplyBody;
use crate::server::worker::Worker;
use crate::session::renewal::Renewal;
use crate::time::Moment;
use crate::visitor::Visitor;

/// How long an unwanted body is read away.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);
/// Where proxies are told of cookies that do not get them one by one.
const RENEWED: [HeaderName; 2] =
    [HeaderName::from_static("x-renewed-1"), HeaderName::from_static("x-renewed-2")];

/// A request whose head is sound.
pub(super) struct Arrived<'h> {
    /// The head, whose parts are taken.
    pub(super) head: &'h mut Head,
    /// What it says.
    pub(super) request: read::Request,
    /// What follows it.
    pub(super) body: RequestBody,
    /// The connection itself, if the request asks to leave HTTP.
    pub(super) leaving: Option<Leaving>,
    /// How it came.
    pub(super) via: Via,
}

/// The answer to a request, whatever becomes of it.
pub(super) async fn answer(worker: &Rc<Worker>, peer: Peer, arrived: Arrived<'_>) -> Reply<ReplyBody> {
    let app = &*worker.app;
    let Arrived { head, request, body, leaving, via } = arrived;
    if request.misdirected && !(peer.trusted && app.rules.is_for_proxies(&head.method, &request.path)) {
        // What was taken of it, for the log.
        head.uri = request.path.raw().parse().unwrap_or_default();
        return doubtful(worker, (peer, via), Some(head), Refusal::Misdirected);
    }
    let mut visit = Visit {
        id: RequestId::next(),
        now: app.clock.now(),
        peer,
        client: client::address(peer, &head.headers, &app.config.proxies),
        method: std::mem::take(&mut head.method),
        path: request.path,
        upgrade: request.upgrade,
        headers: std::mem::take(&mut head.headers),
        visitor: Visitor::Stranger,
        credential: Credential::None,
        trace: None,
        body: Bytes::new(),
    };
    let mut record = worker.recorder.begin();
    record.trace(&mut visit);
    let effort = recognise::recognise(worker, &mut visit).await;
    record.visited(&visit, via, app.config.log.access);
    let decision = gate::decide(&app.rules, &visit);
    visit.path.judged();
    record.decided(&decision);
    let Decision { verdict, .. } = decision;
    // A tunnel leads to the app; our own success would be taken for one (RFC 9110 §9.3.6).
    let verdict = match verdict {
        Verdict::Ours(_) if leaving == Some(Leaving::Http2) => Verdict::Refuse(Refusal::NotImplemented),
        Verdict::Refuse(refusal @ Refusal::MethodNotAllowed) => {
            Verdict::Refuse(to_an_asker(app, visit.path.raw(), refusal))
        }
        verdict => verdict,
    };
    let proxy = if let Verdict::Ours(Endpoint::Verify(proxy)) = &verdict { Some(*proxy) } else { None };
    let (mut response, asked) = match verdict {
        Verdict::Forward(pass) => {
            // The clock is asked again only if time has passed.
            let asked = if effort.waited { Moment::now() } else { record.begun() };
            forward(worker, &mut record, (&visit, asked), pass, Sending { body, upgrade: leaving }).await
        }
        // Boxed: what is not forwarded need not be carried along by what is.
        verdict => (Box::pin(act(&worker.app, &mut record, visit, verdict, body)).await, None),
    };
    if let Some(renewal) = effort.renewal {
        add_renewed(app, &mut response, &renewal);
    }
    if proxy.is_some_and(|proxy| reads_one_by_one(proxy, response.status)) {
        repeat_cookies(&mut response.headers);
    }
    record.told(&response, asked);
    response.body.record(record);
    response
}

/// Gives the browser what its refresh cookie was exchanged for, but for cookies that the answer itself sets or takes
/// back.
#[cold]
fn add_renewed(app: &App, reply: &mut Reply<ReplyBody>, renewal: &Renewal) {
    for cookie in renewal.cookies(app.clock.now(), app.tokens.refresh_grace()) {
        let name = |line: &HeaderValue| line.as_bytes().split(|&b| b == b'=').next().map(<[u8]>::to_vec);
        // The app sets none under our names: those were taken out.
        if !reply.headers.get_all(&SET_COOKIE).any(|line| name(line) == name(cookie)) {
            add_cookie(reply, cookie.clone());
        }
    }
}

/// Whether a proxy is told of each cookie in a field of its own: nginx gives its configuration one line of several of
/// the same name or, as Caddy does, all of them as one, which browsers take for one cookie.
fn reads_one_by_one(proxy: Asker, status: StatusCode) -> bool {
    match proxy {
        Asker::Nginx => true,
        // It shows an answer that refuses as it is, and no page may read what stands in a cookie.
        Asker::Caddy => status.is_success(),
        Asker::Traefik | Asker::Envoy => false,
    }
}

/// Says each cookie once more in a field of its own.
#[cold]
fn repeat_cookies(headers: &mut Said) {
    let cookies: Vec<HeaderValue> = headers.get_all(&SET_COOKIE).cloned().collect();
    for (name, cookie) in RENEWED.into_iter().zip(cookies) {
        headers.insert(name, cookie);
    }
}

/// Lets the app answer, which is asked at this moment; returned if it was.
async fn forward(
    worker: &Worker,
    record: &mut Record,
    (visit, asked): (&Visit, Moment),
    pass: Pass,
    sending: Sending,
) -> (Reply<ReplyBody>, Option<Moment>) {
    let app = &worker.app;
    if let Some(session) = pass.session()
        && let Err(fault) = app.tokens.assert(session, visit.now)
    {
        record.failed();
        return (close(own(answer::refuse(desk(app), &reply_to(app, visit), fault.into()))), Some(asked));
    }
    // What is answered as to anybody may be kept for everybody, and no cookie goes with it.
    let renewed = if pass.session().is_some() { recognise::renew(app, visit).await } else { None };
    let (mut response, asked) = match worker.proxy.forward(visit, pass, sending).await {
        Ok(reply) => (reply.map(ReplyBody::from), Some(asked)),
        Err(failed) => {
            let unasked = matches!(failed.failure, Failure::DeclaredTooLarge);
            if failed.failure.of_the_client() {
                record.refused();
            } else {
                record.failed();
            }
            (not_forwarded(worker, visit, &failed), (!unasked).then_some(asked))
        }
    };
    if let Some(cookie) = renewed {
        add_cookie(&mut response, cookie);
    }
    (response, asked)
}

const NOT_FORWARDED: &str = "the request could not be forwarded";

/// What the client is told when the app did not answer.
#[cold]
fn not_forwarded(worker: &Worker, visit: &Visit, failed: &Failed) -> Reply<ReplyBody> {
    let app = &worker.app;
    let failure = &failed.failure;
    let instance = failed.instance.and_then(|place| worker.proxy.instance(place));
    let (request_id, reason) = (visit.id, failure.reason());
    let mut due = None;
    if let Some(trouble) = failure.trouble() {
        if !failure.is_counted() {
            worker.recorder.counts.troubles[trouble as usize].add_alone(1);
        }
        due = worker.failed.note(failed.instance, worker.ticker.now());
    }
    // Neither what clients do wrong nor an app that is down may fill the log.
    if let Some(count) = due {
        tracing::warn!(%request_id, instance, reason, count, "{NOT_FORWARDED}");
    } else {
        tracing::debug!(%request_id, instance, reason, "{NOT_FORWARDED}");
    }
    let told = own(answer::told(desk(app), &reply_to(app, visit), failure.refusal()));
    close(Reply { instance: failed.instance, ..told })
}

/// Does what the gate decided, when that is not to forward.
async fn act(
    app: &Arc<App>,
    record: &mut Record,
    mut visit: Visit,
    verdict: Verdict,
    body: RequestBody,
) -> Reply<ReplyBody> {
    match verdict {
        Verdict::Ours(endpoint) => {
            let mut renewed = None;
            // A question uses the session only if it is answered with it.
            let asks = endpoint.for_proxies();
            let due = asks && recognise::renewal_due(app, &visit);
            let shown = due.then(|| visit.headers.clone());
            if !asks {
                renewed = recognise::renew(app, &visit).await;
            }
            let mut response = match body.collect_whole(app.config.limits.body_idle).await {
                Ok(bytes) => {
                    visit.body = bytes;
                    let answer = in_office(app, endpoint, &mut visit).await;
                    if let Some(about) = answer.extensions().get::<About>() {
                        record.about(about);
                        if let (Some(shown), Ok(true)) = (shown, about.allowed) {
                            visit.headers = shown;
                            renewed = recognise::renew(app, &visit).await;
                        }
                    }
                    own(answer)
                }
                Err(refusal) => close(own(answer::told(desk(app), &visit.reply_to(), refusal))),
            };
            // An answer that opens or ends a session has the last word on its cookie.
            if let Some(cookie) = renewed
                && response.headers.get(&SET_COOKIE).is_none()
            {
                add_cookie(&mut response, cookie);
            }
            response
        }
        Verdict::AskToSignIn => {
            let asked = flow::ask_to_sign_in(app, visit.credential, &reply_to(app, &visit));
            unread(body, own(asked)).await
        }
        Verdict::AskForCode => {
            let asked = answer::ask_for_code(desk(app), &reply_to(app, &visit));
            unread(body, own(asked)).await
        }
        Verdict::Refuse(refusal) => {
            let mut told = answer::told(desk(app), &reply_to(app, &visit), refusal);
            if refusal == Refusal::MethodNotAllowed {
                let below = app.rules.endpoint_of(visit.path.raw());
                answer::allow(told.headers_mut(), &endpoint::allowed(below));
            }
            unread(body, own(told)).await
        }
        // Only the gate makes a pass, and it was taken before.
        Verdict::Forward(_) => own(answer::told(desk(app), &visit.reply_to(), Refusal::Internal)),
    }
}

/// Whom an answer of ours is for that stands in place of the app's.
fn reply_to(app: &App, visit: &Visit) -> ReplyTo {
    in_its_words(app, visit.path.raw(), visit.reply_to(), (&visit.method, &visit.headers))
}

/// What is asked of the app is refused as the app's protocol has it; what is asked of us, with the status.
fn in_its_words(app: &App, path: &str, to: ReplyTo, (method, headers): (&Method, &Fields)) -> ReplyTo {
    if app.rules.below_mount(path).is_some() { to } else { to.to_call(method, headers) }
}

fn add_cookie(reply: &mut Reply<ReplyBody>, cookie: HeaderValue) {
    reply.headers.append(SET_COOKIE, cookie);
    reply.keep_from_caches();
}

/// Has the office answer. A panic there is one request's bad luck.
async fn in_office(app: &Arc<App>, endpoint: Endpoint, visit: &mut Visit) -> Answer {
    let reply_to = visit.reply_to();
    let (office, visit) = (Arc::clone(app), visit.for_the_office());
    if endpoint.for_proxies() {
        return flow::run(app, endpoint, visit).await;
    }
    match app.office.spawn(async move { flow::run(&office, endpoint, visit).await }).await {
        Ok(answer) => answer,
        Err(panic) => answer::refuse(desk(app), &reply_to, Error::Fault(Fault::new("answering", panic))),
    }
}

fn own(answer: Answer) -> Reply<ReplyBody> {
    Reply::from(answer).map(ReplyBody::own)
}

/// The connection ends with this answer.
fn close(mut response: Reply<ReplyBody>) -> Reply<ReplyBody> {
    response.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The answer to a request whose message is in doubt, written down as far as it was read.
#[cold]
pub(super) fn doubtful(
    worker: &Worker,
    (peer, via): (Peer, Via),
    head: Option<&Head>,
    refusal: Refusal,
) -> Reply<ReplyBody> {
    let (app, id) = (&worker.app, RequestId::next());
    let mut record = worker.recorder.begin();
    let client = head.map_or(peer.ip(), |head| client::address(peer, &head.headers, &app.config.proxies));
    let of_host = matches!(refusal, Refusal::Misdirected | Refusal::BadHost);
    record.malformed((id, app.clock.now()), (client, via), (head, of_host), app.config.log.access);
    let (refusal, reply_to) = match head {
        Some(head) => {
            let to = ReplyTo::to_malformed(id, &head.headers);
            let path = head.uri.path();
            (to_an_asker(app, path, refusal), in_its_words(app, path, to, (&head.method, &head.headers)))
        }
        None => (refusal, ReplyTo::to_malformed(id, &Fields::default())),
    };
    let mut response = malformed(app, &reply_to, refusal);
    record.told(&response, None);
    response.body.record(record);
    response
}

/// The refusal in the words of the proxy that asked at `path`, if one did: it reads the status, and takes others than
/// these for a fault of its own.
#[cold]
fn to_an_asker(app: &App, path: &str, refusal: Refusal) -> Refusal {
    let asker = if app.rules.forward_auth { endpoint::asker(app.rules.endpoint_of(path)) } else { None };
    match (asker, refusal.status()) {
        (Some(Asker::Nginx), status) if ![401, 403].contains(&status.as_u16()) => Refusal::Forbidden,
        (Some(Asker::Envoy), status) if status.is_server_error() => Refusal::Forbidden,
        _ => refusal,
    }
}

/// An answer to a request whose message is in doubt: nothing that follows on the connection is believed.
#[cold]
fn malformed(app: &App, reply_to: &ReplyTo, refusal: Refusal) -> Reply<ReplyBody> {
    tracing::debug!(request_id = %reply_to.id, refusal = refusal.code(), "refused a malformed request");
    let mut told = answer::told(desk(app), reply_to, refusal);
    if refusal == Refusal::MethodNotAllowed {
        answer::allow(told.headers_mut(), "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }
    close(own(told))
}

/// Answers a request without using its body: a small one is read away so that the connection can go on,
/// otherwise the connection ends, so that nothing of the body is ever taken for a request.
async fn unread(body: RequestBody, response: Reply<ReplyBody>) -> Reply<ReplyBody> {
    // A stream of HTTP/2 ends without its connection (RFC 9113 §8.1).
    if body.is_end_stream() || matches!(body, RequestBody::Http2(_)) {
        return response;
    }
    // To read the body would be to ask for it.
    if !body.waits_for_invitation() && body.collect_whole(DRAIN_PATIENCE).await.is_ok() {
        return response;
    }
    close(response)
}
