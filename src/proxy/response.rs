//! The answer of the app: its head waited for, its body passed on straight from the socket.

use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::io::AsyncReadExt as _;

use crate::http::buffers::{Buffers, LARGE, Loan, make_room};
use crate::http::chunked::Piece;
use crate::http::fields::Fields;
use crate::http::head::Search;
use crate::http::pipe::Piece as Part;
use crate::proxy::ending::{BREAK_OFF, Ending};
use crate::proxy::failure::Failure;
use crate::proxy::interim;
use crate::proxy::pace::Pace;
use crate::proxy::reserved::HOP_BY_HOP;
use crate::proxy::term::{Over, Term};
use crate::proxy::upload::Upload;
use crate::proxy::upstream::{Connection, Pool};

mod head;
mod piped;
mod reads;
mod sends;

pub(super) use head::Head;
use head::{Delimited, next};
use reads::{Reads, move_out};

/// Sends what is to be sent and waits for the head of the final answer.
pub(super) async fn receive(
    connection: &mut Connection,
    upload: &mut Upload,
    method: &Method,
    (pool, term): (&Pool, &mut Term),
) -> Result<Head, Failure> {
    let settings = pool.settings();
    let mut interim = 0;
    let mut search = Search::default();
    let size = Reads::of(upload).size();
    std::future::poll_fn(|cx| {
        if upload.finished(connection) {
            upload.gather(cx);
        } else {
            // Nothing more goes to the app behind the end of its session.
            if term.is_over(pool.now(), pool.live()) {
                return Poll::Ready(Err(Failure::SessionEnded));
            }
            if let Poll::Ready(Err(failure)) = upload.poll(cx, connection) {
                return Poll::Ready(Err(failure));
            }
        }
        if upload.has_moved() || !upload.waits_for_app(connection) {
            term.moved(&connection.deadline);
        }
        if connection.out.is_empty() {
            pool.buffers().written(std::mem::take(&mut connection.out));
        }
        loop {
            while let Some(head) = next(&mut search, &mut connection.unread, settings.head, method)? {
                search = Search::default();
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    // Said of an idle connection that was about to be closed, and no answer to what crossed it
                    // (RFC 9110 §15.5.9).
                    if head.status == StatusCode::REQUEST_TIMEOUT
                        && !head.keep
                        && connection.requests > 0
                        && upload.repeatable()
                        && method.is_safe()
                    {
                        return Poll::Ready(Err(Failure::Closed { untouched: interim == 0 }));
                    }
                    term.moved(&connection.deadline);
                    // Said to somebody who has gone.
                    if term.is_over(pool.now(), pool.live()) {
                        return Poll::Ready(Err(Failure::SessionEnded));
                    }
                    return Poll::Ready(Ok(head));
                }
                interim += 1;
                if interim > interim::MOST {
                    return Poll::Ready(Err(Failure::Invalid("too many interim answers")));
                }
                if let Some(client) = &upload.client {
                    let fields = head.fields.iter().map(|(name, value)| (name, value.as_bytes()));
                    interim::tell(client, head.status, fields);
                }
            }
            match poll_read(connection, cx, size, pool.buffers()) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    let untouched = interim == 0 && connection.unread.is_empty();
                    return Poll::Ready(Err(Failure::Closed { untouched }));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    if connection.unread.is_empty() {
                        pool.buffers().read(std::mem::take(&mut connection.unread));
                    }
                    let patience = settings.response_timeout;
                    return term.poll_over(cx, &connection.deadline, patience, pool.live()).map(|over| {
                        Err(match over {
                            Over::Session => Failure::SessionEnded,
                            Over::Patience => Failure::ResponseTimeout,
                        })
                    });
                }
            }
        }
    })
    .await
}

/// Reads once into `connection.unread`, which is lent for it: `size` bytes at most.
///
/// Through `AsyncRead` rather than `try_read_buf`: only the former notes that a short read has emptied the
/// socket, which spares the system call that would find out.
fn poll_read(
    connection: &mut Connection,
    cx: &mut Context<'_>,
    size: usize,
    buffers: &Buffers,
) -> Poll<io::Result<usize>> {
    let unread = &mut connection.unread;
    if unread.capacity() == 0 {
        *unread = buffers.to_read();
    }
    make_room(unread, size);
    pin!(connection.stream.read_buf(&mut unread.limit(size))).poll(cx)
}

