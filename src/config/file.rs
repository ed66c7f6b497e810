//! The shape of the configuration file: every key, its type and its default, and no meaning.

use serde::Deserialize;

use super::rule::Access;
use super::units::{Names, Size, Span};

/// A table of the file. The defaults stand beside the fields, and `KEYS` knows their names for
/// "did you mean".
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Deserialize, PartialEq)]
        #[serde(default)]
        pub(super) struct $name {
            $(pub(super) $field: $type,)*
        }

        impl $name {
            const KEYS: &[&str] = &[$(stringify!($field)),*];
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

table! {
    /// The whole file.
    Raw {
        secret: Option<String> = None,
        secret_file: Option<String> = None,
        paths: Vec<String> = vec!["/auth".to_owned()],
        listen: RawListen = RawListen::default(),
        tls: RawTls = RawTls::default(),
        public: RawPublic = RawPublic::default(),
        upstream: RawUpstream = RawUpstream::default(),
        store: RawStore = RawStore::default(),
        sign_up: RawSignUp = RawSignUp::default(),
        password: RawPassword = RawPassword::default(),
        session: RawSession = RawSession::default(),
        access: RawAccess = RawAccess::default(),
        rules: Vec<RawRule> = Vec::new(),
        identity: RawIdentity = RawIdentity::default(),
        proxies: RawProxies = RawProxies::default(),
        limits: RawLimits = RawLimits::default(),
        log: RawLog = RawLog::default(),
    }
}

table! {
    /// `[listen]`
    RawListen {
        address: String = "127.0.0.1:8080".to_owned(),
        workers: usize = 0,
    }
}

table! {
    /// `[tls]`
    RawTls {
        certificate: Option<String> = None,
        key: Option<String> = None,
        more: Vec<RawCertificate> = Vec::new(),
        client_ca: Option<String> = None,
        client_required: bool = false,
    }
}

table! {
    /// One of `[[tls.more]]`
    RawCertificate {
        certificate: Option<String> = None,
        key: Option<String> = None,
    }
}

table! {
    /// `[public]`: without `url` it is derived from `listen.address`, without `name` it is the host.
    RawPublic {
        url: Option<String> = None,
        name: Option<String> = None,
        danger_plain_http: bool = false,
    }
}

table! {
    /// `[upstream]`
    RawUpstream {
        url: Option<String> = None,
        more: Vec<String> = Vec::new(),
        rest: Span = Span::seconds(5),
        ca_file: Option<String> = None,
        client_certificate: Option<String> = None,
        client_key: Option<String> = None,
        connect_timeout: Span = Span::seconds(2),
        response_timeout: Span = Span::seconds(60),
        idle_timeout: Span = Span::seconds(60),
        keep_alive: Span = Span::seconds(4),
        max_idle: usize = 128,
    }
}

/// `store.url` when neither it nor `store.url_file` is given.
pub(super) const STORE_URL: &str = "sqlite:sidegate.db";

table! {
    /// `[store]`
    RawStore {
        url: Option<String> = None,
        url_file: Option<String> = None,
        migrate: bool = true,
        connections: u32 = 8,
    }
}

table! {
    /// `[sign_up]`
    RawSignUp {
        open: bool = true,
    }
}

table! {
    /// `[password]`
    RawPassword {
        min_length: usize = 8,
        concurrency: usize = 0,
        answer_floor: Span = Span::millis(250),
    }
}

table! {
    /// `[session]`
    RawSession {
        idle: Span = Span::days(7),
        absolute: Span = Span::days(30),
        renew_every: Span = Span::days(1),
        short: Span = Span::days(1),
        cache_entries: u64 = 100_000,
        cache_age: Span = Span::seconds(30),
    }
}

table! {
    /// `[access]`
    RawAccess {
        hide_existence: bool = false,
    }
}

table! {
    /// One of `[[rules]]`; `path` and `access` have no default.
    RawRule {
        path: Option<String> = None,
        methods: Vec<String> = Vec::new(),
        access: Option<Access> = None,
    }
}

table! {
    /// `[identity]`
    RawIdentity {
        preset: Preset = Preset::None,
        user_id: Names = Names(vec!["x-user-id".to_owned()]),
        email: Names = Names(Vec::new()),
        name: Names = Names(Vec::new()),
        groups: Names = Names(Vec::new()),
    }
}

/// `identity.preset`: header names that apps for another product read.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Preset {
    /// Only the names of the other keys.
    None,
    /// `X-Forwarded-User` and its kin.
    #[serde(rename = "oauth2-proxy")]
    Oauth2Proxy,
    /// `Remote-User` and its kin.
    Authelia,
    /// `X-authentik-username` and its kin.
    Authentik,
}

table! {
    /// `[proxies]`
    RawProxies {
        trusted: Vec<String> = Vec::new(),
    }
}

table! {
    /// `[limits]`; a `body` of 0 is unlimited.
    RawLimits {
        head: Size = Size::kib(32),
        target: Size = Size::kib(8),
        body: Size = Size::mib(10),
        head_timeout: Span = Span::seconds(10),
        keep_alive: Span = Span::seconds(75),
        body_idle: Span = Span::seconds(30),
        tunnel_idle: Span = Span::minutes(5),
        connections: usize = 10_000,
        drain: Span = Span::seconds(30),
        attempts_per_address: u32 = 20,
        attempts_per_account: u32 = 10,
        attempts_in_all: u32 = 50,
    }
}

table! {
    /// `[log]`
    RawLog {
        format: LogFormat = LogFormat::Text,
        level: String = "info".to_owned(),
        access: bool = true,
    }
}

/// `log.format`
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The keys that a table knows; `""` is the top level. `None` for what is no table.
pub(super) fn keys(table: &str) -> Option<&'static [&'static str]> {
    Some(match table {
        "" => Raw::KEYS,
        "listen" => RawListen::KEYS,
        "tls" => RawTls::KEYS,
        "tls.more" => RawCertificate::KEYS,
        "public" => RawPublic::KEYS,
        "upstream" => RawUpstream::KEYS,
        "store" => RawStore::KEYS,
        "sign_up" => RawSignUp::KEYS,
        "password" => RawPassword::KEYS,
        "session" => RawSession::KEYS,
        "access" => RawAccess::KEYS,
        "rules" => RawRule::KEYS,
        "identity" => RawIdentity::KEYS,
        "proxies" => RawProxies::KEYS,
        "limits" => RawLimits::KEYS,
        "log" => RawLog::KEYS,
        _ => return None,
    })
}
