//! The socket of a client, watched: its bytes looked at before the HTTP parser sees them, its patience measured.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::config::Limits;
use crate::http::client::Peer;
use crate::proxy::ticker::{Deadline, Ticker};
use crate::refusal::Refusal;
use crate::server::frames::Frames;
use crate::server::head_scan::HeadScan;
use crate::server::worker::Seat;

/// hyper's lower bound for its buffers, in bytes.
pub(super) const SMALLEST_BUFFER: usize = 8192;

/// A connection of a client, encrypted or not.
pub(super) enum Socket {
    /// As it is.
    Plain(TcpStream),
    /// Under TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Which HTTP a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP/1.1 or 1.0: one request after the other.
    Http1,
    /// HTTP/2: many at a time.
    Http2,
}

/// What a connection's bytes and its requests tell each other.
pub(super) struct Client {
    pub(super) peer: Peer,
    speaks: Speaks,
    /// Heads that were looked at and are not served yet.
    heads: AtomicU32,
    /// The head behind them is larger than it may be.
    too_large: AtomicBool,
    /// The connection left HTTP.
    switched: AtomicBool,
    /// Requests that are being answered; as long as there are any, silence is no idleness.
    open: AtomicU32,
    /// For the next head, or what is missing of it.
    silence: Deadline,
    keep_alive: Duration,
    /// The socket, if HTTP ended on it in the middle of what the client was saying.
    cut_short: Mutex<Option<Socket>>,
}

impl Client {
    /// A client that has just connected.
    pub(super) fn new(peer: Peer, speaks: Speaks, limits: &Limits, ticker: &Ticker) -> Self {
        let client = Self {
            peer,
            speaks,
            heads: AtomicU32::new(0),
            too_large: AtomicBool::new(false),
            switched: AtomicBool::new(false),
            open: AtomicU32::new(0),
            silence: ticker.deadline(),
            keep_alive: limits.keep_alive,
            cut_short: Mutex::default(),
        };
        client.silence.arm(match speaks {
            Speaks::Http1 => limits.head_timeout,
            Speaks::Http2 => limits.keep_alive,
        });
        client
    }

    /// The head of a request has come. Refused unless it was looked at and found sound; what HTTP/2 lets
    /// through needs no look of ours.
    pub(super) fn begin(&self) -> Result<(), Refusal> {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.silence.disarm();
        if self.speaks == Speaks::Http2 {
            return Ok(());
        }
        let looked_at = self.heads.load(Ordering::Relaxed);
        self.heads.store(looked_at.saturating_sub(1), Ordering::Relaxed);
        match looked_at {
            0 if self.too_large.load(Ordering::Relaxed) => Err(Refusal::HeadTooLarge),
            0 => Err(Refusal::BadFraming),
            _ => Ok(()),
        }
    }

    /// Whether each request has a stream of its own.
    pub(super) fn speaks_http2(&self) -> bool {
        self.speaks == Speaks::Http2
    }

    /// The connection leaves HTTP: it is a tunnel from here on.
    pub(super) fn switch(&self) {
        self.switched.store(true, Ordering::Relaxed);
    }

    /// The socket, if HTTP ended on it too early.
    pub(super) fn take_cut_short(&self) -> Option<Socket> {
        self.cut_short.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A request has been answered.
    pub(super) fn end(&self) {
        if self.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.silence.arm(self.keep_alive);
        }
    }
}

/// The socket, watched.
pub(super) struct Watched {
    /// There until this is dropped.
    socket: Option<Socket>,
    _seat: Arc<Seat>,
    client: Arc<Client>,
    /// Looks at the heads of HTTP/1.
    scan: HeadScan,
    /// Looks at the frames of HTTP/2.
    frames: Option<Box<Frames>>,
    /// A head has begun and is not complete.
    in_head: bool,
    /// For a client that does not read what it asked for.
    stalled: Deadline,
    limits: Limits,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.scan.between_messages() && !self.client.switched.load(Ordering::Relaxed) {
            *self.client.cut_short.lock().unwrap_or_else(PoisonError::into_inner) = self.socket.take();
        }
    }
}

impl Watched {
    /// Watches `socket` for `client`; the seat is taken as long as it is open.
    pub(super) fn new(
        socket: Socket,
        client: Arc<Client>,
        seat: Arc<Seat>,
        limits: Limits,
        ticker: &Ticker,
    ) -> Self {
        let mut scan = HeadScan::new(limits.head.max(SMALLEST_BUFFER));
        if client.speaks == Speaks::Http2 {
            scan.stop();
        }
        let frames = (client.speaks == Speaks::Http2).then(|| Box::new(Frames::new(ticker)));
        let stalled = ticker.deadline();
        Self { socket: Some(socket), _seat: seat, client, scan, frames, in_head: true, stalled, limits }
    }

    fn socket(&mut self) -> io::Result<Pin<&mut Socket>> {
        self.socket.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn look_at(&mut self, bytes: &[u8]) {
        let client = &*self.client;
        if client.speaks == Speaks::Http2 {
            return;
        }
        if client.switched.load(Ordering::Relaxed) {
            self.scan.stop();
            return;
        }
        let found = self.scan.feed(bytes);
        if found.too_large {
            client.too_large.store(true, Ordering::Relaxed);
        }
        if found.heads > 0 {
            client.heads.fetch_add(found.heads, Ordering::Relaxed);
            self.in_head = false;
        } else if found.head_bytes && !self.in_head {
            self.in_head = true;
            client.silence.arm(self.limits.head_timeout);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match self.socket()?.poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                let bytes = &buffer.filled()[before..];
                if self.frames.as_mut().is_some_and(|frames| !frames.read(bytes)) {
                    return Poll::Ready(Err(io::Error::other("too many frames that carry nothing")));
                }
                self.look_at(bytes);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(error) => Poll::Ready(error),
            Poll::Pending if self.client.open.load(Ordering::Relaxed) > 0 => Poll::Pending,
            Poll::Pending => self.client.silence.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl Watched {
    /// Measures how long the client has taken nothing.
    fn patiently(&mut self, cx: &Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            self.stalled.disarm();
            if let (Some(frames), Ok(count)) = (&mut self.frames, &written) {
                frames.wrote(*count);
            }
            return Poll::Ready(written);
        }
        self.stalled.arm_once(self.limits.body_idle);
        self.stalled.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Watched {
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

/// Does the same on either kind of socket.
macro_rules! either {
    ($socket:expr, $stream:ident => $body:expr) => {
        match $socket.get_mut() {
            Socket::Plain($stream) => {
                let $stream = Pin::new($stream);
                $body
            }
            Socket::Tls($stream) => {
                let $stream = Pin::new(&mut **$stream);
                $body
            }
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }
}
