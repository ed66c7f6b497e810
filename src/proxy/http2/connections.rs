//! The HTTP/2 connections of one worker: as few for each instance of the app as its limits allow, made once for all
//! requests that wait for one.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::config::upstream::{Protocol, Upstream};
use crate::proxy::connect::{Connector, Offer, is_shortage};
use crate::proxy::failure::{Failed, Failure};
use crate::proxy::http2::connection::{Life, State, places};
use crate::proxy::http2::given_up::GivenUp;
use crate::proxy::http2::lease::Lease;
use crate::proxy::instances::{Instances, UnderWay};
use crate::proxy::ticker::Ticker;
use crate::proxy::upstream::Pool;
use crate::time::Now;

/// A connection gets no further requests at this age.
const OLDEST: Duration = Duration::from_mins(10);
/// For how long an app that chose HTTP/1.1 is not asked again.
const CHOICE: Duration = Duration::from_mins(1);
/// Connections for one request each that are made at a time for requests whose connection was lost.
const MOST_APART: usize = 8;
/// Connections that one request waits for before it takes one that is full.
const MOST_WAITS: usize = 64;

/// All connections of a worker.
pub(super) struct Connections {
    settings: Upstream,
    connector: Connector,
    instances: Arc<Instances>,
    ticker: Ticker,
    /// Gets the connections on which the app chose HTTP/1.1.
    pool: Rc<Pool>,
    places: Vec<RefCell<Place>>,
    /// Until when HTTP/1.1 is spoken because the app chose it, in milliseconds of the worker.
    http1_until: Cell<u64>,
    /// Connections for one request each that are being made.
    making_apart: Cell<usize>,
    /// What is not reset yet.
    given_up: Rc<GivenUp>,
    /// Another way to the app has taken the place of this one.
    retired: Cell<bool>,
}

/// What leads to one instance.
#[derive(Default)]
struct Place {
    open: Vec<Open>,
    opening: Option<Rc<Opening>>,
}

struct Open {
    sender: SendRequest<Bytes>,
    state: Arc<State>,
}

/// One that is being made, as long as this is kept.
struct Making<'c>(&'c Cell<usize>);

impl<'c> Making<'c> {
    fn begin(count: &'c Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Open {
    fn has_room(&self) -> bool {
        let State { streams, given_up, .. } = &*self.state;
        streams.load(Ordering::Relaxed) + given_up.load(Ordering::Relaxed) < places(&self.sender)
    }
}

/// A connection that is being made, and what came of it.
#[derive(Default)]
struct Opening {
    outcome: RefCell<Option<Outcome>>,
    told: Notify,
}

/// What came of making a connection.
#[derive(Clone)]
enum Outcome {
    Open,
    Http1,
    TooSlow,
    NoRoom,
    Failed(io::ErrorKind, String),
}

/// What a request gets.
pub(super) enum Leased {
    /// A stream.
    Stream(Lease),
    /// The app speaks HTTP/1.1.
    Http1,
}

impl Connections {
    pub(super) fn new(
        settings: Upstream,
        connector: Connector,
        instances: Arc<Instances>,
        ticker: Ticker,
        pool: Rc<Pool>,
    ) -> Self {
        let places = (0..instances.count()).map(|_| RefCell::default()).collect();
        Self {
            settings,
            connector,
            instances,
            ticker,
            pool,
            places,
            http1_until: Cell::new(0),
            making_apart: Cell::new(0),
            given_up: Rc::default(),
            retired: Cell::new(false),
        }
    }

    /// A stream to the instance that has the least to do, but to the one at `avoid` only if there is no other. The only
    /// one of its connection, which ends with it, if it is to be `apart`.
    ///
    /// # Errors
    /// If no instance is well, or none can be reached; each was tried once.
    pub(super) async fn stream(
        self: &Rc<Self>,
        now: Now,
        (avoid, apart): (Option<usize>, bool),
    ) -> Result<Leased, Failed> {
        if self.ticker.now() < self.http1_until.get() {
            return Ok(Leased::Http1);
        }
        let others = avoid.and_then(|avoid| self.instances.choose(now, &[avoid]));
        let mut place = others.or_else(|| self.instances.choose(now, &[])).ok_or(Failure::NoneWell)?;
        let (mut tried, mut shed, mut short) = (Vec::new(), false, false);
        loop {
            // Counted from now on, so that whoever comes meanwhile goes to another one.
            let under_way = self.instances.begin(place);
            let leased = if apart {
                // Boxed: it is rare.
                Box::pin(self.stream_apart(place, under_way)).await
            } else {
                self.stream_to(place, under_way).await
            };
            let failure = match leased {
                Ok(leased) => return Ok(leased),
                // What is idle may be connections to other instances.
                Err(Failure::NoRoom) if !shed => {
                    self.pool.shed();
                    self.shed();
                    shed = true;
                    // What ends with that ends in its own task.
                    yield_now().await;
                    continue;
                }
                Err(failure) => failure,
            };
            tried.push(place);
            let failed = if matches!(failure, Failure::NoRoom) {
                // It is not to blame, and there may be a stream on what is open to another one.
                short = true;
                Failed::from(failure)
            } else {
                self.pool.unreachable(place, now, failure)
            };
            let end = if short { Failure::NoRoom.into() } else { failed };
            place = self.instances.choose(now, &tried).ok_or(end)?;
        }
    }

