//! The table `account`: the ways in which a user can sign in.

use crate::error::Fault;
use crate::id::{RowId, UserId};
use crate::store::row::Row;
use crate::store::users::{user_columns, user_of};
use crate::store::{Store, Tx, fault};
use crate::time::Now;
use crate::visitor::User;

const CREDENTIAL_BY_EMAIL: &str = concat!(
    "SELECT ",
    user_columns!(),
    r#", "account"."password" AS "account.password"
    FROM "user"
    LEFT JOIN "account" ON "account"."userId" = "user"."id" AND "account"."providerId" = 'credential'
    WHERE "user"."email" = $1"#
);

impl Store {
    /// The user with this address (in its canonical form) and the hash of the password; no hash if
    /// the user signs in by other ways only.
    pub async fn credential_by_email(&self, email: &str) -> Result<Option<(User, Option<String>)>, Fault> {
        let row = on!(&self.read, pool => sqlx::query(CREDENTIAL_BY_EMAIL)
            .bind(email)
            .fetch_optional(pool)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading a credential"))?;
        let Some(row) = row else { return Ok(None) };
        let user = user_of(&row)?;
        let hash = row.text("account.password", &format!("of user {}", user.id))?;
        Ok(Some((user, hash)))
    }
}

const ACCOUNT_INSERT_CREDENTIAL: &str = r#"
    INSERT INTO "account" ("id", "accountId", "providerId", "userId", "password", "createdAt", "updatedAt")
    VALUES ($1, $2, 'credential', $2, $3, $4, $4)"#;

/// For tables that better-auth 1.7.0 to 1.7.2 left behind: `issuer` may be NOT NULL there, and this
/// is what those versions wrote.
const ACCOUNT_INSERT_CREDENTIAL_WITH_ISSUER: &str = r#"
    INSERT INTO "account"
        ("id", "accountId", "providerId", "issuer", "userId", "password", "createdAt", "updatedAt")
    VALUES ($1, $2, 'credential', 'local:credential', $2, $3, $4, $4)"#;

const ACCOUNT_SET_PASSWORD: &str = r#"
    UPDATE "account" SET "password" = $2, "updatedAt" = $3
    WHERE "userId" = $1 AND "providerId" = 'credential'"#;

impl Tx {
    /// Lets a user who has no password yet sign in by one; `hash` is what is kept of it.
    pub async fn account_insert_credential(
        &mut self,
        user: &UserId,
        hash: &str,
        now: Now,
    ) -> Result<(), Fault> {
        let sql = if self.issuer { ACCOUNT_INSERT_CREDENTIAL_WITH_ISSUER } else { ACCOUNT_INSERT_CREDENTIAL };
        on!(&mut self.db, tx => sqlx::query(sql)
            .bind(RowId::random())
            .bind(user)
            .bind(hash)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("adding a credential"))
    }

    /// Replaces the hash of a user's password; false if the user has none.
    pub async fn account_set_password(&mut self, user: &UserId, hash: &str, now: Now) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(ACCOUNT_SET_PASSWORD)
            .bind(user)
            .bind(hash)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() > 0))
        .map_err(fault("changing a password"))
    }
}
