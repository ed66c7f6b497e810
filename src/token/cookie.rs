//! Signed session cookies: a session as any replica reads it without the store, for a few minutes.

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::id::{SessionId, UserId};
use crate::secret::TokenHash;
use crate::time::Now;
use crate::token::Tokens;
use crate::token::access::{Look, Minted, SKEW};
use crate::token::keys::{Compact, Kind};
use crate::visitor::{Session, User};

/// Longest text that is looked at, in bytes: browsers keep no larger cookie (RFC 6265bis §5.6).
const LONGEST: usize = 4096;

/// What a signed cookie says: what the app is told, and by which key the session is stored and ended. A claim
/// that is missing, of another type or unknown makes it none.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    sub: String,
    sid: String,
    key: String,
    iat: i64,
    exp: i64,
    /// When the session itself ends, unless it is used again.
    end: i64,
    email: String,
    email_verified: bool,
    name: String,
}

impl Tokens {
    /// A signed cookie for `session` of `user`, which is stored under `key`, good no longer than the session itself.
    pub fn cookie(&self, session: &Session, user: &User, key: TokenHash, now: Now) -> Result<Minted, Fault> {
        let expires = now.plus(self.cookie_lifetime).min(session.expires);
        let claims = Claims {
            iss: self.issuer.clone(),
            sub: user.id.as_str().to_owned(),
            sid: session.id.as_str().to_owned(),
            key: key.to_column(),
            iat: now.seconds(),
            exp: expires.seconds(),
            end: session.expires.seconds(),
            email: user.email.clone(),
            email_verified: user.email_verified,
            name: user.name.clone(),
        };
        let token = self.ring().signer(now)?.sign(Kind::Cookie, &claims)?;
        Ok(Minted { token, expires: Now::from_seconds(expires.seconds()) })
    }

    /// A first look at a cookie, which verifies nothing.
    pub fn cookie_look(&self, text: &[u8], now: Now) -> Look {
        compact(text).map_or(Look::Foreign, |token| self.look_as(Kind::Cookie, &token, now))
    }

    /// The session that a cookie says it is for, if it is one of ours and good at `now`. It holds what the app is
    /// told and no more. The copy is good until the cookie is exchanged, or, with an assertion, which goes with the
    /// copy, for less than half of that one's lifetime.
    pub fn cookie_opens(&self, text: &[u8], now: Now) -> Option<Session> {
        let token = compact(text)?;
        let ring = self.ring();
        let claims = ring.of_header(Kind::Cookie, token.header, now)?.verified(&token)?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        let (issued, expires) = (Now::from_seconds(claims.iat), Now::from_seconds(claims.exp));
        if claims.iss != self.issuer || now >= expires || issued > now.plus(SKEW) {
            return None;
        }
        let copied = self.assertion.as_ref().map_or(expires, |assertion| now.plus(assertion.lifetime / 2));
        Some(Session {
            id: SessionId::parse(&claims.sid)?,
            token: TokenHash::from_column(&claims.key)?,
            user: User {
                id: UserId::parse(&claims.sub)?,
                name: claims.name,
                email: claims.email,
                email_verified: claims.email_verified,
                image: None,
                created: issued,
                updated: issued,
            },
            opened: issued,
            renewed: issued,
            expires: Now::from_seconds(claims.end),
            // Its end is moved when the refresh cookie is exchanged, and at no other time.
            remember: false,
            address: None,
            agent: None,
            grant: None,
            fresh_until: copied.min(expires),
            stale: AtomicBool::new(false),
            over: AtomicBool::new(false),
            renewing: AtomicBool::new(false),
            assertion: OnceLock::new(),
        })
    }
}

fn compact(text: &[u8]) -> Option<Compact<'_>> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= LONGEST)?;
    Compact::parse(text)
}