/// The body of an answer by HTTP/1.1. Dropped before its end, it takes the connection with it.
pub struct Http1Body {
    connection: Option<Box<Connection>>,
    pool: Rc<Pool>,
    upload: Upload,
    body: Delimited,
    keep: bool,
    reads: Reads,
    /// There if what is read goes into a large buffer.
    large: Option<Loan>,
    /// The client was waited for, and what it has yet to take is in memory of its own.
    moved: bool,
    term: Term,
    /// Whether the client takes it fast enough, and how much it was given last.
    pace: Pace,
    given: u64,
}

impl Http1Body {
    /// The body that follows `head` on `connection`.
    pub(super) fn new(
        connection: Box<Connection>,
        (pool, pace): (Rc<Pool>, Pace),
        mut upload: Upload,
        head: Head,
        term: Term,
    ) -> (StatusCode, Fields, Box<Self>) {
        let Head { status, fields, body, keep, .. } = head;
        let reads = Reads::of(&upload);
        upload.answered();
        let connection = Some(connection);
        let (large, moved, given) = (None, false, 0);
        let this = Self { connection, pool, upload, body, keep, reads, large, moved, term, pace, given };
        let mut this = Box::new(this);
        if matches!(this.body, Delimited::Length(0)) {
            this.finish();
        }
        (status, fields, this)
    }

    /// The client takes no more for now, and has yet to take `piece`: that moves into memory of its own, so that who
    /// does not read holds no buffer.
    pub fn stalled(&mut self, piece: &mut Bytes) {
        self.reads.stalled();
        if !self.moved {
            let unread = self.connection.as_mut().map(|connection| &mut connection.unread);
            if let Some(buffer) = move_out(piece, unread) {
                self.moved = true;
                self.give_back(buffer);
            }
        }
    }

    /// Gives the buffer back that was read into.
    fn give_back(&mut self, buffer: BytesMut) {
        match self.large.take() {
            // At the end of the body it was given back already.
            Some(mut large) if self.connection.is_some() => large.put(buffer),
            Some(_) => {}
            None => self.pool.buffers().read(buffer),
        }
    }

