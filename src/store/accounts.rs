//! The table `account`: the ways in which a user can sign in.

use crate::error::Fault;
use crate::id::{RowId, UserId};
use crate::store::row::Row;
use crate::store::users::{user_columns, user_of};
use crate::store::{Store, Tx, fault};
use crate::time::Now;
use crate::visitor::User;

/// A user with the hash of the password, if there is one.
macro_rules! credential {
    ($where:literal) => {
        concat!(
            "SELECT ",
            user_columns!(),
            r#", "account"."password" AS "account.password"
            FROM "user"
            LEFT JOIN "account" ON "account"."userId" = "user"."id" AND "account"."providerId" = 'credential' "#,
            $where
        )
    };
}

fn credential_of(row: &Row) -> Result<(User, Option<String>), Fault> {
    let user = user_of(row)?;
    let hash = row.text("account.password", &format!("of user {}", user.id))?;
    Ok((user, hash))
}

const CREDENTIAL_BY_EMAIL: &str = credential!(r#"WHERE "user"."email" = $1"#);

const CREDENTIAL_BY_USER: &str = credential!(r#"WHERE "user"."id" = $1"#);

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
        row.as_ref().map(credential_of).transpose()
    }

    /// A user as stored, and the hash of the password if there is one.
    pub async fn credential_by_user(&self, id: &UserId) -> Result<Option<(User, Option<String>)>, Fault> {
        let row = on!(&self.read, pool => sqlx::query(CREDENTIAL_BY_USER)
            .bind(id)
            .fetch_optional(pool)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading a credential"))?;
        row.as_ref().map(credential_of).transpose()
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

const ACCOUNT_CLEAR_PASSWORD: &str = r#"
    UPDATE "account" SET "password" = NULL, "updatedAt" = $2
    WHERE "userId" = $1 AND "providerId" = 'credential'"#;

/// Writes, so that of two transactions the second waits for the first and then sees what it left.
const ACCOUNT_HOLD_PASSWORD: &str = r#"
    UPDATE "account" SET "password" = $2
    WHERE "userId" = $1 AND "providerId" = 'credential' AND "password" = $2"#;

const ACCOUNT_REPLACE_PASSWORD: &str = r#"
    UPDATE "account" SET "password" = $3, "updatedAt" = $4
    WHERE "userId" = $1 AND "providerId" = 'credential' AND "password" = $2"#;

const ACCOUNTS_DELETE_ADDED: &str = r#"
    DELETE FROM "account" WHERE "userId" = $1 AND "providerId" <> 'credential' AND "createdAt" > $2
        AND "createdAt" > (SELECT "createdAt" FROM "user" WHERE "id" = $1)
    RETURNING "providerId" AS "account.providerId""#;

const ACCOUNTS_DELETE_PROVIDERS: &str = r#"
    DELETE FROM "account" WHERE "userId" = $1 AND "providerId" <> 'credential'
    RETURNING "providerId" AS "account.providerId""#;

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

    /// Sets the hash of a user's password, whether there was one or not.
    pub async fn account_set_password(&mut self, user: &UserId, hash: &str, now: Now) -> Result<(), Fault> {
        let replaced = on!(&mut self.db, tx => sqlx::query(ACCOUNT_SET_PASSWORD)
            .bind(user)
            .bind(hash)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() > 0))
        .map_err(fault("changing a password"))?;
        if replaced { Ok(()) } else { self.account_insert_credential(user, hash, now).await }
    }

    /// Takes a user's password away: none signs in from now on.
    pub async fn account_clear_password(&mut self, user: &UserId, now: Now) -> Result<(), Fault> {
        on!(&mut self.db, tx => sqlx::query(ACCOUNT_CLEAR_PASSWORD)
            .bind(user)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("removing a password"))
    }

    /// Replaces the hash of a user's password if it still is `old`; false if it is not.
    pub async fn account_replace_password(
        &mut self,
        user: &UserId,
        old: &str,
        hash: &str,
        now: Now,
    ) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(ACCOUNT_REPLACE_PASSWORD)
            .bind(user)
            .bind(old)
            .bind(hash)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() > 0))
        .map_err(fault("changing a password"))
    }

    /// Whether the hash of a user's password still is this one, which it then is until this transaction ends.
    pub async fn account_hold_password(&mut self, user: &UserId, hash: &str) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(ACCOUNT_HOLD_PASSWORD)
            .bind(user)
            .bind(hash)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() > 0))
        .map_err(fault("looking at a password once more"))
    }

    /// Removes the ways to sign in at a provider that were added to a user after this moment, but for one with which
    /// the user was made; returns the providers' ids.
    pub async fn accounts_delete_added(&mut self, user: &UserId, since: Now) -> Result<Vec<String>, Fault> {
        let rows: Vec<Row> = on!(&mut self.db, tx => sqlx::query(ACCOUNTS_DELETE_ADDED)
            .bind(user)
            .bind(since)
            .fetch_all(&mut **tx)
            .await
            .map(|rows| rows.into_iter().map(Row::from).collect()))
        .map_err(fault("removing accounts"))?;
        Ok(rows.iter().map(|row| row.name("account.providerId")).collect())
    }

    /// Removes every other way than the password in which a user can sign in; returns the providers' ids.
    pub async fn accounts_delete_providers(&mut self, user: &UserId) -> Result<Vec<String>, Fault> {
        let rows: Vec<Row> = on!(&mut self.db, tx => sqlx::query(ACCOUNTS_DELETE_PROVIDERS)
            .bind(user)
            .fetch_all(&mut **tx)
            .await
            .map(|rows| rows.into_iter().map(Row::from).collect()))
        .map_err(fault("removing accounts"))?;
        Ok(rows.iter().map(|row| row.name("account.providerId")).collect())
    }
}
