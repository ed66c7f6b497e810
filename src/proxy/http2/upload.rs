//! A request's body on its way to the app by HTTP/2, no faster than the app takes it, and kept at its beginning for
//! the case that it has to be sent again.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;
use http_body::Body as _;

use crate::http::body::RequestBody;
use crate::http::pipe;
use crate::proxy::Proxy;
use crate::proxy::failure::Failure;
use crate::proxy::headers::HeadWriter;
use crate::proxy::pace::Pace;
use crate::proxy::term::Term;
use crate::proxy::ticker::Deadline;
use crate::proxy::upload::poll_in_time;
use crate::session::live::Live;

/// What is kept of a body at most, in bytes: most messages of gRPC are smaller.
const KEPT: usize = 32 * 1024;
/// In how many pieces, each of which may hold on to the buffer that it was read into.
const MOST_PIECES: usize = 16;

/// A client's body, and what was taken of it.
pub(super) struct Source {
    body: RequestBody,
    /// All of it was taken.
    ended: bool,
    /// What was taken, if that is little and may be wanted again.
    kept: Option<Vec<Piece>>,
    /// How many bytes of data that is.
    size: usize,
    /// How much of it was taken since it was begun again.
    next: usize,
    passed: u64,
    limit: u64,
    /// How long the client may pause; for ever once the answer has begun, because then the two may well take turns.
    patience: Option<Duration>,
    /// Whether it comes fast enough.
    pace: Pace,
    deadline: Deadline,
    head_writer: Rc<HeadWriter>,
}

/// A piece of a body.
#[derive(Clone)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Source {
    pub(super) fn new(
        body: RequestBody,
        limit: u64,
        (patience, pace): (Duration, Pace),
        proxy: &Proxy,
    ) -> Self {
        Self {
            body,
            ended: false,
            kept: Some(Vec::new()),
            size: 0,
            next: 0,
            passed: 0,
            limit,
            patience: Some(patience),
            pace,
            deadline: proxy.ticker.deadline(),
            head_writer: Rc::clone(&proxy.head_writer),
        }
    }

    /// Begins again. False if that is no longer possible.
    pub(super) fn rewind(&mut self) -> bool {
        self.next = 0;
        self.kept.is_some()
    }

    /// The body, if nothing was taken of it.
    pub(super) fn into_untouched(self) -> Option<RequestBody> {
        self.kept.is_some_and(|kept| kept.is_empty()).then_some(self.body)
    }

    /// The answer has begun: it is too late to begin again.
    pub(super) fn answered(&mut self) {
        // What was begun again goes on to its end.
        if !self.is_behind() {
            self.kept = None;
        }
        self.patience = None;
        self.deadline.disarm();
    }

    /// Whether it has a stream of its own at the client's side.
    pub(super) fn has_a_stream(&self) -> bool {
        matches!(self.body, RequestBody::Http2(_))
    }

    fn is_at_end(&self) -> bool {
        !self.is_behind() && (self.ended || self.body.is_end_stream())
    }

    /// Whether something is still to be taken once more.
    fn is_behind(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| self.next < kept.len())
    }

    /// The next piece; `None` at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Failure>> {
        if let Some(piece) = self.kept.as_ref().and_then(|kept| kept.get(self.next)) {
            self.next += 1;
            return Poll::Ready(Ok(Some(piece.clone())));
        }
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        let awaited = (self.patience, &self.deadline, &mut self.pace);
        let piece = match ready!(poll_in_time(&mut self.body, awaited, (cx, false)))? {
            // A pipe was not asked for.
            Some(Err(_) | Ok(pipe::Piece::Pipe(_))) => return Poll::Ready(Err(Failure::BadBody)),
            Some(Ok(pipe::Piece::Frame(frame))) => match frame.into_data() {
                Ok(data) => Piece::Data(data),
                Err(frame) => Piece::Trailers(self.may_pass(&frame.into_trailers().unwrap_or_default())),
            },
            None => {
                self.ended = true;
                return Poll::Ready(Ok(None));
            }
        };
        self.note(&piece)?;
        Poll::Ready(Ok(Some(piece)))
    }

    fn note(&mut self, piece: &Piece) -> Result<(), Failure> {
        if let Piece::Data(data) = piece {
            self.passed = self.passed.saturating_add(data.len() as u64);
            self.size = self.size.saturating_add(data.len());
        }
        if self.passed > self.limit {
            return Err(Failure::BodyTooLarge);
        }
        if self.size > KEPT || self.kept.as_ref().is_some_and(|kept| kept.len() >= MOST_PIECES) {
            self.kept = None;
        }
        if let Some(kept) = &mut self.kept {
            kept.push(piece.clone());
            self.next = kept.len();
        }
        Ok(())
    }

    /// No identity comes in by a trailer.
    fn may_pass(&self, trailers: &HeaderMap) -> HeaderMap {
        let mut passed = HeaderMap::with_capacity(trailers.len());
        for (name, value) in trailers.iter().filter(|(name, _)| self.head_writer.trailer_may_pass(name)) {
            passed.append(name, value.clone());
        }
        passed
    }
}

