//! What an ID token and a logout token must say before they are believed (OpenID Connect Core §3.1.3.7,
//! OpenID Connect Back-Channel Logout §2.6).

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::LogoutToken;
use super::failure::Failure;
use super::jws::Signed;
use super::metadata::{Issuer, admits};
use super::object::Object;
use crate::config::provider::{Kind, Provider as Configured};
use crate::secret;
use crate::time::Now;

/// How far the clocks of a provider and ours may differ, in seconds.
const SKEW: i64 = 60;
/// How old a token may be that was made for us just now, in seconds.
const OLDEST: i64 = 60 * 60;
/// How long a token may be good, in seconds.
const LONGEST: i64 = 400 * 24 * 60 * 60;
/// How long a logout token may be good, in seconds: its name has to be remembered for so long.
const LONGEST_LOGOUT: i64 = 24 * 60 * 60;
/// Longest `sub`, `sid` and `jti`, in bytes (OpenID Connect Core §2).
const LONGEST_NAME: usize = 255;

/// The member of `events` that makes a token a logout token.
const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What an ID token is held against.
pub(super) struct Expected<'a> {
    /// The nonce that was sent.
    pub(super) nonce: &'a str,
    /// The access token that came along.
    pub(super) access_token: &'a str,
    /// When the browser was sent away.
    pub(super) begun: Now,
    /// The time.
    pub(super) now: Now,
}

/// Who says what about whom.
pub(super) struct Named {
    /// The issuer's proper name.
    pub(super) issuer: String,
    /// `sub`
    pub(super) subject: String,
    /// `sid`
    pub(super) sid: Option<String>,
    /// The tenant, where there are tenants.
    pub(super) tenant: Option<String>,
}

const fn wrong<T>(what: &'static str) -> Result<T, Failure> {
    Err(Failure::InvalidAnswer(what))
}

fn check(fine: bool, what: &'static str) -> Result<(), Failure> {
    if fine { Ok(()) } else { wrong(what) }
}

/// Checks an ID token whose signature is good.
pub(super) fn id_token(
    token: &Signed,
    provider: &Configured,
    issuer: &Issuer,
    expected: &Expected<'_>,
) -> Result<Named, Failure> {
    let claims = &token.claims;
    check(matches!(token.typ.as_deref(), None | Some("jwt")), "the token is no ID token")?;
    let (issuer, tenant) = issued(token, provider, issuer)?;
    let Some(subject) = name(claims, "sub")? else { return wrong("the ID token names nobody") };
    audience(claims, &provider.client_id)?;
    times(claims, expected.now, LONGEST)?;
    let nonce = claims.text("nonce")?.unwrap_or_default();
    let same = !nonce.is_empty() && secret::equal(nonce.as_bytes(), expected.nonce.as_bytes());
    check(same, "the ID token has another nonce")?;
    if provider.asks_again() {
        authenticated(claims, provider.kind, expected)?;
    }
    if let Some(hash) = claims.text("at_hash")? {
        check(hash == half_hash(token.algorithm, expected.access_token), "at_hash is of another token")?;
    }
    check(claims.get("events").is_none(), "the token is no ID token")?;
    Ok(Named { issuer, subject, sid: name(claims, "sid")?, tenant })
}

/// Checks a logout token whose signature is good; that it comes for the first time is for the caller to see.
pub(super) fn logout_token(
    token: &Signed,
    provider: &Configured,
    issuer: &Issuer,
    now: Now,
) -> Result<LogoutToken, Failure> {
    let claims = &token.claims;
    let typ = matches!(token.typ.as_deref(), None | Some("jwt" | "logout+jwt"));
    check(typ, "the token is no logout token")?;
    let (issuer, _) = issued(token, provider, issuer)?;
    audience(claims, &provider.client_id)?;
    let expires = times(claims, now, LONGEST_LOGOUT)?;
    let event = claims.get("events").and_then(|events| events.get(LOGOUT));
    check(event.is_some_and(Value::is_object), "the token is no logout token")?;
    // It could be taken for an ID token otherwise (OpenID Connect Back-Channel Logout §2.4).
    check(!claims.has("nonce"), "the logout token has a nonce")?;
    let Some(jti) = name(claims, "jti")? else { return wrong("the logout token has no name") };
    let sid = name(claims, "sid")?;
    let sub = name(claims, "sub")?;
    check(sub.is_some() || sid.is_some(), "the logout token names nobody")?;
    // Microsoft's `sub` is another one than the name under which we know the person.
    let subject = if provider.kind == Kind::Microsoft { None } else { sub };
    check(subject.is_some() || sid.is_some(), "the logout token names nobody whom we could know")?;
    // Later, no clock that we allow for takes it any more.
    let expires = Now::from_millis(0).plus(Duration::from_secs(expires.unsigned_abs()));
    Ok(LogoutToken {
        issuer,
        subject,
        sid,
        jti,
        expires: expires.plus(Duration::from_secs(SKEW.unsigned_abs())),
    })
}

