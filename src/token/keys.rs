//! Signing keys: opened from what the store has, named in the header of what they sign, published as JSON Web
//! Keys.
//!
//! **Invariant:** the public key that verifies follows from the private one, which opens only under our root
//! secret: whoever can write to the store cannot add a key of their own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::error::Fault;
use crate::id::RowId;
use crate::secret::Seal;
use crate::secret::pair::{Algorithm, Pair, Public};
use crate::store::keys::KeyRow;
use crate::time::Now;

/// What is signed. One can never stand for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An access token (RFC 9068).
    Access,
    /// The identity of a request, for the app.
    Assertion,
    /// A session cookie.
    Cookie,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Access, Self::Assertion, Self::Cookie];

    /// The `typ` in the header.
    pub(super) const fn typ(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Assertion => "JWT",
            Self::Cookie => "sidegate-session+jwt",
        }
    }
}

/// A key that signs or has signed.
pub struct SigningKey {
    id: RowId,
    pair: Pair,
    created: Now,
    active_from: Now,
    retires: Option<Now>,
    /// The encoded header of each [`Kind`], which is the same for all that the key signs.
    headers: [String; 3],
}

/// The header of what we sign (RFC 7515 §4.1).
#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

/// What a sealed key is sealed for.
fn purpose(id: &RowId, algorithm: Algorithm) -> String {
    format!("signing key {id} {}", algorithm.name())
}

impl SigningKey {
    /// A new pair as it is stored.
    pub fn row(
        pair: &Pair,
        generation: i64,
        seal: &Seal,
        now: Now,
        active_from: Now,
    ) -> Result<KeyRow, Fault> {
        let id = RowId::random();
        let bytes = pair.to_bytes().ok_or_else(|| Fault::new("making a signing key", "it has no text"))?;
        let algorithm = pair.algorithm();
        Ok(KeyRow {
            sealed: seal.seal(&purpose(&id, algorithm), &bytes),
            id,
            generation,
            algorithm: algorithm.name().to_owned(),
            created: now,
            active_from,
            retires: None,
        })
    }

    /// `None` if it was sealed under another secret, or is none.
    fn open(row: &KeyRow, seal: &Seal) -> Option<Self> {
        let algorithm = Algorithm::parse(&row.algorithm)?;
        let pair = Pair::from_bytes(algorithm, &seal.open(&purpose(&row.id, algorithm), &row.sealed)?)?;
        let header = |kind: Kind| {
            let header = Header { alg: algorithm.name(), kid: row.id.as_str(), typ: kind.typ() };
            URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).unwrap_or_default())
        };
        Some(Self {
            id: row.id.clone(),
            pair,
            created: row.created,
            active_from: row.active_from,
            retires: row.retires,
            headers: Kind::ALL.map(header),
        })
    }

    /// Its name in headers: `kid`.
    pub fn id(&self) -> &RowId {
        &self.id
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.pair.algorithm()
    }

    /// When it was made.
    pub fn created(&self) -> Now {
        self.created
    }

    /// From when on it signs, unless a later one does.
    pub fn active_from(&self) -> Now {
        self.active_from
    }

    /// When what it signed is not believed any more; known once it has a successor.
    pub fn retires(&self) -> Option<Now> {
        self.retires
    }

    fn is_retired(&self, now: Now) -> bool {
        self.retires.is_some_and(|at| at <= now)
    }

    /// These claims as a signed token (RFC 7515 §7.1).
    pub fn sign(&self, kind: Kind, claims: &impl Serialize) -> Result<String, Fault> {
        let claims = serde_json::to_vec(claims).map_err(|error| Fault::new("writing claims", error))?;
        let mut text = String::with_capacity(320 + claims.len() * 4 / 3);
        text.push_str(&self.headers[kind as usize]);
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut text);
        let signature = self.pair.sign(text.as_bytes());
        let signature = signature.ok_or_else(|| Fault::new("signing a token", "the key does not sign"))?;
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut text);
        Ok(text)
    }

    /// The claims of a token with this key's header, if this key has signed it.
    pub fn verified(&self, token: &Compact<'_>) -> Option<Vec<u8>> {
        let signature = URL_SAFE_NO_PAD.decode(token.signature).ok()?;
        if !self.pair.signed(token.signed.as_bytes(), &signature) {
            return None;
        }
        URL_SAFE_NO_PAD.decode(token.claims).ok()
    }
}

