//! One worker: a thread with a runtime of its own that accepts, serves and drains its share of the
//! connections.
//!
//! **Invariant:** a worker never computes a password hash, never runs a query and never resolves a name while
//! a request waits for another; it only awaits the office.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::app::App;
use crate::proxy::Proxy;
use crate::proxy::connect::Connector;
use crate::proxy::instances::Instances;
use crate::proxy::ticker::Ticker;
use crate::server::crowd::{Crowd, Member};
use crate::server::http1::{Buffers, Date};
use crate::server::listen::{Acceptor, Serves, Share};
use crate::server::tls::Tls;
use crate::server::{connection, redirect};
use crate::session::cache::Near;

/// How long to wait after the system ran out of something, at first and at most.
const SHORTAGE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// For how long nothing more is said of connections that were turned away, in milliseconds.
const SILENCE: u64 = 10_000;

/// What the connections of one worker share.
pub(super) struct Worker {
    pub(super) app: Arc<App>,
    pub(super) proxy: Proxy,
    pub(super) near: RefCell<Near>,
    pub(super) ticker: Ticker,
    /// The `Date` of answers.
    pub(super) date: RefCell<Date>,
    /// What connections read into and write from.
    pub(super) buffers: Buffers,
    /// How connections are encrypted, if they are.
    pub(super) tls: Option<Tls>,
    seats: Rc<Seats>,
    stopping: Cell<bool>,
}

impl Worker {
    /// Whether no further request should be taken on any connection.
    pub(super) fn stopping(&self) -> bool {
        self.stopping.get()
    }
}

/// The connections of one worker, counted.
#[derive(Default)]
struct Seats {
    /// Sockets that are open, tunnels included.
    open: Cell<usize>,
    /// Told whenever one has been closed.
    one_less: Notify,
}

/// Counts one open socket.
pub(super) struct Seat {
    seats: Rc<Seats>,
    member: Member,
}

impl Seat {
    fn take(seats: &Rc<Seats>, member: Member) -> Self {
        seats.open.set(seats.open.get() + 1);
        Self { seats: Rc::clone(seats), member }
    }

    /// Counts it for this client, whom a proxy in front has named. False if there are too many of the same.
    pub(super) fn is_for(&self, client: IpAddr) -> bool {
        self.member.comes_from(client)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.open.set(self.seats.open.get() - 1);
        self.seats.one_less.notify_one();
    }
}

/// What all workers have in common.
#[derive(Clone)]
pub(super) struct Shared {
    /// The application.
    pub(super) app: Arc<App>,
    /// How connections of clients are encrypted, if they are.
    pub(super) tls: Option<Tls>,
    /// How connections to the app are made.
    pub(super) connector: Connector,
    /// The instances of the app.
    pub(super) instances: Arc<Instances>,
    /// The connections of all workers.
    pub(super) crowd: Arc<Crowd>,
}

/// Starts a worker on its own thread.
pub(super) fn start(
    number: usize,
    shared: Shared,
    listeners: Vec<Share>,
    stop: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "a worker's runtime cannot be started");
                return;
            }
        };
        if let Err(error) = runtime.block_on(run(shared, listeners, stop)) {
            tracing::error!(%error, "a worker cannot listen");
        }
    })
}

async fn run(shared: Shared, listeners: Vec<Share>, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    let Shared { app, tls, connector, instances, crowd } = shared;
    let ticker = Ticker::default();
    let worker = Rc::new(Worker {
        proxy: Proxy::new(
            Arc::clone(&app.config),
            connector,
            instances,
            ticker.clone(),
            Arc::clone(&app.sessions.live),
        ),
        near: RefCell::default(),
        date: RefCell::default(),
        buffers: Buffers::default(),
        ticker: ticker.clone(),
        tls,
        seats: Rc::default(),
        stopping: Cell::new(false),
        app,
    });
    let swept = Rc::clone(&worker);
    tokio::task::spawn_local(ticker.run(move || {
        swept.proxy.sweep();
        swept.near.borrow_mut().sweep(swept.app.clock.now());
    }));
    let mut accepting = JoinSet::new();
    for share in listeners {
        let serves = share.serves;
        accepting.spawn_local(accept(Rc::clone(&worker), Acceptor::new(share)?, serves, Arc::clone(&crowd)));
    }
    let _ = stop.wait_for(|stop| *stop).await;
    accepting.shutdown().await;
    worker.stopping.set(true);
    worker.ticker.wake_all();
    let drained = async {
        while worker.seats.open.get() > 0 {
            worker.seats.one_less.notified().await;
        }
    };
    if tokio::time::timeout(worker.app.config.limits.drain, drained).await.is_err() {
        let open = worker.seats.open.get();
        tracing::warn!(connections = open, "connections were cut at the end of the drain time");
    }
    Ok(())
}

async fn accept(worker: Rc<Worker>, acceptor: Acceptor, serves: Serves, crowd: Arc<Crowd>) {
    let config = &worker.app.config;
    let mut wait = SHORTAGE.0;
    let mut refused = Refused::default();
    loop {
        match acceptor.accept(&config.proxies.trusted).await {
            Ok((stream, peer)) => {
                wait = SHORTAGE.0;
                // Closed at once, before anything is read or kept for it. What a trusted proxy connects is for
                // many; where it names them, they are counted.
                let Some(member) = crowd.enter((!peer.trusted).then(|| peer.ip())) else {
                    refused.note(peer.ip(), worker.ticker.now());
                    continue;
                };
                let seat = Seat::take(&worker.seats, member);
                let worker = Rc::clone(&worker);
                match serves {
                    Serves::Site => tokio::task::spawn_local(connection::serve(worker, stream, peer, seat)),
                    Serves::Redirect => tokio::task::spawn_local(redirect::serve(worker, stream, peer, seat)),
                };
            }
            // The client went away before it was its turn.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            // Out of file descriptors or memory: accepting again at once would only burn the processor. A
            // connection that is closed makes room; those to the app that nobody uses can be done without.
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                worker.proxy.shed();
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = worker.seats.one_less.notified() => {}
                }
                wait = (wait * 2).min(SHORTAGE.1);
            }
        }
    }
}

/// Connections that were turned away: told now and then, because a flood of them must not be one of lines.
#[derive(Default)]
struct Refused {
    since: u64,
    /// When it was told last, in milliseconds of the worker.
    told: Option<u64>,
}

impl Refused {
    fn note(&mut self, latest: IpAddr, now: u64) {
        self.since += 1;
        if self.told.is_none_or(|told| now.saturating_sub(told) >= SILENCE) {
            tracing::warn!(count = self.since, %latest, "connections were refused: there are too many");
            (self.since, self.told) = (0, Some(now));
        }
    }
}
