//! What is counted of the work: numbers that whoever does it writes, and that a scrape adds up.
//!
//! What happens for every request is counted per worker, in memory that only that worker writes: no lock, no
//! locked instruction, no cache line that two workers share. No label can be made by who sends requests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::time::Now;

pub mod text;
pub mod worker;

use worker::Worker;

/// A number that only grows, or one that is set.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts `more`; any thread may.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Counts `more` where one thread writes and others only read: a load and a store, which need no bus.
    pub fn add_alone(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    /// Says what the number is now.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets of a [`Histogram`], in microseconds.
pub const BOUNDS: [u64; 13] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// How long something took, how often. One thread writes.
pub struct Histogram {
    /// One for each of [`BOUNDS`], and one for all that took longer.
    buckets: [Counter; BOUNDS.len() + 1],
    /// In microseconds.
    sum: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { Counter::new() }; BOUNDS.len() + 1], sum: Counter::new() }
    }
}

impl Histogram {
    /// Notes that it took this long once.
    pub fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].add_alone(1);
        self.sum.add_alone(micros);
    }

    /// How often it was in each bucket.
    pub fn buckets(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().map(Counter::get)
    }

    /// How long it took in all, in microseconds.
    pub fn sum(&self) -> u64 {
        self.sum.get()
    }
}

/// What goes on without anybody asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Hearing of sessions that other replicas ended.
    Hear,
    /// Cutting connections whose session is over.
    Cut,
    /// Deleting what is old.
    Delete,
    /// Sending mails.
    Mail,
    /// Tending the signing keys.
    Keys,
}

impl Job {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Hear, Self::Cut, Self::Delete, Self::Mail, Self::Keys];

    /// Names it in metrics and log lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hear => "hear_of_ended_sessions",
            Self::Cut => "cut_connections",
            Self::Delete => "delete_old",
            Self::Mail => "send_mails",
            Self::Keys => "tend_keys",
        }
    }
}

/// What was counted of one job.
#[derive(Default)]
pub struct JobCounts {
    /// How often it did its work.
    pub runs: Counter,
    /// How often that failed, or ended by a panic.
    pub failures: Counter,
    /// How long the runs took, in microseconds.
    pub took: Counter,
}

/// What became of mails.
#[derive(Default)]
pub struct Mails {
    /// Written into the outbox.
    pub queued: Counter,
    /// Taken by the mail server.
    pub sent: Counter,
    /// Not taken at an attempt, to be tried again.
    pub put_off: Counter,
    /// Given up.
    pub given_up: Counter,
}

