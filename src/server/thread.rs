//! The thread of one worker, with a runtime of its own: it accepts, serves and drains its share of the connections.

use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::http::client::Peer;
use crate::proxy::ticker::TICK;
use crate::server::crowd::{Limit, Member};
use crate::server::http2::Hands;
use crate::server::listen::{Acceptor, Serves, Share};
use crate::server::seats::{Need, Seat};
use crate::server::worker::{Serving, Worker};
use crate::server::{connection, redirect};

/// How long to wait after the system ran out of something, at first and at most.
const SHORTAGE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long a connection is kept waiting for one that makes room, in milliseconds.
const ROOM: u64 = 1000;

/// How long those that are cut may take to hear of it.
const FAREWELL: Duration = Duration::from_millis(1500);

/// What a worker is told while it runs.
#[derive(Clone)]
pub(super) struct Orders {
    /// To take no more connections.
    pub(super) stop: watch::Receiver<bool>,
    /// What to serve with from now on.
    pub(super) serve: watch::Receiver<Serving>,
}

/// Starts a worker on its own thread.
pub(super) fn start(number: usize, listeners: Vec<Share>, orders: Orders) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "a worker's runtime cannot be started");
                return;
            }
        };
        if let Err(error) = runtime.block_on(run(listeners, orders)) {
            tracing::error!(%error, "a worker cannot listen");
        }
    })
}

async fn run(listeners: Vec<Share>, orders: Orders) -> io::Result<()> {
    let Orders { mut stop, mut serve } = orders;
    let mut serving = serve.borrow_and_update().clone();
    let mut worker = Worker::first(&serving);
    let hands = Rc::<Hands>::default();
    let ticking = Rc::clone(&worker.latest);
    tokio::task::spawn_local(worker.ticker.clone().run(move || {
        if let Some(worker) = ticking.borrow().upgrade() {
            worker.tick();
        }
    }));
    let mut acceptors = Vec::new();
    for share in listeners {
        let serves = share.serves;
        acceptors.push(Rc::new(Way {
            acceptor: Acceptor::new(share)?,
            serves,
            turn: Arc::new(Semaphore::new(1)),
            waiting: Cell::default(),
        }));
    }
    let mut accepting = JoinSet::new();
    loop {
        for way in &acceptors {
            accepting.spawn_local(accept(Rc::clone(&worker), Rc::clone(&hands), Rc::clone(way)));
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Ok(()) = serve.changed() => {
                serving = serve.borrow_and_update().clone();
                worker = worker.under(&serving);
            }
        }
        // Who comes from now on is taken under the new configuration.
        accepting.shutdown().await;
    }
    accepting.shutdown().await;
    drop((acceptors, serving));
    worker.stop();
    drain(&worker, &hands).await;
    worker.tick();
    Ok(())
}

/// Lets what is under way come to its end, and ends what has none of its own.
async fn drain(worker: &Worker, hands: &Hands) {
    let drained = || async {
        while worker.seats.open.get() > 0 {
            worker.seats.one_less.notified().await;
        }
    };
    if tokio::time::timeout(worker.app.config.limits.drain, drained()).await.is_ok() {
        return;
    }
    let open = worker.seats.open.get();
    tracing::warn!(connections = open, "connections are cut at the end of the drain time");
    worker.ticker.cut();
    hands.wake_all();
    // Whoever does not hear of it is cut without.
    let _ = tokio::time::timeout(FAREWELL, drained()).await;
}

/// A way by which connections come.
struct Way {
    acceptor: Acceptor,
    serves: Serves,
    /// Whoever has it waits to begin a TLS handshake, and nobody else is accepted meanwhile: who waits besides is the
    /// system's to keep. It goes with the connection, which a reload does not end.
    turn: Arc<Semaphore>,
    /// The connection that waits for a place; under the next configuration it waits on.
    waiting: Cell<Option<(TcpStream, Peer)>>,
}

impl Way {
    /// Whoever waits already, or else who comes next.
    async fn next(&self, trusted: &[IpNet]) -> io::Result<(TcpStream, Peer)> {
        match self.waiting.take() {
            Some((stream, peer)) => Ok((stream, peer.under(trusted))),
            None => self.acceptor.accept(trusted).await,
        }
    }
}

async fn accept(worker: Rc<Worker>, hands: Rc<Hands>, way: Rc<Way>) {
    let config = &worker.app.config;
    let mut wait = SHORTAGE.0;
    let encrypted = worker.tls.is_some() && matches!(way.serves, Serves::Site);
    loop {
        // It is never closed.
        let turn = if encrypted { Arc::clone(&way.turn).acquire_owned().await.ok() } else { None };
        match way.next(&config.proxies.trusted).await {
            Ok((stream, peer)) => {
                wait = SHORTAGE.0;
                // Closed at once, before anything is read or kept for it. What a trusted proxy connects is for
                // many; where it names them, they are counted.
                way.waiting.set(Some((stream, peer)));
                let entered = enter(&worker, (!peer.trusted).then(|| peer.ip())).await;
                let Some((stream, peer)) = way.waiting.take() else { continue };
                let member = match entered {
                    Ok(member) => member,
                    Err(limit) => {
                        worker.turn_away(peer.ip(), limit);
                        continue;
                    }
                };
                let seat = Seat::take(&worker.seats, member, worker.ticker.now());
                let worker = Rc::clone(&worker);
                match way.serves {
                    Serves::Site => {
                        let hands = Rc::clone(&hands);
                        tokio::task::spawn_local(connection::serve(worker, hands, stream, peer, (seat, turn)))
                    }
                    Serves::Redirect => tokio::task::spawn_local(redirect::serve(worker, stream, peer, seat)),
                };
            }
            // The client went away before it was its turn.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            // Out of file descriptors or memory: accepting again at once would only burn the processor. A
            // connection that is closed makes room; those that nobody uses can be done without.
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                worker.proxy.shed();
                worker.seats.make_room(1, Need::Now, worker.ticker.now());
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = worker.seats.one_less.notified() => {}
                }
                wait = (wait * 2).min(SHORTAGE.1);
            }
        }
    }
}

/// Counts a connection, from this address if it is known. Where there is no place left it is kept waiting while idle ones
/// make room.
///
/// # Errors
/// The limit, if there are too many and none is idle.
async fn enter(worker: &Worker, address: Option<IpAddr>) -> Result<Member, Limit> {
    let begun = worker.ticker.now();
    let mut waited = false;
    loop {
        let now = worker.ticker.now();
        match worker.crowd.enter(address) {
            Err(Limit::InAll)
                if now.saturating_sub(begun) < ROOM
                    && (worker.make_room(Need::Now) || worker.seats.hopes(begun, now)) =>
            {
                waited = true;
            }
            outcome => {
                if waited && outcome.is_err() {
                    worker.seats.in_vain(now);
                }
                worker.make_room(Need::Ahead);
                return outcome;
            }
        }
        tokio::select! {
            () = worker.seats.one_less.notified() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}
