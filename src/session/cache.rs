//! Sessions in memory: the cache that all workers share, and the rule that makes it safe, and the small table that each
//! keeps before it ([`Near`](crate::session::near::Near)).
//!
//! **Invariant:** once [`Cache::end`] has returned, no request that begins later finds a copy of that
//! session: it is out of the shared cache, workers' tables are emptied before their next use, and an answer
//! that the store gave before is neither kept nor handed to anyone who asks from then on.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::sync::Cache as Moka;
use tokio::sync::OnceCell;

use crate::error::Fault;
use crate::metrics::Counter;
use crate::secret::TokenHash;
use crate::session::bearer::{Bearer, Bearers};
use crate::session::hasher::PassThrough;
use crate::time::Now;
use crate::visitor::Session;

/// How long it is remembered that a token opens nothing.
const GONE_FOR: Duration = Duration::from_secs(2);
/// How long it is remembered that a session ended: longer than any signed cookie is good.
const ENDED_FOR: Duration = Duration::from_mins(20);
/// How many such tokens are remembered.
const MOST_GONE: u64 = 10_000;

type ByToken<V> = Moka<TokenHash, V, BuildHasherDefault<PassThrough>>;
/// What the store said of a token; all who waited for the same answer share it, also a failure.
pub type Found = Result<Option<Arc<Session>>, Arc<Fault>>;
type Lookup = Arc<OnceCell<Settled>>;

/// What came of a question to the store.
#[derive(Clone)]
enum Settled {
    /// This was said, and still holds.
    Said(Found),
    /// Something ended or was forgotten while it was asked: it has to be asked again.
    Overtaken,
}

/// The time from when everything in memory was dropped to when it is the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u64);

/// The cache that all workers share.
pub struct Cache {
    sessions: ByToken<Arc<Session>>,
    /// Sessions that had to make room for others.
    evictions: Arc<Counter>,
    gone: ByToken<()>,
    pub(super) bearers: Bearers,
    /// Questions to the store that are under way, so that equal ones are asked once. The end of a session
    /// takes its question off this list, and an answer is kept only while its question is on it.
    lookups: Mutex<HashMap<TokenHash, Lookup>>,
    /// Counts endings, for the workers' tables.
    endings: AtomicU64,
    /// Sessions that ended while signed cookies may say that they live.
    ended: ByToken<()>,
    /// Under which settings the copies here were made.
    edition: AtomicU64,
    /// How often all of them were dropped.
    epoch: AtomicU64,
    /// From when on no ending was missed, in milliseconds.
    hearing_since: AtomicI64,
}

impl Cache {
    /// A cache for this many sessions.
    pub fn new(entries: u64) -> Self {
        let evictions = Arc::new(Counter::new());
        let counted = Arc::clone(&evictions);
        let sessions = Moka::builder()
            .max_capacity(entries)
            .eviction_listener(move |_, session: Arc<Session>, cause| {
                session.stale.store(true, Ordering::Release);
                counted.add(u64::from(cause == RemovalCause::Size));
            })
            .build_with_hasher(BuildHasherDefault::default());
        let gone = Moka::builder()
            .max_capacity(MOST_GONE)
            .time_to_live(GONE_FOR)
            .build_with_hasher(BuildHasherDefault::default());
        let ended = Moka::builder().time_to_live(ENDED_FOR).build_with_hasher(BuildHasherDefault::default());
        Self {
            sessions,
            evictions,
            gone,
            bearers: Bearers::new(entries),
            lookups: Mutex::default(),
            endings: AtomicU64::new(0),
            ended,
            edition: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            hearing_since: AtomicI64::new(i64::MAX),
        }
    }

    /// Notes that every ending from `now` on is heard of; earlier ones may have been missed.
    pub fn hears_from(&self, now: Now) {
        self.hearing_since.store(now.millis(), Ordering::Release);
    }

    /// Whether the end of a session that lived at `at` would be known. Otherwise only the store can tell.
    pub fn hears_of(&self, at: Now) -> bool {
        at.millis() >= self.hearing_since.load(Ordering::Acquire)
    }

    /// Whether a session is known to have ended of late.
    pub fn has_ended(&self, token: &TokenHash) -> bool {
        self.ended.contains_key(token)
    }

    /// Notes that the store has ended a session. Called before [`Self::end`].
    ///
    /// It is listed for as long as a signed cookie can be good, and nothing else takes it off the list: a session that
    /// is not on it may be opened without asking the store.
    pub fn note_ended(&self, token: &TokenHash) {
        self.ended.insert(*token, ());
    }

    /// Notes that the store knows nothing that this token opens.
    pub fn note_gone(&self, token: TokenHash) {
        self.gone.insert(token, ());
    }

    /// The session of a token, if a usable copy is here.
    pub fn get(&self, token: &TokenHash, now: Now) -> Option<Arc<Session>> {
        self.sessions.get(token).filter(|session| session.usable(now))
    }

    /// Whether the store said moments ago that this token opens nothing.
    pub fn is_gone(&self, token: &TokenHash) -> bool {
        self.gone.contains_key(token)
    }

