//! A client's HTTP/1.1 connection as both see it who use it at the same time: the loop that answers its requests,
//! and the body of the request that is being answered.

use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncReadExt as _, AsyncWrite};

use crate::http::buffers::{Buffers, make_room};
use crate::http::chunked::{Chunked, Piece};
use crate::http::pipe::{self, Pipe};
use crate::http::socket::Socket;

/// What is read at a time of a body in chunks, at first and once it proves to be large, in bytes.
const READS: [usize; 2] = [16 * 1024, 48 * 1024];
/// The least and the most that is read at a time of a body that says its length, in bytes: one of 64 KiB as a whole.
const MEASURED: [u64; 2] = [4 * 1024, 64 * 1024];

/// What a client hears whose body is wanted (RFC 9110 §10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Most of what is kept for a client that does not read what precedes an answer, in bytes.
const MOST_UNHEARD: usize = 16 * 1024;

/// How the body of a request ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// After this many bytes, which may be none.
    Exactly(u64),
    /// With its last chunk.
    Chunked,
}

/// What is still to come of the request that is being answered.
enum Coming {
    /// Nothing: what follows is the next request.
    Nothing,
    /// This many bytes, at least one.
    Bytes(u64),
    /// Chunks.
    Chunks(Chunked),
    /// Nobody knows: it broke off, or its framing is broken. What follows is nothing that could be read.
    Broken,
}

/// A client's connection.
pub struct Wire {
    socket: Socket,
    buffers: Rc<Buffers>,
    /// What was read and belongs to nobody yet.
    pub unread: BytesMut,
    coming: Coming,
    /// What of [`CONTINUE`] the client has yet to hear before it sends its body.
    invitation: &'static [u8],
    /// What else the client has yet to hear before its answer: interim ones.
    ahead: BytesMut,
    /// It may be told so: it speaks HTTP/1.1.
    modern: bool,
    /// Which of [`READS`] comes next.
    pace: usize,
    /// Bytes that were written so far: every byte of every answer passes here.
    pub sent: u64,
}

impl Wire {
    /// A connection on which nothing was said yet, which is lent these buffers.
    pub fn new(socket: Socket, buffers: Rc<Buffers>) -> Self {
        Self {
            socket,
            buffers,
            unread: BytesMut::new(),
            coming: Coming::Nothing,
            invitation: b"",
            ahead: BytesMut::new(),
            modern: false,
            pace: 0,
            sent: 0,
        }
    }

    /// The socket and what was read of it, for somebody who goes on without HTTP.
    pub fn into_parts(self) -> (Socket, BytesMut) {
        (self.socket, self.unread)
    }

