//! The socket of an HTTP/2 connection: what its streams say in one turn leaves in one write, and one TLS record.
//!
//! The library writes and flushes each larger frame by itself. So its writes are gathered, its flushes do nothing, and
//! whoever polls the connection sends ([`Line::poll_send`]) once all have said what they had to say.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::buffers::Buffers;
use crate::http::socket::Socket;
use crate::proxy::ticker::{Deadline, TICK, Ticker};
use crate::server::http2::frames::Frames;
use crate::server::http2::patience::Client;

/// What is gathered at most, in bytes; a client that does not read holds up as much memory.
const MOST: usize = 32 * 1024;
/// A write of this many bytes is not worth a copy: it goes to the socket with what was gathered before.
const LARGE: usize = 8 * 1024;

/// The socket, what is to be written to it, and how long its client is waited for.
pub(super) struct Line {
    socket: Socket,
    /// What was gathered, and how much of it is written. It is lent as long as there is something in it.
    out: Vec<u8>,
    written: usize,
    /// TLS may have kept something back.
    unflushed: bool,
    buffers: Rc<Buffers>,
    client: Rc<Client>,
    frames: Frames,
    /// There was nothing more to be read in this turn, and who polls the connection is woken once there is.
    dry: bool,
    /// For a client that does not read what it asked for.
    stalled: Deadline,
    patience: Duration,
    /// It is to make room, which is measured instead.
    hurries: bool,
    /// For what has begun and does not come to its end.
    amid: Deadline,
    head_timeout: Duration,
    overdue: Overdue,
}

/// What did not come in time, as of the last time that nothing came from the client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overdue {
    Nothing,
    /// The rest of what has begun.
    Rest,
    /// Another request.
    Request,
}

impl Line {
    /// The socket of `client`, which is not waited for without end.
    pub(super) fn new(
        socket: Socket,
        client: Rc<Client>,
        (buffers, ticker): (&Rc<Buffers>, &Ticker),
        (patience, head_timeout): (Duration, Duration),
    ) -> Self {
        Self {
            socket,
            out: Vec::new(),
            written: 0,
            unflushed: false,
            buffers: Rc::clone(buffers),
            client,
            frames: Frames::new(ticker),
            dry: false,
            stalled: ticker.deadline(),
            patience,
            hurries: false,
            amid: ticker.deadline(),
            head_timeout,
            overdue: Overdue::Nothing,
        }
    }

    /// Measures how long something has begun and not come to its end.
    fn poll_amid(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.frames.have_headed() || !self.frames.are_amid_a_head() {
            self.amid.disarm();
        }
        if !self.frames.are_amid_a_head() {
            return Poll::Pending;
        }
        self.amid.arm_once(self.head_timeout);
        self.amid.poll(cx)
    }

    /// Whoever polls the connection begins to.
    pub(super) fn begin_turn(&mut self) {
        self.dry = false;
        self.frames.begin_turn();
    }

    /// A request was taken up. Whether the library may have another one for this turn.
    pub(super) fn take(&mut self) -> bool {
        self.frames.take() || !self.dry
    }

    /// The library has no more requests.
    pub(super) fn took_all(&mut self) {
        // Otherwise it may not have looked at all that came.
        if self.dry {
            self.frames.took_all();
        }
    }

    /// Whether a head did not come to its end in time.
    pub(super) fn has_timed_out(&self) -> bool {
        self.overdue == Overdue::Rest
    }

    /// Whether the client has asked for nothing for too long.
    pub(super) fn is_idle(&self) -> bool {
        self.overdue == Overdue::Request
    }

    /// The socket alone.
    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Sends what was gathered. Pending while the client does not read.
    ///
    /// # Errors
    /// If the connection is broken, or the client reads nothing for too long.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            ready!(self.poll_write_through(cx, &[]))?;
        }
        if self.unflushed {
            let flushed = Pin::new(&mut self.socket).poll_flush(cx);
            ready!(self.patiently(cx, flushed))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Measures how long the client has taken nothing.
    fn patiently<T>(&mut self, cx: &Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled.disarm();
            return polled;
        }
        // Somebody waits for the place of who has nothing under way; a request that comes meanwhile is one.
        let hurries = self.client.silence().was_cut_short();
        if std::mem::replace(&mut self.hurries, hurries) != hurries {
            self.stalled.disarm();
        }
        self.stalled.arm_once(if hurries { TICK } else { self.patience });
        self.stalled.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Gathers these bytes, or writes what it can of them.
    fn poll_gather(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = if bytes.len() < LARGE && self.out.len() + bytes.len() <= MOST {
            if self.out.capacity() == 0 {
                self.out = self.buffers.to_write();
            }
            self.out.extend_from_slice(bytes);
            bytes.len()
        } else {
            loop {
                let count = ready!(self.poll_write_through(cx, bytes))?;
                if count > 0 {
                    break count;
                }
            }
        };
        self.frames.wrote(count);
        Poll::Ready(Ok(count))
    }

    /// Writes what was gathered and as much as possible of these bytes, in one call: how many of these.
    fn poll_write_through(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let all = [IoSlice::new(&self.out[self.written..]), IoSlice::new(bytes)];
        let gathered = all[0].len();
        let socket = Pin::new(&mut self.socket);
        let polled = if bytes.is_empty() {
            socket.poll_write(cx, &all[0])
        } else {
            socket.poll_write_vectored(cx, &all)
        };
        let count = ready!(self.patiently(cx, polled))?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.unflushed = matches!(self.socket, Socket::Tls(_));
        self.written += count.min(gathered);
        if self.written == self.out.len() {
            self.written = 0;
            self.buffers.written(std::mem::take(&mut self.out));
        }
        Poll::Ready(Ok(count.saturating_sub(gathered)))
    }
}

