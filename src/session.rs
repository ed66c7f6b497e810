//! Sessions: recognised from memory, opened and ended in the store, never the other way round.
//!
//! **Invariant:** the store is the truth. A session is usable from memory only after the store has given it
//! to a reader (a new one is read at its first use, so that whatever ends it right after it was written is
//! not overlooked), and is ended in memory only after the store has ended it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::HeaderValue;

use crate::config;
use crate::error::Fault;
use crate::http::cookie::CookieNames;
use crate::id::{SessionId, UserId};
use crate::secret::{Key, Purpose, RootSecret, Token, TokenHash};
use crate::store::sessions::SessionRow;
use crate::store::{Store, Tx};
use crate::time::Now;
use crate::visitor::{Session, User};

pub mod bearer;
pub mod cache;
mod edition;
mod hasher;
pub mod live;
pub mod memory;
pub mod near;
mod personal;
pub mod renewal;
pub mod rules;

use cache::{Cache, Found};
use live::Live;
use renewal::Renewals;

/// All that has to do with sessions.
pub struct Sessions {
    store: Store,
    limits: config::Session,
    key: Key,
    /// Tags personal access tokens.
    personal_key: Key,
    /// What memory knows, for all workers.
    pub cache: Arc<Cache>,
    /// Which settings copies are made under; see [`Cache::supersede`].
    edition: u64,
    /// The connections that end with their session.
    pub live: Arc<Live>,
    /// Exchanges of refresh cookies.
    pub renewals: Arc<Renewals>,
    /// Whether the session cookie is a signed one.
    pub signed: bool,
    /// The names of our cookies.
    pub cookies: CookieNames,
}

/// A session that is written but not yet committed, with the token that opens it.
pub struct Opened {
    /// The session.
    pub session: Session,
    /// Its token, for the cookie. Where cookies are signed, nobody gets it.
    pub token: Token,
}

/// Where and for how long a session is opened.
pub struct Opening<'a> {
    /// When.
    pub now: Now,
    /// Whether it outlives the browser.
    pub remember: bool,
    /// From which address.
    pub address: String,
    /// By which browser.
    pub agent: Option<&'a str>,
}

impl Sessions {
    /// Sessions over `store`.
    pub fn new(store: Store, limits: config::Session, secret: &RootSecret, https: bool) -> Self {
        let cache = Arc::new(Cache::new(limits.cache_entries));
        Self {
            store,
            live: Arc::new(Live::new(Arc::clone(&cache))),
            cache,
            edition: 0,
            renewals: Arc::default(),
            signed: limits.cookie == config::SessionCookie::Jwt,
            limits,
            key: secret.key(Purpose::SessionTag),
            personal_key: secret.key(Purpose::Personal),
            cookies: CookieNames::new(https),
        }
    }

    /// The session with this public handle, as [`Self::fetch`] finds it.
    pub async fn fetch_by_id(&self, id: &SessionId, now: Now) -> Found {
        match self.store.session_by_id(id).await {
            Ok(Some(row)) => self.fetch(row.token, now).await,
            Ok(None) => Ok(None),
            Err(fault) => Err(Arc::new(fault)),
        }
    }

    /// Whether a token was issued here, whatever has become of its session.
    pub fn issued(&self, token: &Token) -> bool {
        self.key.issued(token)
    }

    /// Asks the store for a session and keeps the answer. `None` if the token opens nothing, or nothing any
    /// more.
    pub async fn fetch(&self, token: TokenHash, now: Now) -> Found {
        let load = || async move {
            let row = self.store.session_by_hash(token).await?;
            Ok(row.map(|row| self.loaded(row, now)).filter(|session| session.usable(now)))
        };
        self.cache.fetch(token, self.edition, load).await
    }

    /// It ends when the store says, or earlier if it would under the limits of now: they may have changed since it was
    /// written.
    fn loaded(&self, row: SessionRow, now: Now) -> Session {
        let expires = row.expires.min(rules::expiry(&self.limits, row.remember, row.opened, row.renewed));
        Session {
            id: row.id,
            token: row.token,
            user: row.user,
            opened: row.opened,
            renewed: row.renewed,
            expires,
            remember: row.remember,
            address: row.address,
            agent: row.agent,
            fresh_until: now.plus(self.limits.cache_age),
            stale: AtomicBool::new(false),
            over: AtomicBool::new(false),
            renewing: AtomicBool::new(false),
            assertion: OnceLock::new(),
            grant: None,
        }
    }

    /// Whether this request should move the session's end; true for one request at a time.
    pub fn claims_renewal(&self, session: &Session, now: Now) -> bool {
        rules::renewal_due(&self.limits, session, now) && !session.renewing.swap(true, Ordering::AcqRel)
    }

    /// Whether the end of a session is to be moved that is used now.
    pub fn renewal_due(&self, session: &Session, now: Now) -> bool {
        rules::renewal_due(&self.limits, session, now)
    }

    /// Moves the end of a session in the store. True if this call did it and the cookie is to be sent again.
    pub async fn renew(&self, session: Arc<Session>, now: Now) -> Result<bool, Fault> {
        let expires = rules::expiry(&self.limits, session.remember, session.opened, now);
        let mut tx = self.store.begin().await?;
        let renewed = tx.session_renew(&session.id, session.renewed, now, expires).await?;
        tx.commit().await?;
        // The next request reads what is now in the store.
        session.stale.store(true, Ordering::Release);
        Ok(renewed)
    }