    /// The socket.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Reads once into `unread`, in which there will be room for `size` bytes or some less.
    ///
    /// Through `AsyncRead` rather than `try_read_buf`: only the former notes that a short read has emptied the
    /// socket, which spares the system call that would find out.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, size: usize) -> Poll<io::Result<usize>> {
        make_room(&mut self.unread, size);
        let count = ready!(pin!(self.socket.read_buf(&mut self.unread)).poll(cx))?;
        Poll::Ready(Ok(count))
    }

    /// Writes what the socket takes.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = Pin::new(&mut self.socket);
        let count = match slices {
            [one] => ready!(socket.poll_write(cx, one))?,
            several => ready!(socket.poll_write_vectored(cx, several))?,
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.sent += count as u64;
        Poll::Ready(Ok(count))
    }

    /// Whether an answer can come through a pipe.
    pub fn takes_pipes(&self) -> bool {
        self.socket.end().is_some()
    }

    /// Writes what the socket takes of what is in a pipe, which is something.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<()>> {
        let Some(end) = self.socket.end() else { return Poll::Ready(Err(io::ErrorKind::Unsupported.into())) };
        self.sent += ready!(pipe.poll_drain(cx, &end))? as u64;
        Poll::Ready(Ok(()))
    }

    /// Has what was written sent; only TLS keeps something back.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(_) | Socket::Begun(_) => Poll::Ready(Ok(())),
            socket @ Socket::Tls(_) => Pin::new(socket).poll_flush(cx),
        }
    }

    /// A request has come whose body follows; the client may wait for an invitation to send it, and knows of interim
    /// answers if it is `modern`.
    pub fn expect(&mut self, length: Length, invited: bool, modern: bool) {
        self.modern = modern;
        self.coming = match length {
            Length::Exactly(0) => Coming::Nothing,
            Length::Exactly(count) => Coming::Bytes(count),
            Length::Chunked => Coming::Chunks(Chunked::default()),
        };
        self.pace = 0;
        self.invitation = if invited && !self.complete() { CONTINUE } else { b"" };
    }

    /// What comes is not believed any more.
    pub fn give_up(&mut self) {
        self.coming = Coming::Broken;
    }

    /// Whether the request has come to its end.
    pub fn complete(&self) -> bool {
        matches!(self.coming, Coming::Nothing)
    }

    /// Whether the client holds its body back until it is told that it is wanted.
    pub fn waits_for_invitation(&self) -> bool {
        self.invitation.len() == CONTINUE.len() && self.unread.is_empty() && !self.complete()
    }

    /// How much of the body is still to come.
    pub fn size_hint(&self) -> SizeHint {
        match self.coming {
            Coming::Nothing => SizeHint::with_exact(0),
            Coming::Bytes(left) => SizeHint::with_exact(left),
            Coming::Chunks(_) | Coming::Broken => SizeHint::default(),
        }
    }

    /// The next piece of the body, in a pipe if that is wanted (`piped`), possible and worth it.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>, piped: bool) -> Poll<Option<io::Result<pipe::Piece>>> {
        if piped && let Some(pipe) = ready!(self.poll_fill(cx)) {
            return Poll::Ready(Some(pipe.map(pipe::Piece::Pipe)));
        }
        self.poll_frame(cx).map(|frame| frame.map(|frame| frame.map(pipe::Piece::Frame)))
    }

    /// Moves what comes of the body into a pipe. `None` if it has to be read.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Pipe>>> {
        let Coming::Bytes(left) = self.coming else { return Poll::Ready(None) };
        let heard = self.invitation.is_empty() && self.ahead.is_empty();
        if left < pipe::BULK || !self.unread.is_empty() || !heard {
            return Poll::Ready(None);
        }
        let Some(end) = self.socket.end() else { return Poll::Ready(None) };
        let Some(mut pipe) = self.buffers.pipe() else { return Poll::Ready(None) };
        self.buffers.read(std::mem::take(&mut self.unread));
        let Some(moved) = ready!(pipe.poll_fill(cx, &end, left)) else { return Poll::Ready(None) };
        let moved = moved.and_then(|count| match count {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count as u64),
        });
        let Ok(count) = moved else {
            self.coming = Coming::Broken;
            return Poll::Ready(moved.err().map(Err));
        };
        self.coming = if count == left { Coming::Nothing } else { Coming::Bytes(left - count) };
        Poll::Ready(Some(Ok(pipe)))
    }

    /// The next piece of the body.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.poll_rest(cx);
        loop {
            match self.piece() {
                Ok(Some(frame)) => {
                    // It did not wait.
                    if self.invitation.len() == CONTINUE.len() {
                        self.invitation = b"";
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Ok(None) if self.complete() => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => {
                    self.coming = Coming::Broken;
                    return Poll::Ready(Some(Err(error)));
                }
            }
            let polled = match ready!(self.poll_invite(cx)) {
                Ok(()) => ready!(self.poll_more(cx)),
                Err(error) => Err(error),
            };
            match polled {
                Ok(1..) => {
                    let full = self.unread.len() == self.unread.capacity();
                    self.pace = if full { (self.pace + 1).min(READS.len() - 1) } else { self.pace };
                }
                ended => {
                    self.coming = Coming::Broken;
                    let error = ended.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    /// Reads more of the body. Who has to wait for it holds no buffer.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.unread.capacity() == 0 {
            self.unread = self.buffers.to_read();
        }
        let size = match self.coming {
            Coming::Bytes(left) => usize::try_from(left.clamp(MEASURED[0], MEASURED[1])).unwrap_or(READS[0]),
            _ => READS[self.pace],
        };
        let polled = self.poll_read(cx, size);
        if polled.is_pending() && self.unread.is_empty() {
            self.buffers.read(std::mem::take(&mut self.unread));
        }
        polled
    }

    /// Of a body of which some came with its head, what else is there comes along: all of it is one piece then.
    fn poll_rest(&mut self, cx: &mut Context<'_>) {
        let some = !self.unread.is_empty() && self.invitation.len() != CONTINUE.len();
        if matches!(self.coming, Coming::Bytes(left) if some && (self.unread.len() as u64) < left) {
            // Whatever is wrong is found again by who asks for the next piece.
            let _ = self.poll_more(cx);
        }
    }

    /// Takes what is there of the body. `None` if nothing is, or nothing more comes.
    fn piece(&mut self) -> io::Result<Option<Frame<Bytes>>> {
        match &mut self.coming {
            Coming::Nothing => Ok(None),
            Coming::Broken => Err(io::ErrorKind::InvalidData.into()),
            Coming::Bytes(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(self.unread.len());
                if most == 0 {
                    return Ok(None);
                }
                *left -= most as u64;
                let data = self.unread.split_to(most).freeze();
                if *left == 0 {
                    self.coming = Coming::Nothing;
                    // Who waits for the answer holds no buffer.
                    if self.unread.is_empty() {
                        self.buffers.read(std::mem::take(&mut self.unread));
                    }
                }
                Ok(Some(Frame::data(data)))
            }
            Coming::Chunks(chunked) => match chunked.take(&mut self.unread)? {
                Piece::Data(data) => Ok(Some(Frame::data(data))),
                Piece::Trailers(trailers) => {
                    self.coming = Coming::Nothing;
                    Ok((!trailers.is_empty()).then(|| Frame::trailers(trailers)))
                }
                Piece::Nothing => Ok(None),
            },
        }
    }

    /// Has the client hear an interim answer (RFC 9110 §15.2) before the final one, unless it has much to hear already.
    pub fn inform(&mut self, head: &[u8]) {
        if self.modern && self.ahead.len() + head.len() <= MOST_UNHEARD {
            self.ahead.extend_from_slice(head);
        }
    }

    /// Tells the client what it has yet to hear before its answer.
    pub fn poll_inform(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if self.is_being_invited() {
            ready!(self.poll_invite(cx))?;
        }
        ready!(self.poll_ahead(cx))?;
        self.poll_flush(cx)
    }

    /// Leaves to whoever sends the answer what has to precede it.
    pub fn unheard(&mut self, out: &mut Vec<u8>) {
        if self.is_being_invited() {
            out.extend_from_slice(std::mem::take(&mut self.invitation));
        }
        out.extend_from_slice(&self.ahead);
        self.ahead = BytesMut::new();
    }

    /// The client is not to be told any more that its body is wanted: its answer begins.
    pub fn withdraw(&mut self) {
        self.invitation = &[];
    }

    /// Whether the client has heard a part of its invitation.
    fn is_being_invited(&self) -> bool {
        (1..CONTINUE.len()).contains(&self.invitation.len())
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ahead.is_empty() {
            let mut ahead = std::mem::take(&mut self.ahead);
            let polled = self.poll_write(cx, &[io::IoSlice::new(&ahead)]);
            if let Poll::Ready(Ok(count)) = polled {
                ahead.advance(count);
            }
            self.ahead = ahead;
            ready!(polled)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Tells the client that its body is wanted, if it waits for that.
    fn poll_invite(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_being_invited() {
            ready!(self.poll_ahead(cx))?;
        }
        while !self.invitation.is_empty() {
            let invitation = self.invitation;
            let count = ready!(self.poll_write(cx, &[io::IoSlice::new(invitation)]))?;
            self.invitation.advance(count);
        }
        self.poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn what_a_client_has_yet_to_hear_is_bounded_and_nothing_for_one_that_knows_of_none() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let _client =
            TcpStream::connect(listener.local_addr().expect("an address")).await.expect("it listens");
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut wire = Wire::new(Socket::Plain(stream), Rc::default());
        for (modern, most) in [(true, MOST_UNHEARD), (false, 0)] {
            wire.expect(Length::Exactly(0), false, modern);
            for _ in 0..8 {
                wire.inform(&[b'x'; MOST_UNHEARD / 4]);
            }
            let mut out = Vec::new();
            wire.unheard(&mut out);
            assert_eq!(out.len(), most);
            wire.unheard(&mut out);
            assert_eq!(out.len(), most, "once");
        }
    }
}