/// A token in its three parts.
pub struct Compact<'t> {
    /// The first part.
    pub header: &'t str,
    /// The second part.
    claims: &'t str,
    /// The third part.
    signature: &'t str,
    /// What was signed: the first two parts and the dot between them.
    signed: &'t str,
}

impl<'t> Compact<'t> {
    /// `None` for what has not three parts.
    pub fn parse(text: &'t str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        (!claims.contains('.')).then_some(Self { header, claims, signature, signed })
    }
}

/// The keys that are known, the newest first.
#[derive(Default)]
pub struct Ring {
    keys: Vec<SigningKey>,
    /// Of the newest that is stored, whether or not it opens.
    generation: i64,
    any_retired: bool,
    /// Names of those that another root secret sealed.
    closed: Vec<RowId>,
}

impl Ring {
    /// The keys of these rows (the newest first) that have not retired, and that `seal` opens.
    pub fn open(rows: Vec<KeyRow>, seal: &Seal, now: Now) -> Self {
        let generation = rows.first().map_or(0, |row| row.generation);
        let mut ring =
            Self { keys: Vec::with_capacity(rows.len()), generation, any_retired: false, closed: Vec::new() };
        for row in rows {
            match SigningKey::open(&row, seal) {
                Some(key) if key.is_retired(now) => ring.any_retired = true,
                Some(key) => ring.keys.push(key),
                None => ring.closed.push(row.id),
            }
        }
        ring
    }

    /// The keys, the newest first.
    pub fn keys(&self) -> impl Iterator<Item = &SigningKey> {
        self.keys.iter()
    }

    /// The newest key, which may not sign yet.
    pub fn newest(&self) -> Option<&SigningKey> {
        self.keys.first()
    }

    /// Whether there are keys, and the root secret opens none of them.
    pub fn is_anothers(&self) -> bool {
        self.keys.is_empty() && !self.any_retired && !self.closed.is_empty()
    }

    /// Those that the root secret does not open, and that this one had not.
    pub(super) fn closed_besides(&self, before: &Self) -> impl Iterator<Item = &RowId> {
        self.closed.iter().filter(|id| !before.closed.contains(id))
    }

    pub(super) fn generation(&self) -> i64 {
        self.generation
    }

    pub(super) fn any_retired(&self) -> bool {
        self.any_retired
    }

    /// Whether a key of this name is known.
    pub fn has(&self, id: &RowId) -> bool {
        self.keys.iter().any(|key| key.id == *id)
    }

    /// The key that signs at `now`.
    pub fn signer(&self, now: Now) -> Result<&SigningKey, Fault> {
        let active = self.keys.iter().find(|key| key.active_from <= now && !key.is_retired(now));
        // A clock that is behind the one of the replica that made the key must not stop everything.
        let any = active.or_else(|| self.keys.iter().rfind(|key| !key.is_retired(now)));
        any.ok_or_else(|| Fault::new("signing a token", "there is no signing key"))
    }

    /// The key whose header of this kind `header` is. The comparison says at once that type, algorithm and
    /// key are the ones that we write.
    pub fn of_header(&self, kind: Kind, header: &str, now: Now) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.headers[kind as usize] == header && !key.is_retired(now))
    }

    /// The public keys (RFC 7517 §5).
    pub fn jwks(&self, now: Now) -> Jwks<'_> {
        let known = self.keys.iter().filter(|key| !key.is_retired(now));
        Jwks { keys: known.map(SigningKey::jwk).collect() }
    }
}

/// A set of JSON Web Keys.
#[derive(Serialize)]
pub struct Jwks<'a> {
    keys: Vec<Jwk<'a>>,
}

/// A public key (RFC 7517 §4).
#[derive(Serialize)]
struct Jwk<'a> {
    kty: &'static str,
    crv: &'static str,
    #[serde(rename = "use")]
    purpose: &'static str,
    alg: &'static str,
    kid: &'a str,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
}

impl SigningKey {
    fn jwk(&self) -> Jwk<'_> {
        let (kty, crv, x, y) = match self.pair.public() {
            Public::Ed25519 { x } => ("OKP", "Ed25519", x, None),
            Public::P256 { x, y } => ("EC", "P-256", x, Some(y)),
        };
        Jwk { kty, crv, purpose: "sig", alg: self.algorithm().name(), kid: self.id.as_str(), x, y }
    }
}
