//! HTTP/2 towards the app (RFC 9113): each request is a stream of a connection that many share.
//!
//! **Invariant:** a request is sent a second time only if the app said that it did not look at it, or if it is
//! without effect; and only if all of its body that was sent is still there.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::header::{CONTENT_LENGTH, HOST, USER_AGENT};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body as _;

use crate::config::upstream::Upstream;
use crate::gate::Pass;
use crate::http::body::{Client, RequestBody};
use crate::http::fields::Value;
use crate::http::reply::Reply;
use crate::http::visit::Visit;
use crate::proxy::body::UpstreamBody;
use crate::proxy::connect::{Connector, Stream};
use crate::proxy::failure::{Failed, Failure};
use crate::proxy::headers::{self, Framing};
use crate::proxy::http2::body::{Calls, GoesOn, Http2Body};
use crate::proxy::http2::connections::{Connections, Leased};
use crate::proxy::http2::given_up::Waiting;
use crate::proxy::http2::lease::Lease;
use crate::proxy::http2::trouble::{Again, MOST_REPEATS, Trouble};
use crate::proxy::http2::upload::{Source, Upload};
use crate::proxy::instances::Instances;
use crate::proxy::interim;
use crate::proxy::term::{Over, Term};
use crate::proxy::ticker::Ticker;
use crate::proxy::upstream::Pool;
use crate::proxy::{Following, Proxy, Sending, framing};

pub(super) mod body;
mod connection;
pub(super) mod connections;
pub(super) mod fields;
mod given_up;
mod hollow;
pub(super) mod lease;
mod trouble;
mod tunnel;
mod upload;

/// The largest head that shares a connection, in bytes as text. At a field that is larger than 8 KiB nginx ends the
/// whole connection, and so does `HAProxy` at a head that is larger than 16 KiB.
const LARGEST_SHARED: usize = 8 * 1024;

/// The way to the app by HTTP/2, one per worker.
pub(super) struct Http2 {
    connections: Rc<Connections>,
}

/// The fields of a request, and whether its head is so large that it shares no connection.
struct HeadFields {
    fields: HeaderMap,
    apart: bool,
}

impl Http2 {
    pub(super) fn new(
        settings: Upstream,
        connector: Connector,
        instances: Arc<Instances>,
        ticker: Ticker,
        pool: Rc<Pool>,
    ) -> Self {
        Self { connections: Rc::new(Connections::new(settings, connector, instances, ticker, pool)) }
    }

    /// Gives up connections that are idle or old; called at every tick.
    pub(super) fn sweep(&self) {
        self.connections.sweep();
    }

    /// Lets go of all connections: another way to the app has taken its place. Requests under way come to their end.
    pub(super) fn retire(&self) {
        self.connections.retire();
    }

    /// Lets go of all connections that are idle.
    pub(super) fn shed(&self) {
        self.connections.shed();
    }

    /// Forwards the request, or leaves it to HTTP/1.1 where the app speaks that.
    pub(super) async fn forward(
        &self,
        proxy: &Proxy,
        visit: &Visit,
        pass: Pass,
        sending: Sending,
    ) -> Result<Reply<Following>, Failed> {
        if sending.upgrade.is_some() && visit.upgrade.is_some() {
            return self.leave(proxy, visit, pass, sending).await;
        }
        let Sending { body, upgrade } = sending;
        let client = body.client();
        // Where a call can end with a status at any time.
        let http2 = matches!(body, RequestBody::Http2(_));
        let framing = framing(body.size_hint().exact(), visit);
        let limits = proxy.config.limits;
        if matches!(framing, Framing::Length(length) if length > limits.body) {
            return Err(Failure::DeclaredTooLarge.into());
        }
        let grpc = visit.is_grpc();
        let patience = if grpc { proxy.pool.settings().idle_timeout } else { limits.body_idle };
        let whole = matches!(framing, Framing::None | Framing::Length(0));
        let mut source = Source::new(body, limits.body, (patience, proxy.pace_of(grpc && http2)), proxy);
        let length = if let Framing::Length(length) = framing { Some(length) } else { None };
        let HeadFields { fields, mut apart } = head_fields(proxy, visit, &pass, length)?;
        let mut term = Term::begin(pass.session().cloned(), (visit.now, proxy.ticker.now()));
        let (mut repeats, mut avoid) = (0, None);
        loop {
            let mut lease = match self.connections.stream(visit.now, (avoid, apart)).await? {
                Leased::Stream(lease) => lease,
                Leased::Http1 => {
                    let body = source.into_untouched().ok_or(Failure::Closed { untouched: true })?;
                    return proxy.forward_http1(visit, pass, Sending { body, upgrade }).await;
                }
            };
            let request = request(&lease, visit, visit.method.clone(), fields.clone())?;
            let trouble = match lease.begin(request, whole) {
                Ok((response, to)) => {
                    let upload = if whole { Upload::none(to) } else { Upload::new(to) };
                    let waiting = Waiting::new(self.connections.given_up(), (response, upload), grpc);
                    let asked = Asked { proxy, lease: &lease, term: &mut term, client: Some(&client) };
                    match asked.receive(waiting, &mut source).await {
                        Ok((head, upload)) => {
                            let calls = Calls::of(grpc && http2);
                            let goes_on = GoesOn { lease, upload, source, term, calls };
                            return Ok(answer(proxy, &pass, head, goes_on));
                        }
                        Err(trouble) => trouble,
                    }
                }
                // It never left; what the connection says of itself is no word on this request.
                Err(error) => {
                    lease.retire();
                    Trouble { again: Again::Always, suspect: false, ..Trouble::of(&error, true) }
                }
            };
            let may = match trouble.again {
                Again::Always => repeats < MOST_REPEATS,
                Again::IfWithoutEffect(most) => repeats < most && whole && headers::idempotent(&visit.method),
                Again::Never => false,
            };
            if !may || !source.rewind() {
                return Err(lease.failed(trouble.failure));
            }
            repeats += 1;
            avoid = Some(lease.place());
            apart |= trouble.suspect && self.connections.makes_few_apart();
        }
    }
}

