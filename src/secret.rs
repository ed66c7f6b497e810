//! Secrets: tokens, what is stored of them, and the keys derived from the one root secret.

use std::fmt;
use std::hash::{Hash, Hasher};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hkdf, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

pub mod pair;

/// Random bytes in a token: characters of base64url hold them with no bit left over.
const RANDOM: usize = 33;
/// The characters that these are.
const RANDOM_TEXT: usize = RANDOM / 3 * 4;
/// Bytes of the keyed tag behind them.
const TAG: usize = 7;
/// Characters of a token (base64url without padding): SHA-256 takes them, and one more, as one block.
pub const TOKEN_TEXT: usize = RANDOM_TEXT + (TAG * 4).div_ceil(3);
/// Random bytes at the beginning of a token that its successors begin with too.
const FAMILY: usize = 12;
/// The characters that these are.
const FAMILY_TEXT: usize = FAMILY / 3 * 4;
/// What a successor is computed from begins with this: the message is longer than that of any tag.
const SUCCESSOR: &[u8] = b"successor";

/// What the text of a personal access token begins with, so that people and scanners know one where they find it.
pub const PERSONAL_PREFIX: &str = "sgp_";

/// A token in clear, of a session or for one use: 33 random bytes and a 7-byte keyed tag, as text. It exists in clear
/// when it is made and when a request carries it; it has no `Debug`, no `Clone` and is wiped when dropped.
#[derive(ZeroizeOnDrop)]
pub struct Token([u8; TOKEN_TEXT]);

/// What is stored and cached of a [`Token`]: the SHA-256 of its text. Worth nothing to a thief.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

impl Hash for TokenHash {
    /// Its first bytes are as good a hash as any.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.slot());
    }
}

impl Token {
    /// Reads the text of a cookie or bearer token; `None` for what cannot be one. Allocates nothing.
    pub fn parse(text: &[u8]) -> Option<Self> {
        text.is_ascii().then_some(text)?.try_into().ok().map(Self)
    }

    /// The hash under which the session is stored.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }

    /// The hash under which it is stored as a personal access token. It is not [`Self::hash`], so that neither
    /// kind is ever found where the other is looked for.
    pub fn personal_hash(&self) -> TokenHash {
        let mut text = Zeroizing::new([b'p'; TOKEN_TEXT + 1]);
        text[..TOKEN_TEXT].copy_from_slice(&self.0);
        TokenHash::of(&text[..])
    }

    /// What it has in common with its successors and their successors, as text (16 of base64url). No secret.
    ///
    /// # Panics
    /// Never, as [`Self::reveal`].
    pub fn family(&self) -> String {
        text(&self.0[..FAMILY_TEXT])
    }

    /// Its text, borrowed.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text for a cookie value or a link.
    ///
    /// # Panics
    /// Never: a token is ASCII.
    pub fn reveal(&self) -> String {
        text(&self.0)
    }
}

/// Text of the characters of a token.
fn text(ascii: &[u8]) -> String {
    std::str::from_utf8(ascii).expect("ASCII").to_owned()
}

impl TokenHash {
    fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(hash)
    }

    /// Its first eight bytes as a number: spreads evenly over any table.
    pub fn slot(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        u64::from_ne_bytes(first)
    }

    /// The form kept in `session.token`: base64url without padding.
    pub fn to_column(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Reads what [`Self::to_column`] wrote; `None` for anything else.
    pub fn from_column(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// Eight hex digits that name the session in a log line without opening it.
    pub fn handle(self) -> String {
        format!("{:02x}{:02x}{:02x}{:02x}", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({})", self.handle())
    }
}

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

/// The root secret of an installation: at least 32 bytes, the same on every replica.
#[derive(ZeroizeOnDrop)]
pub struct RootSecret(Vec<u8>);

impl RootSecret {
    /// Shortest secret that is accepted, in bytes.
    pub const SHORTEST: usize = 32;

    /// `None` if there are fewer than [`Self::SHORTEST`] bytes.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() >= Self::SHORTEST).then_some(Self(bytes))
    }

    /// Whether the other one is the same.
    pub fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
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
        let mut okm = self.derive(purpose);
        let key = Key(hmac::Key::new(hmac::HMAC_SHA256, &okm));
        okm.zeroize();
        key
    }

    /// What seals values that the store keeps (AES-256-GCM under the key of [`Purpose::Sealed`]).
    ///
    /// # Panics
    /// Never: the key has the length that the cipher asks for.
    pub fn seal(&self) -> Seal {
        let mut okm = self.derive(Purpose::Sealed);
        let key = RandomizedNonceKey::new(&AES_256_GCM, &okm).expect("32 bytes are a key of AES-256");
        okm.zeroize();
        Seal(key)
    }

    fn derive(&self, purpose: Purpose) -> [u8; 32] {
        let mut okm = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"sidegate")
            .extract(&self.0)
            .expand(&[purpose.label()], hkdf::HKDF_SHA256)
            .and_then(|okm_of| okm_of.fill(&mut okm))
            .expect("32 bytes are a length that HKDF-SHA256 gives");
        okm
    }
}

