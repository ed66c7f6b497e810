//! The signed identity of a request: for an app that can be reached past us, and must not believe a header
//! because it is there.

use serde::Serialize;

use crate::config;
use crate::error::Fault;
use crate::time::Now;
use crate::token::Tokens;
use crate::token::keys::Kind;
use crate::visitor::Session;

/// What the app is told (RFC 7519 §4.1, OIDC Core §5.1).
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: i64,
    exp: i64,
    sid: &'a str,
    email: &'a str,
    email_verified: bool,
    name: &'a str,
}

impl Tokens {
    /// Sees to it that `session` carries an assertion, if they are sent. One is made for each copy of a
    /// session in memory, which is used for less than half of the assertion's lifetime; afterwards this is
    /// one look.
    pub fn assert(&self, session: &Session, now: Now) -> Result<(), Fault> {
        let Some(config::Assertion { lifetime, audience, .. }) = &self.assertion else { return Ok(()) };
        if session.assertion.get().is_some() {
            return Ok(());
        }
        let user = &session.user;
        let claims = Claims {
            iss: &self.issuer,
            aud: audience,
            sub: user.id.as_str(),
            iat: now.seconds(),
            exp: now.plus(*lifetime).min(session.expires).seconds(),
            sid: session.id.as_str(),
            email: &user.email,
            email_verified: user.email_verified,
            name: &user.name,
        };
        let token = self.ring().signer(now)?.sign(Kind::Assertion, &claims)?;
        // Another worker may have been quicker; either will do.
        let _ = session.assertion.set(token.into_boxed_str());
        Ok(())
    }
}
