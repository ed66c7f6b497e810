//! Connections to the app: made, kept idle in lists of this worker, checked before they are used again.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::timeout;

use crate::config::upstream::{Protocol, Upstream};
use crate::http::buffers::Buffers;
use crate::metrics::worker::Worker;
use crate::proxy::connect::{Connector, Offer, Stream, is_shortage};
use crate::proxy::failure::{Failed, Failure};
use crate::proxy::instances::{Instances, UnderWay};
use crate::proxy::ticker::{Deadline, Ticker};
use crate::session::live::Live;
use crate::time::Now;

/// A connection is given up after this many requests.
const MOST_REQUESTS: u32 = 10_000;
/// A connection is given up at this age.
const OLDEST: Duration = Duration::from_mins(10);

/// One connection to the app. Boxed wherever it is handed on, so that what is moved is a pointer.
pub(super) struct Connection {
    pub(super) stream: Stream,
    /// Bytes that were read and belong to the answer that is being received.
    pub(super) unread: BytesMut,
    /// Bytes that wait to be written.
    pub(super) out: Vec<u8>,
    /// For whatever is being waited for.
    pub(super) deadline: Deadline,
    /// Which instance of the app it leads to.
    place: usize,
    /// Counted there as long as a request is being answered.
    under_way: Option<UnderWay>,
    pub(super) requests: u32,
    born: u64,
    idle_since: u64,
}

impl Connection {
    /// Which instance of the app it leads to, counted from 0.
    pub(super) fn instance(&self) -> Option<u16> {
        u16::try_from(self.place).ok()
    }

    /// What failed on it.
    #[cold]
    pub(super) fn failed(&self, failure: Failure) -> Failed {
        Failed::at(self.place, failure)
    }

    /// Whether it has carried an answer before, so that the app may have closed it meanwhile.
    pub(super) fn reused(&self) -> bool {
        self.requests > 0
    }
}

/// The idle connections of one worker, for each instance, the most recently used first.
#[expect(clippy::vec_box, reason = "they are handed on as boxes")]
pub(super) struct Pool {
    settings: Upstream,
    connector: Connector,
    instances: Arc<Instances>,
    ticker: Ticker,
    live: Arc<Live>,
    counts: Arc<Worker>,
    idle: RefCell<Vec<Vec<Box<Connection>>>>,
    buffers: Buffers,
    /// Another pool has taken its place.
    retired: Cell<bool>,
}

impl Pool {
    pub(super) fn new(
        settings: Upstream,
        connector: Connector,
        instances: Arc<Instances>,
        ticker: Ticker,
        (live, counts): (Arc<Live>, Arc<Worker>),
    ) -> Self {
        let idle = RefCell::new((0..instances.count()).map(|_| Vec::new()).collect());
        Self {
            settings,
            connector,
            instances,
            ticker,
            live,
            counts,
            idle,
            buffers: Buffers::default(),
            retired: Cell::new(false),
        }
    }

    pub(super) fn settings(&self) -> &Upstream {
        &self.settings
    }

    /// Milliseconds since the worker started, as of the last tick.
    pub(super) fn now(&self) -> u64 {
        self.ticker.now()
    }

    /// What connections are lent while they need it.
    pub(super) fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// The open connections that end with their session.
    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// A connection to the instance that has the least to do: one that is idle, if it can be used and `kept`
    /// allows it, or a new one.
    ///
    /// # Errors
    /// If no instance is well, or none can be reached; each was tried once.
    pub(super) async fn connection(&self, now: Now, kept: bool) -> Result<Box<Connection>, Failed> {
        let mut place = self.instances.choose(now, &[]).ok_or(Failure::NoneWell)?;
        // Counted from now on, so that whoever comes meanwhile goes to another one.
        let mut under_way = self.instances.begin(place);
        if kept && let Some(mut connection) = self.take(place) {
            connection.under_way = under_way;
            return Ok(connection);
        }
        let (mut tried, mut shed) = (Vec::new(), false);
        loop {
            // Boxed: it happens once for many requests.
            match Box::pin(self.connect(place)).await {
                Ok(mut connection) => {
                    connection.under_way = under_way;
                    return Ok(connection);
                }
                // What is idle may be connections to other instances.
                Err(Failure::NoRoom) if !shed => {
                    self.shed();
                    shed = true;
                }
                Err(Failure::NoRoom) => return Err(Failure::NoRoom.into()),
                Err(failure) => {
                    tried.push(place);
                    let failed = self.unreachable(place, now, failure);
                    place = self.instances.choose(now, &tried).ok_or(failed)?;
                    under_way = self.instances.begin(place);
                }
            }
        }
    }

