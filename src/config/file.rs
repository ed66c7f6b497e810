//! The shape of the configuration file: every key, its type and its default, and no meaning.

use serde::Deserialize;

use super::clear::Clear;
use super::mail::Tls;
use super::provider::{ClientAuth, Kind};
use super::rule::Access;
use super::units::{Names, Span};
use super::unusual::{Mode, Unverified, Way};

/// A table of the file. The defaults stand beside the fields, and `KEYS` knows their names for
/// "did you mean".
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Deserialize, PartialEq)]
        #[serde(default)]
        pub(in crate::config) struct $name {
            $(pub(in crate::config) $field: $type,)*
        }

        impl $name {
            pub(in crate::config) const KEYS: &[&str] = &[$(stringify!($field)),*];
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

pub(in crate::config) mod limits;
pub(in crate::config) mod listen;
pub(in crate::config) mod ops;
pub(in crate::config) mod tls;
pub(in crate::config) mod upstream;

use limits::RawLimits;
use listen::{RawForwardAuth, RawListen, RawProxies};
use ops::{RawAdmin, RawLog, RawTrace};
use tls::{RawCertificate, RawTls};
use upstream::{RawHealth, RawUpstream};

table! {
    /// The whole file.
    Raw {
        secret: Option<String> = None,
        secret_file: Option<String> = None,
        former_secret_files: Vec<String> = Vec::new(),
        paths: Vec<String> = vec!["/auth".to_owned()],
        listen: RawListen = RawListen::default(),
        admin: RawAdmin = RawAdmin::default(),
        tls: RawTls = RawTls::default(),
        public: RawPublic = RawPublic::default(),
        upstream: RawUpstream = RawUpstream::default(),
        store: RawStore = RawStore::default(),
        sign_up: RawSignUp = RawSignUp::default(),
        accounts: RawAccounts = RawAccounts::default(),
        password: RawPassword = RawPassword::default(),
        session: RawSession = RawSession::default(),
        access: RawAccess = RawAccess::default(),
        rules: Vec<RawRule> = Vec::new(),
        providers: Vec<RawProvider> = Vec::new(),
        identity: RawIdentity = RawIdentity::default(),
        tokens: RawTokens = RawTokens::default(),
        proxies: RawProxies = RawProxies::default(),
        forward_auth: RawForwardAuth = RawForwardAuth::default(),
        limits: RawLimits = RawLimits::default(),
        log: RawLog = RawLog::default(),
        trace: RawTrace = RawTrace::default(),
        mail: RawMail = RawMail::default(),
        unusual: RawUnusual = RawUnusual::default(),
        geo: RawGeo = RawGeo::default(),
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
    /// `[sign_up]`; without `require_verified_email` it is so if there is mail.
    RawSignUp {
        open: bool = true,
        require_verified_email: Option<bool> = None,
    }
}

table! {
    /// `[accounts]`
    RawAccounts {
        delete: bool = true,
        link_different_emails: bool = false,
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
        cookie: RawCookie = RawCookie::Opaque,
        jwt_lifetime: Span = Span::minutes(5),
        clear_on_sign_out: Vec<Clear> = Vec::new(),
    }
}

/// `session.cookie`
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawCookie {
    /// A random token.
    Opaque,
    /// A signed one.
    Jwt,
}

table! {
    /// `[access]`
    RawAccess {
        hide_existence: bool = false,
        origins: Vec<String> = Vec::new(),
        danger_cross_site_writes: bool = false,
    }
}

table! {
    /// One of `[[rules]]`; `path` and `access` have no default.
    RawRule {
        path: Option<String> = None,
        methods: Vec<String> = Vec::new(),
        access: Option<Access> = None,
        name: Option<String> = None,
    }
}

table! {
    /// One of `[[providers]]`; what a key means without a value depends on the kind.
    RawProvider {
        kind: Option<Kind> = None,
        id: Option<String> = None,
        name: Option<String> = None,
        client_id: Option<String> = None,
        client_secret: Option<String> = None,
        client_secret_file: Option<String> = None,
        client_auth: Option<ClientAuth> = None,
        scopes: Vec<String> = Vec::new(),
        base_url: Option<String> = None,
        issuer: Option<String> = None,
        formerly: Option<String> = None,
        tenant: Option<String> = None,
        allowed_tenants: Vec<String> = Vec::new(),
        trust_email: Option<bool> = None,
        allowed_domains: Vec<String> = Vec::new(),
        hosted_domain: Option<String> = None,
        claims: RawClaims = RawClaims::default(),
        prompt: Option<String> = None,
        store_tokens: bool = false,
        danger_private_addresses: bool = false,
        ca_file: Option<String> = None,
    }
}

table! {
    /// `providers.claims`
    RawClaims {
        email: Option<String> = None,
        email_verified: Option<String> = None,
        name: Option<String> = None,
        image: Option<String> = None,
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
        assertion_header: Option<String> = None,
        assertion_lifetime: Span = Span::minutes(5),
        assertion_audience: Option<String> = None,
    }
}

table! {
    /// `[tokens]`
    RawTokens {
        algorithm: SignedWith = SignedWith::EdDsa,
        access_lifetime: Span = Span::minutes(15),
        refresh_grace: Span = Span::seconds(30),
        rotate_every: Span = Span::days(30),
        personal: bool = true,
        personal_max_lifetime: Span = Span::days(365),
    }
}

/// `tokens.algorithm`
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
pub(super) enum SignedWith {
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA on P-256.
    #[serde(rename = "ES256")]
    Es256,
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
    /// `[mail]`; without any key there is no mail.
    RawMail {
        transport: Option<RawTransport> = None,
        from: Option<String> = None,
        reply_to: Option<String> = None,
        per_recipient: u32 = 20,
        in_all: u32 = 2000,
        give_up_after: Span = Span::days(1),
        keep_sent: Span = Span::days(1),
        smtp: RawSmtp = RawSmtp::default(),
    }
}

table! {
    /// `[mail.smtp]`; the port follows from `tls`.
    RawSmtp {
        host: Option<String> = None,
        port: Option<u16> = None,
        tls: Tls = Tls::Implicit,
        username: Option<String> = None,
        password: Option<String> = None,
        password_file: Option<String> = None,
        ca_file: Option<String> = None,
        timeout: Span = Span::seconds(30),
        connections: usize = 2,
    }
}

/// `mail.transport`
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawTransport {
    /// The mail server of `[mail.smtp]`.
    Smtp,
    /// Memory.
    Catcher,
}

table! {
    /// `[unusual]`; what a key means without a value depends on `mode`, and that on `[mail]`.
    RawUnusual {
        mode: Option<Mode> = None,
        apply_to: Option<Vec<Way>> = None,
        unverified: Option<Unverified> = None,
    }
}

table! {
    /// `[geo]`
    #[expect(clippy::struct_field_names, reason = "the keys are named so")]
    RawGeo {
        country_file: Option<String> = None,
        asn_file: Option<String> = None,
        anonymizers_file: Option<String> = None,
    }
}

/// The keys that a table knows; `""` is the top level. `None` for what is no table.
pub(super) fn keys(table: &str) -> Option<&'static [&'static str]> {
    Some(match table {
        "" => Raw::KEYS,
        "listen" => RawListen::KEYS,
        "admin" => RawAdmin::KEYS,
        "tls" => RawTls::KEYS,
        "tls.more" => RawCertificate::KEYS,
        "public" => RawPublic::KEYS,
        "upstream" => RawUpstream::KEYS,
        "upstream.health" => RawHealth::KEYS,
        "store" => RawStore::KEYS,
        "sign_up" => RawSignUp::KEYS,
        "accounts" => RawAccounts::KEYS,
        "password" => RawPassword::KEYS,
        "session" => RawSession::KEYS,
        "access" => RawAccess::KEYS,
        "rules" => RawRule::KEYS,
        "providers" => RawProvider::KEYS,
        "providers.claims" => RawClaims::KEYS,
        "identity" => RawIdentity::KEYS,
        "tokens" => RawTokens::KEYS,
        "proxies" => RawProxies::KEYS,
        "forward_auth" => RawForwardAuth::KEYS,
        "limits" => RawLimits::KEYS,
        "log" => RawLog::KEYS,
        "trace" => RawTrace::KEYS,
        "mail" => RawMail::KEYS,
        "mail.smtp" => RawSmtp::KEYS,
        "unusual" => RawUnusual::KEYS,
        "geo" => RawGeo::KEYS,
        _ => return None,
    })
}
