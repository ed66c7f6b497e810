//! A signed token (RFC 7515, RFC 8725): its header believed in nothing but the name of a key we know already.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, crypto};

use super::failure::Failure;
use super::keys::{self, Keys};
use super::object::Object;

/// Longest token that is read, in bytes.
const LONGEST: usize = 64 * 1024;

/// Members of a header that would have us fetch or believe a key, or understand something that we do not.
const REFUSED: [&str; 8] = ["crit", "jku", "jwk", "x5u", "zip", "enc", "b64", "epk"];

/// A token whose header was read and whose signature was not verified.
pub(super) struct Unverified<'a> {
    /// What is signed.
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
}

/// The claims of a token whose signature is good.
pub(super) struct Signed {
    /// The claims.
    pub(super) claims: Object,
    /// How it was signed.
    pub(super) algorithm: Algorithm,
    /// The header's `typ`, in lower case.
    pub(super) typ: Option<String>,
    /// For whose tokens the key is, if the key says so.
    pub(super) key_issuer: Option<String>,
}

/// Why the signature is not good.
pub(super) enum Unsigned {
    /// There is no such key, which may be new.
    UnknownKey,
    /// It is no signature of a key that is known, or does not sign an object.
    Bad(Failure),
}

impl<'a> Unverified<'a> {
    /// Reads the header. Encrypted tokens have five parts and are refused.
    pub(super) fn parse(token: &'a str) -> Result<Self, Failure> {
        const NO_TOKEN: Failure = Failure::InvalidAnswer("the token is no signed token");
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NO_TOKEN);
        };
        if token.len() > LONGEST {
            return Err(NO_TOKEN);
        }
        let message = &token[..header.len() + 1 + payload.len()];
        let header = object(header).ok_or(NO_TOKEN)?;
        if REFUSED.iter().any(|name| header.get(name).is_some()) {
            return Err(Failure::InvalidAnswer("the token's header asks for more than a signature"));
        }
        let algorithm = header.text("alg")?.and_then(keys::algorithm);
        let algorithm =
            algorithm.ok_or(Failure::InvalidAnswer("the token is signed in a way that is not accepted"))?;
        let kid = header.text("kid")?.map(str::to_owned);
        let typ = header.text("typ")?.map(str::to_ascii_lowercase);
        // RFC 7515 §4.1.9
        let typ = typ.map(|typ| typ.trim_start_matches("application/").to_owned());
        Ok(Self { message, payload, signature, algorithm, kid, typ })
    }

    /// Verifies the signature with the keys of the provider, and only then reads the claims.
    pub(super) fn verify(&self, keys: &Keys) -> Result<Signed, Unsigned> {
        let fitting = keys.fitting(self.kid.as_deref(), self.algorithm);
        if fitting.is_empty() {
            return Err(Unsigned::UnknownKey);
        }
        let message = self.message.as_bytes();
        let signed = fitting.into_iter().find(|key| {
            crypto::verify(self.signature, message, &key.public, self.algorithm).unwrap_or(false)
        });
        let bad = |what| Unsigned::Bad(Failure::InvalidAnswer(what));
        let key = signed.ok_or(bad("the token's signature is wrong"))?;
        Ok(Signed {
            claims: object(self.payload).ok_or(bad("the token's claims are not an object"))?,
            algorithm: self.algorithm,
            typ: self.typ.clone(),
            key_issuer: key.issuer.clone(),
        })
    }
}

fn object(part: &str) -> Option<Object> {
    Object::parse(&URL_SAFE_NO_PAD.decode(part).ok()?)
}
