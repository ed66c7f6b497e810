//! The names of things: user, session and request ids, made and checked here and nowhere else.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand;

/// Longest id that is accepted, in bytes.
const LONGEST: usize = 64;

/// True for the text of an id: 1 to 64 of `[A-Za-z0-9_-]`, so that it can stand in a header
/// value and in a path segment without any escaping.
fn well_formed(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LONGEST
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// A new random id (`UUIDv4`, lower case with hyphens).
            pub fn random() -> Self {
                let mut bytes = [0; 16];
                fill(&mut bytes);
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string().into())
            }

            /// An id from outside (a row, a request); `None` unless it is 1 to 64 of
            /// `[A-Za-z0-9_-]`.
            pub fn parse(text: &str) -> Option<Self> {
                well_formed(text).then(|| Self(text.into()))
            }

            /// The id as it is stored and sent.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

text_id! {
    /// A user's id, as the app sees it in `x-user-id` and in `/api/{user_id}/**`.
    UserId
}
text_id! {
    /// A session's id: names the row and is a public handle, never a credential.
    SessionId
}
text_id! {
    /// The id of a sign-in that waits for its code.
    PendingId
}
text_id! {
    /// The id of any other row (an account, a log entry).
    RowId
}

/// Fills `bytes` from the operating system's generator.
///
/// # Panics
/// If the operating system has no randomness to give: nothing safe can follow.
fn fill(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the operating system's random generator answers");
}

thread_local! {
    /// A random prefix of this thread as hex digits, and how many ids it has given out.
    static REQUESTS: Cell<([u8; 16], u64)> = Cell::new({
        let mut prefix = [0; 8];
        fill(&mut prefix);
        let mut digits = [0; 16];
        hex(u64::from_ne_bytes(prefix), &mut digits);
        (digits, 0)
    });
}

/// One request's id: 32 lower-case hex digits in logs, error pages and `x-request-id`.
/// Unique, not secret: a random prefix per thread and a counter, so that making one costs no
/// system call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 32]);

impl RequestId {
    /// The next id of this thread.
    pub fn next() -> Self {
        let (prefix, count) = REQUESTS.get();
        REQUESTS.set((prefix, count.wrapping_add(1)));
        let mut text = [0; 32];
        text[..16].copy_from_slice(&prefix);
        hex(count, &mut text[16..]);
        Self(text)
    }

    /// The id's text.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn hex(value: u64, out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (i, slot) in out.iter_mut().enumerate() {
        *slot = DIGITS[usize::try_from((value >> (60 - 4 * i)) & 15).unwrap_or(0)];
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_with_bytes_that_could_leave_a_header_or_a_segment_are_refused() {
        for bad in ["", "a b", "a/b", "a\r\nb", "é", "a.b", &"x".repeat(65)] {
            assert!(UserId::parse(bad).is_none(), "{bad:?}");
        }
        assert!(UserId::parse(UserId::random().as_str()).is_some());
    }

    #[test]
    fn request_ids_differ_and_are_32_hex_digits() {
        let (a, b) = (RequestId::next(), RequestId::next());
        assert!(a != b);
        assert!(a.to_string().bytes().all(|c| c.is_ascii_hexdigit()) && a.to_string().len() == 32);
    }
}
