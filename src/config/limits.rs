//! Sizes, deadlines and rates: `[limits]`.

use std::time::Duration;

/// The most that [`Limits::headers`] can be.
pub const MOST_HEADERS: usize = 256;

/// `[limits]`
#[derive(Clone, Copy)]
pub struct Limits {
    /// Largest header section of a request, in bytes.
    pub head: usize,
    /// Most header fields of a request, at most [`MOST_HEADERS`].
    pub headers: usize,
    /// Longest request target, in bytes.
    pub target: usize,
    /// Largest request body that is forwarded, in bytes; `u64::MAX` if there is no limit.
    pub body: u64,
    /// How long a header section may take from its first byte.
    pub head_timeout: Duration,
    /// How long a connection may be idle between requests.
    pub keep_alive: Duration,
    /// How long a request body may pause, and how long a client may refuse to read an answer.
    pub body_idle: Duration,
    /// The slowest that a body may travel in either direction, in bytes a second; 0 lets it be.
    pub min_rate: u64,
    /// How long it may be slower.
    pub min_rate_grace: Duration,
    /// How long an upgraded connection may be silent in both directions.
    pub tunnel_idle: Duration,
    /// Connections in all.
    pub connections: Connections,
    /// Connections from one address (IPv4 address or IPv6 /64).
    pub connections_per_address: u32,
    /// Requests of one address (as above) that may be under way by HTTP/2, beside one on each of its connections.
    pub requests_per_address: u32,
    /// TLS handshakes with clients that are under way at once, in all.
    pub handshakes: usize,
    /// Requests on one connection; `u64::MAX` if there is no limit.
    pub requests_per_connection: u64,
    /// Requests that one HTTP/2 connection may have under way.
    pub streams: u32,
    /// What a client may send ahead in one stream of HTTP/2, in bytes.
    pub stream_window: u32,
    /// What a client may send ahead in all streams of a connection, in bytes.
    pub connection_window: u32,
    /// Streams of HTTP/2 that a client may begin wrongly or give up at once before the connection is ended.
    pub resets: usize,
    /// How long running requests may take to finish after SIGTERM.
    pub drain: Duration,
    /// How long everything is served as before after SIGTERM, while `/readyz` says that it will not be.
    pub grace: Duration,
    /// Sign-ins and sign-ups in a minute from one address (IPv4 address or IPv6 /64).
    pub attempts_per_address: u32,
    /// Failed sign-ins in an hour for one account.
    pub attempts_per_account: u32,
    /// Sign-ins and sign-ups in a second for the whole process.
    pub attempts_in_all: u32,
    /// Mails in an hour that can be asked for in the name of one address.
    pub mails_per_recipient: u32,
}

/// `limits.connections`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// As many as the configuration says.
    Chosen(usize),
    /// It says nothing: 10,000, or as many as the system allows.
    Usual,
}

impl Connections {
    /// How many there are without a word on it.
    const USUAL: usize = 10_000;

    /// How many, if there is room.
    pub fn wanted(self) -> usize {
        match self {
            Self::Chosen(count) => count,
            Self::Usual => Self::USUAL,
        }
    }
}

#[cfg(test)]
impl Limits {
    /// Nothing at all, for tests that need some of them.
    pub(crate) const ZERO: Self = Self {
        head: 0,
        headers: 0,
        target: 0,
        body: 0,
        head_timeout: Duration::ZERO,
        keep_alive: Duration::ZERO,
        body_idle: Duration::ZERO,
        tunnel_idle: Duration::ZERO,
        connections: Connections::Chosen(0),
        connections_per_address: 0,
        requests_per_address: 0,
        handshakes: 0,
        min_rate: 0,
        min_rate_grace: Duration::ZERO,
        requests_per_connection: 0,
        streams: 0,
        stream_window: 0,
        connection_window: 0,
        resets: 0,
        drain: Duration::ZERO,
        grace: Duration::ZERO,
        attempts_per_address: 0,
        attempts_per_account: 0,
        attempts_in_all: 0,
        mails_per_recipient: 0,
    };
}
