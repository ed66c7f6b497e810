//! What is written down of a request: its line of the access log and its share of the metrics, from the first
//! look to the last byte of the answer.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::flow::forward_auth::About;
use crate::gate::route::Route;
use crate::gate::{Decision, Verdict};
use crate::http::fields::Value;
use crate::http::reply::{self, Reply};
use crate::http::visit::Visit;
use crate::id::RequestId;
use crate::log::access::{Access, Asked, Told};
use crate::metrics::Metrics;
use crate::metrics::worker::{METHODS, Outcome, Worker as Counts, method};
use crate::proxy::ending::Ending;
use crate::proxy::ticker::Ticker;
use crate::refusal::Refusal;
use crate::server::read::Head;
use crate::time::{Moment, Now};
use crate::trace::{Context, Share, Span, Tracing};

mod names;
mod tunnel;

pub(super) use names::Names;
pub(super) use tunnel::{Opened, closed};

/// `traceparent` (W3C Trace Context §3.2).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate` (W3C Trace Context §3.3).
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// What is told of a path in a span, in bytes.
const LONGEST_PATH: usize = 256;
/// What is told of a path that was refused, in bytes.
const LONGEST_REFUSED: usize = 2048;

/// How a request came.
#[derive(Clone, Copy)]
pub(super) struct Via {
    /// The version of HTTP.
    pub(super) http: &'static str,
    /// The version of TLS, if any.
    pub(super) tls: Option<&'static str>,
}

/// Where a worker's requests are written down.
pub(super) struct Recorder {
    /// What is counted.
    pub(super) counts: Arc<Counts>,
    /// What is logged.
    pub(super) access: Rc<Access>,
    /// What routes and instances are called.
    pub(super) names: Names,
    /// Where spans go, if requests are traced.
    pub(super) tracing: Option<Tracing>,
    /// Counts those that do not get there.
    pub(super) lost: Arc<Metrics>,
    /// Knows whether what is under way is cut.
    pub(super) ticker: Ticker,
}

/// What is known of one request so far. Dropped when its answer has come to its end, and then counts.
pub(super) struct Record {
    recorder: Rc<Recorder>,
    begun: Moment,
    outcome: Outcome,
    method: usize,
    endpoint: Option<usize>,
    route: Route,
    status: Option<StatusCode>,
    /// The request is a call of gRPC, and is logged.
    grpc: bool,
    grpc_status: Option<u16>,
    /// Which instance of the app was asked.
    instance: Option<u16>,
    reason: Option<Refusal>,
    upstream: Option<Duration>,
    bytes: u64,
    /// The client was given all of the answer.
    whole: bool,
    /// Why the answer was not what it should have been, if that is known.
    cut: Option<Ending>,
    /// Its line, without what only the end can tell; none if there is no access log.
    line: Option<Vec<u8>>,
    /// Its place in a trace, if it is traced.
    traced: Option<Box<Traced>>,
}

struct Traced {
    context: Context,
    begun: Now,
    path: String,
}

impl Recorder {
    /// A request begins.
    pub(super) fn begin(self: &Rc<Self>) -> Record {
        self.counts.begun.add_alone(1);
        Record {
            recorder: Rc::clone(self),
            begun: Moment::now(),
            outcome: Outcome::Refused,
            method: 0,
            endpoint: None,
            route: Route::NONE,
            status: None,
            grpc: false,
            grpc_status: None,
            instance: None,
            reason: None,
            upstream: None,
            bytes: 0,
            whole: false,
            cut: None,
            line: None,
            traced: None,
        }
    }

    /// How the session of a visitor was found.
    pub(super) fn recognised(&self, in_memory: bool) {
        let count = if in_memory { &self.counts.hits } else { &self.counts.misses };
        count.add_alone(1);
    }
}

impl Record {
    /// When the request was there.
    pub(super) fn begun(&self) -> Moment {
        self.begun
    }

    /// Gives the request its place in a trace, and has the app told of it.
    pub(super) fn trace(&mut self, visit: &mut Visit) {
        if let Some(tracing) = &self.recorder.tracing {
            let share = tracing.share;
            self.traced = Some(Box::new(traced(visit, share)));
        }
    }

