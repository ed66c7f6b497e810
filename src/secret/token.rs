//! Tokens: what one is made of, and what is stored of it.

use std::fmt;
use std::hash::{Hash, Hasher};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::secret::{Key, equal, random};

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

impl Key {
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
        text[RANDOM_TEXT..].copy_from_slice(&tag(&self.mac(random)));
        Token(text)
    }

    /// Whether `token` was issued with this key, or with what it was under an earlier root secret. Spares the store the question for invented ones;
    /// it does not say that the session lives.
    pub fn issued(&self, token: &Token) -> bool {
        let (random, tag) = token.0.split_at(RANDOM_TEXT);
        self.macs(random).any(|mac| equal(&self::tag(&mac), tag))
    }
}

/// What a token ends with whose first part has this MAC.
fn tag(mac: &[u8; 32]) -> [u8; TOKEN_TEXT - RANDOM_TEXT] {
    let mut tag = [0; TOKEN_TEXT - RANDOM_TEXT];
    encode(&mac[..TAG], &mut tag);
    tag
}

/// Writes `bytes` as base64url without padding: `text` is as long as that is.
fn encode(bytes: &[u8], text: &mut [u8]) {
    let length = text.len();
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, text);
    assert!(written.is_ok_and(|written| written == length), "a buffer as long as the text");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Purpose, RootSecret};

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
    fn texts_that_no_token_has_are_refused() {
        for bad in ["", "x", &"A".repeat(53), &"A".repeat(55), &"é".repeat(27)] {
            assert!(Token::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
