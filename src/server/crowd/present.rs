//! Who is there: connections and requests, counted for the address that they come from.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Parts that the addresses are spread over, so that workers seldom meet at one.
const SHARDS: usize = 16;

/// Whom connections are counted for: an IPv4 address; or what a subscriber of IPv6 has, at least a /64 and at most a /48
/// (RFC 6177 §2), which is told from the /64 in it by its last bit.
pub(super) type Source = u128;

/// How many times as many connections as an address, and requests, a /48 of IPv6 may have.
pub(super) const WIDE: u32 = 8;

/// Those that there are.
#[derive(Default)]
pub(super) struct Present {
    /// In all.
    pub(super) open: AtomicUsize,
    /// Chosen by chance, because an attacker chooses the addresses.
    spread: RandomState,
    sources: [Mutex<HashMap<Source, Arc<Has>>>; SHARDS],
}

/// What comes from one address.
#[derive(Default)]
pub(super) struct Has {
    /// Changed only by who has locked its shard.
    connections: AtomicU32,
    requests: AtomicU32,
}

impl Has {
    /// Counts so many requests more. False if there would be more than `most`.
    pub(super) fn take(&self, count: u32, most: u32) -> bool {
        let before = self.requests.fetch_add(count, Ordering::Relaxed);
        let fits = before.saturating_add(count) <= most;
        if !fits {
            self.give(count);
        }
        fits
    }

    pub(super) fn give(&self, count: u32) {
        self.requests.fetch_sub(count, Ordering::Relaxed);
    }

    pub(super) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Present {
    fn shard(&self, source: Source) -> MutexGuard<'_, HashMap<Source, Arc<Has>>> {
        let hash = self.spread.hash_one(source);
        let place = usize::try_from(hash % SHARDS as u64).unwrap_or_default();
        self.sources[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there are `most`.
    pub(super) fn is_full(&self, source: Source, most: u32) -> bool {
        self.shard(source).get(&source).is_some_and(|has| has.connections() >= most)
    }

    /// Counts one more, unless there are `most`. What whom it is counted for has.
    pub(super) fn add(&self, source: Source, most: u32) -> Option<Arc<Has>> {
        let mut counts = self.shard(source);
        let has = counts.entry(source).or_default();
        if has.connections() >= most {
            return None;
        }
        has.connections.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(has))
    }

    pub(super) fn remove(&self, source: Source) {
        let mut counts = self.shard(source);
        let Some(has) = counts.get_mut(&source) else { return };
        if has.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            counts.remove(&source);
            // What a crowd needed is not kept for ever.
            if counts.len() < counts.capacity() / 8 {
                counts.shrink_to_fit();
            }
        }
    }

    /// Whether nothing is kept for any address.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.sources.iter().all(|shard| shard.lock().expect("whole").is_empty())
    }
}

/// Whom a connection of this address is counted for: its own, and the /48 around it, which may have [`WIDE`] times as many.
pub(super) fn sources(address: IpAddr) -> (Source, Option<Source>) {
    match address {
        IpAddr::V4(address) => (address.to_ipv6_mapped().to_bits(), None),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (bits >> 64 << 64, Some(bits >> 80 << 80 | 1))
        }
    }
}
