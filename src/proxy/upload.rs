//! The request on its way to the app: the head, then the client's body as it comes, never more of it in
//! memory than one piece.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite as _;

use crate::http::body::{Client, RequestBody};
use crate::http::pipe::{Piece, Pipe};
use crate::proxy::failure::Failure;
use crate::proxy::headers::{Framing, HeadWriter};
use crate::proxy::pace::Pace;
use crate::proxy::ticker::Deadline;
use crate::proxy::upstream::Connection;

/// Whom an upload waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    Client,
    /// It has to read before more can be sent.
    App,
    /// The app stopped reading; its answer, if it sent one, still counts.
    Nobody,
}

/// What is still to be sent of one request.
pub(super) struct Upload {
    body: Option<Box<Body>>,
    /// How many bytes of `Connection::out` are written.
    written: usize,
    /// The piece of the body that follows `Connection::out`.
    piece: Bytes,
    /// The piece, if it is in a pipe.
    pipe: Option<Pipe>,
    /// What follows the piece: the end of its chunk.
    tail: &'static [u8],
    waits: Waits,
    /// TLS has taken something that it may not have sent yet.
    held_back: bool,
    /// Something was sent since somebody asked.
    moved: bool,
    /// Who can be told of the answer before it comes.
    pub(super) client: Option<Client>,
}

/// A body that is being passed on.
pub(super) struct Body {
    pub(super) incoming: RequestBody,
    pub(super) framing: Framing,
    /// Bytes of it that were passed on.
    pub(super) passed: u64,
    /// Most bytes of it that may be.
    pub(super) limit: u64,
    /// How long the client may pause; for ever once the answer has begun, because then the two may well take
    /// turns.
    pub(super) patience: Option<Duration>,
    pub(super) deadline: Deadline,
    /// Measured for as long as there is patience.
    pub(super) pace: Pace,
    pub(super) head_writer: Rc<HeadWriter>,
}

impl Upload {
    /// A request that is complete with its head.
    pub(super) fn head_only() -> Self {
        Self {
            body: None,
            written: 0,
            piece: Bytes::new(),
            pipe: None,
            tail: b"",
            waits: Waits::Client,
            held_back: false,
            moved: false,
            client: None,
        }
    }

    /// A request whose body follows its head.
    pub(super) fn with_body(body: Body) -> Self {
        Self { body: Some(Box::new(body)), ..Self::head_only() }
    }

    /// The same for a client that can be told of the answer before it comes.
    pub(super) fn of(self, client: Client) -> Self {
        Self { client: Some(client), ..self }
    }

    /// Whether everything has been sent, or the app would not have it.
    pub(super) fn finished(&self, connection: &Connection) -> bool {
        self.waits == Waits::Nobody
            || (self.body.is_none() && self.written == connection.out.len() && self.sent())
    }

    /// Whether only the app can make this go on.
    pub(super) fn waits_for_app(&self, connection: &Connection) -> bool {
        self.waits == Waits::App || self.finished(connection)
    }

    /// Whether anything was sent since this was asked.
    pub(super) fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Whether the request can be sent once more.
    pub(super) fn repeatable(&self) -> bool {
        self.body.is_none()
    }

    /// Whether all of it went out, so that the connection can carry another request.
    pub(super) fn clean(&self) -> bool {
        self.body.is_none() && self.sent() && self.waits != Waits::Nobody
    }

    /// Takes what has come of a body that the app would not have.
    pub(super) fn gather(&mut self, cx: &mut Context<'_>) {
        if let Some(body) = &mut self.body {
            body.incoming.gather(cx);
        }
    }

    /// Whether nothing is left of what was taken of the body.
    fn sent(&self) -> bool {
        self.piece.is_empty() && self.pipe.is_none() && self.tail.is_empty() && !self.held_back
    }

    /// The answer has begun: from here on the app's silence is measured, not the client's.
    pub(super) fn answered(&mut self) {
        self.client = None;
        if let Some(body) = &mut self.body {
            body.patience = None;
            body.deadline.disarm();
        }
    }

    /// Takes the first piece of the body, if it is there, so that it leaves together with the head.
    pub(super) fn poll_first_piece(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        match self.poll_piece(cx, connection) {
            Poll::Ready(Err(failure)) => Err(failure),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// Sends what can be sent. Ready when there is nothing more to send.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Poll<Result<(), Failure>> {
        loop {
            match self.poll_write(cx, connection) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => {
                    self.waits = Waits::Nobody;
                    // What is left in a pipe goes with it, now: the answer may still take long.
                    (self.piece, self.pipe) = (Bytes::new(), None);
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => {
                    self.waits = Waits::App;
                    if let Some(body) = &mut self.body {
                        body.incoming.gather(cx);
                    }
                    return Poll::Pending;
                }
            }
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_piece(cx, connection))?;
        }
    }