    /// The request has been read, and who sent it is known.
    pub(super) fn visited(&mut self, visit: &Visit, via: Via, logged: bool) {
        self.method = method(&visit.method);
        if logged {
            self.grpc = visit.is_grpc();
            self.line = Some(self.recorder.access.asked(&Asked {
                at: visit.now,
                id: visit.id,
                client: visit.client,
                method: visit.method.as_str(),
                path: visit.path.raw().as_bytes(),
                host: None,
                http: via.http,
                tls: via.tls,
                session: visit.visitor.session().map(|session| &**session),
                agent: visit.headers.get(&USER_AGENT).map(Value::as_bytes),
                trace: self.traced.as_ref().map(|traced| &traced.context.trace),
            }));
        }
    }

    /// The request could not be read, or only its head. `of_host`: it is refused for the host that it names.
    #[cold]
    pub(super) fn malformed(
        &mut self,
        (id, at): (RequestId, Now),
        (client, via): (IpAddr, Via),
        (head, of_host): (Option<&Head>, bool),
        logged: bool,
    ) {
        let path = head.map_or("", |head| head.uri.path()).as_bytes();
        let path = if path.is_empty() { b"-" } else { &path[..path.len().min(LONGEST_REFUSED)] };
        self.method = head.map_or(METHODS.len() - 1, |head| method(&head.method));
        if logged {
            self.line =
                Some(
                    self.recorder.access.asked(&Asked {
                        at,
                        id,
                        client,
                        method: head.map_or("-", |head| head.method.as_str()),
                        path,
                        host: head
                            .filter(|_| of_host)
                            .and_then(|head| head.headers.get(&HOST))
                            .map(Value::as_bytes),
                        http: via.http,
                        tls: via.tls,
                        session: None,
                        agent: head.and_then(|head| head.headers.get(&USER_AGENT)).map(Value::as_bytes),
                        trace: None,
                    }),
                );
        }
    }

    /// The gate has decided.
    pub(super) fn decided(&mut self, decision: &Decision) {
        let counts = &self.recorder.counts;
        self.route = decision.route;
        match &decision.verdict {
            Verdict::Forward(pass) => {
                self.outcome = Outcome::Forwarded;
                counts.allowed[usize::from(pass.session().is_some())].add_alone(1);
            }
            Verdict::Ours(endpoint) => {
                self.outcome = Outcome::Answered;
                self.endpoint = Some(endpoint.place());
            }
            denied => {
                // What is wrong with requests for our own endpoints is said of those.
                if let Some(reason) = denied.denial().filter(|_| decision.route != Route::AUTH) {
                    counts.denied(reason);
                }
            }
        }
    }

    /// It was to be forwarded, and is refused for what the client does with it.
    #[cold]
    pub(super) fn refused(&mut self) {
        self.outcome = Outcome::Refused;
    }

    /// It was to be forwarded, and the app has no answer that could be passed on.
    #[cold]
    pub(super) fn failed(&mut self) {
        self.outcome = Outcome::Failed;
    }

    /// What the question of a proxy is about. It belongs to the route that it asks about.
    pub(super) fn about(&mut self, about: &About) {
        self.route = about.route;
        match about.allowed {
            Ok(identified) => self.recorder.counts.allowed[usize::from(identified)].add_alone(1),
            Err(reason) => self.recorder.counts.denied(reason),
        }
        if let Some(line) = &mut self.line {
            self.recorder.access.about(line, about.method.as_str(), about.path.as_bytes());
        }
    }

    /// The head of the answer is there. What was forwarded was asked of the app at `asked`.
    pub(super) fn told<B>(&mut self, reply: &Reply<B>, asked: Option<Moment>) {
        let (counts, status) = (&self.recorder.counts, reply.status);
        self.status = Some(status);
        self.reason = reply.refusal;
        if let Some(refusal) = self.reason {
            counts.refused(refusal);
        }
        self.instance = reply.instance;
        if self.grpc {
            self.grpc_status = reply.grpc_status();
        }
        self.recorder.names.answered(self.route, (self.outcome, self.method, status));
        if let Some(endpoint) = self.endpoint {
            counts.endpoint(endpoint, status);
        }
        if let Some(asked) = asked {
            let took = asked.elapsed();
            if self.reason.is_none() {
                counts.upstream.note(took);
            }
            self.upstream = Some(took);
        }
    }

