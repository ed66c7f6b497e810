//! Secrets: the one root secret, the keys derived from it, and what they are for.

use std::{iter, mem};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{hkdf, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

pub mod pair;
mod token;

pub use token::{PERSONAL_PREFIX, TOKEN_TEXT, Token, TokenHash};

/// The purposes for which a key is derived; each has its own, so that a value made for one is
/// worth nothing for another.
#[derive(Clone, Copy)]
pub enum Purpose {
    /// The tag of session tokens.
    SessionTag,
    /// The proof in the device cookie.
    Device,
    /// Names of accounts in rate-limit keys.
    Limits,
    /// Flows at an identity provider: the state parameter and the cookie beside it.
    Flow,
    /// One-time secrets that travel by mail.
    Ticket,
    /// Sign-ins that wait for their code: the token in the cookie.
    Pending,
    /// Codes that are typed, as they are stored.
    Code,
    /// Refresh tokens, and the successor of each.
    Refresh,
    /// Refresh tokens in cookies, beside signed session cookies.
    RefreshCookie,
    /// The tag of personal access tokens.
    Personal,
    /// What the store keeps but may not show: mails that wait, tokens of providers.
    Sealed,
    /// Whom a mail went to, where mails to one address are counted.
    Recipient,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::SessionTag => b"sidegate/session-tag/v1",
            Self::Device => b"sidegate/device/v1",
            Self::Limits => b"sidegate/limits/v1",
            Self::Flow => b"sidegate/flow/v1",
            Self::Ticket => b"sidegate/ticket/v1",
            Self::Pending => b"sidegate/pending/v1",
            Self::Code => b"sidegate/code/v1",
            Self::Refresh => b"sidegate/refresh/v1",
            Self::RefreshCookie => b"sidegate/refresh-cookie/v1",
            Self::Personal => b"sidegate/personal/v1",
            Self::Sealed => b"sidegate/sealed/v1",
            Self::Recipient => b"sidegate/recipient/v1",
        }
    }
}

/// The root secret of an installation: at least 32 bytes, the same on every replica. What was made with one of its
/// predecessors stays good as long as that is named.
#[derive(ZeroizeOnDrop)]
pub struct RootSecret {
    own: Vec<u8>,
    former: Vec<Vec<u8>>,
}

impl RootSecret {
    /// Shortest secret that is accepted, in bytes.
    pub const SHORTEST: usize = 32;

    /// `None` if there are fewer than [`Self::SHORTEST`] bytes.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() >= Self::SHORTEST).then_some(Self { own: bytes, former: Vec::new() })
    }

    /// The same, which knows what these made: it makes nothing with them.
    #[must_use]
    pub fn after(mut self, mut former: Vec<Self>) -> Self {
        self.former = former.iter_mut().map(|secret| mem::take(&mut secret.own)).collect();
        self
    }

    /// Whether the other one is the same, whatever came before either.
    pub fn is(&self, other: &Self) -> bool {
        equal(&self.own, &other.own)
    }

    /// Whether the same came before the other one.
    pub fn came_after_the_same_as(&self, other: &Self) -> bool {
        let mut pairs = self.former.iter().zip(&other.former);
        self.former.len() == other.former.len() && pairs.all(|(a, b)| equal(a, b))
    }

    /// A new secret as text to be kept in a file (43 characters of base64url).
    pub fn generate() -> String {
        let mut bytes = random::<32>();
        let text = URL_SAFE_NO_PAD.encode(bytes);
        bytes.zeroize();
        text
    }

    /// The key for one purpose (HKDF-SHA256).
    ///
    /// # Panics
    /// Never: the output length is one HKDF allows.
    pub fn key(&self, purpose: Purpose) -> Key {
        let key = |secret: &Vec<u8>| hmac::Key::new(hmac::HMAC_SHA256, &derive(secret, purpose)[..]);
        Key { own: key(&self.own), former: self.former.iter().map(key).collect() }
    }

    /// What seals values that the store keeps (AES-256-GCM under the key of [`Purpose::Sealed`]).
    ///
    /// # Panics
    /// Never: the key has the length that the cipher asks for.
    pub fn seal(&self) -> Seal {
        let key = |secret: &Vec<u8>| {
            RandomizedNonceKey::new(&AES_256_GCM, &derive(secret, Purpose::Sealed)[..])
                .expect("32 bytes are a key of AES-256")
        };
        Seal { own: key(&self.own), former: self.former.iter().map(key).collect() }
    }
}

/// What a key of this purpose is made of.
fn derive(secret: &[u8], purpose: Purpose) -> Zeroizing<[u8; 32]> {
    let mut okm = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"sidegate")
        .extract(secret)
        .expand(&[purpose.label()], hkdf::HKDF_SHA256)
        .and_then(|okm_of| okm_of.fill(&mut okm[..]))
        .expect("32 bytes are a length that HKDF-SHA256 gives");
    okm
}

