//! One connection of a client, from the socket to the version of HTTP that it speaks.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;

use crate::http::client::Peer;
use crate::http::socket::Socket;
use crate::metrics::worker::Awaiting;
use crate::server::crowd::Limit;
use crate::server::handshakes::Handshake;
use crate::server::http2::Hands;
use crate::server::seats::Seat;
use crate::server::tls::H2;
use crate::server::worker::Worker;
use crate::server::{http1, http2, plain_http, proxy_protocol};

/// Which HTTP a connection speaks, as far as that was negotiated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    /// HTTP/1.1 or 1.0: one request after the other. A client that says so by its first bytes speaks HTTP/2.
    Http1,
    /// HTTP/2: many at a time.
    Http2,
}

/// Serves one connection to its end, its requests by HTTP/2 by these `hands`. The `seat` is taken for as long as the
/// socket is open, as a tunnel too; the `turn`, which whoever is to be encrypted has, until it has a place among the
/// handshakes.
pub(super) async fn serve(
    worker: Rc<Worker>,
    hands: Rc<Hands>,
    stream: TcpStream,
    from: Peer,
    (seat, turn): (Rc<Seat>, Option<OwnedSemaphorePermit>),
) {
    let patience = worker.app.config.limits.head_timeout;
    // Boxed: what happens once is no part of what an idle connection keeps.
    let begun = Box::pin(in_time(&worker, patience, begin(&worker, stream, from, (&seat, turn)))).await;
    match begun {
        Some(Ok((peer, socket, Speaks::Http1))) => {
            if let Some(socket) = http1::serve(Rc::clone(&worker), socket, peer, &seat).await {
                Box::pin(http2::serve(worker, &hands, socket, peer, &seat)).await;
            }
        }
        // Boxed: it is larger, and there are fewer of them.
        Some(Ok((peer, socket, Speaks::Http2))) => {
            Box::pin(http2::serve(worker, &hands, socket, peer, &seat)).await;
        }
        Some(Err(error)) => tracing::debug!(peer = %from.address, %error, "a connection that did not begin"),
        None if worker.stopping() => {}
        None => worker.timed_out(from.address, Awaiting::Handshake),
    }
    drop(seat);
}

/// Who is there in truth, and what is spoken, once there is room for a handshake if there is to be one.
async fn begin(
    worker: &Worker,
    stream: TcpStream,
    from: Peer,
    (seat, turn): (&Seat, Option<OwnedSemaphorePermit>),
) -> io::Result<(Peer, Socket, Speaks)> {
    let Some(turn) = turn else { return introduced(worker, stream, from, (seat, None)).await };
    worker.recorder.counts.turned_away.add_alone(worker.handshakes.room().await);
    let handshake = worker.handshakes.begin(from.ip());
    drop(turn);
    handshake.unless_given_up(introduced(worker, stream, from, (seat, Some(&handshake)))).await
}

async fn introduced(
    worker: &Worker,
    mut stream: TcpStream,
    from: Peer,
    (seat, handshake): (&Seat, Option<&Handshake>),
) -> io::Result<(Peer, Socket, Speaks)> {
    let peer = proxy_protocol::peer(&mut stream, from, &worker.app.config).await?;
    if peer.ip() != from.ip() && !seat.is_for(peer.ip()) {
        worker.turn_away(peer.ip(), Limit::OfOneAddress);
        return Err(io::Error::other("too many connections for one client"));
    }
    let (socket, speaks) = match (&worker.tls, handshake) {
        (Some(_), Some(_)) if plain_http::is_spoken(&stream).await? => {
            return Err(plain_http::refuse(stream).await);
        }
        (Some(tls), Some(handshake)) => encrypted(handshake.accept(tls.acceptor(), stream).await?),
        (None, _) => (Socket::Plain(stream), Speaks::Http1),
        (Some(_), None) => return Err(io::Error::other("a handshake that was not counted")),
    };
    Ok((peer, socket, speaks))
}

fn encrypted(stream: TlsStream<TcpStream>) -> (Socket, Speaks) {
    let negotiated = stream.get_ref().1.alpn_protocol();
    let speaks = if negotiated == Some(H2) { Speaks::Http2 } else { Speaks::Http1 };
    (Socket::Tls(Box::new(stream)), speaks)
}

/// What comes of `future`, unless it takes longer than `patience` or the worker stops.
pub(super) async fn in_time<T>(
    worker: &Worker,
    patience: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut deadline = None;
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending if worker.stopping() => Poll::Ready(None),
        Poll::Pending => {
            let deadline = deadline.get_or_insert_with(|| {
                let deadline = worker.ticker.deadline();
                deadline.arm(patience);
                deadline
            });
            deadline.poll(cx).map(|()| None)
        }
    })
    .await
}
