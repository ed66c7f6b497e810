//! The configuration as the rest of the house uses it: every value checked, every default filled in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

pub mod rule;

use crate::secret::RootSecret;
use rule::Rule;

/// Everything that can be configured.
pub struct Config {
    /// Where we listen.
    pub listen: Listen,
    /// How the world reaches us.
    pub public: Public,
    /// The app behind us.
    pub upstream: Upstream,
    /// Where users and sessions are kept.
    pub store: Store,
    /// The root secret of the installation.
    pub secret: RootSecret,
    /// Mount prefixes of our own endpoints, each starting with `/` and not ending with one.
    pub paths: Vec<String>,
    /// Who may sign up and how passwords look.
    pub sign_up: SignUp,
    /// Password policy and hashing.
    pub password: Password,
    /// Lifetimes and caching of sessions.
    pub session: Session,
    /// What a request needs before it is forwarded.
    pub access: Access,
    /// Under which names the app is told who is asking.
    pub identity: Identity,
    /// Sizes, deadlines and rates.
    pub limits: Limits,
    /// Peers whose `X-Forwarded-*` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How log lines look.
    pub log: Log,
    /// What weakens the defaults, in words for the start-up report.
    pub dangers: Vec<String>,
}

/// `[listen]`
pub struct Listen {
    /// Address and port; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Worker threads; as many as cores unless said otherwise.
    pub workers: usize,
}

/// `[public]`
pub struct Public {
    /// Scheme, host and port as a browser writes them in `Origin`: `https://app.example`.
    pub origin: String,
    /// The authority part of the origin: what `Host` says.
    pub authority: String,
    /// Whether browsers reach us by https.
    pub https: bool,
    /// Name shown on the pages.
    pub name: String,
}

/// `[upstream]`
#[derive(Clone)]
pub struct Upstream {
    /// Host name or address of the app.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long the head of an answer may take.
    pub response_timeout: Duration,
    /// How long an answer's body may pause.
    pub idle_timeout: Duration,
    /// How long an unused connection is kept; shorter than the app keeps it.
    pub keep_alive: Duration,
    /// Unused connections kept by each worker.
    pub max_idle: usize,
}

/// `[store]`
pub struct Store {
    /// Which database, and where.
    pub database: Database,
    /// Whether the tables are brought up to date at start.
    pub migrate: bool,
    /// Connections to PostgreSQL, or reading connections to SQLite.
    pub connections: u32,
}

/// Which database, and where.
#[derive(Clone)]
pub enum Database {
    /// A file; `None` keeps everything in memory.
    Sqlite(PathBuf),
    /// A `postgres://` URL, which may hold a password and is never shown.
    Postgres(String),
}

/// `[sign_up]`
pub struct SignUp {
    /// Whether strangers can make themselves an account.
    pub open: bool,
}

/// `[password]`
pub struct Password {
    /// Fewest characters (code points).
    pub min_length: usize,
    /// How many hashes are computed at a time.
    pub concurrency: usize,
    /// Every sign-in and sign-up answer leaves this long after the request came in, whatever was found.
    pub answer_floor: Duration,
}

/// `[session]`
#[derive(Clone, Copy)]
pub struct Session {
    /// A session that is not used for this long ends.
    pub idle: Duration,
    /// A session ends this long after sign-in, whatever its use.
    pub absolute: Duration,
    /// A session used again after this long has its end moved, and so written, once.
    pub renew_every: Duration,
    /// Lifetime when "remember me" is off.
    pub short: Duration,
    /// Sessions kept in memory.
    pub cache_entries: u64,
    /// How long a session is used from memory before the store is asked again.
    pub cache_age: Duration,
}

/// `[access]` and `[[rules]]`
pub struct Access {
    /// Whether another user's owner path is answered with 404 rather than 403.
    pub hide_existence: bool,
    /// The rules, first match wins; what none matches needs a session.
    pub rules: Vec<Rule>,
}

/// `[identity]`: header names in lower case.
#[derive(Clone)]
pub struct Identity {
    /// Carries the user's id; always sent.
    pub user_id: Vec<String>,
    /// Carries the address.
    pub email: Vec<String>,
    /// Carries the display name.
    pub name: Vec<String>,
    /// Carries groups; nothing fills it yet, but a client must not.
    pub groups: Vec<String>,
}

/// `[limits]`
#[derive(Clone, Copy)]
pub struct Limits {
    /// Largest header section of a request, in bytes.
    pub head: usize,
    /// Longest request target, in bytes.
    pub target: usize,
    /// Largest request body that is forwarded, in bytes.
    pub body: u64,
    /// How long a header section may take from its first byte.
    pub head_timeout: Duration,
    /// How long a connection may be idle between requests.
    pub keep_alive: Duration,
    /// How long a request body may pause, and how long a client may refuse to read an answer.
    pub body_idle: Duration,
    /// How long an upgraded connection may be silent in both directions.
    pub tunnel_idle: Duration,
    /// Connections in all.
    pub connections: usize,
    /// How long running requests may take to finish after SIGTERM.
    pub drain: Duration,
    /// Sign-ins and sign-ups in a minute from one address (IPv4 address or IPv6 /64).
    pub attempts_per_address: u32,
    /// Failed sign-ins in an hour for one account.
    pub attempts_per_account: u32,
    /// Sign-ins and sign-ups in a second for the whole process.
    pub attempts_in_all: u32,
}

/// `[log]`
pub struct Log {
    /// Lines of JSON rather than text.
    pub json: bool,
    /// A `tracing` filter such as `info` or `sidegate=debug`.
    pub filter: String,
    /// Whether every request is logged.
    pub access: bool,
}
