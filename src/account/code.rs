//! The code that a mail brings and a person types: eight digits for one pending sign-in, kept as a keyed hash.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::id::PendingId;
use crate::secret::{Key, equal, random};

/// How long a code is good for.
pub const LIFE: Duration = Duration::from_mins(10);
/// How often a code may be tried.
pub const TRIES: i64 = 5;
/// Digits of a code: 26.5 bits.
const DIGITS: usize = 8;

/// A code in clear.
pub struct Code(Zeroizing<String>);

impl Code {
    /// A new one.
    pub fn random() -> Self {
        let most = 10_u64.pow(u32::try_from(DIGITS).unwrap_or(0));
        // 2^64 is so much more than 10^8 that no code is noticeably likelier.
        Self(Zeroizing::new(format!("{:0DIGITS$}", u64::from_le_bytes(random()) % most)))
    }

    /// What somebody typed, with spaces and hyphens wherever; `None` unless it is eight digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut digits = Zeroizing::new(String::with_capacity(DIGITS));
        for c in text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '\u{2010}'..='\u{2015}')) {
            if !c.is_ascii_digit() || digits.len() == DIGITS {
                return None;
            }
            digits.push(c);
        }
        (digits.len() == DIGITS).then_some(Self(digits))
    }

    /// In two groups, as it is easiest to read: `1234 5678`.
    pub fn grouped(&self) -> Zeroizing<String> {
        let (first, second) = self.0.split_at(DIGITS / 2);
        Zeroizing::new(format!("{first} {second}"))
    }

    /// What is stored of it: a keyed hash over it and the one pending sign-in that it is for. `key` is that of
    /// `Purpose::Code`.
    pub fn hash(&self, key: &Key, pending: &PendingId) -> String {
        URL_SAFE_NO_PAD.encode(key.mac(&self.message(pending)))
    }

    /// Whether [`Self::hash`] gave `stored`, in a time that does not tell how nearly.
    pub fn is_right(&self, key: &Key, pending: &PendingId, stored: &str) -> bool {
        let is = |stored: Vec<u8>| key.macs(&self.message(pending)).any(|mac| equal(&mac, &stored));
        URL_SAFE_NO_PAD.decode(stored).is_ok_and(is)
    }

    /// The code has a fixed length and comes first, so no two pairs give the same message.
    fn message(&self, pending: &PendingId) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([self.0.as_bytes(), pending.as_str().as_bytes()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Purpose, RootSecret};

    #[test]
    fn a_code_is_eight_digits_however_they_are_grouped() {
        for typed in
            ["12345678", "1234 5678", " 1234-5678 ", "12 34 56 78", "1234\u{a0}5678", "1234\u{2013}5678"]
        {
            assert_eq!(Code::parse(typed).expect(typed).grouped().as_str(), "1234 5678", "{typed:?}");
        }
        for bad in ["", "1234567", "123456789", "1234567a", "\u{661}2345678", "12345678;", "1234.5678"] {
            assert!(Code::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn pen_4_new_codes_are_read_back_and_differ() {
        let codes: Vec<Code> = (0..200).map(|_| Code::random()).collect();
        assert!(codes.iter().all(|code| Code::parse(&code.grouped()).is_some_and(|again| again.0 == code.0)));
        let different: std::collections::HashSet<&str> = codes.iter().map(|code| code.0.as_str()).collect();
        assert!(different.len() > 195, "{}", different.len());
        assert!((b'0'..=b'9').all(|digit| codes.iter().any(|code| code.0.as_bytes()[0] == digit)));
    }

    #[test]
    fn pen_6_a_code_is_right_for_one_pending_sign_in_and_one_secret_only() {
        let key = |byte| RootSecret::new(vec![byte; 32]).expect("long enough").key(Purpose::Code);
        let (code, other) =
            (Code(Zeroizing::new("12345678".into())), Code(Zeroizing::new("12345679".into())));
        let (a, b) = (PendingId::random(), PendingId::random());
        let stored = code.hash(&key(1), &a);
        assert!(code.is_right(&key(1), &a, &stored) && !stored.contains("1234"));
        assert!(!code.is_right(&key(1), &b, &stored) && !code.is_right(&key(2), &a, &stored));
        assert!(!other.is_right(&key(1), &a, &stored) && !code.is_right(&key(1), &a, ""));
    }
}