/// The status of the answer to one `GET` on a connection of its own.
pub(super) async fn status(stream: Stream, authority: &str, path: &str) -> io::Result<u16> {
    let scheme = if stream.is_encrypted() { Scheme::HTTPS } else { Scheme::HTTP };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
    let mut request = Request::new(());
    *request.uri_mut() = uri.map_err(io::Error::other)?;
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("sidegate-health"));
    let (mut sender, connection) = h2::client::handshake(stream).await.map_err(io::Error::other)?;
    let (response, _) = sender.send_request(request, true).map_err(io::Error::other)?;
    let (mut connection, mut response) = (pin!(connection), pin!(response));
    poll_fn(|cx| {
        // The last that it says may be the answer.
        let ended = connection.as_mut().poll(cx).is_ready();
        match response.as_mut().poll(cx) {
            Poll::Ready(answered) => Poll::Ready(match answered {
                Ok(head) => Ok(head.status().as_u16()),
                Err(error) => Err(io::Error::other(error)),
            }),
            Poll::Pending if ended => Poll::Ready(Err(io::Error::other("it gave no answer"))),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// What is being asked of the app.
struct Asked<'a> {
    proxy: &'a Proxy,
    lease: &'a Lease,
    term: &'a mut Term,
    /// Who can be told of the answer before it comes.
    client: Option<&'a Client>,
}

impl Asked<'_> {
    /// Sends the body and waits for the head of the answer.
    async fn receive(
        self,
        mut waiting: Waiting<'_>,
        source: &mut Source,
    ) -> Result<(Response<RecvStream>, Upload), Trouble> {
        let Self { proxy, lease, term, client } = self;
        let patience = proxy.pool.settings().response_timeout;
        let deadline = proxy.ticker.deadline();
        let (begun, mut interim) = (proxy.ticker.now(), 0);
        let reused = lease.has_answered();
        let lost = |error: &h2::Error| {
            lease.ended_by(error);
            Trouble::of(error, reused)
        };
        let received = poll_fn(|cx| {
            let Some((response, upload)) = waiting.stream() else {
                return Poll::Ready(Err(Trouble::last(Failure::Closed { untouched: true })));
            };
            if !upload.is_done() && term.is_over(proxy.ticker.now(), &proxy.live) {
                return Poll::Ready(Err(Trouble::last(Failure::SessionEnded)));
            }
            if let Poll::Ready(Err(failure)) = upload.poll(cx, source) {
                return Poll::Ready(Err(Trouble::last(failure)));
            }
            while let Poll::Ready(Some(told)) = response.poll_informational(cx) {
                let told = match told {
                    Ok(told) => told,
                    Err(error) => return Poll::Ready(Err(lost(&error))),
                };
                interim += 1;
                if let Err(failure) = pass_interim(told, interim, client) {
                    return Poll::Ready(Err(Trouble::last(failure)));
                }
            }
            if let Poll::Ready(outcome) = Pin::new(response).poll(cx) {
                term.moved(&deadline);
                // Said to somebody who has gone. An answer that has come cannot be waited for once more.
                if term.is_over(proxy.ticker.now(), &proxy.live) {
                    waiting.over();
                    return Poll::Ready(Err(Trouble::last(Failure::SessionEnded)));
                }
                return Poll::Ready(outcome.map_err(|error| lost(&error)));
            }
            if upload.has_moved() || !upload.waits_for_app() {
                term.moved(&deadline);
            }
            let failure = match ready!(term.poll_over(cx, &deadline, patience, &proxy.live)) {
                Over::Session => Failure::SessionEnded,
                Over::Patience => Failure::ResponseTimeout,
            };
            Poll::Ready(Err(Trouble::last(failure)))
        })
        .await;
        match &received {
            Ok(_) => lease.heard(),
            Err(Trouble { failure: failure @ Failure::Closed { .. }, .. }) => {
                lease.lost(term.at(proxy.ticker.now()), failure.reason());
            }
            Err(Trouble { failure, .. }) if failure.of_the_app() => {
                lease.broke(term.at(proxy.ticker.now()), failure.reason());
            }
            Err(_) => {}
        }
        if matches!(&received, Err(Trouble { failure: Failure::ResponseTimeout, .. })) {
            lease.waited_in_vain(begun);
        }
        let head = received.inspect_err(|trouble| {
            // Who breaks the rules may go on breaking them.
            if !lease.is_open() || matches!(trouble.failure, Failure::Invalid(_)) {
                waiting.over();
            }
        })?;
        let upload = waiting.over().ok_or(Trouble::last(Failure::Closed { untouched: true }))?;
        Ok((head, upload))
    }
}

/// Has the client hear an interim answer, which is the app's `count`th to this request.
fn pass_interim(told: Response<()>, count: usize, client: Option<&Client>) -> Result<(), Failure> {
    let (head, ()) = told.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failure::Invalid("101, which HTTP/2 does not know"));
    }
    if count > interim::MOST {
        return Err(Failure::Invalid("too many interim answers"));
    }
    if let Some(client) = client {
        let mut fields = head.headers;
        fields::clean(&mut fields);
        let fields = fields.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        interim::tell(client, head.status, fields);
    }
    Ok(())
}