    async fn stream_to(
        self: &Rc<Self>,
        place: usize,
        mut under_way: Option<UnderWay>,
    ) -> Result<Leased, Failure> {
        let mut may_be_full = false;
        for _ in 0..MOST_WAITS {
            if let Some(lease) = self.lease(place, may_be_full, &mut under_way) {
                return Ok(Leased::Stream(lease));
            }
            match self.opened(place).await {
                // An app that allows nothing at all may yet change its mind (RFC 9113 §5.1.2).
                Outcome::Open => may_be_full = self.all_are_unused(place),
                Outcome::Http1 => return Ok(Leased::Http1),
                Outcome::NoRoom => return Err(Failure::NoRoom),
                Outcome::TooSlow => return Err(Failure::ConnectTimeout),
                Outcome::Failed(kind, text) => return Err(Failure::Unreachable(io::Error::new(kind, text))),
            }
        }
        let lease = self.lease(place, true, &mut under_way);
        lease.map(Leased::Stream).ok_or(Failure::Closed { untouched: true })
    }

    /// What keeps streams that are given up, and the clock by which it does.
    pub(super) fn given_up(&self) -> (&GivenUp, &Ticker) {
        (&self.given_up, &self.ticker)
    }

    /// Whether few connections for one request each are being made. Where many requests were lost at the same time, it
    /// was none of them, and an app that has just come back is not to be met by all.
    pub(super) fn makes_few_apart(&self) -> bool {
        self.making_apart.get() < MOST_APART
    }

    async fn stream_apart(&self, place: usize, under_way: Option<UnderWay>) -> Result<Leased, Failure> {
        let _making = Making::begin(&self.making_apart);
        match timeout(self.settings.connect_timeout, self.make(place)).await {
            Err(_) => Err(Failure::ConnectTimeout),
            Ok(Err(error)) if is_shortage(&error) => Err(Failure::NoRoom),
            Ok(Err(error)) => Err(Failure::Unreachable(error)),
            Ok(Ok(None)) => Ok(Leased::Http1),
            Ok(Ok(Some((open, life)))) => {
                let lease = self.lease_of(&open, place, (true, under_way));
                tokio::task::spawn_local(keep(life, Rc::clone(&self.given_up)));
                Ok(Leased::Stream(lease))
            }
        }
    }

    fn all_are_unused(&self, place: usize) -> bool {
        let unused = |place: &RefCell<Place>| {
            place.borrow().open.iter().all(|it| it.state.streams.load(Ordering::Relaxed) == 0)
        };
        self.places.get(place).is_none_or(unused)
    }

    /// A stream of a connection that is open: the first with room, so that others become idle.
    fn lease(&self, place: usize, may_be_full: bool, under_way: &mut Option<UnderWay>) -> Option<Lease> {
        let known = self.places.get(place)?.borrow();
        let mut usable = known.open.iter().filter(|open| !open.state.retired.load(Ordering::Relaxed));
        let open = if may_be_full {
            usable.min_by_key(|open| open.state.streams.load(Ordering::Relaxed))
        } else {
            usable.find(|open| open.has_room())
        }?;
        Some(self.lease_of(open, place, (false, under_way.take())))
    }

    fn lease_of(&self, open: &Open, place: usize, apart: (bool, Option<UnderWay>)) -> Lease {
        let connection = (open.sender.clone(), Arc::clone(&open.state));
        Lease::new(connection, (&self.instances, place), &self.ticker, apart)
    }