/// Seals values before they are stored, so that a copy of the database shows nothing of them.
pub struct Seal(RandomizedNonceKey);

impl Seal {
    /// `clear` as text for a column: base64url of nonce, ciphertext and tag. It opens only for the same
    /// `purpose` (say `outbox` and the row's id), so that it cannot be moved elsewhere.
    ///
    /// # Panics
    /// Never: no value of ours comes near the cipher's limit of 64 GiB.
    pub fn seal(&self, purpose: &str, clear: &[u8]) -> String {
        let mut text = clear.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut text)
            .expect("a value short enough to be sealed");
        URL_SAFE_NO_PAD.encode([&nonce.as_ref()[..], &text].concat())
    }

    /// What [`Self::seal`] was given; `None` for anything else, and under another root secret.
    pub fn open(&self, purpose: &str, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self.0.open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

/// A derived key.
pub struct Key(hmac::Key);

impl Key {
    /// HMAC-SHA256 of `message`.
    pub fn mac(&self, message: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(hmac::sign(&self.0, message).as_ref());
        out
    }

    /// A new token, tagged with this key.
    pub fn issue(&self) -> Token {
        let mut text = Zeroizing::new([0; RANDOM_TEXT]);
        encode(&Zeroizing::new(random::<RANDOM>())[..], &mut text[..]);
        self.tagged(&text)
    }

    /// The one token that follows on `token`: whoever has the key and `token` comes to the same, and nobody
    /// else to any, so that it need not be kept anywhere.
    pub fn successor(&self, token: &Token) -> Token {
        let mac = Zeroizing::new(self.mac(&[SUCCESSOR, &token.0].concat()));
        let mut text = Zeroizing::new([0; RANDOM_TEXT]);
        let (family, rest) = text.split_at_mut(FAMILY_TEXT);
        family.copy_from_slice(&token.0[..FAMILY_TEXT]);
        encode(&mac[..RANDOM - FAMILY], rest);
        self.tagged(&text)
    }

    fn tagged(&self, random: &[u8; RANDOM_TEXT]) -> Token {
        let mut text = [0; TOKEN_TEXT];
        text[..RANDOM_TEXT].copy_from_slice(random);
        text[RANDOM_TEXT..].copy_from_slice(&self.tag(random));
        Token(text)
    }

    fn tag(&self, random: &[u8]) -> [u8; TOKEN_TEXT - RANDOM_TEXT] {
        let mut tag = [0; TOKEN_TEXT - RANDOM_TEXT];
        encode(&self.mac(random)[..TAG], &mut tag);
        tag
    }

    /// Whether `token` was issued with this key. Spares the store the question for invented ones;
    /// it does not say that the session lives.
    pub fn issued(&self, token: &Token) -> bool {
        let (random, tag) = token.0.split_at(RANDOM_TEXT);
        equal(&self.tag(random), tag)
    }
}

/// Writes `bytes` as base64url without padding: `text` is as long as that is.
fn encode(bytes: &[u8], text: &mut [u8]) {
    let length = text.len();
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, text);
    assert!(written.is_ok_and(|written| written == length), "a buffer as long as the text");
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
    fn a_token_survives_its_text_and_another_key_disowns_it() {
        let root = RootSecret::new(vec![7; 32]).expect("long enough");
        let key = root.key(Purpose::SessionTag);
        let token = key.issue();
        let text = token.reveal();
        assert_eq!(text.len(), TOKEN_TEXT);
        let again = Token::parse(text.as_bytes()).expect("parses");
        assert!(again.hash() == token.hash() && key.issued(&again));
        assert!(!root.key(Purpose::Device).issued(&again));
        assert!(again.personal_hash() == token.personal_hash() && token.personal_hash() != token.hash());
    }

    #[test]
    fn a_successor_is_one_and_another_keys_is_another() {
        let root = RootSecret::new(vec![7; 32]).expect("long enough");
        let key = root.key(Purpose::Refresh);
        let (token, other) = (key.issue(), key.issue());
        let next = key.successor(&token);
        assert!(next.hash() == key.successor(&token).hash() && key.issued(&next));
        assert!(next.hash() != token.hash() && next.hash() != key.successor(&other).hash());
        assert!(next.hash() != key.successor(&next).hash());
        assert!(next.family() == token.family() && other.family() != token.family());
        assert!(next.hash() != root.key(Purpose::SessionTag).successor(&token).hash());
    }

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
    fn texts_that_no_token_has_are_refused() {
        for bad in ["", "x", &"A".repeat(53), &"A".repeat(55), &"é".repeat(27)] {
            assert!(Token::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