    /// Writes the head or chunk line and the piece behind it, in one call where possible.
    fn poll_write(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> Poll<io::Result<()>> {
        loop {
            let head = &connection.out[self.written..];
            if head.is_empty() && self.piece.is_empty() && self.tail.is_empty() {
                ready!(self.poll_drain(cx, connection))?;
                if self.held_back {
                    ready!(Pin::new(&mut connection.stream).poll_flush(cx))?;
                    self.held_back = false;
                }
                connection.out.clear();
                self.written = 0;
                return Poll::Ready(Ok(()));
            }
            let stream = Pin::new(&mut connection.stream);
            let count = if self.piece.is_empty() && self.tail.is_empty() {
                ready!(stream.poll_write(cx, head))?
            } else {
                let slices = [IoSlice::new(head), IoSlice::new(&self.piece), IoSlice::new(self.tail)];
                ready!(stream.poll_write_vectored(cx, &slices))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            (self.waits, self.moved) = (Waits::Client, true);
            self.held_back = connection.stream.holds_back();
            let of_head = count.min(head.len());
            let of_piece = (count - of_head).min(self.piece.len());
            self.written += of_head;
            self.piece.advance(of_piece);
            self.tail = &self.tail[count - of_head - of_piece..];
        }
    }

    /// Writes what is in a pipe.
    fn poll_drain(&mut self, cx: &mut Context<'_>, connection: &Connection) -> Poll<io::Result<()>> {
        while let Some(pipe) = self.pipe.as_mut().filter(|pipe| !pipe.is_empty()) {
            let Some(end) = connection.stream.end() else { break };
            ready!(pipe.poll_drain(cx, &end))?;
            (self.waits, self.moved) = (Waits::Client, true);
        }
        self.pipe = None;
        Poll::Ready(Ok(()))
    }

    /// Waits for the next piece of the client's body.
    fn poll_piece(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> Poll<Result<(), Failure>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
        let awaited = (body.patience, &body.deadline, &mut body.pace);
        let out = &mut connection.out;
        // Behind the head, what comes first leaves with it.
        let length = matches!(body.framing, Framing::Length(_));
        let piped = length && out.is_empty() && connection.stream.end().is_some();
        let piece = ready!(poll_in_time(&mut body.incoming, awaited, (cx, piped)))?;
        match piece {
            Some(Err(_)) => return Poll::Ready(Err(Failure::BadBody)),
            Some(Ok(Piece::Pipe(pipe))) => {
                body.count(pipe.held())?;
                self.pipe = Some(pipe);
            }
            Some(Ok(Piece::Frame(frame))) => body.pass(frame, out, &mut self.piece, &mut self.tail)?,
            None => {
                match body.framing {
                    Framing::Chunked => out.extend_from_slice(b"0\r\n\r\n"),
                    // The app would take the next request for the rest.
                    Framing::Length(length) if length != body.passed => {
                        return Poll::Ready(Err(Failure::BadBody));
                    }
                    Framing::Length(_) | Framing::None => {}
                }
                self.body = None;
                return Poll::Ready(Ok(()));
            }
        }
        if body.framing == Framing::None
            || (body.framing != Framing::Chunked && body.incoming.is_end_stream())
        {
            self.body = None;
        }
        Poll::Ready(Ok(()))
    }
}

/// The next piece of a client's body, in a pipe if that is wanted (`piped`) and possible, for which there is patience
/// for so long, or for ever.
///
/// # Errors
/// [`Failure::BodyTimeout`] if the client pauses for longer, or is slower than its pace has to be.
pub(super) fn poll_in_time(
    body: &mut RequestBody,
    (patience, deadline, pace): (Option<Duration>, &Deadline, &mut Pace),
    (cx, piped): (&mut Context<'_>, bool),
) -> Poll<Result<Option<io::Result<Piece>>, Failure>> {
    let Poll::Ready(piece) = body.poll_piece(cx, piped) else {
        if let Some(patience) = patience {
            deadline.arm_once(patience);
            pace.wait(deadline.now());
        }
        return deadline.poll(cx).map(|()| Err(Failure::BodyTimeout));
    };
    deadline.disarm();
    let length = match &piece {
        Some(Ok(piece)) => piece.size(),
        Some(Err(_)) | None => 0,
    };
    if !pace.pass(length as u64, deadline.now()) && patience.is_some() {
        return Poll::Ready(Err(Failure::BodyTimeout));
    }
    Poll::Ready(Ok(piece))
}

impl Body {
    fn count(&mut self, bytes: usize) -> Result<(), Failure> {
        self.passed = self.passed.saturating_add(bytes as u64);
        if self.passed > self.limit { Err(Failure::BodyTooLarge) } else { Ok(()) }
    }

    fn pass(
        &mut self,
        frame: Frame<Bytes>,
        out: &mut Vec<u8>,
        piece: &mut Bytes,
        tail: &mut &'static [u8],
    ) -> Result<(), Failure> {
        match frame.into_data() {
            Ok(data) => {
                if data.is_empty() {
                    return Ok(());
                }
                if self.framing == Framing::Chunked {
                    out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                    *tail = b"\r\n";
                }
                self.count(data.len())?;
                *piece = data;
            }
            Err(frame) => {
                // Only behind chunks there is a place for them (RFC 9112 §7.1.2).
                let (Ok(trailers), Framing::Chunked) = (frame.into_trailers(), self.framing) else {
                    return Ok(());
                };
                out.extend_from_slice(b"0\r\n");
                for (name, value) in
                    trailers.iter().filter(|(name, _)| self.head_writer.trailer_may_pass(name))
                {
                    out.extend_from_slice(name.as_str().as_bytes());
                    out.extend_from_slice(b": ");
                    out.extend_from_slice(value.as_bytes());
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(b"\r\n");
                // The last chunk is written; nothing is left to frame.
                self.framing = Framing::None;
            }
        }
        Ok(())
    }
}