    /// What comes of the connection that is being made, by whomever it was begun. It goes on without whoever asked
    /// for it first.
    async fn opened(self: &Rc<Self>, place: usize) -> Outcome {
        let Some(known) = self.places.get(place) else {
            return Outcome::Failed(io::ErrorKind::NotFound, String::new());
        };
        let opening = Rc::clone(known.borrow_mut().opening.get_or_insert_with(|| {
            let opening = Rc::<Opening>::default();
            let (this, told) = (Rc::clone(self), Rc::clone(&opening));
            tokio::task::spawn_local(async move { this.open(place, &told).await });
            opening
        }));
        loop {
            // Made before the look, so that nothing is missed.
            let told = opening.told.notified();
            if let Some(outcome) = &*opening.outcome.borrow() {
                return outcome.clone();
            }
            told.await;
        }
    }

    /// Makes a connection, tells who waits for it, and keeps it to its end.
    async fn open(&self, place: usize, opening: &Opening) {
        let made = timeout(self.settings.connect_timeout, self.make(place)).await;
        let (outcome, made) = match made {
            Err(_) => (Outcome::TooSlow, None),
            Ok(Err(error)) if is_shortage(&error) => (Outcome::NoRoom, None),
            Ok(Err(error)) => (Outcome::Failed(error.kind(), error.to_string()), None),
            Ok(Ok(None)) => (Outcome::Http1, None),
            Ok(Ok(Some((open, life)))) => (Outcome::Open, Some((open, life))),
        };
        let mut life = None;
        if let Some(known) = self.places.get(place) {
            known.borrow_mut().opening = None;
            if let Some((open, its)) = made {
                known.borrow_mut().open.push(open);
                life = Some(its);
            }
        }
        *opening.outcome.borrow_mut() = Some(outcome);
        opening.told.notify_waiters();
        let Some(life) = life else { return };
        if self.retired.get() {
            // Nobody looks after what is kept here any more: once who waited for it has a stream of it, or has gone,
            // it ends with the last of its requests.
            yield_now().await;
            self.retire();
        }
        let state = Arc::clone(life.state());
        keep(life, Rc::clone(&self.given_up)).await;
        if let Some(known) = self.places.get(place) {
            known.borrow_mut().open.retain(|open| !Arc::ptr_eq(&open.state, &state));
        }
    }

    /// Connects and finds out what is spoken. `None` if it is HTTP/1.1.
    async fn make(&self, place: usize) -> io::Result<Option<(Open, Life)>> {
        let target = self.settings.targets.get(place).ok_or(io::ErrorKind::NotFound)?;
        let protocol = self.settings.protocol;
        let stream = self.connector.offering(target, Offer::of(protocol)).await?;
        if stream.is_encrypted() && !stream.agreed_on_http2() {
            if protocol == Protocol::Auto {
                let until = self.ticker.now() + u64::try_from(CHOICE.as_millis()).unwrap_or(u64::MAX);
                self.http1_until.set(until);
                self.pool.adopt(stream, place);
                return Ok(None);
            }
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not agree to speak HTTP/2"));
        }
        let (sender, life) = Life::begin(stream, &self.ticker, &self.settings).await?;
        Ok(Some((Open { sender, state: Arc::clone(life.state()) }, life)))
    }

    /// Lets go of all connections. Each ends with the last of its requests.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.given_up.retire();
        for place in &self.places {
            place.borrow_mut().open.clear();
        }
    }

    /// Lets go of all connections that are idle, and of streams that were given up.
    pub(super) fn shed(&self) {
        self.given_up.shed();
        for place in &self.places {
            place.borrow_mut().open.retain(|open| open.state.streams.load(Ordering::Relaxed) > 0);
        }
    }

    /// Lets go of connections that are idle for too long, too old or retired, and of streams that were given up. A
    /// connection that still carries requests ends with the last of them.
    pub(super) fn sweep(&self) {
        self.given_up.sweep(&self.ticker);
        let keeps = |open: &Open| {
            let state = &open.state;
            let idle = state.streams.load(Ordering::Relaxed) == 0
                && self.ticker.has_passed(state.idle_since.load(Ordering::Relaxed), self.settings.keep_alive);
            let old = self.ticker.has_passed(state.born, OLDEST);
            !(idle || old || state.retired.load(Ordering::Relaxed))
        };
        for place in &self.places {
            place.borrow_mut().open.retain(&keeps);
        }
    }
}

/// Keeps a connection to its end.
async fn keep(life: Life, given_up: Rc<GivenUp>) {
    if let Err(error) = life.run(&given_up).await {
        tracing::debug!(%error, "a connection to the app ended");
    }
}
