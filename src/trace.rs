//! W3C Trace Context: the trace that a request belongs to, taken up where the caller's is valid and begun where
//! it is not.

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc::Sender;

use crate::metrics::worker::METHODS;
use crate::secret::random;
use crate::time::Now;

/// The only version that is written (W3C Trace Context §3.2).
const VERSION: &[u8] = b"00";
/// The length of a `traceparent` of that version.
const LENGTH: usize = 55;
/// The bit that says that somebody records (§3.2.2.5.1).
const SAMPLED: u8 = 1;

/// Which part of all traces is recorded: of 2⁶³ one in so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    /// From nothing (0) to all (1).
    pub fn new(part: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share need not be exact, and the cast saturates"
        )]
        Self((part.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64)
    }

    /// Whether a trace is recorded: told by its id, so that all who ask so agree.
    fn takes(self, trace: &[u8; 16]) -> bool {
        let low = trace[8..].iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
        low >> 1 < self.0
    }
}

impl fmt::Display for Share {
    /// In percent, to a thousandth of one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
        let percent = format!("{:.3}", self.0 as f64 / (1_u64 << 63) as f64 * 100.0);
        write!(f, "{} %", percent.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// Where a request stands in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: [u8; 16],
    /// Our part of it.
    pub span: [u8; 8],
    /// Whose part caused ours.
    pub parent: Option<[u8; 8]>,
    /// Whether it is recorded.
    pub sampled: bool,
}

impl Context {
    /// Takes up the trace of a `traceparent`, if there is one and it is valid, or begins another. What the
    /// caller says of recording counts if the caller is `trusted`: others could have everything recorded.
    pub fn take_up(given: Option<&[u8]>, trusted: bool, share: Share) -> Self {
        let given = given.and_then(parse);
        let span = random();
        if let Some((trace, parent, flags)) = given {
            let sampled = if trusted { flags & SAMPLED != 0 } else { share.takes(&trace) };
            return Self { trace, span, parent: Some(parent), sampled };
        }
        let trace = random();
        Self { trace, span, parent: None, sampled: share.takes(&trace) }
    }

    /// The `traceparent` for whom we ask.
    pub fn header(&self) -> String {
        let flags = if self.sampled { "01" } else { "00" };
        format!("00-{}-{}-{flags}", hex(&self.trace), hex(&self.span))
    }
}

/// Trace, parent and flags of a `traceparent` (§3.2.2), of a later version too.
fn parse(text: &[u8]) -> Option<([u8; 16], [u8; 8], u8)> {
    let (head, rest) = text.split_at_checked(LENGTH)?;
    let version = &head[..2];
    let known = version == VERSION;
    if version == b"ff" || (known && !rest.is_empty()) || (!known && rest.first().is_some_and(|&b| b != b'-'))
    {
        return None;
    }
    if [2, 35, 52].iter().any(|&at| head[at] != b'-') {
        return None;
    }
    let [_] = unhex::<1>(version)?;
    let (trace, parent) = (unhex::<16>(&head[3..35])?, unhex::<8>(&head[36..52])?);
    let [flags] = unhex::<1>(&head[53..55])?;
    let nobody = trace == [0; 16] || parent == [0; 8];
    (!nobody).then_some((trace, parent, flags))
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// The bytes of so many lower-case hex digits.
fn unhex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

/// Our part of a trace, done.
pub struct Span {
    /// Where it stands.
    pub context: Context,
    /// When it began.
    pub begun: Now,
    /// How long it took, in nanoseconds.
    pub nanos: u64,
    /// The method: a place in [`METHODS`].
    pub method: usize,
    /// The path, without the query.
    pub path: String,
    /// The name of the rule that speaks of it, or of what is there without one.
    pub route: Option<Arc<str>>,
    /// The status; none if the client went away.
    pub status: Option<u16>,
    /// What was done with the request.
    pub decision: &'static str,
    /// From asking the app to the head of its answer, in nanoseconds.
    pub upstream_nanos: Option<u64>,
}

impl Span {
    /// What it is called: no more than a handful of names.
    pub fn name(&self) -> &'static str {
        METHODS.get(self.method).copied().unwrap_or("other")
    }
}

/// Where a worker's spans go, and which are made.
#[derive(Clone)]
pub struct Tracing {
    /// To whom hands them on.
    pub to: Sender<Span>,
    /// Which are recorded.
    pub share: Share,
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_parent_is_taken_up_and_handed_on() {
        let context = Context::take_up(Some(GOOD.as_bytes()), true, Share::new(0.0));
        assert_eq!(hex(&context.trace), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.parent.map(|parent| hex(&parent)).as_deref(), Some("00f067aa0ba902b7"));
        let header = context.header();
        assert_eq!(
            header.as_bytes(),
            format!("00-{}-{}-01", hex(&context.trace), hex(&context.span)).as_bytes()
        );
        // From a stranger the flag means nothing.
        assert!(!Context::take_up(Some(GOOD.as_bytes()), false, Share::new(0.0)).sampled);
        assert!(Context::take_up(Some(GOOD.as_bytes()), false, Share::new(1.0)).sampled);
        let later = format!("cc{}-what-comes", &GOOD[2..]);
        assert_eq!(Context::take_up(Some(later.as_bytes()), false, Share::new(1.0)).trace, context.trace);
    }

    #[test]
    fn whatever_is_not_valid_begins_another_trace() {
        for bad in [
            String::new(),
            "x".to_owned(),
            GOOD[..54].to_owned(),
            format!("{GOOD}-"),
            GOOD.replace("00-4", "ff-4"),
            GOOD.replace("4bf9", "4BF9"),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace("-01", "_01"),
            GOOD.replace("-01", "-0g"),
            format!("cc{}x", &GOOD[2..]),
        ] {
            let context = Context::take_up(Some(bad.as_bytes()), true, Share::new(1.0));
            assert!(context.parent.is_none() && context.sampled, "{bad}");
        }
    }

    #[test]
    fn a_share_is_about_what_it_says() {
        let share = Share::new(0.25);
        let taken = (0..4000).filter(|_| share.takes(&random())).count();
        assert!((700..1300).contains(&taken), "{taken}");
        assert_eq!((0..100).filter(|_| Share::new(0.0).takes(&random())).count(), 0);
        assert_eq!((0..100).filter(|_| Share::new(1.0).takes(&random())).count(), 100);
    }
}
