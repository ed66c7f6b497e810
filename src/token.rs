//! What we sign: access tokens for programs, session cookies, assertions for the app, and the keys for both, which all replicas
//! share through the store.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::config::{self, Config};
use crate::error::Fault;
use crate::id::RowId;
use crate::secret::pair::{Algorithm, Pair};
use crate::secret::{Key, Purpose, Seal};
use crate::store::Store;
use crate::time::Now;

pub mod access;
pub mod assertion;
pub mod cookie;
pub mod keys;
pub mod refresh;

use keys::{Ring, SigningKey};

/// How long others may use our public keys without asking again.
pub const JWKS_AGE: Duration = Duration::from_mins(5);
/// How long a key is published before it signs, so that whoever keeps keys has it by then.
const LEAD: Duration = Duration::from_mins(10);
/// How long what a key signed is believed after its successor began to sign: as long as any token lives and
/// any replica may take to hear of it.
const OVERLAP: Duration = Duration::from_hours(2);
/// The shortest time between two looks for a key that we do not know, in milliseconds.
const LOOK_AGAIN: i64 = 10_000;

/// What is wrong where [`Ring::is_anothers`].
pub const ANOTHER_SECRET: &str = "the root secret is not the one that this database was used with: nobody who is signed in \
     is known, and mails that wait cannot be sent; put the right one back (`secret_file`, or the file that was kept beside \
     the database), or name it in `former_secret_files`";

/// All that has to do with what we sign.
pub struct Tokens {
    store: Store,
    seal: Seal,
    /// Tags refresh tokens, and makes the successor of each.
    refresh: Key,
    /// The same for those in cookies.
    refresh_cookie: Key,
    /// For how long a signed session cookie is good.
    cookie_lifetime: Duration,
    settings: config::Tokens,
    assertion: Option<config::Assertion>,
    /// Who signs: the public origin. Access tokens are for the same.
    issuer: String,
    known: Arc<Known>,
}

/// The keys as they were last read.
struct Known {
    ring: RwLock<Arc<Ring>>,
    /// Held while they are read: what was read earlier must not take the place of what was read later.
    reading: tokio::sync::Mutex<()>,
    /// When that was, in milliseconds.
    read: AtomicI64,
    /// Some key was found to be gone, by whatever read them, and nobody has been told yet.
    gone: AtomicBool,
    /// The algorithm that was last seen to, so that each that is configured is seen to once.
    seen_to: Mutex<Option<Algorithm>>,
}

/// What has become of the keys since somebody was last told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// None is gone.
    Nothing,
    /// Some key is gone: what it signed must not be believed any more.
    Gone,
}

impl Tokens {
    /// Keys of `store` that the configuration's root secret opens; none yet.
    pub fn new(store: Store, config: &Config) -> Self {
        Self {
            store,
            seal: config.secret.seal(),
            refresh: config.secret.key(Purpose::Refresh),
            refresh_cookie: config.secret.key(Purpose::RefreshCookie),
            cookie_lifetime: config.session.jwt_lifetime,
            settings: config.tokens.clone(),
            assertion: config.identity.assertion.clone(),
            issuer: config.public.origin.clone(),
            known: Arc::new(Known {
                ring: RwLock::default(),
                reading: tokio::sync::Mutex::default(),
                read: AtomicI64::new(i64::MIN),
                gone: AtomicBool::new(false),
                seen_to: Mutex::default(),
            }),
        }
    }

    /// The same keys under another configuration of the same root secret.
    #[must_use]
    pub fn under(&self, config: &Config) -> Self {
        Self { known: Arc::clone(&self.known), ..Self::new(self.store.clone(), config) }
    }

    /// Reads the keys, and makes one if there is none that signs as configured. Several replicas that do this
    /// at the same time agree on one.
    ///
    /// For the start of the process: done again and again, two replicas that are configured differently would replace
    /// each other's keys for ever.
    pub async fn start(&self, now: Now) -> Result<(), Fault> {
        self.reload(now).await?;
        if self.ring().is_anothers() {
            tracing::warn!("{ANOTHER_SECRET}");
        }
        let algorithm = self.settings.algorithm;
        let newest = self.ring().newest().map(|key| key.algorithm() == algorithm);
        match newest {
            Some(true) => {}
            Some(false) => {
                self.rotate(now, false).await?;
            }
            // Nothing that we signed is known to anyone: there is nobody to wait for.
            None => {
                self.add(now, now, None).await?;
            }
        }
        *self.seen_to() = Some(algorithm);
        Ok(())
    }

