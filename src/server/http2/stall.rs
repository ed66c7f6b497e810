//! How long an answer may wait for a client that opens no window for it (RFC 9113 §6.9, §10.5).
//!
//! hyper takes a piece of an answer, waits until there is a window for it, and asks for the next one; meanwhile it asks
//! for nothing. So whoever gives the pieces notes what was given, and whoever polls the stream looks at that.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;

use crate::proxy::ticker::{Deadline, Ticker};
use crate::server::http2::patience::{Client, Open};
use crate::server::reply::ReplyBody;

/// What is given at a time, in bytes: as much as a frame carries. A client that takes one such piece each time it is
/// waited for is as fast as `limits.min_rate` asks by default.
const PIECE: usize = 16 * 1024;

/// What was given of the answer in one stream.
#[derive(Default)]
struct Given {
    pieces: Cell<u64>,
    /// The last one has not been sent.
    waits: Cell<bool>,
}

/// Runs the streams of one connection on its thread, none of them longer than its client can be waited for.
#[derive(Clone)]
pub(super) struct Streams {
    client: Rc<Client>,
    ticker: Ticker,
    patience: Duration,
    /// Of the stream that is being polled.
    given: Rc<RefCell<Option<Rc<Given>>>>,
}

impl Streams {
    /// Those of this client, who may refuse for so long to take anything.
    pub(super) fn new(client: Rc<Client>, ticker: Ticker, patience: Duration) -> Self {
        Self { client, ticker, patience, given: Rc::default() }
    }

    /// The body of the answer in the stream that is being polled.
    pub(super) fn body(&self, body: ReplyBody) -> Pieces {
        Pieces { body, rest: Bytes::new(), given: self.given.borrow().clone().unwrap_or_default() }
    }
}

impl<F: Future + 'static> Executor<F> for Streams {
    fn execute(&self, future: F) {
        // What carries the bytes of a tunnel is begun by the stream that becomes one, and may outlive the tunnel.
        let open = self.given.borrow().is_none().then(|| self.client.opens());
        tokio::task::spawn_local(Stream {
            future: Box::pin(future),
            streams: self.clone(),
            given: Rc::default(),
            seen: 0,
            stalled: None,
            _open: open,
        });
    }
}

/// One stream. Given up, it is reset, and with it whatever is asked of the app for it.
struct Stream<F> {
    future: Pin<Box<F>>,
    streams: Streams,
    given: Rc<Given>,
    /// Pieces that were given when it was looked last.
    seen: u64,
    /// There once the client had to be waited for.
    stalled: Option<Deadline>,
    _open: Option<Open>,
}

impl<F: Future> Future for Stream<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.streams.given.replace(Some(Rc::clone(&this.given)));
        let polled = this.future.as_mut().poll(cx);
        this.streams.given.take();
        if polled.is_ready() {
            return Poll::Ready(());
        }
        let moved = this.given.pieces.get() != std::mem::replace(&mut this.seen, this.given.pieces.get());
        if !this.given.waits.get() {
            if let Some(stalled) = &this.stalled {
                stalled.disarm();
            }
            return Poll::Pending;
        }
        let stalled = this.stalled.get_or_insert_with(|| this.streams.ticker.deadline());
        if moved {
            stalled.arm(this.streams.patience);
        }
        ready!(stalled.poll(cx));
        tracing::debug!("a stream is reset: its client takes nothing");
        Poll::Ready(())
    }
}

/// The body of an answer, piece by piece.
pub(super) struct Pieces {
    body: ReplyBody,
    /// What is there and has not been given.
    rest: Bytes,
    given: Rc<Given>,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        this.given.waits.set(false);
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        this.given.waits.set(true);
        this.given.pieces.set(this.given.pieces.get() + 1);
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked before the first piece is given.
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}
