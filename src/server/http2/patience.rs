//! How long an HTTP/2 connection is waited for: between its requests, and while the client reads nothing.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::Limits;
use crate::http::socket::Socket;
use crate::proxy::ticker::{Deadline, Ticker};
use crate::server::http2::frames::Frames;

/// What a connection and its requests tell each other.
pub(super) struct Client {
    /// Requests that may still come.
    left: Cell<u64>,
    /// Streams that are open; as long as there are any, silence is no idleness.
    open: Cell<u32>,
    /// For the next request.
    silence: Deadline,
    keep_alive: Duration,
    /// The socket, once hyper is done with it.
    socket: RefCell<Option<Socket>>,
}

impl Client {
    /// A client that has just connected.
    pub(super) fn new(limits: &Limits, ticker: &Ticker) -> Self {
        let silence = ticker.deadline();
        silence.arm(limits.keep_alive);
        let left = Cell::new(limits.requests_per_connection);
        Self { left, open: Cell::new(0), silence, keep_alive: limits.keep_alive, socket: RefCell::default() }
    }

    /// Whether it shall make no more requests here.
    pub(super) fn has_had_enough(&self) -> bool {
        self.left.get() == 0
    }

    /// A request has come.
    pub(super) fn asks(&self) {
        self.left.set(self.left.get().saturating_sub(1));
    }

    /// A stream has been opened, for a request or for the tunnel that it led to.
    pub(super) fn opens(self: &Rc<Self>) -> Open {
        self.open.set(self.open.get() + 1);
        self.silence.disarm();
        Open(Rc::clone(self))
    }

    /// The socket, once hyper is done with it.
    pub(super) fn take_socket(&self) -> Option<Socket> {
        self.socket.take()
    }
}

/// One stream, open as long as this is kept: until its answer is sent, it is given up or its tunnel ends.
pub(super) struct Open(Rc<Client>);

impl Drop for Open {
    fn drop(&mut self) {
        let client = &self.0;
        client.open.set(client.open.get().saturating_sub(1));
        if client.open.get() == 0 {
            client.silence.arm(client.keep_alive);
        }
    }
}

/// A socket that is not waited for without end.
pub(super) struct Patient {
    /// There until this is dropped.
    socket: Option<Socket>,
    client: Rc<Client>,
    frames: Frames,
    /// For a client that does not read what it asked for.
    stalled: Deadline,
    patience: Duration,
}

impl Drop for Patient {
    fn drop(&mut self) {
        *self.client.socket.borrow_mut() = self.socket.take();
    }
}

impl Patient {
    /// The socket of `client`.
    pub(super) fn new(socket: Socket, client: Rc<Client>, limits: &Limits, ticker: &Ticker) -> Self {
        let (frames, stalled) = (Frames::new(ticker), ticker.deadline());
        Self { socket: Some(socket), client, frames, stalled, patience: limits.body_idle }
    }

    fn socket(&mut self) -> io::Result<Pin<&mut Socket>> {
        self.socket.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Measures how long the client has taken nothing.
    fn patiently(&mut self, cx: &Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            self.stalled.disarm();
            if let Ok(count) = &written {
                self.frames.wrote(*count);
            }
            return Poll::Ready(written);
        }
        self.stalled.arm_once(self.patience);
        self.stalled.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match self.socket()?.poll_read(cx, buffer) {
            Poll::Ready(Ok(())) if !self.frames.read(&buffer.filled()[before..]) => {
                Poll::Ready(Err(io::Error::other("too many frames that carry nothing")))
            }
            Poll::Pending if self.client.open.get() == 0 => {
                self.client.silence.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
            polled => polled,
        }
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.socket()?.poll_write(cx, bytes);
        self.patiently(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.socket()?.poll_write_vectored(cx, slices);
        self.patiently(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_shutdown(cx)
    }
}
