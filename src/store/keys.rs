//! The table `sidegate_signing_key`: the keys that sign tokens, their private halves sealed.

use crate::error::Fault;
use crate::id::RowId;
use crate::store::row::Row;
use crate::store::{Store, Tx, fault};
use crate::time::Now;

/// A signing key as it is stored.
pub struct KeyRow {
    /// Its name in the header of what it signs.
    pub id: RowId,
    /// Counts the keys; there is one of each.
    pub generation: i64,
    /// How it signs.
    pub algorithm: String,
    /// The private half, sealed.
    pub sealed: String,
    /// When it was made.
    pub created: Now,
    /// From when on it signs, unless a later one does.
    pub active_from: Now,
    /// When what it signed is not believed any more; known once it has a successor.
    pub retires: Option<Now>,
}

const SIGNING_KEYS: &str = r#"
    SELECT "id" AS "signing_key.id", "generation" AS "signing_key.generation",
           "algorithm" AS "signing_key.algorithm", "sealed" AS "signing_key.sealed",
           "createdAt" AS "signing_key.createdAt", "activeFrom" AS "signing_key.activeFrom",
           "retiresAt" AS "signing_key.retiresAt"
    FROM "sidegate_signing_key" ORDER BY "generation" DESC"#;

impl Store {
    /// All signing keys, the newest first.
    pub async fn signing_keys(&self) -> Result<Vec<KeyRow>, Fault> {
        let rows: Vec<Row> = on!(&self.read, pool => sqlx::query(SIGNING_KEYS)
            .fetch_all(pool)
            .await
            .map(|rows| rows.into_iter().map(Row::from).collect()))
        .map_err(fault("reading the signing keys"))?;
        rows.iter().map(key_of).collect()
    }
}

fn key_of(row: &Row) -> Result<KeyRow, Fault> {
    let id = row.name("signing_key.id");
    Ok(KeyRow {
        id: row.get("signing_key.id", &id)?,
        generation: row.get("signing_key.generation", &id)?,
        algorithm: row.get("signing_key.algorithm", &id)?,
        sealed: row.get("signing_key.sealed", &id)?,
        created: row.get("signing_key.createdAt", &id)?,
        active_from: row.get("signing_key.activeFrom", &id)?,
        retires: row.get("signing_key.retiresAt", &id)?,
    })
}

const SIGNING_KEY_INSERT: &str = r#"
    INSERT INTO "sidegate_signing_key"
        ("id", "generation", "algorithm", "sealed", "createdAt", "activeFrom", "retiresAt")
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT ("generation") DO NOTHING"#;

const SIGNING_KEYS_RETIRE: &str = r#"
    UPDATE "sidegate_signing_key" SET "retiresAt" = $2
    WHERE "generation" < $1 AND ("retiresAt" IS NULL OR "retiresAt" > $2)"#;

const SIGNING_KEYS_DELETE_RETIRED: &str = r#"DELETE FROM "sidegate_signing_key" WHERE "retiresAt" <= $1"#;

impl Tx {
    /// Adds a signing key; false if there is one of its generation.
    pub async fn signing_key_insert(&mut self, key: &KeyRow) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(SIGNING_KEY_INSERT)
            .bind(&key.id)
            .bind(key.generation)
            .bind(&key.algorithm)
            .bind(&key.sealed)
            .bind(key.created)
            .bind(key.active_from)
            .bind(key.retires)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("adding a signing key"))
    }

    /// Has all keys before this generation retire at `at`, unless they do so earlier.
    pub async fn signing_keys_retire(&mut self, before: i64, at: Now) -> Result<(), Fault> {
        on!(&mut self.db, tx => sqlx::query(SIGNING_KEYS_RETIRE)
            .bind(before)
            .bind(at)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("retiring signing keys"))
    }

    /// Removes the keys that have retired at `now`.
    pub async fn signing_keys_delete_retired(&mut self, now: Now) -> Result<(), Fault> {
        on!(&mut self.db, tx => sqlx::query(SIGNING_KEYS_DELETE_RETIRED)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("removing retired signing keys"))
    }
}
