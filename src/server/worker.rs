//! One worker: a thread with a runtime of its own that accepts, serves and drains its share of the
//! connections.
//!
//! **Invariant:** a worker never computes a password hash, never runs a query and never resolves a name while
//! a request waits for another; it only awaits the office.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::app::App;
use crate::gate::endpoint;
use crate::http::buffers::Buffers;
use crate::log::access::Access;
use crate::proxy::connect::Connector;
use crate::proxy::health::Rounds;
use crate::proxy::instances::Instances;
use crate::proxy::ticker::Ticker;
use crate::proxy::{Means, Proxy};
use crate::server::crowd::{Crowd, Member};
use crate::server::handshakes::Handshakes;
use crate::server::http1::Date;
use crate::server::listen::{Acceptor, Serves, Share};
use crate::server::record::Recorder;
use crate::server::tls::Tls;
use crate::server::{connection, redirect};
use crate::session::cache::Near;
use crate::trace::Tracing;

/// How long to wait after the system ran out of something, at first and at most.
const SHORTAGE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// For how long nothing more is said of connections that were turned away, in milliseconds.
const SILENCE: u64 = 10_000;

/// How long those that are cut may take to hear of it, and how often is looked.
const FAREWELL: Duration = Duration::from_millis(1500);
const FAREWELL_LOOK: Duration = Duration::from_millis(20);

/// What the connections of one worker share, under one configuration.
pub(super) struct Worker {
    pub(super) app: Arc<App>,
    pub(super) proxy: Proxy,
    pub(super) near: Rc<RefCell<Near>>,
    pub(super) ticker: Ticker,
    /// The `Date` of answers.
    pub(super) date: Rc<Date>,
    /// What connections read into and write from.
    pub(super) buffers: Rc<Buffers>,
    /// How connections are encrypted, if they are.
    pub(super) tls: Option<Tls>,
    /// Those who are about to be.
    handshakes: Rc<Handshakes>,
    /// Where requests are written down.
    pub(super) recorder: Rc<Recorder>,
    seats: Rc<Seats>,
    stopping: Rc<Cell<bool>>,
    latest: Rc<RefCell<Weak<Worker>>>,
}

impl Worker {
    /// Whether no further request should be taken on any connection.
    pub(super) fn stopping(&self) -> bool {
        self.stopping.get()
    }

    /// The worker under the configuration that counts now: asked once for each request, so that one that has
    /// begun ends as it began.
    pub(super) fn latest(self: &Rc<Self>) -> Rc<Self> {
        self.latest.borrow().upgrade().unwrap_or_else(|| Rc::clone(self))
    }

    /// The first one of a thread.
    fn first(serving: &Serving) -> Rc<Self> {
        let ticker = Ticker::default();
        let app = &serving.app;
        let recorder = Rc::new(Recorder {
            counts: app.metrics.enlist(endpoint::PLACES),
            access: Rc::new(Access::new(app.config.log.json, app.log_sink(), Arc::clone(&app.metrics))),
            tracing: serving.tracing.clone(),
            lost: Arc::clone(&app.metrics),
        });
        let worker = Rc::new(Self {
            proxy: proxy(serving, &ticker, &recorder),
            app: Arc::clone(app),
            near: Rc::default(),
            handshakes: Handshakes::new(handshakes(app), ticker.clone()),
            ticker,
            tls: serving.tls.clone(),
            recorder,
            date: Rc::new(Date::new(app.clock.now())),
            buffers: Rc::default(),
            seats: Rc::default(),
            stopping: Rc::default(),
            latest: Rc::default(),
        });
        *worker.latest.borrow_mut() = Rc::downgrade(&worker);
        worker
    }

    /// The same under another configuration; it is the latest from now on. What the old one's requests hold
    /// lives as long as they do.
    fn under(&self, serving: &Serving) -> Rc<Self> {
        self.handshakes.allow(handshakes(&serving.app));
        let recorder = Rc::new(Recorder {
            counts: Arc::clone(&self.recorder.counts),
            access: Rc::clone(&self.recorder.access),
            tracing: serving.tracing.clone(),
            lost: Arc::clone(&self.recorder.lost),
        });
        let worker = Rc::new(Self {
            proxy: proxy(serving, &self.ticker, &recorder),
            app: Arc::clone(&serving.app),
            near: Rc::clone(&self.near),
            ticker: self.ticker.clone(),
            handshakes: Rc::clone(&self.handshakes),
            tls: serving.tls.clone(),
            recorder,
            date: Rc::clone(&self.date),
            buffers: Rc::clone(&self.buffers),
            seats: Rc::clone(&self.seats),
            stopping: Rc::clone(&self.stopping),
            latest: Rc::clone(&self.latest),
        });
        *worker.latest.borrow_mut() = Rc::downgrade(&worker);
        self.proxy.retire();
        worker
    }

    /// What is done at every tick.
    fn tick(&self) {
        self.proxy.sweep();
        let now = self.app.clock.now();
        self.date.tick(now);
        self.near.borrow_mut().sweep(now);
        self.recorder.counts.connections.set(self.seats.open.get() as u64);
        self.recorder.access.flush();
    }
}