    /// Reads the keys again. That one is gone is told by whatever returns a [`Change`] next.
    pub async fn reload(&self, now: Now) -> Result<(), Fault> {
        self.known.read.store(now.millis(), Ordering::Release);
        let _reading = self.known.reading.lock().await;
        let ring = Ring::open(self.store.signing_keys().await?, &self.seal, now);
        let mut held = self.known.ring.write().unwrap_or_else(PoisonError::into_inner);
        if !held.keys().all(|key| ring.has(key.id())) {
            self.known.gone.store(true, Ordering::Release);
        }
        for key in ring.closed_besides(&held) {
            tracing::warn!(%key, "a signing key does not open with this root secret");
        }
        *held = Arc::new(ring);
        Ok(())
    }

    /// What has become of them; told once.
    fn change(&self) -> Change {
        if self.known.gone.swap(false, Ordering::AcqRel) { Change::Gone } else { Change::Nothing }
    }

    /// Reads the keys again because one is asked for that is not known, unless that was done a moment ago.
    pub async fn look_again(&self, now: Now) -> Result<Change, Fault> {
        if self.may_look_again(now) {
            self.reload(now).await?;
        }
        Ok(self.change())
    }

    /// Whether [`Self::look_again`] would.
    pub fn may_look_again(&self, now: Now) -> bool {
        now.millis().saturating_sub(self.known.read.load(Ordering::Acquire)) >= LOOK_AGAIN
    }

    /// What has to be done now and then: reads the keys, makes a new one when the newest has signed for long enough or
    /// another algorithm is configured than before, and removes those that have retired.
    pub async fn tend(&self, now: Now) -> Result<Change, Fault> {
        self.reload(now).await?;
        let algorithm = self.settings.algorithm;
        let another = *self.seen_to() != Some(algorithm);
        let due = self.ring().newest().is_none_or(|key| {
            now.since(key.active_from()) >= self.settings.rotate_every
                || another && key.algorithm() != algorithm
        });
        if due {
            self.rotate(now, false).await?;
        }
        *self.seen_to() = Some(algorithm);
        if self.ring().any_retired() {
            let mut tx = self.store.begin().await?;
            tx.signing_keys_delete_retired(now).await?;
            tx.commit().await?;
            self.known.gone.store(true, Ordering::Release);
        }
        Ok(self.change())
    }

    fn seen_to(&self) -> MutexGuard<'_, Option<Algorithm>> {
        self.known.seen_to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a new key. It signs after a while, when everyone has had time to learn of it, and the others
    /// retire after it; or both `at_once`, which is for keys that became known to others: what they signed
    /// is refused from the moment at which a replica hears of it.
    ///
    /// `None` if another replica was quicker.
    pub async fn rotate(&self, now: Now, at_once: bool) -> Result<Option<RowId>, Fault> {
        let alone = self.ring().newest().is_none();
        let (active_from, retire) = match at_once {
            true => (now, now),
            false if alone => (now, now.plus(OVERLAP)),
            false => (now.plus(LEAD), now.plus(LEAD + OVERLAP)),
        };
        self.add(now, active_from, Some(retire)).await
    }

    /// Adds a key after the newest that is stored, and has those before it retire at `retire`.
    async fn add(&self, now: Now, active_from: Now, retire: Option<Now>) -> Result<Option<RowId>, Fault> {
        let generation = self.ring().generation() + 1;
        let pair = Pair::generate(self.settings.algorithm);
        let row = SigningKey::row(&pair, generation, &self.seal, now, active_from)?;
        let mut tx = self.store.begin().await?;
        let added = tx.signing_key_insert(&row).await?;
        if added && let Some(at) = retire {
            tx.signing_keys_retire(generation, at).await?;
        }
        tx.commit().await?;
        self.reload(now).await?;
        Ok(added.then_some(row.id))
    }

    /// The keys as they are known now.
    pub fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.known.ring.read().unwrap_or_else(PoisonError::into_inner))
    }
}