    /// The instance at `place` could not be reached, whether or not another one can.
    #[cold]
    pub(super) fn unreachable(&self, place: usize, now: Now, failure: Failure) -> Failed {
        if let Some(trouble) = failure.trouble() {
            self.counts.troubles[trouble as usize].add_alone(1);
        }
        self.instances.failed(place, now, failure.reason());
        Failed::at(place, failure)
    }

    /// The answer on `connection` can be passed on.
    pub(super) fn heard(&self, connection: &Connection) {
        self.instances.heard(connection.place);
    }

    /// The answer on `connection` has come to its end.
    pub(super) fn answered(&self, connection: &Connection) {
        self.instances.answered(connection.place);
    }

    /// The exchange on `connection` broke, and that was the app's doing.
    #[cold]
    pub(super) fn broke(&self, connection: &Connection, now: Now, error: impl Display) {
        self.instances.broke(connection.place, now, error);
    }

    /// The name of an instance of the app, where there are several.
    pub(super) fn instance(&self, place: u16) -> Option<&str> {
        self.instances.name(place.into())
    }

    fn take(&self, place: usize) -> Option<Box<Connection>> {
        loop {
            let mut connection = self.idle.borrow_mut().get_mut(place)?.pop()?;
            if !self.too_old(&connection) && !connection.stream.spoiled() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose answer has been read to its end.
    pub(super) fn put(&self, mut connection: Box<Connection>) {
        connection.requests += 1;
        connection.idle_since = self.ticker.now();
        connection.deadline.disarm();
        connection.under_way = None;
        let mut idle = self.idle.borrow_mut();
        let Some(idle) = idle.get_mut(connection.place) else { return };
        let clean = connection.unread.is_empty() && connection.out.is_empty();
        if clean
            && !self.retired.get()
            && !self.connector.is_short()
            && connection.requests < MOST_REQUESTS
            && idle.len() < self.settings.max_idle
        {
            self.buffers.read(std::mem::take(&mut connection.unread));
            self.buffers.written(std::mem::take(&mut connection.out));
            idle.push(connection);
        }
    }

    /// Closes all that is idle, and from now on what becomes idle.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.shed();
    }

    /// Closes what is idle.
    pub(super) fn shed(&self) {
        self.idle.borrow_mut().iter_mut().for_each(Vec::clear);
    }

    /// Closes what has been idle for too long, and lets go of memory that is not used.
    pub(super) fn sweep(&self) {
        self.buffers.sweep();
        for idle in self.idle.borrow_mut().iter_mut() {
            idle.retain(|connection| !self.too_old(connection));
        }
    }

    fn too_old(&self, connection: &Connection) -> bool {
        self.ticker.has_passed(connection.idle_since, self.settings.keep_alive)
            || self.ticker.has_passed(connection.born, OLDEST)
    }

    async fn connect(&self, place: usize) -> Result<Box<Connection>, Failure> {
        let Some(target) = self.settings.targets.get(place) else {
            return Err(Failure::Unreachable(std::io::ErrorKind::NotFound.into()));
        };
        let offer = match self.settings.protocol {
            Protocol::Http1 => Offer::Nothing,
            Protocol::H2 | Protocol::H2c | Protocol::Auto => Offer::Http1,
        };
        let stream = timeout(self.settings.connect_timeout, self.connector.offering(target, offer))
            .await
            .map_err(|_| Failure::ConnectTimeout)?
            .map_err(
                |error| if is_shortage(&error) { Failure::NoRoom } else { Failure::Unreachable(error) },
            )?;
        Ok(self.fresh(stream, place))
    }

    /// Keeps a connection that somebody else made to the instance at `place`.
    pub(super) fn adopt(&self, stream: Stream, place: usize) {
        self.put(self.fresh(stream, place));
    }

    fn fresh(&self, stream: Stream, place: usize) -> Box<Connection> {
        let now = self.ticker.now();
        Box::new(Connection {
            stream,
            unread: BytesMut::new(),
            out: Vec::new(),
            deadline: self.ticker.deadline(),
            place,
            under_way: None,
            requests: 0,
            born: now,
            idle_since: now,
        })
    }
}
