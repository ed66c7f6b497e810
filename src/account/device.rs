//! The proof that a browser signed an account in before, which keeps a flood of wrong guesses from locking it
//! out.
//!
//! It proves nothing else: whoever holds it still needs the password. It is checked without the
//! store, and so before anything is spent on the attempt, and alike whether the account exists.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::account::email::Email;
use crate::secret::{Key, equal, random};

/// Random bytes that tell the browsers of one account apart.
const NONCE: usize = 16;
/// Bytes of the keyed tag behind them.
const TAG: usize = 16;
/// Characters of a proof as text (base64url without padding).
const TEXT: usize = 43;

/// A browser that signed an account in before; made by [`verify`] only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Device([u8; NONCE]);

impl Device {
    /// What tells this browser from others of the account.
    pub fn as_bytes(&self) -> &[u8; NONCE] {
        &self.0
    }
}

/// The value of the device cookie for a browser that has just signed `account` in: base64url of 16 random
/// bytes and a 16-byte keyed tag over the account and those bytes. `key` is that of `Purpose::Device`.
pub fn issue(key: &Key, account: &Email) -> String {
    let nonce = random::<NONCE>();
    let mut bytes = [0; NONCE + TAG];
    bytes[..NONCE].copy_from_slice(&nonce);
    bytes[NONCE..].copy_from_slice(&tag(key, account, &nonce));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The browser, if [`issue`] made `text` for one that signed `account` in.
pub fn verify(key: &Key, text: &str, account: &Email) -> Option<Device> {
    let mut bytes = [0; NONCE + TAG];
    if text.len() != TEXT || URL_SAFE_NO_PAD.decode_slice_unchecked(text, &mut bytes) != Ok(NONCE + TAG) {
        return None;
    }
    let mut nonce = [0; NONCE];
    nonce.copy_from_slice(&bytes[..NONCE]);
    equal(&tag(key, account, &nonce), &bytes[NONCE..]).then_some(Device(nonce))
}

/// The nonce has a fixed length and comes first, so no two pairs give the same message.
fn tag(key: &Key, account: &Email, nonce: &[u8; NONCE]) -> [u8; TAG] {
    let mut tag = [0; TAG];
    tag.copy_from_slice(&key.mac(&[nonce, account.as_str().as_bytes()].concat())[..TAG]);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Purpose, RootSecret};

    fn root(byte: u8) -> RootSecret {
        RootSecret::new(vec![byte; 32]).expect("long enough")
    }

    fn email(text: &str) -> Email {
        Email::parse(text).expect("an address")
    }

    #[test]
    fn a_browser_is_known_to_the_account_it_signed_in_and_to_no_other() {
        let key = root(1).key(Purpose::Device);
        let text = issue(&key, &email("ada@example.com"));
        assert_eq!(text.len(), TEXT);
        assert!(verify(&key, &text, &email("Ada@Example.com")).is_some());
        assert!(verify(&key, &text, &email("bob@example.com")).is_none());
    }

    #[test]
    fn a_proof_made_for_another_purpose_or_installation_is_worth_nothing() {
        let ada = email("ada@example.com");
        let text = issue(&root(1).key(Purpose::Device), &ada);
        assert!(verify(&root(1).key(Purpose::SessionTag), &text, &ada).is_none());
        assert!(verify(&root(2).key(Purpose::Device), &text, &ada).is_none());
    }

    #[test]
    fn every_changed_character_of_a_proof_voids_it() {
        let (key, ada) = (root(1).key(Purpose::Device), email("ada@example.com"));
        let text = issue(&key, &ada);
        for at in 0..text.len() {
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            let mut changed = text.clone();
            changed.replace_range(at..=at, other);
            assert!(verify(&key, &changed, &ada).is_none(), "{at}");
        }
        for bad in ["", "x", &text[1..], &format!("{text}="), &"é".repeat(21), &"*".repeat(TEXT)] {
            assert!(verify(&key, bad, &ada).is_none(), "{bad}");
        }
    }

    #[test]
    fn two_browsers_of_one_account_are_told_apart() {
        let (key, ada) = (root(1).key(Purpose::Device), email("ada@example.com"));
        let [a, b] = [(); 2].map(|()| verify(&key, &issue(&key, &ada), &ada));
        assert!(a.is_some() && b.is_some() && a != b);
    }
}
