//! The key with which the demo's provider signs: ES256, made at its start and never written down.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::Value;

/// The key's id.
const KID: &str = "demo";

pub(super) struct Keys {
    signing: EncodingKey,
    published: JwkSet,
}

impl Keys {
    /// A new one.
    ///
    /// # Errors
    /// If the cryptographic library cannot make it.
    pub(super) fn generate() -> Result<Self, jsonwebtoken::errors::Error> {
        let unusable = |_| jsonwebtoken::errors::ErrorKind::InvalidEcdsaKey;
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(unusable)?;
        let signing = EncodingKey::from_ec_der(pair.to_pkcs8v1().map_err(unusable)?.as_ref());
        let mut key = Jwk::from_encoding_key(&signing, Algorithm::ES256)?;
        key.common.key_id = Some(KID.to_owned());
        key.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { signing, published: JwkSet { keys: vec![key] } })
    }

    /// The public half (RFC 7517 §5).
    pub(super) fn published(&self) -> &JwkSet {
        &self.published
    }

    /// A signed token with these claims.
    pub(super) fn sign(&self, claims: &Value) -> Option<String> {
        let header = Header { kid: Some(KID.to_owned()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.signing).ok()
    }
}
