//! Pairs of keys that sign: Ed25519, or ECDSA on P-256 for readers that know nothing newer.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, ParsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// How something is signed, with the names of RFC 7518 §3.1 and RFC 8037 §3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// The name in the `alg` field of a header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }

    /// Reads what [`Self::name`] writes.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::EdDsa, Self::Es256].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// Bytes of a signature of either algorithm.
pub const SIGNATURE: usize = 64;

/// A key that signs, and the public one that goes with it. Has no `Debug`.
pub struct Pair {
    private: Private,
    public: ParsedPublicKey,
}

enum Private {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

/// The public key as a JSON Web Key holds it, each part as base64url.
pub enum Public {
    /// RFC 8037 §2.
    Ed25519 {
        /// The key.
        x: String,
    },
    /// RFC 7518 §6.2.
    P256 {
        /// One coordinate.
        x: String,
        /// The other.
        y: String,
    },
}

impl Pair {
    /// A new pair.
    ///
    /// # Panics
    /// If the operating system has no randomness to give: nothing safe can follow.
    pub fn generate(algorithm: Algorithm) -> Self {
        let private = match algorithm {
            Algorithm::EdDsa => Ed25519KeyPair::generate().map(Private::Ed25519),
            Algorithm::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Private::P256),
        };
        private.ok().and_then(Self::of).expect("the operating system's random generator answers")
    }

    /// From what [`Self::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        let private = match algorithm {
            Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8(bytes).map(Private::Ed25519),
            Algorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes).map(Private::P256)
            }
        };
        private.ok().and_then(Self::of)
    }

    fn of(private: Private) -> Option<Self> {
        let public = match &private {
            Private::Ed25519(pair) => ParsedPublicKey::new(&ED25519, pair.public_key()),
            Private::P256(pair) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key()),
        };
        Some(Self { private, public: public.ok()? })
    }

    /// The private key (PKCS #8), to be sealed and kept. `None` if it does not go into that form, which no
    /// pair made here does.
    pub fn to_bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        let document = match &self.private {
            Private::Ed25519(pair) => pair.to_pkcs8(),
            Private::P256(pair) => pair.to_pkcs8v1(),
        };
        document.ok().map(|document| Zeroizing::new(document.as_ref().to_vec()))
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        match self.private {
            Private::Ed25519(_) => Algorithm::EdDsa,
            Private::P256(_) => Algorithm::Es256,
        }
    }

    /// The public key.
    pub fn public(&self) -> Public {
        match &self.private {
            Private::Ed25519(pair) => Public::Ed25519 { x: URL_SAFE_NO_PAD.encode(pair.public_key()) },
            Private::P256(pair) => {
                // An uncompressed point: a byte that says so, then two coordinates.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                Public::P256 { x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) }
            }
        }
    }

    /// The signature of `message`; `None` if the library has no memory for it.
    pub fn sign(&self, message: &[u8]) -> Option<[u8; SIGNATURE]> {
        let signature = match &self.private {
            Private::Ed25519(pair) => pair.try_sign(message),
            Private::P256(pair) => pair.sign_digest(&digest::digest(&digest::SHA256, message)),
        };
        signature.ok()?.as_ref().try_into().ok()
    }

    /// Whether this pair made `signature` of `message`.
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.public.verify_sig(message, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_survives_its_bytes_and_disowns_what_another_signed() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
            let pair = Pair::generate(algorithm);
            let again = Pair::from_bytes(algorithm, &pair.to_bytes().expect("bytes")).expect("a pair");
            let signature = pair.sign(b"a message").expect("a signature");
            assert!(again.signed(b"a message", &signature) && !again.signed(b"a massage", &signature));
            assert!(!Pair::generate(algorithm).signed(b"a message", &signature));
            assert!(!pair.signed(b"a message", &signature[1..]) && !pair.signed(b"a message", &[]));
            let other = if algorithm == Algorithm::EdDsa { Algorithm::Es256 } else { Algorithm::EdDsa };
            assert!(Pair::from_bytes(other, &pair.to_bytes().expect("bytes")).is_none());
        }
    }
}
