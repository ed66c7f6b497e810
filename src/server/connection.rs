//! One connection of a client, from the socket to its orderly end: TLS, the version of HTTP, the requests.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http::client::Peer;
use crate::server::tls::{H2, Tls};
use crate::server::watched::{Client, SMALLEST_BUFFER, Socket, Speaks, Watched};
use crate::server::worker::{Seat, Worker};
use crate::server::{front, proxy_protocol};

/// How an HTTP/2 connection begins that was not negotiated (RFC 9113 §3.4). No HTTP/1 request that we take
/// has a method of this name.
const PREFACE: &[u8; 4] = b"PRI ";
/// What is kept for a client that does not read, for each stream, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// Serves one connection to its end. The `seat` is taken for as long as the socket is open, as a tunnel too.
pub(super) async fn serve(worker: Rc<Worker>, stream: TcpStream, from: Peer, seat: Arc<Seat>) {
    let patience = worker.app.config.limits.head_timeout;
    // Boxed: what happens once is no part of what an idle connection keeps.
    let begun = Box::pin(in_time(&worker, patience, begin(&worker, stream, from, &seat))).await;
    match begun {
        Some(Ok((peer, socket, speaks))) => speak(worker, socket, peer, seat, speaks).await,
        Some(Err(error)) => tracing::debug!(peer = %from.address, %error, "a connection that did not begin"),
        None => tracing::debug!(peer = %from.address, "a connection took too long to begin"),
    }
}

/// Who is there in truth, and what is spoken.
async fn begin(
    worker: &Worker,
    mut stream: TcpStream,
    from: Peer,
    seat: &Seat,
) -> io::Result<(Peer, Socket, Speaks)> {
    let peer = proxy_protocol::peer(&mut stream, from, &worker.app.config).await?;
    if peer.ip() != from.ip() && !seat.is_for(peer.ip()) {
        return Err(io::Error::other("too many connections for one client"));
    }
    let (socket, speaks) = match &worker.tls {
        Some(tls) => encrypted(tls, stream).await?,
        None => plain(stream).await?,
    };
    Ok((peer, socket, speaks))
}

async fn encrypted(tls: &Tls, stream: TcpStream) -> io::Result<(Socket, Speaks)> {
    let stream = tls.acceptor().accept(stream).await?;
    let negotiated = stream.get_ref().1.alpn_protocol();
    let speaks = if negotiated == Some(H2) { Speaks::Http2 } else { Speaks::Http1 };
    Ok((Socket::Tls(Box::new(stream)), speaks))
}

async fn plain(stream: TcpStream) -> io::Result<(Socket, Speaks)> {
    let mut start = [0; PREFACE.len()];
    stream.peek(&mut start).await?;
    let speaks = if &start == PREFACE { Speaks::Http2 } else { Speaks::Http1 };
    Ok((Socket::Plain(stream), speaks))
}

/// What comes of `future`, unless it takes longer than `patience` or the worker stops.
pub(super) async fn in_time<T>(
    worker: &Worker,
    patience: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let deadline = worker.ticker.deadline();
    deadline.arm(patience);
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending if worker.stopping() => Poll::Ready(None),
        Poll::Pending => deadline.poll(cx).map(|()| None),
    })
    .await
}

async fn speak(worker: Rc<Worker>, socket: Socket, peer: Peer, seat: Arc<Seat>, speaks: Speaks) {
    let limits = worker.app.config.limits;
    let client = Arc::new(Client::new(peer, speaks, &limits, &worker.ticker));
    let io = TokioIo::new(Watched::new(socket, Arc::clone(&client), seat, limits, &worker.ticker));
    let ended = match speaks {
        Speaks::Http1 => http1(&worker, &client, io).await,
        // Boxed: it is larger, and there are fewer of them.
        Speaks::Http2 => Box::pin(http2(&worker, &client, io)).await,
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer.address, %error, "connection ended");
    }
    if let Some(socket) = client.take_cut_short() {
        // Boxed: its buffer need not be part of every connection.
        Box::pin(linger(socket)).await;
    }
}

async fn http1(worker: &Rc<Worker>, client: &Arc<Client>, io: TokioIo<Watched>) -> hyper::Result<()> {
    let service = service_fn(|request| front::answer(Rc::clone(worker), Arc::clone(client), request));
    let connection = http1::Builder::new()
        .max_buf_size(worker.app.config.limits.head.max(SMALLEST_BUFFER))
        .header_read_timeout(None)
        .serve_connection(io, service)
        .with_upgrades();
    until_stopped(worker, pin!(connection), http1::UpgradeableConnection::graceful_shutdown).await
}

async fn http2(worker: &Rc<Worker>, client: &Arc<Client>, io: TokioIo<Watched>) -> hyper::Result<()> {
    let service = service_fn(|request| front::answer(Rc::clone(worker), Arc::clone(client), request));
    let limits = &worker.app.config.limits;
    let head = u32::try_from(limits.head).unwrap_or(u32::MAX);
    let connection = http2::Builder::new(OnThisThread)
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(head)
        // CVE-2023-44487, CVE-2025-8671.
        .max_local_error_reset_streams(limits.resets)
        .max_pending_accept_reset_streams(limits.resets)
        .enable_connect_protocol()
        .serve_connection(io, service);
    until_stopped(worker, pin!(connection), http2::Connection::graceful_shutdown).await
}

/// Polls a connection to its end, and tells it once when no further request shall be taken.
///
/// Asked at every turn rather than awaited beside it: a stop is rare, and the ticker wakes everybody for it.
async fn until_stopped<C: Future>(
    worker: &Worker,
    mut connection: Pin<&mut C>,
    stop: fn(Pin<&mut C>),
) -> C::Output {
    let mut told = false;
    poll_fn(|cx| {
        if worker.stopping() && !told {
            told = true;
            stop(connection.as_mut());
        }
        connection.as_mut().poll(cx)
    })
    .await
}

/// Runs the streams of an HTTP/2 connection on the thread of the connection.
#[derive(Clone, Copy)]
struct OnThisThread;

impl<F: Future + 'static> Executor<F> for OnThisThread {
    fn execute(&self, stream: F) {
        tokio::task::spawn_local(async move {
            stream.await;
        });
    }
}

/// How long is listened to a client that has been answered and is still sending.
const LINGER: Duration = Duration::from_secs(2);

/// Ends our side and reads away what the client still sends: to close at once would reset the connection, and
/// the client could lose the answer before it has read it (RFC 9112 §9.6).
pub(super) async fn linger(mut socket: impl AsyncRead + AsyncWrite + Unpin) {
    let read_away = async {
        socket.shutdown().await?;
        let mut buffer = [0; 4096];
        while socket.read(&mut buffer).await? > 0 {}
        io::Result::Ok(())
    };
    // Whether the client hears of it or not, the connection is over.
    let _ = timeout(LINGER, read_away).await;
}
