//! The instances of the app, as all workers see them: how busy each is, which are passed over for a while, and
//! which have said that they are not well.
//!
//! What one worker learns counts for all. Everything is a number that is stored and read without waiting for
//! anybody; that two workers choose at the same moment by the same numbers does no harm.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use crate::config::upstream::Upstream;
use crate::time::Now;

/// All instances, in the order of the configuration.
pub struct Instances {
    list: Vec<Instance>,
    rest: Duration,
    failures: u32,
    /// Where the search begins, behind the one that was chosen last, so that equals take turns.
    turn: AtomicUsize,
    /// Whether it is found out how each of them is.
    watched: bool,
}

/// On a cache line of its own: every request writes to it.
#[derive(Default)]
#[repr(align(64))]
struct Instance {
    /// Requests that are being answered, or wait for a connection to it.
    under_way: AtomicU32,
    /// Exchanges that broke since one went well.
    broken: AtomicU32,
    /// Until when it is passed over, in milliseconds since the epoch; 0 if it is not.
    rests_until: AtomicI64,
    /// It was asked whether it is well, and is not.
    ill: AtomicBool,
    /// As the configuration names it.
    name: String,
}

impl Instance {
    fn named(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    /// It is not passed over any more.
    #[cold]
    fn wakes(&self) {
        if self.rests_until.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!(instance = self.name, "an instance of the app is well again");
        }
    }

    /// Whether it is passed over. Of those who ask when its rest is over, one hears that it is not and tries it;
    /// for the others it rests on, until that one has found it well.
    fn rests(&self, now: Now, rest: Duration) -> Rest {
        let until = self.rests_until.load(Ordering::Relaxed);
        // A clock that was set back must not make the rest longer.
        let left = Now::from_millis(until).since(now);
        if until == 0 {
            return Rest::Awake;
        }
        if left > Duration::ZERO && left <= rest {
            return Rest::Asleep;
        }
        let next = now.plus(rest).millis();
        match self.rests_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Rest::Tried,
            Err(_) => Rest::Asleep,
        }
    }
}

/// Whether an instance is passed over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rest {
    /// It is not.
    Awake,
    /// It is, but this once it shall be tried.
    Tried,
    /// It is.
    Asleep,
}

