//! One HTTP/2 connection: its frames, and a task for each of its requests, which is put into the form of HTTP/1.1.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, COOKIE};
use http::{Method, Request};

use crate::config::Limits;
use crate::http::body::RequestBody;
use crate::http::client::Peer;
use crate::http::duplex::Duplex;
use crate::http::gathered::Received;
use crate::http::reply::Reply;
use crate::http::socket::Socket;
use crate::http::stream::{Answering, StreamBody};
use crate::http::wire::Length;
use crate::metrics::worker::Awaiting;
use crate::proxy::Leaving;
use crate::proxy::ending::Ending;
use crate::proxy::ticker::TICK;
use crate::proxy::upgrade::Tunnel;
use crate::refusal::Refusal;
use crate::server::front::{self, Arrived};
use crate::server::hands;
use crate::server::linger::{LINGER, linger_for};
use crate::server::read::{self, Head};
use crate::server::record::{self, Opened, Via};
use crate::server::reply::ReplyBody;
use crate::server::seats::Seat;
use crate::server::worker::Worker;

mod adapt;
mod answer;
mod frames;
mod line;
mod patience;

use answer::Sending;
use line::{Gathering, Line};
use patience::{Client, Open, Share};

/// What is kept for a client that does not read, for each stream, in bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// What small frames may cost beside what they carry, in bytes, between two turns of whoever takes them: more than is let
/// in during one ([`mod@line`]), even if the last read brings 32 KiB of them.
const FRAMES: usize = 1280 * 1024;
/// For how long a stream that has been reset is remembered, so that what was on its way is not held against the client.
const REMEMBERED: Duration = Duration::from_secs(5);
/// How long a client that was told to go may take to answer that it heard it: a round trip of any line there is. The last
/// `GOAWAY` waits for that (RFC 9113 §6.8), for longer it does not.
const ROUND_TRIP: Duration = Duration::from_secs(3);
/// For how long a client may go on to send a body that nobody wants, once it has the answer.
const EARLY: Duration = Duration::from_secs(1);
/// For how long a request that its client gave up is still one of those under way: the app may well work on it.
const STILL: Duration = Duration::from_secs(1);

/// The tasks of a worker that answer requests by HTTP/2.
pub(super) type Hands = hands::Hands<Asked>;

/// A request that is to be answered, on a stream that is open as long as it is.
pub(super) struct Asked {
    common: Rc<Common>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    open: Open,
}

/// What the requests of a connection have in common.
struct Common {
    worker: Rc<Worker>,
    peer: Peer,
    via: Via,
}

/// Serves a connection to its end, its requests by these `hands`. Its streams beyond the first count among the requests of
/// the address that its `seat` is counted for.
pub(super) async fn serve(worker: Rc<Worker>, hands: &Rc<Hands>, socket: Socket, peer: Peer, seat: &Seat) {
    let limits = &worker.app.config.limits;
    let share = seat.requests().map(|requests| Share::new(requests, limits.requests_per_address));
    let client = Client::new(limits.requests_per_connection, limits.keep_alive, share, &worker.ticker);
    let client = Rc::new(client);
    seat.waits_with(client.silence());
    let via = Via { http: "2", tls: socket.tls() };
    let means = (&worker.buffers, &worker.ticker);
    let patience = (limits.body_idle, limits.head_timeout);
    let line = Rc::new(RefCell::new(Line::new(socket, Rc::clone(&client), means, patience)));
    let common = Rc::new(Common { worker: Rc::clone(&worker), peer, via });
    if let Err(error) = run(&common, hands, &client, &line).await {
        tracing::debug!(peer = %peer.address, %error, "connection ended");
    }
    if line.borrow().has_timed_out() {
        common.worker.timed_out(peer.address, Awaiting::Head);
    }
    let is_shed = client.silence().was_cut_short();
    if is_shed {
        common.worker.shed();
    }
    if let Some(line) = Rc::into_inner(line) {
        linger_for(if is_shed { TICK } else { LINGER }, line.into_inner().into_socket()).await;
    }
    // With the last connection of its address it would be forgotten how many are under way.
    if client.has_open() && !worker.stopping() {
        worker.ticker.after(STILL).await;
    }
}

