//! Sessions in memory: the shared cache, the small table each worker keeps before it, and the rule that makes both safe.
//!
//! **Invariant:** a copy is used only while its own flags allow it. Whatever leaves the shared cache is marked stale,
//! whatever is ended is marked over, so a worker's table can never serve what the shared cache would not.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache as Moka;
use tokio::sync::OnceCell;

use crate::secret::TokenHash;
use crate::time::Now;
use crate::visitor::Session;

/// How long it is remembered that a token opens nothing.
const GONE_FOR: Duration = Duration::from_secs(2);
/// How many such tokens are remembered.
const MOST_GONE: u64 = 10_000;
/// Entries of a worker's own table.
const NEAR_SLOTS: usize = 1024;

/// Passes a [`TokenHash`] through: it is a hash already.
#[derive(Default)]
pub struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type ByToken<V> = Moka<TokenHash, V, BuildHasherDefault<Ready>>;
type Lookup = Arc<OnceCell<Option<Arc<Session>>>>;

/// The cache that all workers share.
pub struct Cache {
    sessions: ByToken<Arc<Session>>,
    gone: ByToken<()>,
    /// Questions to the store that are under way, so that equal ones are asked once.
    lookups: Mutex<HashMap<TokenHash, Lookup>>,
    /// Counts endings: an answer of the store that was read before one is not kept after it.
    endings: AtomicU64,
}

impl Cache {
    /// A cache for this many sessions.
    pub fn new(entries: u64) -> Self {
        let sessions = Moka::builder()
            .max_capacity(entries)
            .eviction_listener(|_, session: Arc<Session>, _| session.stale.store(true, Ordering::Release))
            .build_with_hasher(BuildHasherDefault::default());
        let gone = Moka::builder()
            .max_capacity(MOST_GONE)
            .time_to_live(GONE_FOR)
            .build_with_hasher(BuildHasherDefault::default());
        Self { sessions, gone, lookups: Mutex::default(), endings: AtomicU64::new(0) }
    }

    /// The session of a token, if a usable copy is here.
    pub fn get(&self, token: &TokenHash, now: Now) -> Option<Arc<Session>> {
        self.sessions.get(token).filter(|session| session.usable(now))
    }

    /// Whether the store said moments ago that this token opens nothing.
    pub fn is_gone(&self, token: &TokenHash) -> bool {
        self.gone.contains_key(token)
    }

    /// How many sessions are here, about.
    pub fn len(&self) -> u64 {
        self.sessions.entry_count()
    }

    /// Whether there are none, about.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a session that has just been opened or renewed.
    pub fn put(&self, session: Arc<Session>) {
        self.sessions.insert(session.token, session);
    }

    /// Asks the store with `load`, once for all who ask for the same token at the same time.
    pub async fn fetch<F, E>(
        &self,
        token: TokenHash,
        load: impl FnOnce() -> F,
    ) -> Result<Option<Arc<Session>>, E>
    where
        F: Future<Output = Result<Option<Session>, E>>,
    {
        let lookup = Arc::clone(self.lock().entry(token).or_default());
        let found = lookup
            .get_or_try_init(async || {
                let endings = self.endings.load(Ordering::SeqCst);
                let found = load().await?.map(Arc::new);
                self.keep(token, found.clone(), endings);
                Ok(found)
            })
            .await
            .cloned();
        let mut lookups = self.lock();
        if lookups.get(&token).is_some_and(|current| Arc::ptr_eq(current, &lookup)) {
            lookups.remove(&token);
        }
        drop(lookups);
        found.map(|session| session.filter(|session| !session.is_over()))
    }

    fn keep(&self, token: TokenHash, found: Option<Arc<Session>>, endings: u64) {
        let Some(session) = found else {
            self.gone.insert(token, ());
            return;
        };
        self.sessions.insert(token, Arc::clone(&session));
        // An ending between the read and the insert may have looked for this entry too early.
        if self.endings.load(Ordering::SeqCst) != endings {
            session.stale.store(true, Ordering::Release);
            self.sessions.remove(&token);
        }
    }

    /// Makes every copy of a session unusable. Called after the store has ended it.
    pub fn end(&self, token: &TokenHash) {
        self.endings.fetch_add(1, Ordering::SeqCst);
        if let Some(session) = self.sessions.remove(token) {
            session.over.store(true, Ordering::Release);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TokenHash, Lookup>> {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker's own small table before the shared cache: one slot per token, the latest wins.
pub struct Near(Vec<Option<Arc<Session>>>);

impl Default for Near {
    fn default() -> Self {
        Self(vec![None; NEAR_SLOTS])
    }
}

impl Near {
    /// The session of a token, if a usable copy is here.
    pub fn get(&self, token: &TokenHash, now: Now) -> Option<&Arc<Session>> {
        self.0[Self::slot(token)].as_ref().filter(|session| session.token == *token && session.usable(now))
    }

    /// Remembers a session.
    pub fn put(&mut self, session: Arc<Session>) {
        let slot = Self::slot(&session.token);
        self.0[slot] = Some(session);
    }

    /// Lets go of copies that can no longer be used; called at every tick.
    pub fn sweep(&mut self, now: Now) {
        for slot in &mut self.0 {
            if slot.as_ref().is_some_and(|session| !session.usable(now)) {
                *slot = None;
            }
        }
    }

    fn slot(token: &TokenHash) -> usize {
        usize::try_from(token.slot() % NEAR_SLOTS as u64).unwrap_or(0)
    }
}
