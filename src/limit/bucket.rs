//! Budgets as arithmetic: the generic cell rate algorithm, and a table of its states that never grows.
//!
//! The state of a key is one moment, the *theoretical arrival time*: when the key has its whole
//! allowance back. A moment that has passed is the same as no entry, so nothing is ever cleaned up.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::metrics::Counter;
use crate::time::Now;

/// So many in so long: the whole count at once, then one more each time its share of the period
/// has passed. All times are in microseconds.
#[derive(Clone, Copy)]
pub struct Rate {
    interval: i64,
    period: i64,
}

impl Rate {
    /// `count` in `period`; a count of zero allows nothing.
    pub fn per(count: u32, period: Duration) -> Self {
        let period = i64::try_from(period.as_micros()).unwrap_or(i64::MAX / 4).clamp(1, i64::MAX / 4);
        let interval = match count {
            0 => 2 * period,
            count => (period / i64::from(count)).max(1),
        };
        Self { interval, period }
    }

    /// The state after one more, or the whole seconds after which it is worth trying again.
    fn take(self, arrival: i64, now: i64) -> Result<i64, u32> {
        // The upper bound holds unless the clock was set back: nobody waits longer than a period.
        let arrival = arrival.clamp(now, now + self.period) + self.interval;
        let wait = arrival - now - self.period;
        if wait <= 0 {
            Ok(arrival)
        } else {
            Err(u32::try_from((wait + 999_999) / 1_000_000).unwrap_or(u32::MAX))
        }
    }
}

/// Locks, so that counting one key rarely waits for another.
const SHARDS: usize = 64;
/// Entries among which the place of a key is looked for.
const WAYS: usize = 8;

/// Key and theoretical arrival time.
type Entry = (u64, i64);
type Set = [Entry; WAYS];

/// States by key, in memory that is bounded when the table is made. A key that finds no free place
/// takes that of the entry nearest to its whole allowance, so a flood of new keys pushes out
/// other new keys and not those that are being refused.
pub struct Table {
    /// Each empty until it is first needed.
    shards: Box<[Mutex<Box<[Set]>>]>,
    sets: usize,
    /// How often something was spent, and how often nothing was left.
    counts: [Counter; 2],
}

impl Table {
    /// A table for about `entries` keys, 16 bytes each once it is in use.
    pub fn new(entries: usize) -> Self {
        let sets = entries.div_ceil(SHARDS * WAYS).max(1);
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, sets, counts: Default::default() }
    }

    /// Spends one of `key`'s allowance, or says after how many seconds there is one again. `key`
    /// is a keyed hash: its bits choose the place, so nobody outside may be able to choose it.
    pub fn take(&self, key: u64, rate: Rate, now: Now) -> Result<(), u32> {
        let now = micros(now);
        let taken = self.within(key, |set| {
            let at = set.iter().position(|entry| entry.0 == key);
            let arrival = rate.take(at.map_or(0, |at| set[at].1), now)?;
            let lightest = || (0..WAYS).min_by_key(|&at| set[at].1).unwrap_or(0);
            set[at.unwrap_or_else(lightest)] = (key, arrival);
            Ok(())
        });
        self.counts[usize::from(taken.is_err())].add(1);
        taken
    }

    /// How often something was spent, and how often nothing was left.
    pub fn counts(&self) -> [u64; 2] {
        [self.counts[0].get(), self.counts[1].get()]
    }

    /// Gives one back to `key`.
    pub fn give_back(&self, key: u64, rate: Rate) {
        self.within(key, |set| {
            if let Some(entry) = set.iter_mut().find(|entry| entry.0 == key) {
                entry.1 = entry.1.saturating_sub(rate.interval);
            }
        });
    }

    fn within<T>(&self, key: u64, act: impl FnOnce(&mut Set) -> T) -> T {
        let place = |of: usize, bits: u64| usize::try_from(bits % of as u64).unwrap_or(0);
        let shard = &self.shards[place(SHARDS, key)];
        let mut sets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if sets.is_empty() {
            *sets = vec![[(0, 0); WAYS]; self.sets].into_boxed_slice();
        }
        act(&mut sets[place(self.sets, key / SHARDS as u64)])
    }
}

fn micros(now: Now) -> i64 {
    now.millis().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Now = Now::from_millis(1_700_000_000_000);
    const MINUTE: Duration = Duration::from_mins(1);

    /// Spreads small numbers over all bits, as a keyed hash does.
    fn key(n: u64) -> u64 {
        let n = (n ^ (n >> 30)).wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }

    #[test]
    fn the_whole_count_passes_at_once_and_then_one_per_share_of_the_period() {
        let (table, rate) = (Table::new(1), Rate::per(6, MINUTE));
        for _ in 0..6 {
            assert_eq!(table.take(1, rate, START), Ok(()));
        }
        assert_eq!(table.take(1, rate, START), Err(10));
        assert_eq!(table.take(1, rate, START.plus(Duration::from_millis(8_999))), Err(2));
        assert_eq!(table.take(1, rate, START.plus(Duration::from_secs(10))), Ok(()));
        assert_eq!(table.take(1, rate, START.plus(Duration::from_secs(10))), Err(10));
        for _ in 0..6 {
            assert_eq!(table.take(1, rate, START.plus(2 * MINUTE)), Ok(()));
        }
        assert!(table.take(1, rate, START.plus(2 * MINUTE)).is_err());
    }

    #[test]
    fn being_refused_costs_nothing_and_keys_do_not_share() {
        let (table, rate) = (Table::new(1), Rate::per(1, MINUTE));
        assert_eq!(table.take(1, rate, START), Ok(()));
        for _ in 0..100 {
            assert_eq!(table.take(1, rate, START), Err(60));
        }
        assert_eq!(table.take(2, rate, START), Ok(()));
        assert_eq!(table.take(1, rate, START.plus(MINUTE)), Ok(()));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_but_never_more() {
        let (table, rate) = (Table::new(1), Rate::per(2, MINUTE));
        assert_eq!(table.take(1, rate, START), Ok(()));
        for _ in 0..10 {
            table.give_back(1, rate);
        }
        assert_eq!([(); 3].map(|()| table.take(1, rate, START).is_ok()), [true, true, false]);
    }

    #[test]
    fn a_count_of_zero_allows_nothing() {
        assert_eq!(Table::new(1).take(1, Rate::per(0, MINUTE), START), Err(60));
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out_for_longer_than_a_period() {
        let (table, rate) = (Table::new(1), Rate::per(2, MINUTE));
        assert_eq!(table.take(1, rate, START.plus(Duration::from_secs(1_000_000))), Ok(()));
        let wait = table.take(1, rate, START).expect_err("the clock was set back");
        assert!(wait <= 60, "{wait}");
    }

    #[test]
    fn a_flood_of_new_keys_pushes_out_new_keys_and_not_the_refused_one() {
        // tinyauth 654b5cc4: a full table locked everyone out.
        let (table, rate) = (Table::new(4096), Rate::per(10, MINUTE));
        let size = table.shards.len() * table.sets * size_of::<Set>();
        assert_eq!(size, 4096 * 16);
        let held = || table.shards.iter().map(|shard| shard.lock().expect("whole").len()).sum::<usize>();
        assert_eq!(held(), 0, "what nobody used yet takes no room");
        while table.take(key(0), rate, START).is_ok() {}
        for n in 1..=1_000_000 {
            assert_eq!(table.take(key(n), rate, START), Ok(()), "a newcomer is not locked out: {n}");
        }
        assert!(table.take(key(0), rate, START).is_err(), "the guesser is still refused");
        assert_eq!(held() * size_of::<Set>(), size);
    }
}
