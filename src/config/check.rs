//! From the shape of the file to its meaning: every value checked, every problem collected. Pure.

use std::fmt::Display;
use std::sync::Arc;

use tracing_subscriber::filter::Targets;

mod identity;
mod limits;
mod listen;
mod mail;
mod net;
mod providers;
mod rules;
mod tls;
mod trace;
mod unusual;
mod upstream;

use super::clear::ClearSiteData;
use super::file::ops::{LogFormat, RawLog};
use super::file::{Raw, RawCookie, RawPassword, RawSession, RawSignUp, RawTokens, SignedWith};
use super::problem::Problems;
use super::units::{Size, Span};
use super::{Access, Accounts, Config, Given, Log, Password, Session, SessionCookie, SignUp, Tokens};
use crate::secret::RootSecret;
use crate::secret::pair::Algorithm;

/// Gives `raw` its meaning. Where there are problems it lacks what they are about, and is only good for looking further.
pub(super) fn check(raw: &Raw, secret: RootSecret, cores: usize, p: &mut Problems) -> Config {
    let mut dangers = Vec::new();
    let listen = listen::listen(&raw.listen, cores, p);
    let public = net::public(&raw.public, &listen, p, &mut dangers);
    let paths = rules::paths(&raw.paths, p);
    let mail = mail::mail(&raw.mail, (&listen, &public), p, &mut dangers);
    let upstream = upstream::upstream(&raw.upstream, (&listen, &public), p);
    let proxies = listen::proxies(&raw.proxies, p);
    listen::go_together(raw, &listen, &public, p);
    let identity = identity::identity(raw, &upstream.origin(), &public.origin, p);
    Config {
        store: net::store(&raw.store, p),
        secret: Arc::new(secret),
        admin: net::admin(&raw.admin, (&listen, &upstream), p, &mut dangers),
        accounts: Accounts {
            delete: raw.accounts.delete,
            link_different_emails: raw.accounts.link_different_emails,
        },
        sign_up: sign_up(&raw.sign_up, mail.is_some(), p),
        password: password(&raw.password, cores, p, &mut dangers),
        session: session(&raw.session, p),
        access: Access {
            hide_existence: raw.access.hide_existence,
            origins: net::origins(&raw.access.origins, &public, p),
            cross_site_writes: net::cross_site_writes(&raw.access, &mut dangers),
            rules: rules::rules(&raw.rules, &paths, p, &mut dangers),
        },
        providers: providers::providers(&raw.providers, p, &mut dangers),
        tokens: tokens(&raw.tokens, p),
        limits: limits::limits(&raw.limits, p),
        uncounted: net::uncounted(&raw.limits.uncounted, p, &mut dangers),
        proxies,
        forward_auth: raw.forward_auth.enabled,
        log: log(&raw.log, p),
        trace: trace::trace(&raw.trace, p),
        unusual: unusual::unusual(&raw.unusual, mail.is_some(), p),
        geo: unusual::geo(&raw.geo),
        mail,
        identity,
        tls: tls::tls(&raw.tls, &public, p),
        hsts: tls::hsts(&raw.tls, &public, p),
        listen,
        public,
        upstream,
        paths,
        dangers,
        given: Given::default(),
    }
}

fn sign_up(raw: &RawSignUp, mail: bool, p: &mut Problems) -> SignUp {
    if raw.require_verified_email == Some(true) && !mail {
        p.add(
            "sign_up.require_verified_email",
            "is true, but there is no mail by which an address could be proved",
            "give [mail], or leave it out",
        );
    }
    SignUp { open: raw.open, require_verified_email: raw.require_verified_email.unwrap_or(mail) }
}

fn password(raw: &RawPassword, cores: usize, p: &mut Problems, dangers: &mut Vec<String>) -> Password {
    between(p, "password.min_length", raw.min_length, 8, Password::LONGEST);
    between(p, "password.concurrency", raw.concurrency, 0, 256);
    between(p, "password.answer_floor", raw.answer_floor, Span::millis(0), Span::seconds(10));
    if raw.answer_floor == Span::millis(0) {
        dangers
            .push("password.answer_floor: how long an answer takes may tell who has an account".to_owned());
    }
    Password {
        min_length: raw.min_length,
        concurrency: if raw.concurrency == 0 { cores } else { raw.concurrency },
        answer_floor: raw.answer_floor.0,
    }
}

