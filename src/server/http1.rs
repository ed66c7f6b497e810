//! One HTTP/1.1 connection: its requests one after the other, each from its head to the end of its answer.
//! Nothing here sets a timer: every wait is bounded by a [`Deadline`] of the worker's ticker.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Version};
use http_body::Body as _;
use tokio::io::AsyncWrite as _;

use crate::http::body::{ENDPOINT_LIMIT, RequestBody};
use crate::http::client::Peer;
use crate::http::head::Search;
use crate::http::reply::Reply;
use crate::http::socket::Socket;
use crate::http::wire::Wire;
use crate::metrics::worker::Awaiting;
use crate::proxy::Leaving;
use crate::proxy::ticker::Deadline;
use crate::proxy::upgrade::Tunnel;
use crate::refusal::Refusal;
use crate::server::front::{self, Arrived};
use crate::server::linger::LINGER;
use crate::server::read;
use crate::server::record::{self, Opened, Via};
use crate::server::reply::ReplyBody;
use crate::server::seats::Seat;
use crate::server::worker::{Trust, Worker};

mod head;
mod watch;
mod write;

use head::Bounds;
use watch::Watch;
use write::{Asked, Sent};

/// How HTTP/2 begins where it was not negotiated (RFC 9113 §3.4). No request of HTTP/1 that we take has a method of
/// this name.
const PREFACE: &[u8] = b"PRI ";
/// What is read at a time while a head is waited for, in bytes.
const READ: usize = 4 * 1024;
/// How long a body that nobody wanted is read away before the connection is given up.
const DRAIN: Duration = Duration::from_secs(1);

/// What comes first.
enum Heard {
    /// A request, whose head is in its place, or what it is refused for.
    Request(Result<(), Refusal>),
    /// HTTP/2.
    Http2,
}

/// How a connection goes on.
enum Next {
    /// With the next request.
    Request,
    /// It does not.
    Close,
    /// It does not, but the client may still be sending.
    Linger,
    /// Without HTTP.
    Tunnel(Box<Tunnel>, Option<Opened>),
    /// By HTTP/2.
    Http2,
}

/// Serves a connection to its end, or gives it back if the client begins to speak HTTP/2.
pub(super) async fn serve(worker: Rc<Worker>, socket: Socket, peer: Peer, seat: &Seat) -> Option<Socket> {
    let mut connection = Connection {
        tls: socket.tls(),
        peer,
        is_new: true,
        wire: Rc::new(RefCell::new(Wire::new(socket, Rc::clone(&worker.buffers)))),
        head: read::Head::default(),
        patience: worker.ticker.deadline(),
        watch: Watch::new(&worker.ticker),
        trust: worker.trust.clone(),
        worker,
    };
    seat.waits_with(&connection.patience);
    match connection.run().await {
        Next::Tunnel(tunnel, opened) => connection.become_tunnel(tunnel, opened).await,
        Next::Linger => connection.linger().await,
        Next::Close | Next::Request => {}
        Next::Http2 => {
            let (socket, read) = Rc::into_inner(connection.wire)?.into_inner().into_parts();
            return Some(socket.behind(read));
        }
    }
    None
}

/// The version of HTTP, as it is logged.
fn version(head: &read::Head) -> &'static str {
    if head.version == Version::HTTP_10 { "1.0" } else { "1.1" }
}

struct Connection {
    /// Which TLS is spoken, if any.
    tls: Option<&'static str>,
    worker: Rc<Worker>,
    trust: Trust,
    peer: Peer,
    /// Nothing has been heard yet.
    is_new: bool,
    wire: Rc<RefCell<Wire>>,
    /// The latest head.
    head: read::Head,
    /// For whatever the client is to do next.
    patience: Deadline,
    watch: Watch,
}

impl Connection {
    async fn run(&mut self) -> Next {
        let mut patience = self.worker.app.config.limits.head_timeout;
        let mut served = 0;
        loop {
            let heard = match self.hear(patience).await {
                Some(Heard::Request(heard)) => heard,
                Some(Heard::Http2) => return Next::Http2,
                None => return Next::Close,
            };
            served += 1;
            match self.answer(heard, served).await {
                Next::Request => patience = self.worker.app.config.limits.keep_alive,
                end => return end,
            }
        }
    }

