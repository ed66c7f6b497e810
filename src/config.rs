//! The configuration as the rest of the house uses it: every value checked, every default filled in.
//!
//! [`load`] reads a file, the environment and flags (`layers`), gives them a shape (`shape`, `file`,
//! `units`) and a meaning (`check`, pure), and finds the secrets (`secret`). Whatever is wrong on
//! the way ends in one list of [`Problems`].

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

mod check;
mod file;
mod layers;
pub mod problem;
pub mod rule;
mod secret;
mod shape;
pub(crate) mod units;

use crate::secret::RootSecret;
use layers::Layers;
use problem::{Place, Problems};
use rule::Rule;

/// Everything that can be configured.
pub struct Config {
    /// Where we listen.
    pub listen: Listen,
    /// How connections are encrypted, if that is done here.
    pub tls: Option<Tls>,
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

impl Config {
    /// The first mount prefix: where our own links lead.
    pub fn mount(&self) -> &str {
        self.paths.first().map_or("/auth", String::as_str)
    }
}

/// `[listen]`
pub struct Listen {
    /// Address and port; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Worker threads, at least one; as many as cores unless said otherwise.
    pub workers: usize,
}

impl Listen {
    /// An address of this machine to connect to, also where all addresses are listened on.
    pub fn reachable(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        SocketAddr::new(ip, self.address.port())
    }
}

/// `[tls]`
#[derive(Clone)]
pub struct Tls {
    /// At least one. The first is for clients that name no host, or one that none is for.
    pub certificates: Vec<Certificate>,
    /// Who issues the certificates by which clients show who they are (PEM).
    pub client_ca: Option<PathBuf>,
    /// Whether a client without such a certificate is turned away.
    pub client_required: bool,
}

/// A certificate and its key, as PEM files.
#[derive(Clone)]
pub struct Certificate {
    /// The certificate, then those of its issuers.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
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
    /// Where the app listens; several places are several instances of the same app.
    pub targets: Vec<Target>,
    /// How it shows that it is the app, where it is reached by TLS.
    pub tls: UpstreamTls,
    /// How long an instance that could not be reached is passed over, if there are others.
    pub rest: Duration,
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

/// One place where the app listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A host name or address (IPv6 without brackets) and a port.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Whether TLS is spoken.
        tls: bool,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, tls } => {
                let scheme = if *tls { "https" } else { "http" };
                if host.contains(':') {
                    write!(f, "{scheme}://[{host}]:{port}")
                } else {
                    write!(f, "{scheme}://{host}:{port}")
                }
            }
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// TLS towards the app.
#[derive(Clone, Default)]
pub struct UpstreamTls {
    /// Who issues the app's certificate (PEM), in place of the authorities of the web.
    pub ca_file: Option<PathBuf>,
    /// The certificate by which we show the app who we are.
    pub client: Option<Certificate>,
}

/// A file that a key names and that cannot be used.
#[derive(Debug)]
pub struct Unusable {
    /// The key path.
    pub key: String,
    /// What is wrong with the file.
    pub what: String,
}

impl std::error::Error for Unusable {}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
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
    /// A file, relative to the working directory.
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

impl Password {
    /// Most characters (code points): longer ones only cost time to hash.
    pub const LONGEST: usize = 128;
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
    /// Largest request body that is forwarded, in bytes; `u64::MAX` if there is no limit.
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

/// What a configuration is read from. Flags win over the environment, the environment over the file.
pub struct Sources {
    /// The TOML file; none is needed if the rest names the app.
    pub file: Option<PathBuf>,
    /// The environment: `SIDEGATE_SECTION__KEY` variables, and what `${NAME}` in the file stands for.
    pub env: Vec<(OsString, OsString)>,
    /// Values of the command line.
    pub flags: Flags,
    /// What becomes of a root secret that had to be made.
    pub new_secret: NewSecret,
}

/// Values of the command line.
#[derive(Clone, Default)]
pub struct Flags {
    /// `--upstream`: `upstream.url`
    pub upstream: Option<String>,
    /// `--listen`: `listen.address`
    pub listen: Option<String>,
    /// `--store`: `store.url`
    pub store: Option<String>,
}

/// What becomes of a root secret that had to be made because none is given and none was kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum NewSecret {
    /// It is kept in a file, for the next start.
    Keep,
    /// It is forgotten: who only looks at the configuration leaves no files.
    Leave,
}

/// Reads and checks the configuration. The error holds everything that is wrong with it; nothing
/// is written unless all is well.
pub fn load(sources: &Sources) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let mut layers = read_layers(sources, &mut problems);
    let mut raw = shape::shape(&mut layers, &mut problems);

    let url = secret::given("store.url", raw.store.url.take(), raw.store.url_file.as_deref(), &mut problems);
    raw.store.url = url.map(|url| url.to_string());
    let key = if raw.secret_file.is_some() { "secret_file" } else { "secret" };
    let given = secret::given("secret", raw.secret.take(), raw.secret_file.as_deref(), &mut problems);
    let given = given.and_then(|text| secret::root(key, &text, &mut problems));
    let make_one = given.is_none() && !problems.about("secret") && !problems.about("secret_file");

    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    check::check(&raw, given.unwrap_or_else(secret::stand_in), cores, problems)
        .and_then(|config| if make_one { with_own_secret(config, sources) } else { Ok(config) })
        .map_err(|mut problems| {
            problems.locate(|key| layers.place(key));
            problems
        })
}

/// File, environment and flags laid over each other.
fn read_layers(sources: &Sources, problems: &mut Problems) -> Layers {
    let mut layers = Layers::default();
    if let Some(file) = &sources.file {
        let name = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => layers = Layers::file(&name, &text, problems),
            Err(error) => {
                problems.add("", format!("{name} cannot be read: {error}"), "name the file with --config");
            }
        }
    }
    layers.expand(&sources.env, problems);
    layers.environment(&sources.env, problems);
    let Flags { upstream, listen, store } = &sources.flags;
    for (flag, path, value) in [
        ("--upstream", ["upstream", "url"], upstream),
        ("--listen", ["listen", "address"], listen),
        ("--store", ["store", "url"], store),
    ] {
        if let Some(value) = value {
            layers.set(&path, value, Place::Flag(flag), problems);
        }
    }
    layers
}

/// With the root secret that was kept earlier, or a new one.
fn with_own_secret(mut config: Config, sources: &Sources) -> Result<Config, Problems> {
    let home = secret::home(&config.store.database, sources.file.as_deref());
    if let Database::Postgres(_) = config.store.database {
        let home = home.display();
        config.dangers.push(format!(
            "secret: is kept in {home} and must be the same on every replica; better give `secret_file`"
        ));
    }
    config.secret = secret::kept_or_new(&home, sources.new_secret)?;
    Ok(config)
}
