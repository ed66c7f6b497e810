//! Access tokens (RFC 9068): short-lived proofs that lead back to a session, which can be ended.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::id::{RowId, SessionId, UserId};
use crate::secret::pair::Algorithm;
use crate::time::Now;
use crate::token::Tokens;
use crate::token::keys::{Compact, Kind};
use crate::visitor::Session;

/// Longest text that is looked at, in bytes; ours are shorter.
const LONGEST: usize = 2048;
/// Longest header that is looked at, in bytes of base64url.
const LONGEST_HEADER: usize = 512;
/// By how much the clocks of replicas may differ.
pub const SKEW: Duration = Duration::from_mins(1);
/// Whom tokens are given to (RFC 9068 §2.2 asks for a name): there are no clients but our own.
const CLIENT: &str = "sidegate";

/// What an access token says (RFC 9068 §2.2). A claim that is missing, of another type or unknown makes it
/// none: what a newer version would add might be a limit.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    client_id: String,
    sid: String,
    jti: String,
    iat: i64,
    exp: i64,
}

/// A new access token.
pub struct Minted {
    /// The token.
    pub token: String,
    /// Until when it is good.
    pub expires: Now,
}

/// A good access token, which opens what its session opens.
pub struct Access {
    /// Whose it is.
    pub user: UserId,
    /// The session it was given for.
    pub session: SessionId,
    /// Until when it is good.
    pub expires: Now,
}

/// What a text in `Authorization: Bearer` looks like, before anything is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Like an access token of ours.
    Ours,
    /// Like an access token under a key that we do not know: another replica may have made it.
    UnknownKey,
    /// Like nothing of ours.
    Foreign,
}

impl Tokens {
    /// A new access token for `session`, good no longer than the session itself.
    pub fn access(&self, session: &Session, now: Now) -> Result<Minted, Fault> {
        let expires = now.plus(self.settings.access_lifetime).min(session.expires);
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.issuer.clone(),
            sub: session.user.id.as_str().to_owned(),
            client_id: CLIENT.to_owned(),
            sid: session.id.as_str().to_owned(),
            jti: RowId::random().as_str().to_owned(),
            iat: now.seconds(),
            exp: expires.seconds(),
        };
        let token = self.ring().signer(now)?.sign(Kind::Access, &claims)?;
        Ok(Minted { token, expires: Now::from_seconds(expires.seconds()) })
    }

    /// A first look, which verifies nothing.
    pub fn look(&self, text: &[u8], now: Now) -> Look {
        compact(text).map_or(Look::Foreign, |token| self.look_as(Kind::Access, &token, now))
    }

    /// The same for a token of another kind.
    pub(super) fn look_as(&self, kind: Kind, token: &Compact<'_>, now: Now) -> Look {
        if self.ring().of_header(kind, token.header, now).is_some() {
            Look::Ours
        } else if names_another_key(kind, token.header) {
            Look::UnknownKey
        } else {
            Look::Foreign
        }
    }

    /// What an access token says, if it is one of ours and good at `now`.
    pub fn verify(&self, text: &[u8], now: Now) -> Option<Access> {
        let token = compact(text)?;
        let ring = self.ring();
        let claims = ring.of_header(Kind::Access, token.header, now)?.verified(&token)?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        let expires = Now::from_seconds(claims.exp);
        let good = claims.iss == self.issuer
            && claims.aud == self.issuer
            && claims.client_id == CLIENT
            && now < expires
            && Now::from_seconds(claims.iat) <= now.plus(SKEW);
        let (user, session) = (UserId::parse(&claims.sub)?, SessionId::parse(&claims.sid)?);
        good.then_some(Access { user, session, expires })
    }
}

fn compact(text: &[u8]) -> Option<Compact<'_>> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= LONGEST)?;
    Compact::parse(text)
}

/// The header of a token as any replica would write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    typ: String,
    alg: String,
    kid: String,
}

/// Whether a header that no known key writes is one that a replica could have written with another key.
fn names_another_key(kind: Kind, header: &str) -> bool {
    if header.len() > LONGEST_HEADER {
        return false;
    }
    let Ok(json) = URL_SAFE_NO_PAD.decode(header) else { return false };
    serde_json::from_slice::<Header>(&json).is_ok_and(|header| {
        header.typ == kind.typ()
            && Algorithm::parse(&header.alg).is_some()
            && RowId::parse(&header.kid).is_some()
    })
}