/// Takes requests until the connection has ended.
async fn run(
    common: &Rc<Common>,
    hands: &Rc<Hands>,
    client: &Rc<Client>,
    line: &Rc<RefCell<Line>>,
) -> io::Result<()> {
    let worker = &common.worker;
    let mut greeting = builder(&worker.app.config.limits).handshake::<_, Bytes>(Gathering(Rc::clone(line)));
    let mut connection = poll_fn(|cx| {
        line.borrow_mut().begin_turn();
        match Pin::new(&mut greeting).poll(cx) {
            Poll::Pending if line.borrow().is_idle() => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => poll_send(line, cx),
            greeted @ Poll::Ready(_) => greeted.map_err(io::Error::other),
        }
    })
    .await?;
    let (mut told, mut leaves) = (false, false);
    // Never due until the client is told to go: it has the ticker wake this task too, which may wait for nothing but its
    // streams.
    let word = worker.ticker.deadline();
    word.arm(Duration::from_secs(u64::from(u32::MAX)));
    poll_fn(|cx| {
        let overdue = word.poll(cx).is_ready() || worker.ticker.is_cut();
        line.borrow_mut().begin_turn();
        loop {
            // Asked at every turn rather than awaited beside it: a stop is rare, and the ticker wakes everybody for
            // it.
            let distrusted = worker.trust.has_ended();
            if !told && (distrusted || worker.stopping() || client.has_had_enough()) {
                told = true;
                connection.graceful_shutdown();
                word.arm(ROUND_TRIP);
            }
            let accepted = pin!(connection.accept()).poll(cx);
            match accepted {
                Poll::Ready(Some(Ok((request, mut respond)))) => {
                    let more = line.borrow_mut().take();
                    // Who is not trusted any more need not answer that it was told, and who does not answer may not go
                    // on.
                    let open = if distrusted || overdue { None } else { client.asks() };
                    let Some(open) = open else {
                        // Nobody has looked at it (RFC 9113 §8.7).
                        respond.send_reset(Reason::REFUSED_STREAM);
                        continue;
                    };
                    let common = Rc::clone(common);
                    hands.give(Asked { common, request, respond, open }, answer);
                    // To ask once more is to have the library go through all that it could do.
                    if !more && (told || !client.has_had_enough()) {
                        return poll_send(line, cx);
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io::Error::other(error))),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                // What was asked in time has been answered.
                Poll::Pending
                    if (overdue || line.borrow().is_idle()) && !leaves && !connection.has_streams() =>
                {
                    leaves = true;
                    connection.abrupt_shutdown(Reason::NO_ERROR);
                }
                Poll::Pending => {
                    line.borrow_mut().took_all();
                    return poll_send(line, cx);
                }
            }
        }
    })
    .await
}

/// Sends what was gathered. Ready only if the connection is lost.
fn poll_send<T>(line: &RefCell<Line>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
    match ready!(line.borrow_mut().poll_send(cx)) {
        Ok(()) => Poll::Pending,
        Err(error) => Poll::Ready(Err(error)),
    }
}

fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(limits.streams)
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(FRAMES)
        .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
        // CVE-2023-44487, CVE-2025-8671.
        .max_local_error_reset_streams(Some(limits.resets))
        .max_pending_accept_reset_streams(limits.resets)
        // All of one round and of the next. What was on its way of one that is forgotten ends the connection.
        .max_concurrent_reset_streams(2 * limits.streams as usize)
        .reset_stream_duration(REMEMBERED)
        .enable_connect_protocol();
    builder
}