/// Whom an upload waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    Client,
    App,
    /// All was sent, or the app would not have it. Its answer, if it sends one, still counts.
    Nobody,
}

/// What is still to be sent on one stream.
pub(super) struct Upload {
    to: SendStream<Bytes>,
    /// What was taken from the client and waits for the app.
    piece: Bytes,
    /// Nothing comes behind the piece.
    last: bool,
    waits: Waits,
    /// Something was sent since somebody asked.
    moved: bool,
}

impl Upload {
    /// Of a request whose body follows.
    pub(super) fn new(to: SendStream<Bytes>) -> Self {
        Self { to, piece: Bytes::new(), last: false, waits: Waits::Client, moved: false }
    }

    /// Of a request that is complete, or goes on in another way.
    pub(super) fn none(to: SendStream<Bytes>) -> Self {
        Self { waits: Waits::Nobody, ..Self::new(to) }
    }

    pub(super) fn is_done(&self) -> bool {
        self.waits == Waits::Nobody
    }

    /// Whether only the app can make this go on.
    pub(super) fn waits_for_app(&self) -> bool {
        self.waits != Waits::Client
    }

    /// Whether anything was sent since this was asked.
    pub(super) fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// The stream itself.
    pub(super) fn into_stream(self) -> SendStream<Bytes> {
        self.to
    }

    /// Sends what can be sent. Ready when there is nothing more to send.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, source: &mut Source) -> Poll<Result<(), Failure>> {
        while !self.is_done() {
            // Reset: whatever is wrong with it, who waits for the answer hears of it.
            if self.to.poll_reset(cx).is_ready() {
                self.waits = Waits::Nobody;
                break;
            }
            if !self.piece.is_empty() {
                if self.poll_send(cx).is_pending() {
                    source.body.gather(cx);
                    return Poll::Pending;
                }
                continue;
            }
            match ready!(source.poll_piece(cx))? {
                Some(Piece::Data(data)) => {
                    self.last = source.is_at_end();
                    self.piece = data;
                    if self.piece.is_empty() && self.last {
                        self.finish(None);
                    }
                    self.to.reserve_capacity(self.piece.len());
                }
                Some(Piece::Trailers(trailers)) => self.finish(Some(trailers)),
                None => self.finish(None),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends as much of the piece as the app has said it takes.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.waits = Waits::App;
        while self.to.capacity() == 0 {
            let Some(Ok(_)) = ready!(self.to.poll_capacity(cx)) else {
                self.waits = Waits::Nobody;
                return Poll::Ready(());
            };
        }
        let part = self.piece.split_to(self.to.capacity().min(self.piece.len()));
        let end = self.last && self.piece.is_empty();
        let over = self.to.send_data(part, end).is_err() || end;
        self.waits = if over { Waits::Nobody } else { Waits::Client };
        self.moved = true;
        Poll::Ready(())
    }

    fn finish(&mut self, trailers: Option<HeaderMap>) {
        // If it cannot be sent the stream is over, which is told elsewhere.
        let _ = match trailers {
            Some(trailers) if !trailers.is_empty() => self.to.send_trailers(trailers),
            Some(_) | None => self.to.send_data(Bytes::new(), true),
        };
        (self.waits, self.moved) = (Waits::Nobody, true);
    }

    /// Ends the stream: the client's body broke off.
    pub(super) fn give_up(&mut self) {
        self.waits = Waits::Nobody;
        self.to.send_reset(Reason::CANCEL);
    }

    /// Sends the rest beside the answer, for as long as its session lasts.
    pub(super) async fn run(
        mut self,
        mut source: Source,
        moved: Rc<Cell<bool>>,
        (mut term, live): (Term, Arc<Live>),
    ) {
        let sent = poll_fn(|cx| {
            if term.is_over(source.deadline.now(), &live) {
                return Poll::Ready(Err(Failure::SessionEnded));
            }
            let polled = self.poll(cx, &mut source);
            if self.has_moved() {
                moved.set(true);
            }
            polled
        })
        .await;
        if sent.is_err() {
            self.give_up();
        }
    }
}