/// What the library is given for a socket.
pub(super) struct Gathering(pub(super) Rc<RefCell<Line>>);

impl AsyncRead for Gathering {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let line = &mut *self.0.borrow_mut();
        // The library asks at least once for each request that it hands out.
        if line.dry {
            return Poll::Pending;
        }
        if line.frames.are_many() {
            line.dry = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut line.socket).poll_read(cx, buffer);
        line.dry = polled.is_pending();
        match polled {
            Poll::Ready(Ok(())) if !line.frames.read(&buffer.filled()[before..]) => {
                Poll::Ready(Err(io::Error::other("too many frames that carry nothing")))
            }
            Poll::Pending if line.poll_amid(cx).is_ready() => {
                line.overdue = Overdue::Rest;
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "a head does not come to its end")))
            }
            Poll::Pending => {
                let idle = line.client.poll_idle(cx).is_ready() && !line.frames.are_amid_a_head();
                line.overdue = if idle { Overdue::Request } else { Overdue::Nothing };
                Poll::Pending
            }
            polled @ Poll::Ready(_) => polled,
        }
    }
}

/// Takes no lists, for which the library makes room for 64 parts each time: what it has is two, and is gathered anyway.
impl AsyncWrite for Gathering {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_gather(cx, bytes)
    }

    /// What is gathered is sent by whoever polls the connection.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let line = &mut *self.0.borrow_mut();
        ready!(line.poll_send(cx))?;
        Pin::new(&mut line.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn line() -> (Rc<RefCell<Line>>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client =
            TcpStream::connect(listener.local_addr().expect("an address")).await.expect("it listens");
        let (stream, _) = listener.accept().await.expect("a connection");
        let ticker = Ticker::default();
        let known = Rc::new(Client::new(1, Duration::from_secs(1), None, &ticker));
        let (means, second) = ((&Rc::default(), &ticker), Duration::from_secs(1));
        (Rc::new(RefCell::new(Line::new(Socket::Plain(stream), known, means, (second, second)))), client)
    }

    #[tokio::test]
    async fn what_is_written_in_one_turn_leaves_in_one_write() {
        let (line, mut client) = line().await;
        let mut gathering = Gathering(Rc::clone(&line));
        for piece in ["one ", "two ", "three"] {
            gathering.write_all(piece.as_bytes()).await.expect("it is gathered");
            gathering.flush().await.expect("it is said to be sent");
        }
        let mut read = [0; 64];
        assert!(client.try_read(&mut read).is_err(), "nothing was sent");
        poll_fn(|cx| line.borrow_mut().poll_send(cx)).await.expect("it is sent");
        let count = client.read(&mut read).await.expect("it is there");
        assert_eq!(&read[..count], b"one two three");
        assert_eq!(line.borrow().out.capacity(), 0, "who waits holds no buffer");
    }

    #[tokio::test]
    async fn large_pieces_keep_their_place_and_what_is_gathered_is_bounded() {
        let (line, mut client) = line().await;
        let mut gathering = Gathering(Rc::clone(&line));
        gathering.write_all(b"first").await.expect("it is gathered");
        gathering.write_all(&[b'x'; LARGE]).await.expect("it is sent");
        let mut read = [0; 5 + LARGE];
        client.read_exact(&mut read).await.expect("it is there");
        assert!(read.starts_with(b"firstxxx"));
        for size in [1000, LARGE - 1, 2 * MOST] {
            let full = poll_fn(|cx| {
                while Pin::new(&mut gathering).poll_write(cx, &vec![b'x'; size]).is_ready() {}
                Poll::Ready(line.borrow().out.len())
            });
            assert!(full.await <= MOST);
        }
    }
}