    /// Reads more, if there is a connection to read from; who has to wait for it holds no buffer.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Option<Poll<io::Result<usize>>> {
        let size = self.widen();
        let connection = self.connection.as_mut()?;
        let polled = poll_read(connection, cx, size, self.pool.buffers());
        if polled.is_pending() && connection.unread.is_empty() {
            let buffer = std::mem::take(&mut connection.unread);
            self.give_back(buffer);
        }
        Some(polled)
    }

    /// Takes a large buffer to read into, if it would be used well and one is free. How much can be read then.
    fn widen(&mut self) -> usize {
        if self.large.is_none() && self.reads.large() {
            self.large = self.pool.buffers().large();
            if let (Some(large), Some(connection)) = (&mut self.large, &mut self.connection) {
                let mut buffer = large.take();
                buffer.extend_from_slice(&connection.unread);
                let mut before = std::mem::replace(&mut connection.unread, buffer);
                before.clear();
                self.pool.buffers().read(before);
            }
        }
        if self.large.is_some() { LARGE } else { self.reads.size() }
    }

    /// The next piece of it, in a pipe if that is wanted (`piped`), possible and worth it.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>, piped: bool) -> Poll<Option<io::Result<Part>>> {
        let polled = self.poll_next(cx, piped);
        if let Poll::Ready(Some(Err(error))) = &polled {
            self.broke(Ending::of(error));
        }
        polled
    }

    /// It does not come to its end, which may speak against the instance that was asked; but not where it had to wait for
    /// the client, and may have done so for long enough.
    #[cold]
    fn broke(&self, ending: Ending) {
        if let (Some(connection), Ending::App, false) = (&self.connection, ending, self.reads.lag()) {
            self.pool.broke(connection, self.term.at(self.pool.now()), BREAK_OFF);
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, piped: bool) -> Poll<Option<io::Result<Part>>> {
        let this = self;
        // Asked for more: the client has taken what it was given.
        let given = std::mem::take(&mut this.given);
        this.reads.taken(given);
        if given > 0
            && let Some(connection) = &this.connection
        {
            // While the client took its time, the app was not silent.
            this.term.moved(&connection.deadline);
        }
        if !this.pace.pass(given, this.pool.now()) {
            return Poll::Ready(Some(Err(Ending::Client.into())));
        }
        if let Err(ending) = this.send_on(cx) {
            return Poll::Ready(Some(Err(ending.into())));
        }
        loop {
            if this.term.is_over(this.pool.now(), this.pool.live()) {
                return Poll::Ready(Some(Err(Ending::Session.into())));
            }
            if let Some(frame) = this.piece()? {
                this.given = frame.data_ref().map_or(0, Bytes::len) as u64;
                this.moved = false;
                this.pace.wait(this.pool.now());
                return Poll::Ready(Some(Ok(Part::Frame(frame))));
            }
            let patience = this.pool.settings().idle_timeout;
            let mut pipe = if piped { this.pipe() } else { None };
            let polled = match &mut pipe {
                Some(pipe) => this.poll_fill(cx, pipe),
                None => this.poll_read(cx),
            };
            let Some(polled) = polled else { return Poll::Ready(None) };
            let Some(connection) = &mut this.connection else { return Poll::Ready(None) };
            match polled {
                Poll::Ready(Ok(0)) if matches!(this.body, Delimited::Close) => {
                    this.finish();
                    return Poll::Ready(None);
                }
                // Cut short: the client must be able to see it (RFC 9112 §8).
                Poll::Ready(Ok(0)) => return Poll::Ready(Some(Err(Ending::App.into()))),
                Poll::Ready(Ok(count)) => {
                    this.term.moved(&connection.deadline);
                    this.reads.read(count);
                    if let Some(pipe) = pipe.filter(|pipe| !pipe.is_empty()) {
                        return Poll::Ready(Some(Ok(this.piped(pipe))));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                Poll::Pending => {
                    let over = this.term.poll_over(cx, &connection.deadline, patience, this.pool.live());
                    return Poll::Ready(Some(Err(Ending::from(ready!(over)).into())));
                }
            }
        }
    }

    /// The answer has been read to its end: the connection can carry the next one if all of the request went
    /// out.
    fn finish(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        self.pool.answered(&connection);
        if self.keep && self.upload.clean() {
            if let Some(large) = &mut self.large
                && connection.unread.is_empty()
            {
                large.put(std::mem::take(&mut connection.unread));
            }
            self.pool.put(connection);
        }
    }

    /// Takes what is there of the body. `None` if nothing is.
    fn piece(&mut self) -> io::Result<Option<Frame<Bytes>>> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        let unread = &mut connection.unread;
        match &mut self.body {
            Delimited::Length(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(unread.len());
                if most == 0 {
                    return Ok(None);
                }
                *left -= most as u64;
                let piece = unread.split_to(most).freeze();
                if *left == 0 {
                    self.finish();
                }
                Ok(Some(Frame::data(piece)))
            }
            Delimited::Chunked(chunked) => match chunked.take(unread)? {
                Piece::Data(data) => {
                    // The end is often there already; to know it now spares the client a packet of its own
                    // for it.
                    if chunked.at_bare_end(unread) {
                        self.finish();
                    }
                    Ok(Some(Frame::data(data)))
                }
                Piece::Trailers(mut trailers) => {
                    self.finish();
                    for name in HOP_BY_HOP {
                        trailers.remove(*name);
                    }
                    Ok((!trailers.is_empty()).then(|| Frame::trailers(trailers)))
                }
                Piece::Nothing => Ok(None),
            },
            Delimited::Close => {
                let piece = unread.split().freeze();
                Ok((!piece.is_empty()).then(|| Frame::data(piece)))
            }
        }
    }
}

impl http_body::Body for Http1Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.poll_piece(cx, false).map(|polled| {
            polled.map(|piece| match piece? {
                Part::Frame(frame) => Ok(frame),
                // It was not asked for.
                Part::Pipe(_) => Err(io::ErrorKind::Unsupported.into()),
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.body {
            Delimited::Length(left) => SizeHint::with_exact(left),
            Delimited::Chunked(_) | Delimited::Close => SizeHint::default(),
        }
    }
}
