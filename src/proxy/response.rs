//! The answer of the app: its head waited for, its body passed on straight from the socket.

use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::io::AsyncReadExt as _;

use crate::http::buffers::{Buffers, make_room};
use crate::http::chunked::Piece;
use crate::http::fields::Fields;
use crate::http::head::Search;
use crate::proxy::failure::Failure;
use crate::proxy::interim;
use crate::proxy::pace::Pace;
use crate::proxy::term::{Over, Term};
use crate::proxy::upload::Upload;
use crate::proxy::upstream::{Connection, Pool};

mod head;

pub(super) use head::Head;
use head::{Delimited, next};

/// What is read at a time at first, and once a body proves to be large, in bytes: two reads for an answer of 64 KiB. A
/// client that does not read holds up as much memory.
const READS: [usize; 2] = [16 * 1024, 50 * 1024];

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
    std::future::poll_fn(|cx| {
        if !upload.finished(connection)
            && let Poll::Ready(Err(failure)) = upload.poll(cx, connection)
        {
            return Poll::Ready(Err(failure));
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
            match poll_read(connection, cx, READS[0], pool.buffers()) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    let untouched = interim == 0 && connection.unread.is_empty();
                    return Poll::Ready(Err(Failure::Closed { untouched }));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
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

/// Reads once into `connection.unread`, which is lent for it.
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
    let polled = pin!(connection.stream.read_buf(unread)).poll(cx);
    if polled.is_pending() && unread.is_empty() {
        buffers.read(std::mem::take(unread));
    }
    polled
}

/// The body of an answer by HTTP/1.1. Dropped before its end, it takes the connection with it.
pub struct Http1Body {
    connection: Option<Box<Connection>>,
    pool: Rc<Pool>,
    upload: Upload,
    body: Delimited,
    keep: bool,
    /// Which of [`READS`] comes next.
    reads: usize,
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
        upload.answered();
        let connection = Some(connection);
        let this = Self { connection, pool, upload, body, keep, reads: 0, term, pace, given: 0 };
        let mut this = Box::new(this);
        if matches!(this.body, Delimited::Length(0)) {
            this.finish();
        }
        (status, fields, this)
    }

    /// Sends on what has come of the request, whether or not the answer can be passed on.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && !self.upload.finished(connection)
        {
            // What went wrong is found again by who asks for the next piece.
            let _ = self.upload.poll(cx, connection);
        }
    }

    /// The answer has been read to its end: the connection can carry the next one if all of the request went
    /// out.
    fn finish(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.keep
            && self.upload.clean()
        {
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
                Piece::Trailers(trailers) => {
                    self.finish();
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
        let this = &mut *self;
        // Asked for more: the client has taken what it was given.
        if !this.pace.pass(std::mem::take(&mut this.given), this.pool.now()) {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        if let Some(connection) = &mut this.connection
            && !this.upload.finished(connection)
            && let Poll::Ready(Err(_)) = this.upload.poll(cx, connection)
        {
            // The client's body broke: whatever the app still says of it answers no whole request.
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        if let Some(connection) = &this.connection
            && this.upload.has_moved()
        {
            this.term.moved(&connection.deadline);
        }
        loop {
            if this.term.is_over(this.pool.now(), this.pool.live()) {
                return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
            }
            if let Some(frame) = this.piece()? {
                this.given = frame.data_ref().map_or(0, Bytes::len) as u64;
                this.pace.wait(this.pool.now());
                return Poll::Ready(Some(Ok(frame)));
            }
            let patience = this.pool.settings().idle_timeout;
            let Some(connection) = &mut this.connection else { return Poll::Ready(None) };
            let size = READS[this.reads];
            match poll_read(connection, cx, size, this.pool.buffers()) {
                Poll::Ready(Ok(0)) if matches!(this.body, Delimited::Close) => {
                    this.connection = None;
                    return Poll::Ready(None);
                }
                // Cut short: the client must be able to see it (RFC 9112 §8).
                Poll::Ready(Ok(0)) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
                Poll::Ready(Ok(_)) => {
                    this.term.moved(&connection.deadline);
                    let full = connection.unread.len() == connection.unread.capacity();
                    this.reads = if full { (this.reads + 1).min(READS.len() - 1) } else { this.reads };
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                Poll::Pending => {
                    let over = this.term.poll_over(cx, &connection.deadline, patience, this.pool.live());
                    let kind = match ready!(over) {
                        Over::Session => io::ErrorKind::ConnectionAborted,
                        Over::Patience => io::ErrorKind::TimedOut,
                    };
                    return Poll::Ready(Some(Err(kind.into())));
                }
            }
        }
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