/// Has one request answered and sends the answer. Ended before that, the stream is reset, and with it whatever is asked
/// of the app for it.
async fn answer(asked: Asked) {
    let Asked { common, request, respond, open: _open } = asked;
    // As it is now: what has begun ends as it began.
    let worker = common.worker.latest();
    let (parts, receive) = request.into_parts();
    let (to_head, leaves) = (parts.method == Method::HEAD, parts.method == Method::CONNECT);
    let answering = Rc::new(Answering::new(respond));
    // What came together with its reset does not reach the app.
    if poll_fn(|cx| Poll::Ready(answering.poll_given_up(cx).is_ready())).await {
        return;
    }
    let mut is_watched = true;
    let (mut head, adapted) = adapt::adapt(parts, &worker.buffers);
    let config = &worker.app.config;
    let read = adapted
        .and_then(|()| few_enough(&head, config.limits.headers))
        .and_then(|()| read::read(&mut head, config))
        .and_then(|request| {
            if leaves && request.upgrade.is_none() { Err(Refusal::NotImplemented) } else { Ok(request) }
        });
    let (peer, via) = (common.peer.under(&config.proxies.trusted), common.via);
    let (reply, receive) = match read {
        Ok(request) => {
            let (body, mut receive) = if leaves {
                (StreamBody::none(Rc::clone(&answering)), Some(Received::new(receive)))
            } else {
                let length = match request.length {
                    Length::Exactly(length) if head.headers.contains_key(&CONTENT_LENGTH) => Some(length),
                    Length::Exactly(_) | Length::Chunked => None,
                };
                (StreamBody::new(receive, length, request.waits, Rc::clone(&answering)), None)
            };
            let ahead = body.ahead();
            let (head, body) = (&mut head, RequestBody::Http2(body));
            let leaving = leaves.then_some(Leaving::Http2);
            let mut answer =
                pin!(front::answer(&worker, peer, Arrived { head, request, body, leaving, via }));
            let reply = poll_fn(|cx| match answer.as_mut().poll(cx) {
                Poll::Ready(reply) => Poll::Ready(Some(reply)),
                Poll::Pending if worker.ticker.is_cut() => {
                    answering.break_off();
                    Poll::Ready(None)
                }
                Poll::Pending => {
                    ahead.gather(cx);
                    if let Some(receive) = &mut receive {
                        receive.gather(cx);
                    }
                    // As it was just before.
                    if std::mem::take(&mut is_watched) {
                        return Poll::Pending;
                    }
                    answering.poll_given_up(cx).map(|()| None)
                }
            })
            .await;
            (reply, receive)
        }
        Err(refusal) => {
            // Dropped as a body that nobody wants: who is still sending it is to have the answer first.
            drop(StreamBody::new(receive, None, false, Rc::clone(&answering)));
            (Some(front::doubtful(&worker, (peer, via), Some(&head), refusal)), None)
        }
    };
    let Some(reply) = reply else {
        drop((answering, receive));
        if !worker.ticker.is_cut() {
            worker.ticker.after(STILL).await;
        }
        return;
    };
    let left = send(&worker, &answering, reply, (to_head, receive)).await;
    if answering.is_early() {
        linger(&worker, &answering).await;
    }
    // It may last for days, and needs nothing of the configuration.
    drop((common, worker));
    if let Some(((tunnel, opened), stream)) = left {
        let ended = Box::pin(tunnel.run(stream, BytesMut::new())).await;
        record::closed(opened, ended, peer.address);
    }
}

/// Sends an answer to its end, but for that of a stream that has become a tunnel, which is returned.
async fn send(
    worker: &Worker,
    answering: &Answering,
    mut reply: Reply<ReplyBody>,
    (to_head, receive): (bool, Option<Received>),
) -> Option<((Box<Tunnel>, Option<Opened>), Duplex<()>)> {
    let tunnel = reply.body.take_tunnel();
    let (head, whole) = answer::head(&reply, worker.date.value(), to_head);
    let to = match answering.respond(head, whole && tunnel.is_none()) {
        Ok(to) => to,
        Err(error) => {
            tracing::debug!(%error, "an answer that HTTP/2 does not allow");
            answering.break_off();
            // The client has gone meanwhile.
            if let Some((_, Some(opened))) = tunnel {
                opened.end(Some(Ending::Client));
            }
            return None;
        }
    };
    if let (Some(tunnel), Some(receive)) = (tunnel, receive) {
        return Some((tunnel, Duplex::new(to, receive, ())));
    }
    if whole {
        reply.body.whole();
    } else {
        let patience = worker.app.config.limits.body_idle;
        let mut sending = Sending::new(to, reply.body, (&worker.ticker, patience));
        poll_fn(|cx| sending.poll(cx)).await;
    }
    None
}

/// Leaves the stream open for a moment, unless its client resets it: clients that find the reset of what they are sending
/// together with the answer lose the answer (RFC 9113 §8.1 says that they must not; curl 7.88 does).
async fn linger(worker: &Worker, answering: &Answering) {
    let moment = worker.ticker.deadline();
    moment.arm(EARLY);
    poll_fn(|cx| {
        let is_over = worker.ticker.is_cut() || moment.poll(cx).is_ready();
        if is_over { Poll::Ready(()) } else { answering.poll_given_up(cx) }
    })
    .await;
}

/// Whether the fields are not more than `most`. Cookies may come one by one, and would be one field of HTTP/1.1
/// (RFC 9113 §8.2.3).
fn few_enough(head: &Head, most: usize) -> Result<(), Refusal> {
    let cookies = || head.headers.get_all(&COOKIE).count();
    let few = head.headers.len() <= most || head.headers.len() - cookies().saturating_sub(1) <= most;
    if few { Ok(()) } else { Err(Refusal::HeadTooLarge) }
}