/// Seals values before they are stored, so that a copy of the database shows nothing of them.
pub struct Seal {
    own: RandomizedNonceKey,
    /// Of the secrets before.
    former: Box<[RandomizedNonceKey]>,
}

impl Seal {
    /// `clear` as text for a column: base64url of nonce, ciphertext and tag. It opens only for the same
    /// `purpose` (say `outbox` and the row's id), so that it cannot be moved elsewhere.
    ///
    /// # Panics
    /// Never: no value of ours comes near the cipher's limit of 64 GiB.
    pub fn seal(&self, purpose: &str, clear: &[u8]) -> String {
        let mut text = clear.to_vec();
        let nonce = self
            .own
            .seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut text)
            .expect("a value short enough to be sealed");
        URL_SAFE_NO_PAD.encode([&nonce.as_ref()[..], &text].concat())
    }

    /// What [`Self::seal`] was given, under this root secret or one before it; `None` for anything else.
    pub fn open(&self, purpose: &str, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_checked(NONCE_LEN)?;
        let open = |key: &RandomizedNonceKey| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut text = Zeroizing::new(text.to_vec());
            let length = key.open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut text).ok()?.len();
            text.truncate(length);
            Some(text)
        };
        iter::once(&self.own).chain(&self.former).find_map(open)
    }
}

/// A derived key.
pub struct Key {
    own: hmac::Key,
    /// Of the secrets before.
    former: Box<[hmac::Key]>,
}

impl Key {
    /// HMAC-SHA256 of `message`.
    pub fn mac(&self, message: &[u8]) -> [u8; 32] {
        mac(&self.own, message)
    }

    /// [`Self::mac`], and what it was under each root secret before this one.
    pub fn macs(&self, message: &[u8]) -> impl Iterator<Item = [u8; 32]> {
        iter::once(&self.own).chain(&self.former).map(move |key| mac(key, message))
    }
}

fn mac(key: &hmac::Key, message: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(hmac::sign(key, message).as_ref());
    out
}

/// Compares in a time that depends on the lengths only.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    verify_slices_are_equal(a, b).is_ok()
}

/// `N` bytes from the operating system's generator.
///
/// # Panics
/// If the operating system has no randomness to give: nothing safe can follow.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the operating system's random generator answers");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_own_purpose_and_secret_only() {
        let root = RootSecret::new(vec![7; 32]).expect("long enough");
        let sealed = root.seal().seal("outbox 1", b"a link");
        assert!(!sealed.contains("link") && sealed != root.seal().seal("outbox 1", b"a link"));
        assert_eq!(root.seal().open("outbox 1", &sealed).expect("opens").as_slice(), b"a link");
        assert!(root.seal().open("outbox 2", &sealed).is_none());
        let other = RootSecret::new(vec![8; 32]).expect("long enough");
        assert!(other.seal().open("outbox 1", &sealed).is_none());
        for bad in ["", "A", "AAAA", &sealed[1..], &sealed[..sealed.len() - 1]] {
            assert!(root.seal().open("outbox 1", bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn se_2_what_a_secret_before_made_stays_good_and_nothing_is_made_with_it() {
        let root = |byte| RootSecret::new(vec![byte; 32]).expect("long enough");
        let (old, new) = (root(7), root(8).after(vec![root(6), root(7)]));
        assert!(new.is(&root(8)) && !new.came_after_the_same_as(&root(8)));
        assert!(new.came_after_the_same_as(&root(9).after(vec![root(6), root(7)])));
        assert!(!new.came_after_the_same_as(&root(9).after(vec![root(7), root(7)])));
        let keys = [&old, &new, &root(8)].map(|root| root.key(Purpose::Ticket));
        let (before, after) = (keys[0].issue(), keys[1].issue());
        assert!(keys[1].issued(&before) && keys[1].issued(&after));
        assert!(!keys[2].issued(&before) && keys[2].issued(&after), "it is tagged with the new one");
        assert!(!new.key(Purpose::Device).issued(&before));
        assert!(keys[2].successor(&before).hash() == keys[1].successor(&before).hash());
        let sealed = [old.seal().seal("outbox 1", b"a link"), new.seal().seal("outbox 1", b"a link")];
        for sealed in &sealed {
            assert_eq!(new.seal().open("outbox 1", sealed).expect("opens").as_slice(), b"a link");
            assert!(new.seal().open("outbox 2", sealed).is_none());
        }
        assert!(root(8).seal().open("outbox 1", &sealed[0]).is_none());
        assert!(root(8).seal().open("outbox 1", &sealed[1]).is_some());
    }
}