    /// Asks the store with `load`, once for all who ask for the same token at the same time, and again if the
    /// answer was overtaken. Who makes copies of another `edition` than is kept here asks alone.
    pub async fn fetch<F>(&self, token: TokenHash, edition: u64, load: impl Fn() -> F) -> Found
    where
        F: Future<Output = Result<Option<Session>, Fault>>,
    {
        loop {
            if self.edition() != edition {
                return load().await.map(|session| session.map(Arc::new)).map_err(Arc::new);
            }
            let lookup = Arc::clone(self.lock().entry(token).or_default());
            let settled =
                lookup.get_or_init(async || self.settle((token, edition), &lookup, load().await)).await;
            if let Settled::Said(found) = settled.clone() {
                return found.map(|session| session.filter(|session| !session.is_over()));
            }
        }
    }

    /// Keeps what the store said, unless the question is no longer on the list.
    fn settle(
        &self,
        (token, edition): (TokenHash, u64),
        lookup: &Lookup,
        said: Result<Option<Session>, Fault>,
    ) -> Settled {
        let mut lookups = self.lock();
        let listed = lookups.get(&token).is_some_and(|current| Arc::ptr_eq(current, lookup));
        if listed {
            lookups.remove(&token);
        }
        match said {
            Ok(Some(_)) if !listed || self.edition() != edition => Settled::Overtaken,
            Ok(Some(session)) => {
                let session = Arc::new(session);
                self.sessions.insert(token, Arc::clone(&session));
                Settled::Said(Ok(Some(session)))
            }
            Ok(None) => {
                self.gone.insert(token, ());
                Settled::Said(Ok(None))
            }
            Err(fault) => Settled::Said(Err(Arc::new(fault))),
        }
    }

    /// Makes every copy of a session unusable. Called after the store has ended it.
    pub fn end(&self, token: &TokenHash) {
        let mut lookups = self.lock();
        lookups.remove(token);
        if let Some(session) = self.sessions.remove(token) {
            session.over.store(true, Ordering::Release);
        }
        drop(lookups);
        self.endings.fetch_add(1, Ordering::AcqRel);
    }

    /// Makes every copy of a session unusable until the store has been asked again. Called after the store
    /// has changed it.
    pub fn forget(&self, token: &TokenHash) {
        let mut lookups = self.lock();
        lookups.remove(token);
        if let Some(session) = self.sessions.remove(token) {
            session.stale.store(true, Ordering::Release);
        }
    }

    /// Makes every copy of every session unusable: some may have been ended without our hearing of it.
    pub fn clear(&self) {
        let mut lookups = self.lock();
        lookups.clear();
        for (_, session) in &self.sessions {
            session.stale.store(true, Ordering::Release);
        }
        self.sessions.invalidate_all();
        self.bearers.clear();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        drop(lookups);
        self.endings.fetch_add(1, Ordering::AcqRel);
    }

    /// Which epoch it is: one ends whenever everything is dropped. Asked for before a token is verified.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// Remembers an access token or a signed cookie, unless the copy beside it is of another edition, or all that was
    /// believed has been dropped since its `epoch`: the key that signed it may be why.
    pub(super) fn keep_bearer(&self, (edition, epoch): (u64, Epoch), bearer: &Arc<Bearer>) {
        // With the lock, so that nothing is dropped in between.
        let _lookups = self.lock();
        if self.edition() == edition && self.epoch() == epoch {
            self.bearers.put(Arc::clone(bearer));
        }
    }

    /// Keeps copies of this edition from now on. If another was kept, all of it is dropped.
    pub fn supersede(&self, edition: u64) {
        if self.edition.swap(edition, Ordering::AcqRel) != edition {
            self.clear();
        }
    }

    /// The edition that is kept.
    pub fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// How many sessions are here, but for what has just come or gone.
    pub fn entries(&self) -> u64 {
        self.sessions.entry_count()
    }

    /// How many sessions had to make room for others so far.
    pub fn evictions(&self) -> u64 {
        self.evictions.get()
    }

    /// How many sessions have been ended so far.
    pub fn endings(&self) -> u64 {
        self.endings.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenHash, Lookup>> {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::id::{SessionId, UserId};
    use crate::secret::{Purpose, RootSecret};
    use crate::visitor::User;

    fn session(token: TokenHash, now: Now) -> Session {
        let (name, email) = ("Ada".to_owned(), "ada@example.com".to_owned());
        let (id, email_verified, image) = (UserId::random(), false, None);
        let user = User { id, name, email, email_verified, image, created: now, updated: now };
        let flag = || AtomicBool::new(false);
        Session {
            id: SessionId::random(),
            token,
            user,
            opened: now,
            renewed: now,
            expires: now.plus(Duration::from_hours(1)),
            remember: true,
            address: None,
            agent: None,
            fresh_until: now.plus(Duration::from_secs(30)),
            stale: flag(),
            over: flag(),
            renewing: flag(),
            assertion: OnceLock::new(),
            grant: None,
        }
    }

    #[test]
    fn a_question_that_was_listed_just_after_other_settings_came_to_count_is_overtaken() {
        let (cache, now) = (Cache::new(100), Now::from_millis(1_000_000));
        let token =
            RootSecret::new(vec![1; 32]).expect("long enough").key(Purpose::SessionTag).issue().hash();
        let lookup = Lookup::default();
        cache.supersede(1);
        for (edition, said) in [(0, false), (1, true)] {
            cache.lock().insert(token, Arc::clone(&lookup));
            let settled = cache.settle((token, edition), &lookup, Ok(Some(session(token, now))));
            assert_eq!(matches!(settled, Settled::Said(_)), said, "edition {edition}");
            assert_eq!(cache.get(&token, now).is_some(), said, "edition {edition}");
        }
    }
}
