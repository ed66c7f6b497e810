//! The table `sidegate_refresh_family`: for each sign-in of a program the hashes of its newest refresh token
//! and of the one before.

use crate::error::Fault;
use crate::id::SessionId;
use crate::secret::TokenHash;
use crate::store::row::Row;
use crate::store::{Store, Tx, fault};
use crate::time::Now;

/// A family of refresh tokens as it is stored.
pub struct FamilyRow {
    /// What all its tokens begin with.
    pub id: String,
    /// The session that it keeps going, and with which it ends.
    pub session: SessionId,
    /// The newest token.
    pub current: TokenHash,
    /// The one that was exchanged for it.
    pub previous: Option<TokenHash>,
    /// How many came before the newest.
    pub generation: i64,
    /// When it began.
    pub created: Now,
    /// When the newest token was given.
    pub rotated: Now,
    /// When it ends, whatever its use.
    pub expires: Now,
}

const REFRESH_FAMILY: &str = r#"
    SELECT "id" AS "refresh_family.id", "sessionId" AS "refresh_family.sessionId",
           "current" AS "refresh_family.current", "previous" AS "refresh_family.previous",
           "generation" AS "refresh_family.generation", "createdAt" AS "refresh_family.createdAt",
           "rotatedAt" AS "refresh_family.rotatedAt", "expiresAt" AS "refresh_family.expiresAt"
    FROM "sidegate_refresh_family" WHERE "id" = $1"#;

impl Store {
    /// The family with this id, whether it has expired or not.
    pub async fn refresh_family(&self, id: &str) -> Result<Option<FamilyRow>, Fault> {
        let row = on!(&self.read, pool => sqlx::query(REFRESH_FAMILY)
            .bind(id)
            .fetch_optional(pool)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading a refresh token"))?;
        row.as_ref().map(family_of).transpose()
    }
}

fn family_of(row: &Row) -> Result<FamilyRow, Fault> {
    let id = row.name("refresh_family.id");
    Ok(FamilyRow {
        session: row.get("refresh_family.sessionId", &id)?,
        current: row.get("refresh_family.current", &id)?,
        previous: row.get("refresh_family.previous", &id)?,
        generation: row.get("refresh_family.generation", &id)?,
        created: row.get("refresh_family.createdAt", &id)?,
        rotated: row.get("refresh_family.rotatedAt", &id)?,
        expires: row.get("refresh_family.expiresAt", &id)?,
        id,
    })
}

const REFRESH_FAMILY_INSERT: &str = r#"
    INSERT INTO "sidegate_refresh_family"
        ("id", "sessionId", "current", "previous", "generation", "createdAt", "rotatedAt", "expiresAt")
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING"#;

const REFRESH_FAMILIES_DELETE: &str = r#"DELETE FROM "sidegate_refresh_family" WHERE "sessionId" = $1"#;

const REFRESH_ROTATE: &str = r#"
    UPDATE "sidegate_refresh_family"
    SET "current" = $3, "previous" = $2, "generation" = "generation" + 1, "rotatedAt" = $4
    WHERE "id" = $1 AND "current" = $2 AND "expiresAt" > $4"#;

impl Tx {
    /// Adds a family of a session that is stored; false if there is one with this id.
    pub async fn refresh_family_insert(&mut self, family: &FamilyRow) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(REFRESH_FAMILY_INSERT)
            .bind(&family.id)
            .bind(&family.session)
            .bind(family.current)
            .bind(family.previous)
            .bind(family.generation)
            .bind(family.created)
            .bind(family.rotated)
            .bind(family.expires)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("adding a refresh token"))
    }

    /// Ends all families of a session, which goes on.
    pub async fn refresh_families_delete(&mut self, session: &SessionId) -> Result<(), Fault> {
        on!(&mut self.db, tx => sqlx::query(REFRESH_FAMILIES_DELETE)
            .bind(session)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("ending refresh tokens"))
    }

    /// Exchanges `current` for `next`: true for one caller, and only before the family expires.
    pub async fn refresh_rotate(
        &mut self,
        family: &str,
        current: TokenHash,
        next: TokenHash,
        now: Now,
    ) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(REFRESH_ROTATE)
            .bind(family)
            .bind(current)
            .bind(next)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("exchanging a refresh token"))
    }
}
