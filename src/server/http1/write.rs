//! An answer on its way to the client: head and first piece in one write, then piece after piece as the client
//! takes them, never more than one of them in memory.

use std::cell::RefCell;
use std::io::{IoSlice, Write as _};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Body as _;

use crate::http::body::ENDPOINT_LIMIT;
use crate::http::fields::{Value, put};
use crate::http::pipe::{Piece, Pipe};
use crate::http::reply::Reply;
use crate::http::wire::Wire;
use crate::proxy::ending::Ending;
use crate::proxy::upgrade::Tunnel;
use crate::server::date::Line;
use crate::server::record::Opened;
use crate::server::reply::ReplyBody;

/// A piece that is no larger than this leaves with the head as one, in bytes: to copy it costs less than to hand the
/// kernel a list.
const SMALL: usize = 2 * 1024;

/// What of the request its answer depends on.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// The method was `HEAD`.
    pub(super) to_head: bool,
    /// By HTTP/1.1.
    pub(super) modern: bool,
    /// The client wants to go on afterwards.
    pub(super) persists: bool,
    /// The client takes trailer fields.
    pub(super) takes_trailers: bool,
}

impl Asked {
    /// By a request that could not be read, but perhaps for its method.
    pub(super) fn unread(to_head: bool) -> Self {
        Self { to_head, modern: true, persists: false, takes_trailers: false }
    }
}

/// What became of an answer.
pub(super) enum Sent {
    /// The client has it.
    Whole,
    /// It broke off where it came from; the client must be able to see that.
    Broken,
    /// The client has gone.
    Lost,
}

/// How the body of the answer ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// There is none.
    Nothing,
    /// As the head says.
    Length,
    /// With a last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// One answer that is being sent.
pub(super) struct Answer {
    body: ReplyBody,
    framing: Framing,
    /// The connection ends with it.
    closes: bool,
    /// Trailer fields that may pass.
    trailers: Vec<HeaderName>,
    /// The head, or the line before a chunk; how much of it is written.
    out: Vec<u8>,
    written: usize,
    piece: Bytes,
    /// The piece, if it is in a pipe.
    pipe: Option<Pipe>,
    /// What follows the piece.
    tail: &'static [u8],
    /// Nothing more comes of the body.
    ended: bool,
    waits_for_client: bool,
}

impl Answer {
    /// Writes the head into `out`. `stopping`: no request is taken after this one.
    pub(super) fn new(
        asked: Asked,
        reply: Reply<ReplyBody>,
        (stopping, date): (bool, Line),
        (mut out, wire): (Vec<u8>, &Wire),
    ) -> Self {
        let (status, body) = (reply.status, &reply.body);
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        let bodiless = switches || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        let exact = body.size_hint().exact();
        let framing = match exact {
            _ if bodiless || asked.to_head => Framing::Nothing,
            Some(_) => Framing::Length,
            None if asked.modern => Framing::Chunked,
            None => Framing::Close,
        };
        // What the client may still be sending belongs to this request, and nobody would read it.
        // Nor does anybody wait for what an app that says no has not read.
        let refused = status.as_u16() >= 400 && wire.size_hint().lower() > ENDPOINT_LIMIT as u64;
        let abandoned = !wire.complete() && (body.is_end_stream() || wire.waits_for_invitation() || refused);
        let asks_to_close = reply.headers.get(&CONNECTION).is_some_and(|value| value == "close");
        let closes = !switches
            && (!asked.persists || stopping || framing == Framing::Close || abandoned || asks_to_close);
        let trailers = match framing {
            Framing::Chunked if asked.takes_trailers => announced(&reply),
            _ => Vec::new(),
        };
        status_line(&mut out, status);
        // A length belongs to the body that would be sent, but not to one that may not be (RFC 9110 §8.6).
        let frames = framing != Framing::Nothing || status == StatusCode::NO_CONTENT;
        let (mut measured, mut cached, mut dated) = (false, false, false);
        reply.passed.write(&mut out, |name, _| {
            match name {
                // The one that passes is what we count by.
                b"content-length" if framing == Framing::Length => measured = true,
                b"content-length" => return !frames,
                b"cache-control" => cached = true,
                b"date" => dated = true,
                _ => {}
            }
            true
        });
        for (name, value) in reply.headers.iter() {
            let of_connection = *name == TRANSFER_ENCODING || (*name == CONNECTION && !switches);
            if of_connection || (frames && *name == CONTENT_LENGTH) {
                continue;
            }
            cached |= *name == CACHE_CONTROL;
            dated |= *name == DATE;
            put(&mut out, name.as_str().as_bytes(), value.as_bytes());
        }
        match (framing, exact) {
            (Framing::Length, Some(length)) if !measured => length_line(&mut out, length),
            (Framing::Nothing, Some(length))
                if asked.to_head && !bodiless && length > 0 && !reply.says(&CONTENT_LENGTH) =>
            {
                length_line(&mut out, length);
            }
            (Framing::Chunked, _) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            _ => {}
        }
        if closes {
            out.extend_from_slice(b"connection: close\r\n");
        } else if !asked.modern {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        if reply.private && !cached {
            out.extend_from_slice(b"cache-control: private\r\n");
        }
        if !dated {
            out.extend_from_slice(&date);
        }
        out.extend_from_slice(b"\r\n");
        Self {
            body: reply.body,
            framing,
            closes,
            trailers,
            out,
            written: 0,
            piece: Bytes::new(),
            pipe: None,
            tail: b"",
            ended: framing == Framing::Nothing,
            waits_for_client: false,
        }
    }

    /// The buffer that was written into, once it is not needed any more.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Whether the connection ends with this answer.
    pub(super) fn closes(&self) -> bool {
        self.closes
    }

    /// Whether the end of the connection is the end of the body.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.framing == Framing::Close
    }

