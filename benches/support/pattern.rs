//! Bodies that nobody can mistake for each other, and their sums.

use std::fmt::Write as _;
use std::sync::LazyLock;

use aws_lc_rs::digest;

/// Bytes of a large body.
pub(crate) const LARGE: usize = 1024 * 1024;

/// Twice as much, at random (xorshift64).
static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.to_le_bytes()
    });
    words.take(2 * LARGE / 8).flatten().collect()
});

/// The large body of this number.
pub(crate) fn large(number: usize) -> &'static [u8] {
    &TABLE[number.wrapping_mul(7919) % LARGE..][..LARGE]
}

/// The number in a target such as `/large?17`.
pub(crate) fn number(target: &str) -> usize {
    target.split_once('?').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

/// What an app answers: what was asked, by whom, with how much of which body.
pub(crate) fn said(target: &str, user: &str, body: &[u8]) -> String {
    format!("{target} {user} {} {}", body.len(), sum(body))
}

/// What an app says at these events: each by itself.
pub(crate) fn event(target: &str, user: &str, number: usize) -> String {
    format!("data: {target} {user} {number}\n\n")
}

/// Half of a SHA-256.
pub(crate) fn sum(body: &[u8]) -> String {
    let mut text = String::new();
    for byte in &digest::digest(&digest::SHA256, body).as_ref()[..16] {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
