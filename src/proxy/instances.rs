//! The instances of the app, as all workers see them: how busy each is, and which are passed over for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use crate::time::Now;

/// All instances, in the order of the configuration.
pub struct Instances {
    list: Vec<Instance>,
    rest: Duration,
    /// Where the search begins, so that equals take turns.
    turn: AtomicU32,
}

#[derive(Default)]
struct Instance {
    /// Requests that are being answered.
    under_way: AtomicU32,
    /// Until when it is passed over, in milliseconds since the epoch.
    rests_until: AtomicI64,
}

/// One request that an instance is answering.
pub(super) struct UnderWay {
    instances: Arc<Instances>,
    place: usize,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.instances.list[self.place].under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Instances {
    /// `count` of them, all well. One that could not be reached is passed over for `rest`.
    pub fn new(count: usize, rest: Duration) -> Self {
        Self { list: (0..count.max(1)).map(|_| Instance::default()).collect(), rest, turn: AtomicU32::new(0) }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// The one with the fewest requests under way; those that rest come last. `tried` have just failed and are
    /// not chosen again.
    pub(super) fn choose(&self, now: Now, tried: &[usize]) -> Option<usize> {
        // With one there is nothing to choose, and nothing to count.
        if let [_] = self.list.as_slice() {
            return tried.is_empty().then_some(0);
        }
        let count = self.list.len();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        (0..count).map(|step| (first + step) % count).filter(|place| !tried.contains(place)).min_by_key(
            |place| {
                let instance = &self.list[*place];
                let rests = now.millis() < instance.rests_until.load(Ordering::Relaxed);
                (rests, instance.under_way.load(Ordering::Relaxed))
            },
        )
    }

    /// Counts one request of the instance at `place`.
    pub(super) fn begin(self: &Arc<Self>, place: usize) -> Option<UnderWay> {
        if self.list.len() == 1 {
            return None;
        }
        self.list[place].under_way.fetch_add(1, Ordering::Relaxed);
        Some(UnderWay { instances: Arc::clone(self), place })
    }

    /// It could not be reached.
    pub(super) fn failed(&self, place: usize, now: Now) {
        self.list[place].rests_until.store(now.plus(self.rest).millis(), Ordering::Relaxed);
    }

    /// It was reached.
    pub(super) fn answered(&self, place: usize) {
        self.list[place].rests_until.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now::from_millis(1_000_000);

    #[test]
    fn the_least_busy_is_chosen_and_equals_take_turns() {
        let instances = Arc::new(Instances::new(3, Duration::from_secs(5)));
        let mut seen: Vec<usize> = (0..3).filter_map(|_| instances.choose(NOW, &[])).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
        let _busy = [instances.begin(0), instances.begin(1), instances.begin(1)];
        assert_eq!(instances.choose(NOW, &[]), Some(2));
        assert_eq!(instances.choose(NOW, &[2]), Some(0));
        assert_eq!(instances.choose(NOW, &[0, 1, 2]), None);
    }

    #[test]
    fn one_that_failed_rests_unless_all_do() {
        let instances = Arc::new(Instances::new(2, Duration::from_secs(5)));
        instances.failed(0, NOW);
        assert!((0..10).all(|_| instances.choose(NOW, &[]) == Some(1)));
        assert_eq!(instances.choose(NOW, &[1]), Some(0), "better than none");
        let later = NOW.plus(Duration::from_secs(5));
        assert!((0..10).any(|_| instances.choose(later, &[]) == Some(0)));
        instances.answered(0);
        assert!((0..10).any(|_| instances.choose(NOW, &[]) == Some(0)));
    }
}
