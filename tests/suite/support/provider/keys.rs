//! Keys of the test's identity provider, made once per process, and signatures with them: good ones, and
//! those that nobody may believe.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaEncoding,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// How a token is signed (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alg {
    /// RSA PKCS #1 v1.5: what providers use unless told otherwise.
    Rs256,
    /// RSA PSS.
    Ps256,
    /// P-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// Not at all.
    None,
    /// With a MAC whose key is the public RSA key as PEM, which everybody knows.
    Hs256PublicKey,
    /// With a MAC whose key is the client's secret.
    Hs256Secret,
}

impl Alg {
    /// What the header says.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::None => "none",
            Self::Hs256PublicKey | Self::Hs256Secret => "HS256",
        }
    }

    /// The id of the key, before anything was rotated.
    pub(super) fn key_name(self) -> &'static str {
        match self {
            Self::Rs256 | Self::Ps256 | Self::None | Self::Hs256PublicKey | Self::Hs256Secret => "rsa",
            Self::Es256 => "ec",
            Self::EdDsa => "ed",
        }
    }
}

/// One key of each kind.
pub(super) struct Keys {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

/// The provider's own.
pub(super) static OWN: LazyLock<Keys> = LazyLock::new(Keys::generate);
/// Somebody else's, which are published nowhere.
pub(super) static FOREIGN: LazyLock<Keys> = LazyLock::new(Keys::generate);

/// Base64url without padding.
pub(super) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The SHA-256 hash of `bytes`.
pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

impl Keys {
    fn generate() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
            ed: Ed25519KeyPair::generate().expect("a key"),
        }
    }

    /// A JWS in compact form of these texts, which are taken as they are (RFC 7515 §7.1).
    pub(super) fn sign(&self, alg: Alg, secret: &str, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", base64url(header), base64url(payload));
        let message = signed.as_bytes();
        let random = SystemRandom::new();
        let mac = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec();
        let signature = match alg {
            Alg::Rs256 => self.rsa(&RSA_PKCS1_SHA256, message),
            Alg::Ps256 => self.rsa(&RSA_PSS_SHA256, message),
            Alg::Es256 => self.ec.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Alg::EdDsa => self.ed.sign(message).as_ref().to_vec(),
            Alg::None => Vec::new(),
            Alg::Hs256PublicKey => mac(self.pem().as_bytes()),
            Alg::Hs256Secret => mac(secret.as_bytes()),
        };
        format!("{signed}.{}", base64url(signature))
    }

    fn rsa(&self, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        self.rsa.sign(encoding, &SystemRandom::new(), message, &mut signature).expect("a signature");
        signature
    }

    fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = self.rsa.public_key().as_der().expect("a public key");
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// The public halves as JWKs (RFC 7517 §4), each with the id that `kid` gives it.
    pub(super) fn published(&self, kid: impl Fn(Alg) -> String) -> Vec<Value> {
        // RSAPublicKey (RFC 8017 A.1.1) of 2048 bits: two headers of four octets, a zero, the modulus, the
        // exponent.
        let rsa = self.rsa.public_key().as_ref();
        let (modulus, exponent) = (&rsa[9..265], &rsa[267..]);
        let point = self.ec.public_key().as_ref();
        let (rsa, ec, ed) = (kid(Alg::Rs256), kid(Alg::Es256), kid(Alg::EdDsa));
        vec![
            json!({ "kty": "RSA", "use": "sig", "kid": rsa, "n": base64url(modulus), "e": base64url(exponent) }),
            json!({ "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": ec,
                "x": base64url(&point[1..33]), "y": base64url(&point[33..]) }),
            json!({ "kty": "OKP", "use": "sig", "alg": "EdDSA", "crv": "Ed25519", "kid": ed,
                "x": base64url(self.ed.public_key().as_ref()) }),
        ]
    }
}
