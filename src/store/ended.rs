//! What other replicas ended: the feed of `LISTEN` on PostgreSQL.

use std::collections::VecDeque;

use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};

use crate::error::Fault;
use crate::secret::TokenHash;
use crate::store::sessions::ENDED_CHANNEL;
use crate::store::{Db, PATIENCE, Store, fault};

/// The sessions that are ended by any replica, this one too, on a connection of its own.
pub struct EndedFeed {
    pool: PgPool,
    listener: Option<PgListener>,
    heard: VecDeque<TokenHash>,
}

impl Store {
    /// The feed of ended sessions; `None` on SQLite, where there are no other replicas. It hears
    /// nothing before [`EndedFeed::listen`].
    pub fn ended_feed(&self) -> Option<EndedFeed> {
        match &self.read {
            Db::Sqlite(_) => None,
            Db::Postgres(pool) => {
                Some(EndedFeed { pool: pool.clone(), listener: None, heard: VecDeque::new() })
            }
        }
    }
}

impl EndedFeed {
    /// Connects, unless that is done. What was ended before it returned is not heard: whoever holds
    /// copies of sessions drops them all now.
    pub async fn listen(&mut self) -> Result<(), Fault> {
        if self.listener.is_some() {
            return Ok(());
        }
        let own = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with((*self.pool.connect_options()).clone());
        let mut listener =
            PgListener::connect_with(&own).await.map_err(fault("listening for ended sessions"))?;
        listener.eager_reconnect(false);
        listener.listen(ENDED_CHANNEL).await.map_err(fault("listening for ended sessions"))?;
        self.listener = Some(listener);
        Ok(())
    }

    /// Waits for the next session that was ended, listening first if need be. After a fault some may
    /// have been missed: call [`Self::listen`] until it succeeds, then drop all copies and go on.
    pub async fn next(&mut self) -> Result<TokenHash, Fault> {
        loop {
            if let Some(token) = self.heard.pop_front() {
                return Ok(token);
            }
            self.listen().await?;
            let Some(listener) = &mut self.listener else { continue };
            let lost = match listener.try_recv().await {
                Ok(Some(notice)) => {
                    // Anyone who may connect may notify: what is no hash is none of ours.
                    self.heard.extend(notice.payload().split(' ').filter_map(TokenHash::from_column));
                    continue;
                }
                Ok(None) => Fault::store("listening for ended sessions", "the connection was lost"),
                Err(error) => fault("listening for ended sessions")(error),
            };
            self.listener = None;
            return Err(lost);
        }
    }
}
