//! The configuration as the rest of the house uses it: every value checked, every default filled in.
//!
//! [`load()`] reads a file, the environment and flags (`layers`), gives them a shape (`shape`, `file`,
//! `units`) and a meaning (`check`, pure), and finds the secrets (`secret`). Whatever is wrong on
//! the way ends in one list of [`Problems`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

mod authorities;
mod check;
pub mod clear;
mod file;
pub mod host;
mod layers;
pub mod limits;
pub mod listen;
mod load;
pub mod mail;
pub mod problem;
pub mod provider;
pub mod proxies;
mod reload;
pub mod rule;
mod secret;
mod shape;
pub mod tls;
pub mod trace;
pub(crate) mod units;
pub mod unusual;
pub mod upstream;

use crate::secret::RootSecret;
use crate::secret::pair::Algorithm;
use layers::Given;
pub use limits::Limits;
pub use load::{Flags, NewSecret, Sources, load, load_with};
use problem::Problems;
use provider::{Provider, is_loopback};
pub use reload::reload;
use rule::Rule;
use url::Url;

/// Everything that can be configured.
pub struct Config {
    /// Where we listen.
    pub listen: listen::Listen,
    /// Where we tell how we are, if anywhere.
    pub admin: Option<SocketAddr>,
    /// How connections are encrypted, if that is done here.
    pub tls: Option<tls::Tls>,
    /// What browsers are told of https: `Strict-Transport-Security`, if anything.
    pub hsts: Option<String>,
    /// How the world reaches us.
    pub public: Public,
    /// The app behind us.
    pub upstream: upstream::Upstream,
    /// Where users and sessions are kept.
    pub store: Store,
    /// The root secret of the installation.
    pub secret: Arc<RootSecret>,
    /// Mount prefixes of our own endpoints, each starting with `/` and not ending with one.
    pub paths: Vec<String>,
    /// Who may sign up, and what is asked of them.
    pub sign_up: SignUp,
    /// What people may do with their own account.
    pub accounts: Accounts,
    /// Password policy and hashing.
    pub password: Password,
    /// Lifetimes and caching of sessions.
    pub session: Session,
    /// What a request needs before it is forwarded.
    pub access: Access,
    /// Where people can sign in besides here.
    pub providers: Vec<Provider>,
    /// Under which names the app is told who is asking.
    pub identity: Identity,
    /// What we sign, and for how long it is good.
    pub tokens: Tokens,
    /// Sizes, deadlines and rates.
    pub limits: Limits,
    /// Addresses behind which many may be: their connections are not counted by address.
    pub uncounted: Vec<ipnet::IpNet>,
    /// Who may stand between a client and us.
    pub proxies: proxies::Proxies,
    /// Whether the proxies may ask what they should let through, instead of sending everything through us.
    pub forward_auth: bool,
    /// How log lines look.
    pub log: Log,
    /// Who is told of requests as parts of traces, if anyone.
    pub trace: Option<trace::Trace>,
    /// How mails are sent; `None` if none are.
    pub mail: Option<mail::Mail>,
    /// What follows an unusual sign-in.
    pub unusual: unusual::Unusual,
    /// Where addresses are.
    pub geo: unusual::Geo,
    /// What weakens the defaults, in words for the start-up report.
    pub dangers: Vec<String>,
    /// What all this was made of.
    given: Given,
}

impl Config {
    /// Problems of files that it names, each with the place where its key was given.
    #[must_use]
    pub fn located(&self, mut problems: Problems) -> Problems {
        problems.locate(|key| self.given.places.of(key));
        problems
    }

    /// The first mount prefix: where our own links lead.
    pub fn mount(&self) -> &str {
        self.paths.first().map_or("/auth", String::as_str)
    }
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

impl Public {
    /// What is dangerous about listening at an address, if anything is: that others reach what browsers come to by
    /// plain http on this machine.
    pub fn danger_at(&self, address: SocketAddr) -> Option<String> {
        let here = !self.https && Url::parse(&self.origin).is_ok_and(|url| is_loopback(&url));
        (here && !address.ip().is_loopback()).then(|| {
            format!(
                "listen.address: {address} can be reached from other machines, while `public.url` is plain http for \
                 this one"
            )
        })
    }

    /// Whether a host, perhaps with the port that goes without saying, is ours.
    pub fn is_host(&self, host: &str) -> bool {
        let usual = if self.https { ":443" } else { ":80" };
        [host, host.strip_suffix(usual).unwrap_or(host)]
            .iter()
            .any(|host| host.eq_ignore_ascii_case(&self.authority))
    }
}

/// `[store]`
#[derive(Clone)]
pub struct Store {
    /// Which database, and where.
    pub database: Database,
    /// Whether the tables are brought up to date at start.
    pub migrate: bool,
    /// Connections to PostgreSQL, or reading connections to SQLite.
    pub connections: u32,
}

/// Which database, and where.
#[derive(Clone, PartialEq, Eq)]
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
    /// Whether nobody signs in by password before the address was proved.
    pub require_verified_email: bool,
}

/// `[accounts]`
pub struct Accounts {
    /// Whether people can delete their own account.
    pub delete: bool,
    /// Whether a signed-in user may add an account at a provider that has another address.
    pub link_different_emails: bool,
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
#[derive(Clone, Copy, PartialEq, Eq)]
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
    /// What the cookie holds.
    pub cookie: SessionCookie,
    /// For how long a signed cookie is good before it is exchanged.
    pub jwt_lifetime: Duration,
    /// What browsers are told to forget at a sign-out.
    pub clear_on_sign_out: clear::ClearSiteData,
}

/// `session.cookie`: what the session cookie holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionCookie {
    /// A random token that leads to the session.
    Opaque,
    /// A short-lived signed token that says what the app is told, and a refresh token beside it.
    Jwt,
}

/// `[access]` and `[[rules]]`
pub struct Access {
    /// Whether another user's owner path is answered with 404 rather than 403.
    pub hide_existence: bool,
    /// Origins whose pages may act for a user by cookie, ours first, as browsers write them.
    pub origins: Vec<String>,
    /// Whether pages of all others may too, but for WebSockets.
    pub cross_site_writes: bool,
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
    /// Says all that in a signed token.
    pub assertion: Option<Assertion>,
}

/// `identity.assertion_…`: the identity once more, signed, for an app that can be reached past us.
#[derive(Clone, PartialEq, Eq)]
pub struct Assertion {
    /// The header that carries it.
    pub header: String,
    /// For how long one is good.
    pub lifetime: Duration,
    /// Whom it is for.
    pub audience: String,
}

/// `[tokens]`
#[derive(Clone)]
pub struct Tokens {
    /// How new keys sign.
    pub algorithm: Algorithm,
    /// For how long an access token is good.
    pub access_lifetime: Duration,
    /// How long after its use a refresh token still gives the successor that it gave.
    pub refresh_grace: Duration,
    /// How long one key signs.
    pub rotate_every: Duration,
    /// Whether users may make personal access tokens, and use them.
    pub personal: bool,
    /// Longest life of one.
    pub personal_max_lifetime: Duration,
}

/// `[log]`
pub struct Log {
    /// Lines of JSON rather than text.
    pub json: bool,
    /// A `tracing` filter such as `info` or `sidegate=debug`.
    pub filter: String,
    /// Whether every request is logged.
    pub access: bool,
    /// How long the lines of the log of sign-ins (`sidegate_auth_log`) are kept.
    pub keep_sign_ins: Duration,
}
