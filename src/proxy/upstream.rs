//! Connections to the app: made, kept idle in a list of this worker, checked before they are used again.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::HeaderName;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::Upstream;
use crate::proxy::failure::Failure;
use crate::proxy::ticker::{Deadline, Ticker};
use crate::session::live::Live;

/// A connection is given up after this many requests.
const MOST_REQUESTS: u32 = 10_000;
/// A connection is given up at this age.
const OLDEST: Duration = Duration::from_mins(10);

/// One connection to the app. Boxed wherever it is handed on, so that what is moved is a pointer.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    /// Bytes that were read and belong to the answer that is being received.
    pub(super) unread: BytesMut,
    /// Bytes that wait to be written, kept for their allocation.
    pub(super) out: Vec<u8>,
    /// The names of the fields of the latest answer.
    pub(super) names: Vec<HeaderName>,
    /// For whatever is being waited for.
    pub(super) deadline: Deadline,
    requests: u32,
    born: u64,
    idle_since: u64,
}

impl Connection {
    /// Whether it has carried an answer before, so that the app may have closed it meanwhile.
    pub(super) fn reused(&self) -> bool {
        self.requests > 0
    }

    /// Whether the app closed it, or spoke without being asked.
    fn spoiled(&self) -> bool {
        let mut byte = [0];
        !matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// The idle connections of one worker, the most recently used first.
#[expect(clippy::vec_box, reason = "they are handed on as boxes")]
pub(super) struct Pool {
    settings: Upstream,
    ticker: Ticker,
    live: Arc<Live>,
    idle: RefCell<Vec<Box<Connection>>>,
}

impl Pool {
    pub(super) fn new(settings: Upstream, ticker: Ticker, live: Arc<Live>) -> Self {
        Self { settings, ticker, live, idle: RefCell::new(Vec::new()) }
    }

    pub(super) fn settings(&self) -> &Upstream {
        &self.settings
    }

    /// Milliseconds since the worker started, as of the last tick.
    pub(super) fn now(&self) -> u64 {
        self.ticker.now()
    }

    /// The open connections that end with their session.
    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// An idle connection that can be used.
    pub(super) fn take(&self) -> Option<Box<Connection>> {
        loop {
            let connection = self.idle.borrow_mut().pop()?;
            if !self.too_old(&connection) && !connection.spoiled() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose answer has been read to its end.
    pub(super) fn put(&self, mut connection: Box<Connection>) {
        connection.requests += 1;
        connection.idle_since = self.ticker.now();
        connection.deadline.disarm();
        let mut idle = self.idle.borrow_mut();
        let clean = connection.unread.is_empty() && connection.out.is_empty();
        if clean && connection.requests < MOST_REQUESTS && idle.len() < self.settings.max_idle {
            idle.push(connection);
        }
    }

    /// Closes what has been idle for too long.
    pub(super) fn sweep(&self) {
        self.idle.borrow_mut().retain(|connection| !self.too_old(connection));
    }

    fn too_old(&self, connection: &Connection) -> bool {
        let now = self.ticker.now();
        let longer = |since: u64, than: Duration| u128::from(now.saturating_sub(since)) >= than.as_millis();
        longer(connection.idle_since, self.settings.keep_alive) || longer(connection.born, OLDEST)
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Box<Connection>, Failure> {
        let stream = timeout(self.settings.connect_timeout, self.open())
            .await
            .map_err(|_| Failure::ConnectTimeout)?
            .map_err(Failure::Unreachable)?;
        stream.set_nodelay(true).map_err(Failure::Unreachable)?;
        let now = self.ticker.now();
        Ok(Box::new(Connection {
            stream,
            unread: BytesMut::new(),
            out: Vec::with_capacity(1024),
            names: Vec::new(),
            deadline: self.ticker.deadline(),
            requests: 0,
            born: now,
            idle_since: now,
        }))
    }

    async fn open(&self) -> io::Result<TcpStream> {
        let Upstream { host, port, .. } = &self.settings;
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => TcpStream::connect(SocketAddr::new(address, *port)).await,
            Err(_) => TcpStream::connect((host.as_str(), *port)).await,
        }
    }
}
