//! The signing keys that a provider publishes (RFC 7517), as far as we verify with them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::failure::Failure;
use super::object::Object;

/// Most keys that are read; the largest sets have about ten.
const MOST: usize = 64;

/// The signature algorithms that we verify: none with a shared secret, none without a signature.
const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
    ("PS256", Algorithm::PS256),
    ("EdDSA", Algorithm::EdDSA),
];

/// The algorithm of this name, if we verify with it.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

/// A set of keys.
pub(super) struct Keys(Vec<Key>);

/// One key that we can verify with.
pub(super) struct Key {
    kid: Option<String>,
    /// The algorithms that it may be used with.
    algorithms: Vec<Algorithm>,
    /// What verifies.
    pub(super) public: DecodingKey,
    /// For whose tokens it is, where a set serves several issuers (Microsoft).
    pub(super) issuer: Option<String>,
}

impl Keys {
    /// Reads a set. Keys that we have no use for are passed over (RFC 7517 §5).
    pub(super) fn parse(set: &Object) -> Result<Self, Failure> {
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err(Failure::InvalidAnswer("the signing keys are not a key set"));
        };
        if keys.len() > MOST {
            return Err(Failure::InvalidAnswer("there are too many signing keys"));
        }
        Ok(Self(keys.iter().filter_map(|key| Key::parse(&Object::of(key.clone())?)).collect()))
    }

    /// The keys that may have signed with `algorithm` under the name `kid`. Without a name there has to be
    /// only one (OpenID Connect Core §10.1).
    pub(super) fn fitting(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<&Key> {
        let fits =
            |key: &&Key| key.algorithms.contains(&algorithm) && (kid.is_none() || key.kid.as_deref() == kid);
        let fitting: Vec<&Key> = self.0.iter().filter(fits).collect();
        if kid.is_none() && fitting.len() > 1 { Vec::new() } else { fitting }
    }
}

impl Key {
    fn parse(key: &Object) -> Option<Self> {
        let text = |name| key.text(name).ok().flatten();
        let bytes = |name| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let (public, family) = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                (DecodingKey::from_rsa_raw_components(&n, &e), &[Algorithm::RS256, Algorithm::PS256][..])
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                let point = [&[4][..], &x, &y].concat();
                (x.len() == 32 && y.len() == 32).then_some(())?;
                (DecodingKey::from_ec_der(&point), &[Algorithm::ES256][..])
            }
            ("OKP", Some("Ed25519")) => {
                let x = bytes("x").filter(|x| x.len() == 32)?;
                (DecodingKey::from_ed_der(&x), &[Algorithm::EdDSA][..])
            }
            _ => return None,
        };
        let algorithms = match text("alg") {
            Some(name) => vec![algorithm(name).filter(|known| family.contains(known))?],
            None => family.to_vec(),
        };
        let (kid, issuer) = (text("kid").map(str::to_owned), text("issuer").map(str::to_owned));
        Some(Self { kid, algorithms, public, issuer })
    }
}