/// One request that an instance is answering, or that is being connected to it.
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
    /// As many as are configured, all of them well.
    pub fn new(config: &Upstream) -> Self {
        let mut list: Vec<_> =
            config.targets.iter().map(|target| Instance::named(target.to_string())).collect();
        if list.is_empty() {
            list.push(Instance::default());
        }
        let watched = list.len() > 1 || config.health.is_some();
        Self { list, rest: config.rest, failures: config.failures, turn: AtomicUsize::new(0), watched }
    }

    /// The same, of which those are as they were that were there `before`.
    pub fn after(config: &Upstream, (before, known): (&Self, &Upstream)) -> Self {
        let this = Self::new(config);
        for (fresh, target) in this.list.iter().zip(&config.targets) {
            let place = known.targets.iter().position(|other| other == target);
            let Some(old) = place.and_then(|place| before.list.get(place)) else { continue };
            fresh.broken.store(old.broken.load(Ordering::Relaxed), Ordering::Relaxed);
            fresh.rests_until.store(old.rests_until.load(Ordering::Relaxed), Ordering::Relaxed);
            // Who is not asked any more could not become well again.
            let ill = old.ill.load(Ordering::Relaxed) && config.health.is_some();
            fresh.ill.store(ill, Ordering::Relaxed);
        }
        this
    }

    /// Whether the one at `place` is not known to be ill.
    pub(super) fn is_well(&self, place: usize) -> bool {
        !self.list[place].ill.load(Ordering::Relaxed)
    }

    /// Each of them by its name, and whether it is neither ill nor passed over. Nothing is known of one alone that is
    /// not asked.
    pub fn states(&self) -> impl Iterator<Item = (&str, bool)> {
        self.list.iter().filter(|_| self.watched).map(|instance| {
            let rests = instance.rests_until.load(Ordering::Relaxed) != 0;
            (instance.name.as_str(), !(rests || instance.ill.load(Ordering::Relaxed)))
        })
    }

    /// The name of the one at `place`, where there are several.
    pub fn name(&self, place: usize) -> Option<&str> {
        let instance = self.list.get(place).filter(|_| self.list.len() > 1)?;
        Some(&instance.name)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The one with the fewest requests under way; those that rest come last, and those that are ill not at all.
    /// `tried` have just failed and are not chosen again.
    pub(super) fn choose(&self, now: Now, tried: &[usize]) -> Option<usize> {
        // With one there is nothing to choose, and nothing to count.
        if let [only] = self.list.as_slice() {
            return (tried.is_empty() && !only.ill.load(Ordering::Relaxed)).then_some(0);
        }
        let count = self.list.len();
        let first = self.turn.load(Ordering::Relaxed);
        let mut best = None;
        for place in (0..count).map(|step| (first + step) % count).filter(|place| !tried.contains(place)) {
            let instance = &self.list[place];
            if instance.ill.load(Ordering::Relaxed) {
                continue;
            }
            let rest = instance.rests(now, self.rest);
            if rest == Rest::Tried {
                return Some(place);
            }
            let weight = (rest, instance.under_way.load(Ordering::Relaxed));
            if best.is_none_or(|(least, _)| weight < least) {
                best = Some((weight, place));
            }
        }
        let (_, place) = best?;
        self.turn.store(place + 1, Ordering::Relaxed);
        Some(place)
    }

    /// Counts one request of the instance at `place`.
    pub(super) fn begin(self: &Arc<Self>, place: usize) -> Option<UnderWay> {
        if self.list.len() == 1 {
            return None;
        }
        self.list[place].under_way.fetch_add(1, Ordering::Relaxed);
        Some(UnderWay { instances: Arc::clone(self), place })
    }

    /// It could not be reached: it rests.
    #[cold]
    pub(super) fn failed(&self, place: usize, now: Now, error: impl Display) {
        let instance = &self.list[place];
        // One alone is never passed over.
        if self.list.len() > 1
            && instance.rests_until.swap(now.plus(self.rest).millis(), Ordering::Relaxed) == 0
        {
            tracing::warn!(instance = instance.name, %error, "an instance of the app is not well");
        }
    }

    /// It was reached, and the exchange broke: it rests if that happens again and again. After that, once is enough
    /// until an exchange goes well.
    #[cold]
    pub(super) fn broke(&self, place: usize, now: Now, error: impl Display) {
        let broken = self.list[place].broken.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if broken >= self.failures {
            self.failed(place, now, error);
        }
    }

    /// It began an answer that can be passed on: it is not passed over any more.
    pub(super) fn heard(&self, place: usize) {
        let instance = &self.list[place];
        // To read is cheap where nobody writes.
        if self.list.len() > 1 && instance.rests_until.load(Ordering::Relaxed) != 0 {
            instance.wakes();
        }
    }

    /// It gave an answer to its end.
    pub(super) fn answered(&self, place: usize) {
        let instance = &self.list[place];
        if self.list.len() > 1 && instance.broken.load(Ordering::Relaxed) != 0 {
            instance.broken.store(0, Ordering::Relaxed);
        }
    }

    /// It was asked whether it is well. What it was found to be before is forgotten.
    pub(super) fn asked(&self, place: usize, well: bool) {
        let instance = &self.list[place];
        instance.ill.store(!well, Ordering::Relaxed);
        instance.broken.store(0, Ordering::Relaxed);
        instance.rests_until.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::upstream::{Health, Protocol, Target, UpstreamTls};

    const NOW: Now = Now::from_millis(1_000_000);
    const REST: Duration = Duration::from_secs(5);

    fn instances(count: usize) -> Arc<Instances> {
        let list = (0..count).map(|_| Instance::default()).collect();
        Arc::new(Instances { list, rest: REST, failures: 3, turn: AtomicUsize::new(0), watched: true })
    }

    #[test]
    fn those_that_were_there_before_are_as_they_were() {
        let config = |ports: &[u16], asked: bool| Upstream {
            targets: ports
                .iter()
                .map(|&port| Target::Tcp { host: "a".to_owned(), port, tls: false })
                .collect(),
            protocol: Protocol::Http1,
            upgrades: Vec::new(),
            tls: UpstreamTls::default(),
            rest: REST,
            failures: 3,
            health: asked.then(|| Health {
                path: "/".to_owned(),
                host: "a".to_owned(),
                interval: REST,
                timeout: REST,
                healthy: 1,
                unhealthy: 1,
            }),
            connect_timeout: REST,
            response_timeout: REST,
            idle_timeout: REST,
            keep_alive: REST,
            max_idle: 1,
            ping: REST,
            head: 1,
        };
        let known = config(&[1, 2, 3], true);
        let before = Instances::new(&known);
        before.asked(0, false);
        before.failed(1, NOW, "gone");
        let after = Instances::after(&config(&[4, 2, 1], true), (&before, &known));
        assert!(after.is_well(0) && after.is_well(1) && !after.is_well(2));
        assert!((0..10).all(|_| after.choose(NOW, &[]) == Some(0)), "one is new, one rests, one is ill");
        let unasked = Instances::after(&config(&[1, 2], false), (&before, &known));
        assert!(unasked.is_well(0), "nobody would ask whether it is well again");
    }

    #[test]
    fn the_least_busy_is_chosen_and_equals_take_turns() {
        let instances = instances(3);
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
        let instances = instances(2);
        instances.failed(0, NOW, "gone");
        assert!((0..10).all(|_| instances.choose(NOW, &[]) == Some(1)));
        assert_eq!(instances.choose(NOW, &[1]), Some(0), "better than none");
        instances.heard(0);
        assert!((0..10).any(|_| instances.choose(NOW, &[]) == Some(0)));
    }

    #[test]
    fn when_its_rest_is_over_one_request_tries_it() {
        let instances = instances(2);
        instances.failed(0, NOW, "gone");
        let later = NOW.plus(REST);
        assert_eq!((0..10).filter(|_| instances.choose(later, &[]) == Some(0)).count(), 1);
        assert_eq!((0..10).filter(|_| instances.choose(later.plus(REST), &[]) == Some(0)).count(), 1);
        instances.heard(0);
        assert!((0..10).filter(|_| instances.choose(later, &[]) == Some(0)).count() > 3);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_rest_longer() {
        let instances = instances(2);
        instances.failed(0, NOW.plus(Duration::from_hours(1)), "gone");
        assert!((0..2).any(|_| instances.choose(NOW, &[]) == Some(0)));
    }

    #[test]
    fn exchanges_that_break_in_a_row_are_a_failure_and_others_are_not() {
        let instances = instances(2);
        for _ in 0..5 {
            instances.broke(0, NOW, "broken");
            instances.heard(0);
            instances.broke(0, NOW, "broken");
            instances.answered(0);
        }
        assert!((0..10).any(|_| instances.choose(NOW, &[]) == Some(0)));
        for _ in 0..3 {
            instances.heard(0);
            instances.broke(0, NOW, "broken");
        }
        assert!((0..10).all(|_| instances.choose(NOW, &[]) == Some(1)));
        instances.heard(0);
        assert!((0..10).any(|_| instances.choose(NOW, &[]) == Some(0)));
        instances.broke(0, NOW, "broken");
        assert!((0..10).all(|_| instances.choose(NOW, &[]) == Some(1)), "it was not found well");
    }

    #[test]
    fn those_that_are_left_share_evenly_what_one_had_that_is_out() {
        let instances = instances(4);
        for (out, left) in [(1, [0, 2, 3]), (3, [0, 1, 2])] {
            instances.failed(out, NOW, "gone");
            let mut counts = [0; 4];
            (0..12).filter_map(|_| instances.choose(NOW, &[])).for_each(|place| counts[place] += 1);
            assert!(left.iter().all(|&place| counts[place] == 4), "{counts:?} without {out}");
            instances.heard(out);
        }
    }

    #[test]
    fn one_that_is_ill_is_never_chosen_and_one_alone_neither() {
        for count in [1, 2] {
            let instances = instances(count);
            (0..count).for_each(|place| instances.asked(place, false));
            assert_eq!(instances.choose(NOW, &[]), None);
            instances.asked(0, true);
            assert_eq!(instances.choose(NOW, &[]), Some(0));
        }
    }
}