    /// Bytes of the answer's body went out.
    pub(super) fn passed(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// The answer ends with these trailers.
    #[cold]
    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        if self.grpc {
            self.grpc_status = reply::grpc_status_of(trailers);
        }
    }

    /// The client was given all of the answer, which the app may have ended so because it was `cut`.
    pub(super) fn whole(&mut self, cut: Option<Ending>) {
        (self.whole, self.cut) = (true, cut);
    }

    /// Nothing more comes of the answer.
    #[cold]
    pub(super) fn cut(&mut self, ending: Ending) {
        self.cut = Some(ending);
    }

    /// The request is over, but its line is written at the end of the tunnel that it has opened.
    pub(super) fn opened(mut self, passed: Rc<Cell<u64>>) -> Option<Opened> {
        self.whole = true;
        let (line, told) = (self.take_line()?, self.told_at_last());
        let access = Rc::clone(&self.recorder.access);
        Some(Opened::new(access, self.begun, (line, told), passed))
    }

    /// Why it ended before it was whole, if it did.
    fn ended(&self) -> Option<Ending> {
        let lost = || if self.recorder.ticker.is_cut() { Ending::Drain } else { Ending::Client };
        if self.whole { self.cut } else { Some(self.cut.unwrap_or_else(lost)) }
    }

    /// Its line, with where it went.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let mut line = self.line.take()?;
        self.recorder.names.add(&mut line, self.route, self.instance);
        Some(line)
    }

    /// What only the end tells.
    fn told_at_last(&self) -> Told {
        Told {
            status: self.status.map(|status| status.as_u16()),
            decision: if self.status.is_some() { self.outcome.name() } else { "abandoned" },
            grpc_status: self.grpc_status,
            reason: self.reason.map(Refusal::code),
            bytes: self.bytes,
            took: Duration::ZERO,
            upstream: self.upstream,
            ended: self.ended().map(Ending::name),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.begun.elapsed();
        let recorder = &self.recorder;
        recorder.counts.done(self.status.map(|_| (self.outcome, took)), self.bytes);
        if let Some(trouble) = self.cut.and_then(Ending::trouble) {
            recorder.counts.troubles[trouble as usize].add_alone(1);
        }
        if let Some(traced) = self.traced.take()
            && traced.context.sampled
            && let Some(tracing) = &recorder.tracing
        {
            let nanos = |took: Duration| u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            let span = Span {
                context: traced.context,
                begun: traced.begun,
                nanos: nanos(took),
                method: self.method,
                path: traced.path,
                route: recorder.names.of(self.route),
                status: self.status.map(|status| status.as_u16()),
                decision: if self.status.is_some() { self.outcome.name() } else { "abandoned" },
                upstream_nanos: self.upstream.map(nanos),
            };
            if tracing.to.try_send(span).is_err() {
                recorder.lost.spans[1].add(1);
            }
        }
        if let Some(line) = self.take_line() {
            self.recorder.access.told(line, &Told { took, ..self.told_at_last() });
        }
    }
}

/// Takes up the request's trace or begins one, and puts our part into what the app is sent. What a caller says
/// besides is passed on only with a trace that is (W3C Trace Context §3.3).
#[cold]
fn traced(visit: &mut Visit, share: Share) -> Traced {
    let context = {
        let name = TRACEPARENT;
        let mut given = visit.headers.get_all(&name);
        let only = given.next().filter(|_| given.next().is_none());
        Context::take_up(only.map(Value::as_bytes), visit.peer.trusted, share)
    };
    if context.parent.is_none() {
        visit.headers.remove(&TRACESTATE);
    }
    visit.headers.remove(&TRACEPARENT);
    visit.trace = Some(context);
    let path = visit.path.raw();
    let path = path.get(..LONGEST_PATH).unwrap_or(path).to_owned();
    Traced { context, begun: visit.now, path }
}
