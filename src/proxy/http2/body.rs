//! The body of an answer by HTTP/2, passed on as the client takes it. Dropped before its end, it takes the stream
//! with it.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::http::gathered::Received;
use crate::proxy::Proxy;
use crate::proxy::ending::{BREAK_OFF, Ending};
use crate::proxy::http2::Trouble;
use crate::proxy::http2::fields::answer_trailer_may_pass;
use crate::proxy::http2::lease::Lease;
use crate::proxy::http2::upload::{Source, Upload};
use crate::proxy::pace::Pace;
use crate::proxy::term::Term;
use crate::proxy::ticker::{Deadline, Ticker};
use crate::session::live::Live;

/// The status of a gRPC call.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// The text that goes with it.
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// How an answer that cannot go on ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Calls {
    /// As one that broke off.
    Plain,
    /// With the status that tells a gRPC client why.
    Grpc,
}

impl Calls {
    pub(super) fn of(grpc: bool) -> Self {
        if grpc { Self::Grpc } else { Self::Plain }
    }
}

/// The status of a call whose answer does not go on, and its text.
fn status(ending: Ending) -> (HeaderValue, HeaderValue) {
    let (status, text) = match ending {
        Ending::Idle => ("4", "UPSTREAM_TIMEOUT"),
        Ending::App | Ending::Client | Ending::Drain => ("14", "UPSTREAM_INVALID"),
        Ending::Session => ("16", "SIGN_IN_REQUIRED"),
    };
    (HeaderValue::from_static(status), HeaderValue::from_static(text))
}

/// What an answer goes on with behind its head.
pub(super) struct GoesOn {
    pub(super) lease: Lease,
    /// The rest of the request.
    pub(super) upload: Upload,
    pub(super) source: Source,
    pub(super) term: Term,
    pub(super) calls: Calls,
}

/// The body of an answer.
pub struct Http2Body {
    /// There until the end.
    receive: Option<Received>,
    rest: Rest,
    lease: Lease,
    length: Option<u64>,
    calls: Calls,
    /// Why it does not go on, once it does not.
    pub(in crate::proxy) cut: Option<Ending>,
    term: Term,
    live: Arc<Live>,
    ticker: Ticker,
    deadline: Deadline,
    patience: Duration,
    /// Whether the client takes it fast enough, and how much it was given last.
    pace: Pace,
    given: u64,
    /// Something was sent to the app meanwhile.
    moved: Rc<Cell<bool>>,
}

/// The rest of the request, on its way to the app.
enum Rest {
    /// There is none.
    None,
    /// It is sent beside the answer, so that neither waits for the other.
    Beside { task: Task },
    /// It is sent by whoever asks for the answer: both use the client's one connection.
    Within(Box<(Upload, Source)>),
}

impl Rest {
    /// Whether all was sent.
    fn is_over(&self) -> bool {
        match self {
            Self::None => true,
            Self::Beside { task } => task.0.is_finished(),
            Self::Within(rest) => rest.0.is_done(),
        }
    }
}

/// A task that ends with its handle.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Http2Body {
    fn drop(&mut self) {
        // Some apps end an answer that has no body by a frame of its own, for which nobody asks.
        if self.receive.as_mut().is_some_and(Received::has_come) {
            self.finish();
        }
    }
}

impl Http2Body {
    pub(super) fn new(proxy: &Proxy, receive: RecvStream, headers: &HeaderMap, goes_on: GoesOn) -> Self {
        let GoesOn { lease, upload, source, term, calls } = goes_on;
        let limits = &proxy.config.limits;
        let moved = Rc::<Cell<bool>>::default();
        let whole = receive.is_end_stream();
        if whole && upload.is_done() {
            lease.ended();
        }
        // An answer that is complete already answers whatever was sent of the request.
        let rest = if whole || upload.is_done() {
            Rest::None
        } else {
            upload_behind((upload, source), &moved, (&term, &proxy.live))
        };
        if whole {
            lease.answered();
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self {
            receive: (!whole).then(|| Received::new(receive)),
            rest,
            lease,
            length: if whole { Some(0) } else { length },
            calls,
            cut: None,
            term,
            live: Arc::clone(&proxy.live),
            ticker: proxy.ticker.clone(),
            deadline: proxy.ticker.deadline(),
            patience: proxy.pool.settings().idle_timeout,
            pace: Pace::new(limits.min_rate, limits.min_rate_grace),
            given: 0,
            moved,
        }
    }

    /// Sends on what has come of the request while nothing of the answer can be passed on, of which what comes is
    /// gathered. Ready once the session has ended: nothing more of the request is the app's, nor of the
    /// answer the client's.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let ending = self.term.poll_cut(cx, &self.deadline, &self.live);
        if ending.is_ready() {
            return ending;
        }
        self.send_on(cx);
        if let Some(receive) = &mut self.receive {
            receive.gather(cx);
        }
        Poll::Pending
    }

