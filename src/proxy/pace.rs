//! How fast a body travels, measured only while the client is what is waited for.
//!
//! Time in which the app is slow, or nobody wants to send, is none of the client's: an event stream is never too
//! slow, and neither is a download behind a slow app.

use std::time::Duration;

/// The pace of one body.
pub struct Pace {
    /// Bytes a second.
    least: u64,
    /// Milliseconds that are looked at together.
    grace: u64,
    /// Since when the client is waited for, in milliseconds of the worker.
    waits_since: Option<u64>,
    /// Milliseconds in which it was waited for, and bytes that passed meanwhile.
    waited: u64,
    passed: u64,
}

impl Pace {
    /// At least so many bytes a second (0 lets everything pass) over each `grace` of waiting.
    pub fn new(least: u64, grace: Duration) -> Self {
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        Self { least, grace, waits_since: None, waited: 0, passed: 0 }
    }

    /// From now on, or earlier, the client has to act.
    pub fn wait(&mut self, now: u64) {
        self.waits_since.get_or_insert(now);
    }

    /// It did: so many bytes passed. False if they took too long.
    pub fn pass(&mut self, bytes: u64, now: u64) -> bool {
        if let Some(since) = self.waits_since.take() {
            self.waited = self.waited.saturating_add(now.saturating_sub(since));
        }
        self.passed = self.passed.saturating_add(bytes);
        if self.waited < self.grace {
            return true;
        }
        let enough = self.passed.saturating_mul(1000) >= self.least.saturating_mul(self.waited);
        (self.waited, self.passed) = (0, 0);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many seconds somebody lasts who takes so many bytes each second of waiting.
    fn lasts(bytes: u64, idle_between: u64) -> Option<u64> {
        let mut pace = Pace::new(500, Duration::from_secs(10));
        let mut now = 0;
        (1..=60).find(|_| {
            now += idle_between;
            pace.wait(now);
            now += 1000;
            !pace.pass(bytes, now)
        })
    }

    #[test]
    fn r_2_and_r_3_who_is_too_slow_lasts_as_long_as_the_grace_and_who_is_not_for_ever() {
        assert_eq!(lasts(499, 0), Some(10));
        assert_eq!(lasts(1, 0), Some(10));
        assert_eq!(lasts(500, 0), None);
        assert_eq!(lasts(1_000_000, 0), None);
    }

    #[test]
    fn time_in_which_nobody_is_waited_for_does_not_count() {
        assert_eq!(lasts(500, 100_000), None);
        assert_eq!(lasts(10, 100_000), Some(10));
        let mut pace = Pace::new(500, Duration::from_secs(10));
        assert!((0..1000).all(|second| pace.pass(1, second * 1000)));
    }

    #[test]
    fn what_was_fast_at_first_is_no_excuse() {
        let mut pace = Pace::new(500, Duration::from_secs(10));
        assert!(pace.pass(100_000_000, 0));
        let mut fast = (0..30).map(|second| {
            pace.wait(second * 1000);
            pace.pass(1, (second + 1) * 1000)
        });
        assert_eq!(
            fast.position(|fast| !fast),
            Some(19),
            "the first ten seconds were fast, the next are not"
        );
    }

    #[test]
    fn without_a_least_everything_passes() {
        let mut pace = Pace::new(0, Duration::from_secs(10));
        assert!((0..100).all(|second| {
            pace.wait(second * 1000);
            pace.pass(0, (second + 1) * 1000)
        }));
    }
}
