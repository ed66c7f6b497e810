//! What a browser holds to be known again: a secret under which the store knows the users that trust it, and
//! for each account that it signed in a proof of that.
//!
//! A proof keeps a flood of wrong guesses from locking the browser out, and says nothing else: whoever holds
//! it still needs the password. It is checked without the store, and so before anything is spent on the
//! attempt, and alike whether the account exists. Trust is a row of the store under the hash of the secret,
//! and can be revoked; the secret changes with every sign-in. A proof is held
//! against that trust before a password is judged, and without it is a stranger's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::account::email::Email;
use crate::secret::{Key, Token, equal, random};

/// Random bytes that tell the browsers of one account apart.
const NONCE: usize = 16;
/// Bytes of the keyed tag behind them.
const TAG: usize = 16;
/// Characters of a proof as text (base64url without padding).
const TEXT: usize = 43;

/// Accounts for which one browser holds a proof.
const PROOFS: usize = 4;

/// What the cookie of a browser holds: `secret.proof.proof`, each of which may be missing.
#[derive(Default)]
pub struct Shown<'c> {
    /// The secret under which the store knows it.
    pub secret: Option<Token>,
    proofs: Vec<&'c str>,
}

impl<'c> Shown<'c> {
    /// Reads the cookie's value; what is neither secret nor proof is left out.
    pub fn read(value: &'c [u8]) -> Self {
        let text = std::str::from_utf8(value).unwrap_or_default();
        let (proofs, others): (Vec<&str>, Vec<&str>) =
            text.split('.').take(PROOFS + 1).partition(|part| part.len() == TEXT);
        Self { secret: others.first().and_then(|secret| Token::parse(secret.as_bytes())), proofs }
    }

    /// The browser, if it holds a proof that it signed `account` in. `key` is that of `Purpose::Device`.
    pub fn proof(&self, key: &Key, account: &Email) -> Option<Device> {
        self.proofs.iter().find_map(|proof| verify(key, proof, account))
    }

    /// The next value of the cookie, with this secret and a new proof for `account`, if it can have one.
    pub fn next(&self, key: &Key, secret: &Token, account: Option<&Email>) -> String {
        let mut value = secret.reveal();
        let new = account.map(|account| issue(key, account));
        let kept =
            self.proofs.iter().filter(|proof| account.is_none_or(|of| verify(key, proof, of).is_none()));
        for proof in new.as_deref().into_iter().chain(kept.copied()).take(PROOFS) {
            value.push('.');
            value.push_str(proof);
        }
        value
    }
}

/// A browser that signed an account in before; made by [`verify`] only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Device([u8; NONCE]);

impl Device {
    /// What tells this browser from others of the account.
    pub fn as_bytes(&self) -> &[u8; NONCE] {
        &self.0
    }
}

/// The proof for a browser that has just signed `account` in: base64url of 16 random bytes and a 16-byte keyed
/// tag over the account and those bytes. `key` is that of `Purpose::Device`.
pub fn issue(key: &Key, account: &Email) -> String {
    let nonce = random::<NONCE>();
    let mut bytes = [0; NONCE + TAG];
    bytes[..NONCE].copy_from_slice(&nonce);
    bytes[NONCE..].copy_from_slice(&key.mac(&message(account, &nonce))[..TAG]);
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
    let message = message(account, &nonce);
    key.macs(&message).any(|mac| equal(&mac[..TAG], &bytes[NONCE..])).then_some(Device(nonce))
}

/// The nonce has a fixed length and comes first, so no two pairs give the same message.
fn message(account: &Email, nonce: &[u8; NONCE]) -> Vec<u8> {
    [nonce, account.as_str().as_bytes()].concat()
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

    #[test]
    fn a_browser_that_several_people_use_is_known_to_the_last_of_them() {
        let key = root(1).key(Purpose::Device);
        let people: Vec<Email> = ["a", "b", "c", "d", "e"].map(|n| email(&format!("{n}@example.com"))).into();
        let mut value = String::new();
        for person in &people {
            value = Shown::read(value.as_bytes()).next(&key, &key.issue(), Some(person));
        }
        let known = |value: &str| {
            people
                .iter()
                .map(|of| Shown::read(value.as_bytes()).proof(&key, of).is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(known(&value), [false, true, true, true, true]);
        let again = Shown::read(value.as_bytes()).next(&key, &key.issue(), Some(&people[1]));
        assert_eq!(
            known(&again),
            [false, true, true, true, true],
            "a proof takes the place of the earlier one"
        );
        assert_eq!(again.len(), value.len());
        let (old, new) = (Shown::read(value.as_bytes()), Shown::read(again.as_bytes()));
        assert!(old.secret.expect("a secret").hash() != new.secret.expect("a secret").hash());
        assert_eq!(known(&Shown::read(again.as_bytes()).next(&key, &key.issue(), None)), known(&again));
    }

    #[test]
    fn what_is_no_device_cookie_shows_nothing() {
        for bad in [&b""[..], b".", b"x.y.z", b"\xff\xfe", &[b'A'; 4096], b"...................."] {
            let shown = Shown::read(bad);
            assert!(shown.secret.is_none() && shown.proofs.is_empty(), "{bad:?}");
        }
    }
}
