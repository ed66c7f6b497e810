//! Words about what a flood leads to: said now and then, because they must not be a flood of lines.

use std::net::IpAddr;

/// For how long nothing more is said, in milliseconds.
const SILENCE: u64 = 10_000;

/// One thing that is said of many connections.
pub(super) struct Silenced {
    what: &'static str,
    /// How many there were since it was said.
    since: u64,
    /// When it was said last, in milliseconds of the worker.
    told: Option<u64>,
}

impl Silenced {
    /// Nothing was said so far.
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, since: 0, told: None }
    }

    /// Counts one more, from here, and says so if nothing was said for a while.
    pub(super) fn note(&mut self, latest: IpAddr, now: u64) {
        self.since += 1;
        if self.told.is_none_or(|told| now.saturating_sub(told) >= SILENCE) {
            tracing::warn!(count = self.since, %latest, "{}", self.what);
            (self.since, self.told) = (0, Some(now));
        }
    }
}