/// The answer, its body following as the client takes it and the rest of the request as the app takes it.
fn answer(proxy: &Proxy, pass: &Pass, head: Response<RecvStream>, goes_on: GoesOn) -> Reply<Following> {
    let (mut parts, receive) = head.into_parts();
    fields::clean(&mut parts.headers);
    // RFC 9110 §8.6.
    if parts.status == StatusCode::NO_CONTENT {
        parts.headers.remove(CONTENT_LENGTH);
    }
    let instance = u16::try_from(goes_on.lease.place()).ok();
    let body = Http2Body::new(proxy, receive, &parts.headers, goes_on);
    let body = Following::Body(UpstreamBody::Http2(Box::new(body)));
    let mut reply = Reply { instance, ..Reply::new(parts.status, parts.headers.into(), body) };
    proxy.add(&mut reply, pass.session().is_some());
    reply
}

fn head_fields(
    proxy: &Proxy,
    visit: &Visit,
    pass: &Pass,
    length: Option<u64>,
) -> Result<HeadFields, Failure> {
    let (fields, size) = proxy
        .head_writer
        .fields(visit, pass, length)
        .ok_or(Failure::Invalid("a field that HTTP does not allow"))?;
    let authority = visit.headers.get(&HOST).map_or(0, |host| host.as_bytes().len());
    let apart = size + visit.path.target().len() + authority > LARGEST_SHARED;
    Ok(HeadFields { fields, apart })
}

/// The head of the request: `:authority` in place of `Host` (RFC 9113 §8.3.1).
fn request(lease: &Lease, visit: &Visit, method: Method, fields: HeaderMap) -> Result<Request<()>, Failure> {
    let authority = visit.headers.get(&HOST).map(Value::as_bytes).unwrap_or_default();
    let authority = Authority::from_maybe_shared(Bytes::copy_from_slice(authority));
    let scheme = if lease.is_encrypted() { Scheme::HTTPS } else { Scheme::HTTP };
    let uri = authority
        .map_err(http::Error::from)
        .and_then(|authority| {
            Uri::builder().scheme(scheme).authority(authority).path_and_query(visit.path.target()).build()
        })
        .map_err(|_| Failure::Invalid("an authority that HTTP/2 does not allow"))?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = fields;
    Ok(request)
}
