//! Exchanges of refresh cookies: one for all requests that show the same cookie at the same time, and for those
//! that come before any of these has been answered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::OnceCell;

use crate::error::Fault;
use crate::secret::TokenHash;
use crate::time::Now;
use crate::visitor::Session;

/// An answer that comes later than this after the exchange is late.
const LATE: Duration = Duration::from_secs(1);
/// Exchanges that are kept before those are looked for that nobody needs.
const MANY: usize = 64;

/// What came of an exchange.
pub struct Renewed {
    /// The session.
    pub session: Arc<Session>,
    /// `Set-Cookie` values.
    pub cookies: Vec<HeaderValue>,
}

/// One exchange. Whoever holds it is going to answer a request with its cookies.
pub struct Renewal {
    begun: Now,
    /// Until when it serves although nobody holds it, in milliseconds.
    until: AtomicI64,
    settled: OnceCell<Result<Option<Renewed>, Arc<Fault>>>,
}

impl Renewal {
    /// What comes of the exchange, which is made with `exchange` once for all who ask. `None` if the cookie opens
    /// nothing.
    pub async fn settle<F>(&self, exchange: impl FnOnce() -> F) -> Result<Option<&Renewed>, Arc<Fault>>
    where
        F: Future<Output = Result<Option<Renewed>, Fault>>,
    {
        let settled = self.settled.get_or_init(async || exchange().await.map_err(Arc::new)).await;
        settled.as_ref().map(Option::as_ref).map_err(Arc::clone)
    }

    /// The `Set-Cookie` values, for an answer that leaves at `now`. The store goes by the time of the exchange,
    /// and an app may have taken longer than the grace: whoever asked meanwhile could not know.
    pub fn cookies(&self, now: Now, grace: Duration) -> &[HeaderValue] {
        if now.since(self.begun) >= LATE {
            self.until.fetch_max(now.plus(grace).millis(), Ordering::AcqRel);
        }
        self.renewed().map(|renewed| &*renewed.cookies).unwrap_or_default()
    }

    fn renewed(&self) -> Option<&Renewed> {
        self.settled.get()?.as_ref().ok()?.as_ref()
    }

    /// Whether it serves a request that comes at `now`; `held`: somebody is going to answer with it.
    fn serves(&self, held: bool, now: Now) -> bool {
        match self.settled.get() {
            None => held,
            Some(Ok(Some(_))) => held || now.millis() < self.until.load(Ordering::Acquire),
            Some(Ok(None) | Err(_)) => false,
        }
    }
}

/// The exchanges that are under way.
#[derive(Default)]
pub struct Renewals(Mutex<HashMap<TokenHash, Arc<Renewal>>>);

impl Renewals {
    /// The exchange of the refresh cookie with this hash: the one that is under way, or a new one.
    pub fn of(&self, token: TokenHash, now: Now) -> Arc<Renewal> {
        let serves = |renewal: &Arc<Renewal>| renewal.serves(Arc::strong_count(renewal) > 1, now);
        let mut renewals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(renewal) = renewals.get(&token).filter(|renewal| serves(renewal)) {
            return Arc::clone(renewal);
        }
        // The table doubles before it is looked through again, so that a look costs little in the mean.
        if renewals.len() >= MANY && renewals.len() == renewals.capacity() {
            renewals.retain(|_, renewal| serves(renewal));
        }
        let (until, settled) = (AtomicI64::new(i64::MIN), OnceCell::new());
        let renewal = Arc::new(Renewal { begun: now, until, settled });
        renewals.insert(token, Arc::clone(&renewal));
        renewal
    }
}