    /// Sends on what has come of the request. A body that breaks off ends the stream: whatever the app still says of it
    /// answers no whole request.
    fn send_on(&mut self, cx: &mut Context<'_>) {
        let Rest::Within(rest) = &mut self.rest else { return };
        let (upload, source) = &mut **rest;
        match upload.poll(cx, source) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.rest = Rest::None,
            Poll::Ready(Err(_)) => upload.give_up(),
        }
        if let Rest::Within(rest) = &mut self.rest
            && rest.0.has_moved()
        {
            self.moved.set(true);
        }
    }

    /// The app has come to its end. What was still to be sent of the request ends with it, by a reset.
    fn finish(&mut self) {
        if self.rest.is_over() {
            self.lease.ended();
        }
        self.lease.answered();
        self.end();
    }

    /// Ends the stream, as far as it has not ended.
    fn end(&mut self) {
        self.receive = None;
        self.rest = Rest::None;
    }

    fn cut(&mut self, ending: Ending) -> io::Result<Frame<Bytes>> {
        self.end();
        self.cut = Some(ending);
        if self.calls == Calls::Plain {
            return Err(ending.into());
        }
        let (status, text) = status(ending);
        let trailers = HeaderMap::from_iter([(GRPC_STATUS, status), (GRPC_MESSAGE, text)]);
        Ok(Frame::trailers(trailers))
    }

    /// The stream has failed. We give one up for a client whose body breaks off.
    #[cold]
    fn broke(&mut self, error: &h2::Error) -> io::Result<Frame<Bytes>> {
        if error.is_remote() {
            self.lease.ended();
        }
        if error.is_reset() && !error.is_remote() && !error.is_library() {
            return self.cut(Ending::Client);
        }
        if Trouble::of(error, true).failure.of_the_app() {
            let now = self.term.at(self.ticker.now());
            if error.is_reset() { self.lease.broke(now, BREAK_OFF) } else { self.lease.lost(now, BREAK_OFF) }
        }
        self.cut(Ending::App)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(receive) = &mut self.receive else { return Poll::Ready(None) };
        // Taken by the client, as good as: the app may send as much again.
        let mut next = ready!(receive.poll_data(cx));
        // Only ever the end of the stream carries nothing.
        while matches!(&next, Some(Ok(data)) if data.is_empty()) {
            next = ready!(receive.poll_data(cx));
        }
        match next {
            Some(Ok(data)) => {
                if let Some(left) = &mut self.length {
                    *left = left.saturating_sub(data.len() as u64);
                }
                if receive.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(error)) => Poll::Ready(Some(self.broke(&error))),
            None => match ready!(receive.poll_trailers(cx)) {
                Ok(trailers) => {
                    self.finish();
                    let trailers = trailers.as_ref().map(passing).filter(|trailers| !trailers.is_empty());
                    Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
                }
                Err(error) => Poll::Ready(Some(self.broke(&error))),
            },
        }
    }
}

/// How the rest of a request is sent once its answer has begun.
fn upload_behind(
    (upload, mut source): (Upload, Source),
    moved: &Rc<Cell<bool>>,
    (term, live): (&Term, &Arc<Live>),
) -> Rest {
    source.answered();
    if source.has_a_stream() {
        let run = upload.run(source, Rc::clone(moved), (term.beside(), Arc::clone(live)));
        return Rest::Beside { task: Task(tokio::task::spawn_local(run)) };
    }
    Rest::Within(Box::new((upload, source)))
}

fn passing(trailers: &HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::with_capacity(trailers.len());
    for (name, value) in trailers.iter().filter(|(name, _)| answer_trailer_may_pass(name)) {
        passed.append(name, value.clone());
    }
    passed
}

impl Body for Http2Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if this.receive.is_none() {
            return Poll::Ready(None);
        }
        let given = std::mem::take(&mut this.given);
        if !this.pace.pass(given, this.ticker.now()) {
            return Poll::Ready(Some(Err(Ending::Client.into())));
        }
        if given > 0 {
            // While the client took its time, the app was not silent.
            this.term.moved(&this.deadline);
        }
        if this.term.is_over(this.ticker.now(), &this.live) {
            return Poll::Ready(Some(this.cut(Ending::Session)));
        }
        this.send_on(cx);
        if let Poll::Ready(frame) = this.poll_next(cx) {
            this.term.moved(&this.deadline);
            if let Some(Ok(frame)) = &frame {
                this.given = frame.data_ref().map_or(0, Bytes::len) as u64;
                this.pace.wait(this.ticker.now());
            }
            return Poll::Ready(frame);
        }
        if this.moved.take() {
            this.term.moved(&this.deadline);
        }
        let over = ready!(this.term.poll_over(cx, &this.deadline, this.patience, &this.live));
        Poll::Ready(Some(this.cut(over.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.receive.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