    /// Whether it is the client that has to act: to read.
    pub(super) fn waits_for_client(&self) -> bool {
        self.waits_for_client
    }

    /// The client was given all of it.
    pub(super) fn whole(&mut self) {
        self.body.whole();
    }

    /// The tunnel that follows, if one does, and what is written down of it.
    pub(super) fn take_tunnel(&mut self) -> Option<(Box<Tunnel>, Option<Opened>)> {
        self.body.take_tunnel()
    }

    /// Sends what can be sent; ready at the end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, wire: &RefCell<Wire>) -> Poll<Sent> {
        loop {
            let piped = self.framing == Framing::Length && wire.borrow().takes_pipes();
            let next = self.poll_piece(cx, piped);
            if let Poll::Ready(Err(ending)) = next {
                // A client that hears nothing at all on a connection that it used before may ask once more, though the
                // app has acted: what there is of the answer goes out.
                if ending == Ending::App {
                    let _ = self.poll_write(cx, &mut wire.borrow_mut());
                }
                return Poll::Ready(Sent::Broken);
            }
            // Borrowed for this alone: who drives the upload reads from it.
            let written = self.poll_write(cx, &mut wire.borrow_mut());
            match written {
                Poll::Ready(Ok(())) => self.waits_for_client = false,
                Poll::Ready(Err(_)) => return Poll::Ready(Sent::Lost),
                Poll::Pending => {
                    self.waits_for_client = true;
                    self.body.stalled(&mut self.piece);
                    // The app may have to hear more before the client has read enough.
                    return self.body.drive(cx).map(|()| Sent::Broken);
                }
            }
            if self.ended {
                return Poll::Ready(Sent::Whole);
            }
            if next.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Takes the next piece of the body, once the one before is on its way.
    fn poll_piece(&mut self, cx: &mut Context<'_>, piped: bool) -> Poll<Result<(), Ending>> {
        if self.ended || self.pipe.is_some() || !self.piece.is_empty() || !self.tail.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let chunked = self.framing == Framing::Chunked;
        match ready!(self.body.poll_piece(cx, piped)) {
            Some(Ok(Piece::Pipe(pipe))) => {
                self.ended = self.body.is_end_stream();
                self.pipe = Some(pipe);
            }
            Some(Ok(Piece::Frame(frame))) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    self.ended = self.body.is_end_stream();
                    if chunked {
                        chunk_line(&mut self.out, data.len());
                        self.tail = if self.ended { b"\r\n0\r\n\r\n" } else { b"\r\n" };
                    }
                    // Only the last one: nothing is copied behind it.
                    if self.ended && data.len() <= SMALL {
                        self.out.extend_from_slice(&data);
                        self.out.extend_from_slice(std::mem::take(&mut self.tail));
                        return Poll::Ready(Ok(()));
                    }
                    self.piece = data;
                }
                Err(frame) => {
                    self.ended = true;
                    if chunked {
                        self.write_trailers(&frame.into_trailers().unwrap_or_default());
                    }
                }
            },
            None => {
                self.ended = true;
                if chunked {
                    self.tail = b"0\r\n\r\n";
                }
            }
            Some(Err(error)) => return Poll::Ready(Err(Ending::of(&error))),
        }
        Poll::Ready(Ok(()))
    }

    fn write_trailers(&mut self, trailers: &HeaderMap) {
        self.out.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.iter().filter(|(name, _)| self.trailers.contains(name)) {
            put(&mut self.out, name.as_str().as_bytes(), value.as_bytes());
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Writes all that is ready to be written, in one call where possible.
    fn poll_write(&mut self, cx: &mut Context<'_>, wire: &mut Wire) -> Poll<std::io::Result<()>> {
        loop {
            let head = &self.out[self.written..];
            if head.is_empty() && self.piece.is_empty() && self.tail.is_empty() {
                self.out.clear();
                self.written = 0;
                // Nothing is left of it, but it holds the buffer that it was read into.
                self.piece = Bytes::new();
                while let Some(pipe) = self.pipe.as_mut().filter(|pipe| !pipe.is_empty()) {
                    ready!(wire.poll_drain(cx, pipe))?;
                }
                self.pipe = None;
                return wire.poll_flush(cx);
            }
            let slices = [IoSlice::new(head), IoSlice::new(&self.piece), IoSlice::new(self.tail)];
            let slices = if self.piece.is_empty() && self.tail.is_empty() { &slices[..1] } else { &slices };
            let count = ready!(wire.poll_write(cx, slices))?;
            let of_head = count.min(head.len());
            let of_piece = (count - of_head).min(self.piece.len());
            self.written += of_head;
            self.piece.advance(of_piece);
            self.tail = &self.tail[count - of_head - of_piece..];
        }
    }
}

/// The trailer fields that the head announces.
fn announced(reply: &Reply<ReplyBody>) -> Vec<HeaderName> {
    let passed = reply.passed.get_all(&TRAILER).map(Value::as_bytes);
    let lines = passed.chain(reply.headers.get_all(&TRAILER).map(HeaderValue::as_bytes));
    lines
        .flat_map(|line| line.split(|&b| b == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

fn status_line(out: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn length_line(out: &mut Vec<u8>, length: u64) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "content-length: {length}\r\n");
}

fn chunk_line(out: &mut Vec<u8>, length: usize) {
    let _ = write!(out, "{length:x}\r\n");
}