/// How many handshakes one worker may have under way.
fn handshakes(app: &App) -> usize {
    app.config.limits.handshakes.div_ceil(app.config.listen.workers.max(1))
}

fn proxy(serving: &Serving, ticker: &Ticker, recorder: &Recorder) -> Proxy {
    let app = &serving.app;
    let means = Means {
        connector: serving.connector.clone(),
        instances: Arc::clone(&serving.instances),
        ticker: ticker.clone(),
        live: Arc::clone(&app.sessions.live),
        counts: Arc::clone(&recorder.counts),
    };
    Proxy::new(Arc::clone(&app.config), means)
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

/// What all workers have in common under one configuration.
#[derive(Clone)]
pub(super) struct Serving {
    /// The application.
    pub(super) app: Arc<App>,
    /// How connections to the app are made.
    pub(super) connector: Connector,
    /// The instances of the app.
    pub(super) instances: Arc<Instances>,
    /// Asks them how they are as long as this counts.
    pub(super) _rounds: Arc<Rounds>,
    /// How connections of clients are encrypted, if they are.
    pub(super) tls: Option<Tls>,
    /// The connections of all workers.
    pub(super) crowd: Arc<Crowd>,
    /// Where spans go, if requests are traced.
    pub(super) tracing: Option<Tracing>,
}

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
    let ticking = Rc::clone(&worker.latest);
    tokio::task::spawn_local(worker.ticker.clone().run(move || {
        if let Some(worker) = ticking.borrow().upgrade() {
            worker.tick();
        }
    }));
    let mut acceptors = Vec::new();
    for share in listeners {
        let serves = share.serves;
        acceptors.push((Rc::new(Acceptor::new(share)?), serves));
    }
    let mut accepting = JoinSet::new();
    loop {
        for (acceptor, serves) in &acceptors {
            accepting.spawn_local(accept(
                Rc::clone(&worker),
                (Rc::clone(acceptor), *serves),
                Arc::clone(&serving.crowd),
            ));
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
    worker.stopping.set(true);
    worker.ticker.wake_all();
    drain(&worker).await;
    worker.tick();
    Ok(())
}

/// Lets what is under way come to its end, and ends what has none of its own.
async fn drain(worker: &Worker) {
    let drained = async {
        while worker.seats.open.get() > 0 {
            worker.seats.one_less.notified().await;
        }
    };
    if tokio::time::timeout(worker.app.config.limits.drain, drained).await.is_ok() {
        return;
    }
    let open = worker.seats.open.get();
    tracing::warn!(connections = open, "connections are cut at the end of the drain time");
    worker.ticker.cut();
    let [begun, ended] = &worker.recorder.counts.tunnels;
    let told = async {
        while begun.get() > ended.get() {
            tokio::time::sleep(FAREWELL_LOOK).await;
        }
    };
    // Whoever does not hear of it is cut without.
    let _ = tokio::time::timeout(FAREWELL, told).await;
}

async fn accept(worker: Rc<Worker>, (acceptor, serves): (Rc<Acceptor>, Serves), crowd: Arc<Crowd>) {
    let config = &worker.app.config;
    let mut wait = SHORTAGE.0;
    let encrypted = worker.tls.is_some() && matches!(serves, Serves::Site);
    let mut refused = Silenced::new("connections were refused: there are too many");
    let mut given_up = Silenced::new("TLS handshakes were given up: there are too many");
    loop {
        match acceptor.accept(&config.proxies.trusted).await {
            Ok((stream, peer)) => {
                wait = SHORTAGE.0;
                // Closed at once, before anything is read or kept for it. What a trusted proxy connects is for
                // many; where it names them, they are counted.
                let Some(member) = crowd.enter((!peer.trusted).then(|| peer.ip())) else {
                    refused.note(peer.ip(), worker.ticker.now());
                    worker.recorder.counts.turned_away.add_alone(1);
                    continue;
                };
                let seat = Seat::take(&worker.seats, member);
                // Nobody else is accepted meanwhile: who waits is the system's to keep.
                if encrypted && let Some(peer) = worker.handshakes.room().await {
                    given_up.note(peer, worker.ticker.now());
                    worker.recorder.counts.turned_away.add_alone(1);
                }
                let handshake = encrypted.then(|| worker.handshakes.begin(peer.ip()));
                let worker = Rc::clone(&worker);
                match serves {
                    Serves::Site => {
                        tokio::task::spawn_local(connection::serve(worker, stream, peer, (seat, handshake)))
                    }
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

/// What a flood of connections led to: told now and then, because it must not be one of lines.
struct Silenced {
    what: &'static str,
    since: u64,
    /// When it was told last, in milliseconds of the worker.
    told: Option<u64>,
}

impl Silenced {
    fn new(what: &'static str) -> Self {
        Self { what, since: 0, told: None }
    }

    fn note(&mut self, latest: IpAddr, now: u64) {
        self.since += 1;
        if self.told.is_none_or(|told| now.saturating_sub(told) >= SILENCE) {
            tracing::warn!(count = self.since, %latest, "{}", self.what);
            (self.since, self.told) = (0, Some(now));
        }
    }
}
