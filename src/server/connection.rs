//! One connection of a client: its bytes looked at before the HTTP parser sees them, its patience measured,
//! its end orderly.

use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use crate::config::Limits;
use crate::proxy::response::UpstreamBody;
use crate::proxy::ticker::Deadline;
use crate::refusal::Refusal;
use crate::server::front;
use crate::server::head_scan::HeadScan;
use crate::server::worker::{Seat, Worker};

/// hyper's lower bound for its buffers, in bytes.
const SMALLEST_BUFFER: usize = 8192;

/// What a connection's bytes and its requests tell each other.
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    /// Heads that were looked at and are not served yet.
    heads: AtomicU32,
    /// The head behind them is larger than it may be.
    too_large: AtomicBool,
    /// The connection left HTTP.
    switched: AtomicBool,
    /// A request is being answered, so that silence is no idleness.
    busy: AtomicBool,
    /// For the next head, or what is missing of it.
    silence: Deadline,
    keep_alive: Duration,
    /// The socket, if HTTP ended on it in the middle of what the client was saying.
    cut_short: Mutex<Option<TcpStream>>,
}

impl Client {
    /// The head of a request has come. Refused unless it was looked at and found sound.
    pub(super) fn begin(&self) -> Result<(), Refusal> {
        self.busy.store(true, Ordering::Relaxed);
        self.silence.disarm();
        let looked_at = self.heads.load(Ordering::Relaxed);
        self.heads.store(looked_at.saturating_sub(1), Ordering::Relaxed);
        match looked_at {
            0 if self.too_large.load(Ordering::Relaxed) => Err(Refusal::HeadTooLarge),
            0 => Err(Refusal::BadFraming),
            _ => Ok(()),
        }
    }

    /// The connection leaves HTTP: it is a tunnel from here on.
    pub(super) fn switch(&self) {
        self.switched.store(true, Ordering::Relaxed);
    }

    fn take_cut_short(&self) -> Option<TcpStream> {
        self.cut_short.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn end(&self) {
        self.busy.store(false, Ordering::Relaxed);
        self.silence.arm(self.keep_alive);
    }
}

/// Serves one connection to its end. The `seat` is taken for as long as the socket is open, as a tunnel too.
pub(super) async fn serve(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr, seat: Arc<Seat>) {
    let limits = worker.app.config.limits;
    let client = Arc::new(Client {
        peer,
        heads: AtomicU32::new(0),
        too_large: AtomicBool::new(false),
        switched: AtomicBool::new(false),
        busy: AtomicBool::new(false),
        silence: worker.ticker.deadline(),
        keep_alive: limits.keep_alive,
        cut_short: Mutex::default(),
    });
    client.silence.arm(limits.head_timeout);
    let io = Watched {
        stream: Some(stream),
        _seat: Arc::clone(&seat),
        client: Arc::clone(&client),
        scan: HeadScan::new(limits.head.max(SMALLEST_BUFFER)),
        in_head: true,
        stalled: worker.ticker.deadline(),
        limits,
    };
    let service = service_fn(|request| front::answer(Rc::clone(&worker), Arc::clone(&client), request));
    let connection = http1::Builder::new()
        .max_buf_size(limits.head.max(SMALLEST_BUFFER))
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let ended = {
        let mut connection = pin!(connection);
        let mut told = false;
        // Asked at every turn rather than awaited beside it: a stop is rare, and the ticker wakes everybody
        // for it.
        poll_fn(|cx| {
            if worker.stopping() && !told {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            connection.as_mut().poll(cx)
        })
        .await
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
    if let Some(stream) = client.take_cut_short() {
        // Boxed: its buffer need not be part of every connection.
        Box::pin(linger(stream)).await;
    }
}

/// How long is listened to a client that has been answered and is still sending.
const LINGER: Duration = Duration::from_secs(2);

/// Ends our side and reads away what the client still sends: to close at once would reset the connection, and
/// the client could lose the answer before it has read it (RFC 9112 §9.6).
async fn linger(mut stream: TcpStream) {
    let read_away = async {
        stream.shutdown().await?;
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).await? > 0 {}
        io::Result::Ok(())
    };
    // Whether the client hears of it or not, the connection is over.
    let _ = tokio::time::timeout(LINGER, read_away).await;
}

/// The socket, watched.
struct Watched {
    /// There until this is dropped.
    stream: Option<TcpStream>,
    _seat: Arc<Seat>,
    client: Arc<Client>,
    scan: HeadScan,
    /// A head has begun and is not complete.
    in_head: bool,
    /// For a client that does not read what it asked for.
    stalled: Deadline,
    limits: Limits,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.scan.between_messages() && !self.client.switched.load(Ordering::Relaxed) {
            *self.client.cut_short.lock().unwrap_or_else(PoisonError::into_inner) = self.stream.take();
        }
    }
}

impl Watched {
    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn look_at(&mut self, bytes: &[u8]) {
        let client = &*self.client;
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
        match self.stream()?.poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                self.look_at(&buffer.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(error) => Poll::Ready(error),
            Poll::Pending if self.client.busy.load(Ordering::Relaxed) => Poll::Pending,
            Poll::Pending => self.client.silence.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl Watched {
    /// Measures how long the client has taken nothing.
    fn patiently<T>(&self, cx: &Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled.disarm();
            return written;
        }
        self.stalled.arm_once(self.limits.body_idle);
        self.stalled.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write(cx, bytes);
        self.patiently(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write_vectored(cx, slices);
        self.patiently(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}

/// The body of an answer; its end is the end of the request.
pub(super) struct ReplyBody {
    kind: Kind,
    client: Arc<Client>,
}

enum Kind {
    Own(Bytes),
    App(UpstreamBody),
}

impl ReplyBody {
    /// A body of ours.
    pub(super) fn own(client: Arc<Client>, body: Bytes) -> Self {
        Self { kind: Kind::Own(body), client }
    }

    /// A body of the app's.
    pub(super) fn app(client: Arc<Client>, body: UpstreamBody) -> Self {
        Self { kind: Kind::App(body), client }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        self.client.end();
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.kind {
            Kind::Own(body) if body.is_empty() => Poll::Ready(None),
            Kind::Own(body) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(body))))),
            Kind::App(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own(body) => body.is_empty(),
            Kind::App(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own(body) => SizeHint::with_exact(body.len() as u64),
            Kind::App(body) => body.size_hint(),
        }
    }
}
