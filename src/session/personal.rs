//! Personal access tokens: kept in memory as sessions are and ended in the same ways, but read from a table of
//! their own, under a hash of their own.

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::error::Fault;
use crate::id::{RowId, SessionId};
use crate::secret::{PERSONAL_PREFIX, Token, TokenHash};
use crate::session::Sessions;
use crate::session::cache::Found;
use crate::store::Store;
use crate::store::personal_tokens::PersonalRow;
use crate::time::Now;
use crate::visitor::{Session, User};

/// How often the use of a token is noted at most.
const NOTE_EVERY: Duration = Duration::from_hours(1);

impl Sessions {
    /// A new token.
    pub fn personal_issue(&self) -> Token {
        self.personal_key.issue()
    }

    /// Reads the text of a token; `None` for what was not issued here, which the store is not asked for.
    pub fn personal_parse(&self, text: &[u8]) -> Option<Token> {
        let token = Token::parse(text.strip_prefix(PERSONAL_PREFIX.as_bytes())?)?;
        self.personal_key.issued(&token).then_some(token)
    }

    /// Asks the store for a token and keeps the answer, as [`Self::fetch`] does for a session. That it is used
    /// is written down by the office, now and then.
    pub async fn personal_fetch(&self, office: &Handle, token: TokenHash, now: Now) -> Found {
        let load = || async move {
            let Some((row, user)) = self.store.personal_token_by_hash(token).await? else {
                return Ok(None);
            };
            let id = row.id.clone();
            let due = row.used.is_none_or(|used| now.since(used) >= NOTE_EVERY);
            let session = self.personal_loaded(row, user, now)?;
            if due && now < session.expires {
                // Whoever asks does not wait for it.
                office.spawn(note_use(self.store.clone(), id, now));
            }
            Ok(Some(session).filter(|session| session.usable(now)))
        };
        self.cache.fetch(token, self.edition, load).await
    }

    /// The token as the store has it, used or not.
    pub(super) async fn personal_stored(&self, token: TokenHash, now: Now) -> Result<Option<Session>, Fault> {
        let found = self.store.personal_token_by_hash(token).await?;
        found.map(|(row, user)| self.personal_loaded(row, user, now)).transpose()
    }

    /// The token as a session: it ends when it ends, however much it is used.
    fn personal_loaded(&self, row: PersonalRow, user: User, now: Now) -> Result<Session, Fault> {
        let id = SessionId::parse(row.id.as_str());
        Ok(Session {
            id: id.ok_or_else(|| Fault::new("reading a personal access token", "its id is none"))?,
            token: row.token,
            user,
            opened: row.created,
            renewed: row.created,
            expires: row.expires,
            remember: false,
            address: None,
            agent: None,
            fresh_until: now.plus(self.limits.cache_age),
            stale: AtomicBool::new(false),
            over: AtomicBool::new(false),
            renewing: AtomicBool::new(false),
            assertion: OnceLock::new(),
            grant: Some(Box::new(row.grant)),
        })
    }
}

/// Writes down that a token is used. Nothing depends on it.
async fn note_use(store: Store, id: RowId, now: Now) {
    let noted = async {
        let mut tx = store.begin().await?;
        tx.personal_token_used(&id, now, now.minus(NOTE_EVERY)).await?;
        tx.commit().await
    };
    if let Err(fault) = noted.await {
        tracing::warn!("{fault}");
    }
}