/// Numbers under names of a bounded set that is known only at run time: providers, kinds of old rows.
#[derive(Default)]
pub struct Named(Mutex<BTreeMap<(String, &'static str), u64>>);

impl Named {
    /// Counts `more` under this name and this second, fixed one. Not for names that come from outside.
    pub fn add(&self, name: &str, kind: &'static str, more: u64) {
        let mut counts = self.lock();
        match counts.get_mut(&(name.to_owned(), kind)) {
            Some(count) => *count += more,
            None => {
                counts.insert((name.to_owned(), kind), more);
            }
        }
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<(String, &'static str), u64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, &'static str), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a request to a provider that did what was asked.
pub const ANSWERED: &str = "answered";

/// What came of a request to a provider: which one, what was asked of it, and how it ended.
type Asked = (String, &'static str, &'static str);

/// Requests to providers, and how long they took.
#[derive(Default)]
pub struct ProviderRequests(Mutex<BTreeMap<Asked, Histogram>>);

impl ProviderRequests {
    /// Counts one. Not for names that come from outside.
    pub fn note(&self, provider: &str, asked: &'static str, outcome: &'static str, took: Duration) {
        self.lock().entry((provider.to_owned(), asked, outcome)).or_default().note(took);
    }

    /// Hands over all of them: provider, what was asked, how it ended, how often and how long.
    pub fn each(&self, mut take: impl FnMut((&str, &str, &str), &Histogram)) {
        for ((provider, asked, outcome), took) in &*self.lock() {
            take((provider, asked, outcome), took);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Asked, Histogram>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is counted of the store's work; every copy of a store shares it.
#[derive(Default)]
pub struct StoreCounts {
    /// Lines of the log of sign-ins that were committed: action, outcome.
    pub events: Named,
    /// Sign-ins: by which way, outcome.
    pub sign_ins: Named,
    /// Mails.
    pub mails: Mails,
}

/// Questions to the store that failed, in the whole process: a process has one store.
static STORE_ERRORS: Counter = Counter::new();

/// Counts a question to the store that failed.
pub fn store_failed() {
    STORE_ERRORS.add(1);
}

/// All that is counted, but what the parts of the house count of themselves.
#[derive(Default)]
pub struct Metrics {
    workers: Mutex<Vec<Arc<Worker>>>,
    jobs: [JobCounts; Job::ALL.len()],
    /// Requests to providers.
    pub providers: Arc<ProviderRequests>,
    /// Rows that were deleted because they were old, by what they are.
    pub deleted: Named,
    /// Spans that were sent to the collector, and those that were lost.
    pub spans: [Counter; 2],
    /// Reloads that took effect, and those that did not.
    reloads: [Counter; 2],
    /// The last one did not.
    reload_failed: AtomicBool,
    /// Certificates that had changed and were taken, and those that were not.
    certificates: [Counter; 2],
    /// When the configuration took effect, in seconds since the epoch.
    pub configured: Counter,
    /// Whether nobody new should be sent here.
    draining: AtomicBool,
}

impl Metrics {
    /// Nothing counted yet; the configuration is of `now`.
    pub fn new(now: Now) -> Self {
        let this = Self::default();
        this.configured_at(now);
        this
    }

    /// A worker begins: what it counts is part of the sum from now on.
    pub fn enlist(&self, endpoints: usize) -> Arc<Worker> {
        let worker = Arc::new(Worker::new(endpoints));
        self.lock().push(Arc::clone(&worker));
        worker
    }

    /// All workers.
    pub fn workers(&self) -> Vec<Arc<Worker>> {
        self.lock().clone()
    }

    /// What is counted of this job.
    pub fn job(&self, job: Job) -> &JobCounts {
        &self.jobs[job as usize]
    }

    /// The configuration was read again, and took effect or did not.
    pub fn reloaded(&self, applied: bool) {
        self.reloads[usize::from(!applied)].add(1);
        self.reload_failed.store(!applied, Ordering::Relaxed);
    }

    /// Reloads that took effect, and those that did not.
    pub fn reloads(&self) -> &[Counter; 2] {
        &self.reloads
    }

    /// Whether the last one did not.
    pub fn reload_failed(&self) -> bool {
        self.reload_failed.load(Ordering::Relaxed)
    }

    /// Certificates had changed without a reload, and took effect or did not.
    pub fn certificates_changed(&self, applied: bool) {
        self.certificates[usize::from(!applied)].add(1);
    }

    /// Changes of certificates that took effect without a reload, and those that did not.
    pub fn certificates(&self) -> &[Counter; 2] {
        &self.certificates
    }

    /// The configuration of `now` counts.
    pub fn configured_at(&self, now: Now) {
        self.configured.set(u64::try_from(now.seconds()).unwrap_or(0));
    }

    /// Says that nobody new should be sent here.
    pub fn begin_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether it was said.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Questions to the store that failed.
    pub fn store_errors(&self) -> u64 {
        STORE_ERRORS.get()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Worker>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for micros in [0, 500, 501, 10_000_000, 10_000_001] {
            histogram.note(Duration::from_micros(micros));
        }
        let buckets: Vec<u64> = histogram.buckets().collect();
        assert_eq!((buckets[0], buckets[1], buckets[12], buckets[13]), (2, 1, 1, 1));
        assert_eq!(histogram.sum(), 20_001_002);
    }
}
