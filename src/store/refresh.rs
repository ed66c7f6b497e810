//! The table `sidegate_refresh_token`: hashes of refresh tokens, each with the one that it came from.

use crate::error::Fault;
use crate::id::SessionId;
use crate::secret::TokenHash;
use crate::store::row::Row;
use crate::store::{Store, Tx, fault};
use crate::time::Now;

/// A refresh token as it is stored. Those of one session are its family.
#[derive(Clone)]
pub struct RefreshRow {
    /// Its hash.
    pub token: TokenHash,
    /// The session that it keeps going.
    pub session: SessionId,
    /// The hash of the one that it replaced.
    pub parent: Option<TokenHash>,
    /// How many came before it.
    pub generation: i64,
    /// When it was given.
    pub issued: Now,
    /// When it was exchanged for its successor.
    pub used: Option<Now>,
    /// When the family ends: the same for all of it.
    pub expires: Now,
}

const REFRESH_BY_HASH: &str = r#"
    SELECT "token" AS "refresh.token", "sessionId" AS "refresh.sessionId", "parent" AS "refresh.parent",
           "generation" AS "refresh.generation", "issuedAt" AS "refresh.issuedAt",
           "usedAt" AS "refresh.usedAt", "expiresAt" AS "refresh.expiresAt"
    FROM "sidegate_refresh_token" WHERE "token" = $1"#;

impl Store {
    /// The refresh token with this hash, used or not, expired or not.
    pub async fn refresh_by_hash(&self, token: TokenHash) -> Result<Option<RefreshRow>, Fault> {
        let row = on!(&self.read, pool => sqlx::query(REFRESH_BY_HASH)
            .bind(token)
            .fetch_optional(pool)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading a refresh token"))?;
        row.as_ref().map(refresh_of).transpose()
    }
}

fn refresh_of(row: &Row) -> Result<RefreshRow, Fault> {
    let id = row.name("refresh.sessionId");
    Ok(RefreshRow {
        token: row.get("refresh.token", &id)?,
        session: row.get("refresh.sessionId", &id)?,
        parent: row.get("refresh.parent", &id)?,
        generation: row.get("refresh.generation", &id)?,
        issued: row.get("refresh.issuedAt", &id)?,
        used: row.get("refresh.usedAt", &id)?,
        expires: row.get("refresh.expiresAt", &id)?,
    })
}

const REFRESH_INSERT: &str = r#"
    INSERT INTO "sidegate_refresh_token"
        ("token", "sessionId", "parent", "generation", "issuedAt", "usedAt", "expiresAt")
    VALUES ($1, $2, $3, $4, $5, $6, $7)"#;

const REFRESH_USE: &str = r#"
    UPDATE "sidegate_refresh_token" SET "usedAt" = $2
    WHERE "token" = $1 AND "usedAt" IS NULL AND "expiresAt" > $2"#;

impl Tx {
    /// Adds a refresh token of a session that is stored.
    pub async fn refresh_insert(&mut self, refresh: &RefreshRow) -> Result<(), Fault> {
        on!(&mut self.db, tx => sqlx::query(REFRESH_INSERT)
            .bind(refresh.token)
            .bind(&refresh.session)
            .bind(refresh.parent)
            .bind(refresh.generation)
            .bind(refresh.issued)
            .bind(refresh.used)
            .bind(refresh.expires)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("adding a refresh token"))
    }

    /// Marks a refresh token as used: true for one caller, and only before it expires.
    pub async fn refresh_use(&mut self, token: TokenHash, now: Now) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(REFRESH_USE)
            .bind(token)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("using a refresh token"))
    }
}