/// `auth_time` is after the browser was sent away. The browser could have left out what we asked for, so this
/// alone is proof (OpenID Connect Core §3.1.3.7, 13); the kinds that cannot be asked for it may keep silent.
fn authenticated(claims: &Object, kind: Kind, expected: &Expected<'_>) -> Result<(), Failure> {
    match claims.seconds("auth_time")? {
        Some(at) => {
            check(at >= expected.begun.seconds() - SKEW, "nobody signed in at the provider for this")?;
            check(at <= expected.now.seconds() + SKEW, "the sign-in at the provider is of the future")
        }
        None => check(kind != Kind::Oidc, "the ID token does not say when somebody signed in"),
    }
}

/// Who issued it, by the name under which we know them, and for which tenant.
fn issued(
    token: &Signed,
    provider: &Configured,
    issuer: &Issuer,
) -> Result<(String, Option<String>), Failure> {
    let claimed = token.claims.text("iss")?.unwrap_or_default();
    let Some(named) = issuer.named(claimed) else { return Err(Failure::IssuerMismatch) };
    let Some(tenant) = issuer.tenant(claimed) else { return Ok((named.to_owned(), None)) };
    // A key may be meant for one tenant only, or for all under a name to be completed.
    if let Some(key) = &token.key_issuer {
        let meant = key == named || key.replace("{tenantid}", tenant) == named;
        check(meant, "the signing key belongs to another issuer")?;
    }
    check(token.claims.text("tid")?.is_none_or(|tid| tid == tenant), "the tenant is not the issuer's")?;
    if !admits(provider, tenant) {
        return Err(Failure::TenantNotAllowed);
    }
    Ok((named.to_owned(), Some(tenant.to_ascii_lowercase())))
}

/// `aud` names us and nobody else, and so does `azp` (OpenID Connect Core §3.1.3.7, 3 to 5).
fn audience(claims: &Object, client_id: &str) -> Result<(), Failure> {
    let ours = |value: &Value| value.as_str() == Some(client_id);
    let for_us = match claims.get("aud") {
        Some(Value::Array(list)) => !list.is_empty() && list.iter().all(ours),
        Some(one) => ours(one),
        None => false,
    };
    check(for_us, "the token is meant for somebody else")?;
    let party = claims.text("azp")?;
    check(party.is_none_or(|party| party == client_id), "the token was issued to somebody else")
}

/// `exp`, `iat` and `nbf` are there, whole numbers, and about now; gives `exp` in seconds since 1970.
fn times(claims: &Object, now: Now, longest: i64) -> Result<i64, Failure> {
    let now = now.millis().div_euclid(1000);
    let (Some(expires), Some(issued)) = (claims.seconds("exp")?, claims.seconds("iat")?) else {
        return wrong("the token has no times");
    };
    check(now < expires + SKEW, "the token has expired")?;
    check(expires <= now + longest, "the token is good for too long")?;
    check(issued <= now + SKEW, "the token is of the future")?;
    check(issued >= now - OLDEST, "the token is old")?;
    let from = claims.seconds("nbf")?;
    check(from.is_none_or(|from| from <= now + SKEW), "the token is not good yet")?;
    Ok(expires)
}

/// A name that somebody gave: visible ASCII and not too long.
fn name(claims: &Object, claim: &str) -> Result<Option<String>, Failure> {
    let Some(text) = claims.text(claim)? else { return Ok(None) };
    let sound = !text.is_empty() && text.len() <= LONGEST_NAME && text.bytes().all(|b| b.is_ascii_graphic());
    check(sound, "a name in the token cannot be used")?;
    Ok(Some(text.to_owned()))
}

/// The first half of a hash (OpenID Connect Core §3.1.3.6); the hash is the signature's.
fn half_hash(algorithm: Algorithm, token: &str) -> String {
    let hash = if algorithm == Algorithm::EdDSA { &digest::SHA512 } else { &digest::SHA256 };
    let whole = digest::digest(hash, token.as_bytes());
    URL_SAFE_NO_PAD.encode(&whole.as_ref()[..whole.as_ref().len() / 2])
}

#[cfg(test)]
mod tests;
