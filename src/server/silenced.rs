//! Words about what a flood leads to: said now and then, because they must not be a flood of lines.

use std::cell::RefCell;
use std::net::IpAddr;

/// For how long nothing more is said, in milliseconds.
const SILENCE: u64 = 10_000;

/// How many there were of something that is said now and then.
#[derive(Default)]
struct Silence {
    /// Since it was said.
    since: u64,
    /// When it was said last, in milliseconds of the worker.
    told: Option<u64>,
}

impl Silence {
    /// Counts one more. If nothing was said for a while, it is to be said of so many.
    fn end(&mut self, now: u64) -> Option<u64> {
        self.since += 1;
        let due = self.told.is_none_or(|told| now.saturating_sub(told) >= SILENCE);
        due.then(|| {
            self.told = Some(now);
            std::mem::take(&mut self.since)
        })
    }
}

/// One thing that is said of many connections.
pub(super) struct Silenced {
    what: &'static str,
    silence: Silence,
}

impl Silenced {
    /// Nothing was said so far.
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, silence: Silence::default() }
    }

    /// Counts one more, from here, and says so if nothing was said for a while.
    pub(super) fn note(&mut self, latest: IpAddr, now: u64) {
        if let Some(count) = self.silence.end(now) {
            tracing::warn!(count, %latest, "{}", self.what);
        }
    }
}

/// One thing that is said of each instance of the app, and of none.
#[derive(Default)]
pub(super) struct OfInstances(RefCell<Vec<Silence>>);

impl OfInstances {
    /// Counts one more of the instance at this place. If nothing was said of it for a while, it is to be said of so many.
    pub(super) fn note(&self, place: Option<u16>, now: u64) -> Option<u64> {
        let mut all = self.0.borrow_mut();
        let at = place.map_or(0, |place| usize::from(place) + 1);
        if at >= all.len() {
            all.resize_with(at + 1, Silence::default);
        }
        all[at].end(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_instance_the_first_is_told_and_then_how_many_there_were() {
        let told = OfInstances::default();
        assert_eq!([None, Some(0), Some(2)].map(|place| told.note(place, 5)), [Some(1); 3]);
        for now in 6..9 {
            assert_eq!(told.note(Some(2), now), None);
        }
        assert_eq!(told.note(Some(1), 9), Some(1));
        assert_eq!(told.note(Some(2), 4 + SILENCE), None);
        assert_eq!([Some(2), Some(0)].map(|place| told.note(place, 5 + SILENCE)), [Some(5), Some(1)]);
        assert_eq!(told.note(Some(2), 6 + SILENCE), None);
    }
}
