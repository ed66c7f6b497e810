//! What became of a stream without an answer, and whether its request may be sent again.

use h2::Reason;

use crate::proxy::failure::Failure;

/// Times that one request is sent again.
pub(super) const MOST_REPEATS: u32 = 2;

/// Why no answer came.
pub(super) struct Trouble {
    pub(super) failure: Failure,
    pub(super) again: Again,
    /// It may be this request that ended the connection.
    pub(super) suspect: bool,
}

/// Whether a request may be sent again (RFC 9113 §8.7).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// The app did not look at it.
    Always,
    /// So many times, if to do it twice is to do it once: the connection was lost, or is full.
    IfWithoutEffect(u32),
    Never,
}

impl Trouble {
    pub(super) fn last(failure: Failure) -> Self {
        Self { failure, again: Again::Never, suspect: false }
    }

    /// What became of a stream that ended with `error` before its answer began.
    pub(super) fn of(error: &h2::Error, reused: bool) -> Self {
        let untaken = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        // A GOAWAY ends only the streams that it does not count among those looked at.
        let again = if error.is_remote() && (untaken || error.is_go_away()) {
            Again::Always
        } else if full(error) {
            Again::IfWithoutEffect(MOST_REPEATS)
        } else if !error.is_remote() && reused {
            Again::IfWithoutEffect(1)
        } else {
            Again::Never
        };
        let failure = match error.reason() {
            Some(reason) if error.is_remote() => Failure::GivenUp(reason.description().to_owned()),
            // A limit of ours, which others may have reached who share the connection.
            Some(Reason::ENHANCE_YOUR_CALM) => Failure::Shared,
            Some(_) => Failure::Invalid("it breaks the rules of HTTP/2"),
            None => Failure::Closed { untouched: true },
        };
        let orderly =
            full(error) || matches!(error.reason(), Some(Reason::REFUSED_STREAM | Reason::NO_ERROR));
        Self { failure, again, suspect: !orderly }
    }
}

/// Whether the app has more to do on this connection than it wants. Node.js says so in place of an answer as long as what
/// it is to send on one connection takes more memory than `maxSessionMemory`.
pub(super) fn full(error: &h2::Error) -> bool {
    error.is_remote() && error.is_reset() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_ours_is_no_word_on_the_app() {
        let of = |reason: Reason| Trouble::of(&h2::Error::from(reason), true).failure;
        assert!(!of(Reason::ENHANCE_YOUR_CALM).of_the_app());
        assert!(of(Reason::PROTOCOL_ERROR).of_the_app());
    }
}
