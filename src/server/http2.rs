//! One HTTP/2 connection: hyper speaks it, and each of its requests is put into the form of HTTP/1.1.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use http::header::COOKIE;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::http::body::RequestBody;
use crate::http::client::Peer;
use crate::http::socket::Socket;
use crate::proxy::Leaving;
use crate::refusal::Refusal;
use crate::server::front::{self, Arrived};
use crate::server::linger::linger;
use crate::server::read::{self, Head};
use crate::server::record::Via;
use crate::server::worker::Worker;

mod adapt;
mod frames;
mod patience;
mod stall;

use patience::{Client, Patient};
use stall::{Pieces, Streams};

/// What is kept for a client that does not read, for each stream, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// Serves a connection to its end.
pub(super) async fn serve(worker: Rc<Worker>, socket: Socket, peer: Peer) {
    let limits = worker.app.config.limits;
    let client = Rc::new(Client::new(&limits, &worker.ticker));
    let via = Via { http: "2", tls: socket.tls() };
    let io = TokioIo::new(Patient::new(socket, Rc::clone(&client), &limits, &worker.ticker));
    let streams = Streams::new(Rc::clone(&client), worker.ticker.clone(), limits.body_idle);
    let service = service_fn(|request| {
        let worker = worker.latest();
        let peer = peer.under(&worker.app.config.proxies.trusted);
        answer(worker, (Rc::clone(&client), streams.clone()), (peer, via), request)
    });
    let served = http2::Builder::new(streams.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
        // CVE-2023-44487, CVE-2025-8671.
        .max_local_error_reset_streams(limits.resets)
        .max_pending_accept_reset_streams(limits.resets)
        .enable_connect_protocol()
        .serve_connection(io, service);
    if let Err(error) =
        until_stopped(&worker, &client, pin!(served), http2::Connection::graceful_shutdown).await
    {
        tracing::debug!(peer = %peer.address, %error, "connection ended");
    }
    if let Some(socket) = client.take_socket() {
        linger(socket).await;
    }
}

/// The answer to one request.
async fn answer(
    worker: Rc<Worker>,
    (client, streams): (Rc<Client>, Streams),
    (peer, via): (Peer, Via),
    mut request: Request<Incoming>,
) -> Result<Response<Pieces>, Infallible> {
    client.asks();
    let leaving = (request.method() == Method::CONNECT)
        .then(|| Leaving::Http2(hyper::upgrade::on(&mut request), Box::new(client.opens())));
    let (mut parts, body) = request.into_parts();
    let config = &worker.app.config;
    let adapted = adapt::adapt(&mut parts);
    let mut head = Head::from(parts);
    let read = adapted
        .and_then(|()| few_enough(&head, config.limits.headers))
        .and_then(|()| read::read(&mut head, &config.public, config.limits.target));
    let response = match read {
        Ok(request) => {
            let body = RequestBody::Http2(body);
            let head = &mut head;
            front::answer(&worker, peer, Arrived { head, request, body, leaving, via }).await
        }
        Err(refusal) => front::doubtful(&worker, (peer, via), Some(&head), refusal),
    };
    Ok(response.map(|body| streams.body(body)).into())
}

/// Whether the fields are not more than `most`. Cookies may come one by one, and would be one field of HTTP/1.1
/// (RFC 9113 §8.2.3).
fn few_enough(head: &Head, most: usize) -> Result<(), Refusal> {
    let cookies = head.headers.get_all(&COOKIE).count();
    let count = head.headers.iter().count() - cookies.saturating_sub(1);
    if count > most { Err(Refusal::HeadTooLarge) } else { Ok(()) }
}

/// Polls a connection to its end, and tells it once when no further request shall be taken.
///
/// Asked at every turn rather than awaited beside it: a stop is rare, and the ticker wakes everybody for it.
async fn until_stopped<C: Future>(
    worker: &Worker,
    client: &Client,
    mut connection: Pin<&mut C>,
    stop: fn(Pin<&mut C>),
) -> C::Output {
    let mut told = false;
    // Never due: it has the ticker wake this task too, which may wait for nothing but its streams.
    let word = worker.ticker.deadline();
    word.arm(Duration::from_secs(u64::from(u32::MAX)));
    poll_fn(|cx| {
        if !told && (worker.stopping() || client.has_had_enough()) {
            told = true;
            stop(connection.as_mut());
        }
        if !told {
            let _ = word.poll(cx);
        }
        connection.as_mut().poll(cx)
    })
    .await
}
