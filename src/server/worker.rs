//! One worker: what the connections of one thread share, under one configuration.
//!
//! **Invariant:** a worker never computes a password hash, never runs a query and never resolves a name while
//! a request waits for another; it only awaits the office.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use crate::app::App;
use crate::gate::endpoint;
use crate::http::buffers::Buffers;
use crate::log::access::Access;
use crate::metrics::worker::{AWAITING, Awaiting};
use crate::proxy::connect::Connector;
use crate::proxy::health::Rounds;
use crate::proxy::instances::Instances;
use crate::proxy::ticker::Ticker;
use crate::proxy::{Means, Proxy};
use crate::server::crowd::{Crowd, Limit};
use crate::server::date::Date;
use crate::server::handshakes::Handshakes;
use crate::server::record::{Names, Recorder};
use crate::server::seats::{Need, Seats};
use crate::server::silenced::OfInstances;
use crate::server::tls::Tls;
use crate::session::near::Near;
use crate::trace::Tracing;

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
    pub(super) handshakes: Rc<Handshakes>,
    /// Where requests are written down.
    pub(super) recorder: Rc<Recorder>,
    /// Its connections.
    pub(super) seats: Rc<Seats>,
    /// Those of all workers.
    pub(super) crowd: Arc<Crowd>,
    /// Told of requests that the app did not answer.
    pub(super) failed: OfInstances,
    stopping: Rc<Cell<bool>>,
    /// Whom it lets in by their certificates.
    pub(super) trust: Trust,
    /// The one under the configuration that counts now.
    pub(super) latest: Rc<RefCell<Weak<Worker>>>,
}

impl Worker {
    /// From now on no further request is taken.
    pub(super) fn stop(&self) {
        self.stopping.set(true);
        self.ticker.wake_all();
    }

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
    pub(super) fn first(serving: &Serving) -> Rc<Self> {
        let ticker = Ticker::default();
        let app = &serving.app;
        let counts = app.metrics.enlist(endpoint::PLACES);
        let access = Access::new(app.config.log.json, app.log_sink());
        let recorder = Rc::new(Recorder {
            names: Names::new(&app.rules, &serving.instances, &counts, &access),
            counts,
            access: Rc::new(access),
            tracing: serving.tracing.clone(),
            lost: Arc::clone(&app.metrics),
            ticker: ticker.clone(),
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
            crowd: Arc::clone(&serving.crowd),
            failed: OfInstances::default(),
            stopping: Rc::default(),
            trust: Trust::default(),
            latest: Rc::default(),
        });
        *worker.latest.borrow_mut() = Rc::downgrade(&worker);
        worker
    }

    /// The same under another configuration; it is the latest from now on. What the old one's requests hold
    /// lives as long as they do.
    pub(super) fn under(&self, serving: &Serving) -> Rc<Self> {
        self.handshakes.allow(handshakes(&serving.app));
        let (counts, access) = (Arc::clone(&self.recorder.counts), Rc::clone(&self.recorder.access));
        let recorder = Rc::new(Recorder {
            names: Names::new(&serving.app.rules, &serving.instances, &counts, &access),
            counts,
            access,
            tracing: serving.tracing.clone(),
            lost: Arc::clone(&self.recorder.lost),
            ticker: self.ticker.clone(),
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
            crowd: Arc::clone(&serving.crowd),
            failed: OfInstances::default(),
            stopping: Rc::clone(&self.stopping),
            trust: self.trust.under(Tls::clients(self.tls.as_ref()) != Tls::clients(serving.tls.as_ref())),
            latest: Rc::clone(&self.latest),
        });
        *worker.latest.borrow_mut() = Rc::downgrade(&worker);
        self.proxy.retire();
        if self.trust.has_ended() {
            self.ticker.wake_all();
        }
        worker
    }

    /// A connection of this address is one too many: it is counted, and now and then told of.
    pub(super) fn turn_away(&self, from: IpAddr, limit: Limit) {
        self.recorder.counts.turned_away.add_alone(1);
        self.seats.turn_away(from, limit, self.ticker.now());
    }

    /// Where places are few, has this worker's share of those who should leave make room, if so many are idle. Whether
    /// any is about to.
    pub(super) fn make_room(&self, need: Need) -> bool {
        let excess = self.crowd.excess();
        excess > 0 && {
            let share = excess.div_ceil(self.app.config.listen.workers.max(1));
            self.seats.make_room(share, need, self.ticker.now())
        }
    }

    /// An idle connection was closed to make room for others.
    #[cold]
    pub(super) fn shed(&self) {
        self.recorder.counts.shed.add_alone(1);
    }

    /// What a client was to say did not come in time. It is counted, and told of in detail only: whoever wants could
    /// fill the log with it.
    #[cold]
    pub(super) fn timed_out(&self, peer: SocketAddr, awaiting: Awaiting) {
        self.recorder.counts.timed_out[awaiting as usize].add_alone(1);
        tracing::debug!(%peer, awaiting = AWAITING[awaiting as usize], "a connection was closed: it took too long");
    }

    /// What is done at every tick.
    pub(super) fn tick(&self) {
        self.proxy.sweep();
        self.buffers.sweep();
        let now = self.app.clock.now();
        self.date.tick(now);
        self.near.borrow_mut().sweep(now);
        self.recorder.counts.connections.set(self.seats.open.get() as u64);
        self.make_room(Need::Ahead);
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

/// By whose certificates clients are let in, from one change of that to the next.
#[derive(Clone, Default)]
pub(super) struct Trust {
    /// How often it had changed, and how often it has by now.
    since: u64,
    now: Rc<Cell<u64>>,
}

impl Trust {
    fn under(&self, changed: bool) -> Self {
        self.now.set(self.now.get() + u64::from(changed));
        Self { since: self.now.get(), now: Rc::clone(&self.now) }
    }

    /// Whether others are let in now than when this connection was: it ends with the request that is under way.
    pub(super) fn has_ended(&self) -> bool {
        self.since != self.now.get()
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