    /// Waits for the next head; `None` if none comes: not in time, not any more, or not before the worker stops.
    async fn hear(&mut self, patience: Duration) -> Option<Heard> {
        let limits = &self.worker.app.config.limits;
        let bounds = Bounds { size: limits.head, fields: limits.headers };
        let mut search = Search::default();
        let (mut begun, mut shed) = (false, false);
        self.patience.arm_idle(patience);
        let heard = poll_fn(|cx| {
            let mut wire = self.wire.borrow_mut();
            loop {
                // Under TLS it would have been negotiated.
                if self.is_new && self.tls.is_none() && wire.unread.starts_with(PREFACE) {
                    return Poll::Ready(Some(Heard::Http2));
                }
                match head::next(&mut search, &mut wire.unread, bounds, &mut self.head) {
                    Ok(true) => return Poll::Ready(Some(Heard::Request(Ok(())))),
                    Ok(false) => {}
                    Err(refusal) => return Poll::Ready(Some(Heard::Request(Err(refusal)))),
                }
                if wire.unread.is_empty() {
                    if self.worker.stopping() || self.trust.has_ended() {
                        return Poll::Ready(None);
                    }
                } else if !begun {
                    begun = true;
                    self.patience.arm(limits.head_timeout);
                }
                if wire.unread.capacity() == 0 {
                    wire.unread = self.worker.buffers.to_read();
                }
                match wire.poll_read(cx, READ) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(None),
                    Poll::Pending => {
                        if wire.unread.is_empty() {
                            // An idle connection keeps no memory for what may come.
                            self.worker.buffers.read(std::mem::take(&mut wire.unread));
                        }
                        ready!(self.patience.poll(cx));
                        if wire.unread.is_empty() && self.patience.was_cut_short() {
                            // A request may have come that nobody has heard of yet: one more tick.
                            shed = true;
                            self.patience.arm(Duration::ZERO);
                            ready!(self.patience.poll(cx));
                        }
                        if !wire.unread.is_empty() {
                            self.worker.timed_out(self.peer.address, Awaiting::Head);
                        } else if shed {
                            self.worker.shed();
                        }
                        return Poll::Ready(None);
                    }
                }
            }
        })
        .await;
        self.patience.disarm();
        self.is_new = false;
        heard
    }

    /// Has a request answered, with which so many have been `served` on this connection, and sends the answer.
    async fn answer(&mut self, outcome: Result<(), Refusal>, served: u64) -> Next {
        // As it is now: what has begun ends as it began.
        let worker = self.worker.latest();
        if !Rc::ptr_eq(&worker, &self.worker) {
            self.peer = self.peer.under(&worker.app.config.proxies.trusted);
            self.worker = Rc::clone(&worker);
        }
        let config = &worker.app.config;
        let is_head = outcome.is_ok();
        let read = outcome.and_then(|()| read::read(&mut self.head, config));
        let request = match read {
            Ok(request) => request,
            Err(refusal) => {
                self.wire.borrow_mut().give_up();
                let head = is_head.then_some(&self.head);
                let via = Via { http: head.map_or("1.1", version), tls: self.tls };
                let response = front::doubtful(&worker, (self.peer, via), head, refusal);
                let to_head = is_head && self.head.method == Method::HEAD;
                return self.send(Asked::unread(to_head), response).await;
            }
        };
        let head = &mut self.head;
        let asked = Asked {
            to_head: head.method == Method::HEAD,
            modern: head.version == Version::HTTP_11,
            persists: request.persists && served < config.limits.requests_per_connection,
            takes_trailers: request.takes_trailers,
        };
        self.wire.borrow_mut().expect(request.length, request.waits, asked.modern);
        let body = RequestBody::Http1(Rc::clone(&self.wire));
        let leaving = request.upgrade.is_some().then_some(Leaving::Http1);
        let via = Via { http: version(head), tls: self.tls };
        let arrived = Arrived { head, request, body, leaving, via };
        self.watch.begin();
        let response = {
            let mut answer = pin!(front::answer(&worker, self.peer, arrived));
            poll_fn(|cx| match answer.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(Some(response)),
                Poll::Pending => self.watch.poll_gone(cx, &self.wire).map(|()| None),
            })
            .await
        };
        let next = match response {
            Some(response) => self.send(asked, response).await,
            None => Next::Close,
        };
        self.watch.end();
        next
    }

    /// Sends an answer to its end.
    async fn send(&mut self, asked: Asked, reply: Reply<ReplyBody>) -> Next {
        let stopping = self.worker.stopping() || self.trust.has_ended();
        let date = self.worker.date.line();
        let mut out = self.worker.buffers.to_write();
        self.wire.borrow_mut().unheard(&mut out);
        let mut answer = write::Answer::new(asked, reply, (stopping, date), (out, &self.wire.borrow()));
        // The answer says that the body is not waited for.
        self.wire.borrow_mut().withdraw();
        if answer.ends_with_connection() {
            self.wire.borrow_mut().socket().breaks_off(true);
        }
        let patience = self.worker.app.config.limits.body_idle;
        let sent = poll_fn(|cx| {
            let before = self.wire.borrow().sent;
            let polled = answer.poll(cx, &self.wire);
            if self.wire.borrow().sent != before {
                self.patience.disarm();
            }
            match polled {
                Poll::Ready(sent) => return Poll::Ready(sent),
                Poll::Pending if answer.waits_for_client() => {
                    self.patience.arm_once(patience);
                    if !self.watch.is_cut() {
                        ready!(self.patience.poll(cx));
                    }
                }
                Poll::Pending => {
                    self.patience.disarm();
                    ready!(self.watch.poll_gone(cx, &self.wire));
                }
            }
            Poll::Ready(Sent::Lost)
        })
        .await;
        self.patience.disarm();
        match sent {
            Sent::Lost | Sent::Broken => Next::Close,
            Sent::Whole => {
                answer.whole();
                let closes = answer.closes();
                if answer.ends_with_connection() {
                    self.wire.borrow_mut().socket().breaks_off(false);
                }
                self.worker.buffers.written(answer.take_buffer());
                match answer.take_tunnel() {
                    Some((tunnel, opened)) => Next::Tunnel(tunnel, opened),
                    None if closes => Next::Linger,
                    None => self.drain().await,
                }
            }
        }
    }

    /// Reads away what is left of a request that has been answered, if it is little.
    async fn drain(&mut self) -> Next {
        if self.wire.borrow().complete() {
            return Next::Request;
        }
        let mut left = ENDPOINT_LIMIT;
        let mut body = RequestBody::Http1(Rc::clone(&self.wire));
        if body.size_hint().lower() > left as u64 || body.waits_for_invitation() {
            return Next::Linger;
        }
        self.patience.arm(DRAIN);
        let drained = poll_fn(|cx| {
            loop {
                match Pin::new(&mut body).poll_frame(cx) {
                    Poll::Ready(None) => return Poll::Ready(true),
                    Poll::Ready(Some(Ok(frame))) => {
                        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                        if left == 0 {
                            return Poll::Ready(false);
                        }
                    }
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                    Poll::Pending => return self.patience.poll(cx).map(|()| false),
                }
            }
        })
        .await;
        self.patience.disarm();
        if drained { Next::Request } else { Next::Linger }
    }

    /// Ends our side, and reads away what the client still sends: to close at once would reset the connection,
    /// and the client could lose the answer before it has read it (RFC 9112 §9.6).
    async fn linger(&mut self) {
        self.patience.arm(LINGER);
        let mut ended = false;
        // Whether the client hears of it or not, the connection is over.
        let _: io::Result<()> = poll_fn(|cx| {
            let mut wire = self.wire.borrow_mut();
            loop {
                if self.patience.poll(cx).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                let silent = wire.complete() && wire.unread.is_empty();
                // To close it says the same, but under TLS.
                let needless = silent && self.tls.is_none();
                if !(ended || needless) {
                    ready!(Pin::new(wire.socket()).poll_shutdown(cx))?;
                    ended = true;
                }
                wire.unread.clear();
                match wire.poll_read(cx, READ) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    // It said nothing behind its request, so nothing is lost.
                    Poll::Pending if silent => return Poll::Ready(Ok(())),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    }

    async fn become_tunnel(self, tunnel: Box<Tunnel>, opened: Option<Opened>) {
        // Whoever shared the wire has gone with the request.
        let Some(wire) = Rc::into_inner(self.wire) else { return };
        // It may last for days, and needs nothing of the configuration.
        drop(self.worker);
        let (socket, early) = wire.into_inner().into_parts();
        let ended = Box::pin(tunnel.run(socket, early)).await;
        record::closed(opened, ended, self.peer.address);
    }
}