fn session(raw: &RawSession, p: &mut Problems) -> Session {
    between(p, "session.idle", raw.idle, Span::minutes(1), Span::days(400));
    // Browsers keep no cookie for longer (RFC 6265bis §5.5).
    between(p, "session.absolute", raw.absolute, Span::minutes(1), Span::days(400));
    between(p, "session.short", raw.short, Span::minutes(1), Span::days(400));
    between(p, "session.renew_every", raw.renew_every, Span::seconds(1), Span::days(400));
    between(p, "session.cache_entries", raw.cache_entries, 1, 100_000_000);
    between(p, "session.jwt_lifetime", raw.jwt_lifetime, Span::minutes(1), Span::minutes(15));
    between(p, "session.cache_age", raw.cache_age, Span::millis(1), Span::minutes(10));
    ordered(p, ("session.idle", raw.idle), ("session.absolute", raw.absolute), Bound::Most);
    ordered(p, ("session.short", raw.short), ("session.absolute", raw.absolute), Bound::Most);
    ordered(p, ("session.renew_every", raw.renew_every), ("session.idle", raw.idle), Bound::Less);
    Session {
        idle: raw.idle.0,
        absolute: raw.absolute.0,
        renew_every: raw.renew_every.0,
        short: raw.short.0,
        cache_entries: raw.cache_entries,
        cache_age: raw.cache_age.0,
        cookie: match raw.cookie {
            RawCookie::Opaque => SessionCookie::Opaque,
            RawCookie::Jwt => SessionCookie::Jwt,
        },
        jwt_lifetime: raw.jwt_lifetime.0,
        clear_on_sign_out: ClearSiteData::of(&raw.clear_on_sign_out),
    }
}

fn tokens(raw: &RawTokens, p: &mut Problems) -> Tokens {
    between(p, "tokens.access_lifetime", raw.access_lifetime, Span::minutes(1), Span::minutes(60));
    between(p, "tokens.refresh_grace", raw.refresh_grace, Span::millis(0), Span::seconds(60));
    between(p, "tokens.rotate_every", raw.rotate_every, Span::days(1), Span::days(400));
    let lifetime = raw.personal_max_lifetime;
    between(p, "tokens.personal_max_lifetime", lifetime, Span::minutes(60), Span::days(3650));
    Tokens {
        algorithm: match raw.algorithm {
            SignedWith::EdDsa => Algorithm::EdDsa,
            SignedWith::Es256 => Algorithm::Es256,
        },
        access_lifetime: raw.access_lifetime.0,
        refresh_grace: raw.refresh_grace.0,
        rotate_every: raw.rotate_every.0,
        personal: raw.personal,
        personal_max_lifetime: raw.personal_max_lifetime.0,
    }
}

fn log(raw: &RawLog, p: &mut Problems) -> Log {
    let key = "log.level";
    // A word alone is read as a target by the filter, so that a misspelt level would be silence.
    let misspelt = raw.level.split(',').any(|part| {
        let part = part.trim();
        part.is_empty()
            || !part.contains(['=', '[']) && part.parse::<tracing_subscriber::filter::LevelFilter>().is_err()
    });
    if misspelt || raw.level.parse::<Targets>().is_err() {
        let what = format!("{} is no log filter", p.quote(key, &raw.level));
        p.add(
            key,
            what,
            "write off, error, warn, info, debug or trace, or a filter such as \"info,sidegate=debug\"",
        );
    }
    between(p, "log.keep_sign_ins", raw.keep_sign_ins, Span::days(1), Span::days(3650));
    Log {
        json: raw.format == LogFormat::Json,
        filter: raw.level.clone(),
        access: raw.access,
        keep_sign_ins: raw.keep_sign_ins.0,
    }
}

/// Notes a value outside of its bounds.
fn between<T: PartialOrd + Display + Copy>(p: &mut Problems, key: &str, value: T, low: T, high: T) {
    if value < low {
        p.add(key, format!("{value} is too little"), format!("write {low} or more"));
    } else if value > high {
        p.add(key, format!("{value} is too much"), format!("write {high} or less"));
    }
}

/// The same for a number of bytes that memory holds.
fn bytes(p: &mut Problems, key: &str, value: Size, low: Size, high: Size) -> usize {
    between(p, key, value, low, high);
    usize::try_from(value.0).unwrap_or(usize::MAX)
}

/// How one value may lie to another.
#[derive(Clone, Copy)]
enum Bound {
    /// At most as much.
    Most,
    /// Less.
    Less,
}

/// Notes two values that do not go together, unless one of them is in doubt already.
fn ordered<T: PartialOrd + Display + Copy>(
    p: &mut Problems,
    (key, value): (&str, T),
    (of, limit): (&str, T),
    bound: Bound,
) {
    let (fine, word) = match bound {
        Bound::Most => (value <= limit, "at most"),
        Bound::Less => (value < limit, "less than"),
    };
    if !fine && !p.about(key) && !p.about(of) {
        p.add(
            key,
            format!("{value} is more than `{of}` ({limit}) allows"),
            format!("it must be {word} `{of}`"),
        );
    }
}

#[cfg(test)]
mod tests;