    /// The live session with this public handle, as the store has it.
    pub async fn by_id(&self, id: &SessionId, now: Now) -> Result<Option<Session>, Fault> {
        let row = self.store.session_by_id(id).await?;
        Ok(row.map(|row| self.loaded(row, now)).filter(|session| now < session.expires))
    }

    /// The live session with this token, as the store has it.
    pub async fn by_hash(&self, token: TokenHash, now: Now) -> Result<Option<Session>, Fault> {
        let row = self.store.session_by_hash(token).await?;
        Ok(row.map(|row| self.loaded(row, now)).filter(|session| now < session.expires))
    }

    /// Moves the end of a session in the flow's own transaction, and keeps others from changing it meanwhile.
    /// False if it is over.
    pub async fn touch(&self, tx: &mut Tx, session: &mut Session, now: Now) -> Result<bool, Fault> {
        (session.renewed, session.expires) =
            (now, rules::expiry(&self.limits, session.remember, session.opened, now));
        tx.session_touch(&session.id, now, session.expires).await
    }

    /// When a session ends at the latest, however much it is used.
    pub fn last_end(&self, session: &Session) -> Now {
        rules::last_end(&self.limits, session.remember, session.opened)
    }

    /// Writes a new session in the flow's own transaction.
    pub async fn open(&self, tx: &mut Tx, user: &User, opening: Opening<'_>) -> Result<Opened, Fault> {
        let token = self.key.issue();
        let Opening { now, remember, address, agent } = opening;
        let expires = rules::expiry(&self.limits, remember, now, now);
        let row = SessionRow {
            id: SessionId::random(),
            token: token.hash(),
            user: user.clone(),
            opened: now,
            renewed: now,
            expires,
            remember,
            address: Some(address),
            agent: agent.map(str::to_owned),
        };
        tx.session_insert(&row).await?;
        Ok(Opened { session: self.loaded(row, now), token })
    }

    /// Gives a session another token in the flow's own transaction; the earlier one is ended with the commit.
    /// `None` if the session is gone.
    pub async fn rotate(&self, tx: &mut Tx, session: &Session) -> Result<Option<Token>, Fault> {
        let token = self.key.issue();
        let changed = tx.session_set_token(session.token, token.hash()).await?;
        Ok(changed.then_some(token))
    }

    /// Has the sessions and tokens of a user read again before their next use, after something about the user
    /// has changed in the store. Other replicas see it when their copies are too old.
    pub async fn user_changed(&self, user: &UserId, now: Now) {
        let sessions = self.store.sessions_of_user(user, now).await;
        let tokens = self.store.personal_tokens_of_user(user, now).await;
        match (sessions, tokens) {
            (Ok(sessions), Ok(tokens)) => {
                let sessions = sessions.iter().map(|row| &row.token);
                for token in sessions.chain(tokens.iter().map(|row| &row.token)) {
                    self.cache.forget(token);
                }
            }
            (Err(_), _) | (_, Err(_)) => self.cache.clear(),
        }
    }

    /// How much life a session has left after a renewal at `now`.
    pub fn life_left(&self, session: &Session, now: Now) -> Duration {
        rules::expiry(&self.limits, session.remember, session.opened, now).since(now)
    }

    /// The `Set-Cookie` value for a token with this much life left.
    pub fn cookie(&self, token: String, remember: bool, left: Duration) -> HeaderValue {
        self.cookies.set(self.cookies.session, token, remember.then_some(left))
    }

    /// The `Set-Cookie` values that make the browser forget its session.
    pub fn forget_cookies(&self) -> impl Iterator<Item = HeaderValue> {
        let refresh = self.signed.then_some(self.cookies.refresh);
        [self.cookies.session].into_iter().chain(refresh).map(|name| self.cookies.clear(name))
    }

    /// Commits a transaction that ends these sessions, then ends them in memory. The latter whatever became
    /// of the commit: of one that failed nobody knows whether it took effect, and of a session that is
    /// forgotten and still there the store tells at its next use.
    pub async fn commit_ended(&self, tx: Tx, tokens: &[TokenHash]) -> Result<(), Fault> {
        let committed = tx.commit().await;
        match committed {
            Ok(()) => self.ended(tokens),
            Err(_) => self.drop_copies(tokens),
        }
        committed
    }

    /// Ends sessions in memory and cuts their open connections, after the store has ended them.
    pub fn ended(&self, tokens: &[TokenHash]) {
        for token in tokens {
            self.cache.note_ended(token);
        }
        self.drop_copies(tokens);
    }

    fn drop_copies(&self, tokens: &[TokenHash]) {
        for token in tokens {
            self.cache.end(token);
            self.live.cut(token);
        }
    }

    /// Makes every copy in memory unusable: some sessions may have been ended without our hearing of it. They
    /// are read from the store again when they are used.
    pub fn forget_all(&self) {
        self.cache.clear();
    }

    /// Cuts the open connections of sessions that are over: expired, or ended by a replica that could not
    /// tell us.
    pub async fn cut_ended(&self, now: Now) -> Result<(), Fault> {
        for token in self.live.sweep() {
            let session = match self.store.session_by_hash(token).await? {
                Some(row) => Some(self.loaded(row, now)),
                None => self.personal_stored(token, now).await?,
            };
            if !session.is_some_and(|session| session.usable(now)) {
                self.live.cut(&token);
            }
        }
        Ok(())
    }

    /// The unexpired sessions of a user.
    pub async fn of_user(&self, user: &UserId, now: Now) -> Result<Vec<Session>, Fault> {
        let rows = self.store.sessions_of_user(user, now).await?;
        let sessions = rows.into_iter().map(|row| self.loaded(row, now));
        Ok(sessions.filter(|session| now < session.expires).collect())
    }
}
