//! The rows of the table `account` that belong to providers, and all rows of a user together.

use crate::error::Fault;
use crate::id::{RowId, UserId};
use crate::store::row::Row;
use crate::store::users::{user_columns, user_of};
use crate::store::{Store, Tx, fault};
use crate::time::Now;
use crate::visitor::User;

/// One way in which a user signs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The row.
    pub id: RowId,
    /// The provider, by the id that it was configured with; `credential` for a password.
    pub provider: String,
    /// What the provider calls the user; the user's own id for a password.
    pub subject: String,
    /// Whose it is.
    pub user: UserId,
    /// What the provider granted, separated by commas.
    pub scope: Option<String>,
    /// Whether there is a password.
    pub password: bool,
    /// When it was added.
    pub created: Now,
    /// When it last changed.
    pub updated: Now,
}

/// A user of a provider, to be added to the ways in which a user of ours signs in.
pub struct Identity<'a> {
    /// Whose it is here.
    pub user: &'a UserId,
    /// The provider, by the id that it was configured with.
    pub provider: &'a str,
    /// What the provider calls itself; kept only in tables that have a column for it.
    pub issuer: &'a str,
    /// What the provider calls the user.
    pub subject: &'a str,
    /// What is kept of the provider's tokens.
    pub kept: &'a Kept,
}

/// What is kept of the tokens that a provider gave: nothing, or sealed texts.
#[derive(Default)]
pub struct Kept {
    /// The access token, sealed.
    pub access: Option<String>,
    /// The refresh token, sealed.
    pub refresh: Option<String>,
    /// The ID token, sealed.
    pub id: Option<String>,
    /// When the access token expires.
    pub access_expires: Option<Now>,
    /// What was granted, separated by commas.
    pub scope: Option<String>,
}

const ACCOUNTS_OF_USER: &str = r#"
    SELECT "id" AS "account.id", "providerId" AS "account.providerId", "accountId" AS "account.accountId",
           "userId" AS "account.userId", "scope" AS "account.scope", "password" AS "account.password",
           "createdAt" AS "account.createdAt", "updatedAt" AS "account.updatedAt"
    FROM "account" WHERE "userId" = $1 ORDER BY "createdAt", "id""#;

fn account_of(row: &Row) -> Result<Account, Fault> {
    let id = row.name("account.id");
    Ok(Account {
        id: row.get("account.id", &id)?,
        provider: row.get("account.providerId", &id)?,
        subject: row.get("account.accountId", &id)?,
        user: row.get("account.userId", &id)?,
        scope: row.text("account.scope", &id)?,
        password: row.text("account.password", &id)?.is_some(),
        created: row.get("account.createdAt", &id)?,
        updated: row.get("account.updatedAt", &id)?,
    })
}

impl Store {
    /// All ways in which a user signs in, the oldest first.
    pub async fn accounts_of_user(&self, user: &UserId) -> Result<Vec<Account>, Fault> {
        let rows: Vec<Row> = on!(&self.read, pool => sqlx::query(ACCOUNTS_OF_USER)
            .bind(user)
            .fetch_all(pool)
            .await
            .map(|rows| rows.into_iter().map(Row::from).collect()))
        .map_err(fault("listing accounts"))?;
        rows.iter().map(account_of).collect()
    }
}

const IDENTITY_USER: &str = concat!(
    r#"SELECT "account"."userId" AS "account.userId", "user"."id" AS "found.id", "#,
    user_columns!(),
    r#" FROM "account" LEFT JOIN "user" ON "user"."id" = "account"."userId"
       WHERE "account"."providerId" = $1 AND "account"."accountId" = $2"#
);

const IDENTITY_INSERT: &str = r#"
    INSERT INTO "account" ("id", "providerId", "accountId", "userId", "accessToken", "refreshToken", "idToken",
                           "accessTokenExpiresAt", "scope", "createdAt", "updatedAt")
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
    ON CONFLICT ("providerId", "accountId") DO NOTHING"#;

/// For tables that better-auth 1.7.0 to 1.7.2 left behind: `issuer` may be NOT NULL there.
const IDENTITY_INSERT_WITH_ISSUER: &str = r#"
    INSERT INTO "account" ("id", "providerId", "accountId", "userId", "accessToken", "refreshToken", "idToken",
                           "accessTokenExpiresAt", "scope", "createdAt", "updatedAt", "issuer")
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11)
    ON CONFLICT ("providerId", "accountId") DO NOTHING"#;

/// A refresh token that is not given again stays.
const IDENTITY_SET_TOKENS: &str = r#"
    UPDATE "account" SET "accessToken" = $3, "refreshToken" = COALESCE($4, "refreshToken"), "idToken" = $5,
                         "accessTokenExpiresAt" = $6, "scope" = $7, "updatedAt" = $8
    WHERE "providerId" = $1 AND "accountId" = $2"#;

const IDENTITY_HOLD: &str = r#"
    UPDATE "account" SET "accountId" = $2 WHERE "providerId" = $1 AND "accountId" = $2 AND "userId" = $3"#;

const ACCOUNT_DELETE: &str = r#"DELETE FROM "account" WHERE "userId" = $1 AND "id" = $2"#;

const ACCOUNTS_DELETE_OF_USER: &str = r#"DELETE FROM "account" WHERE "userId" = $1"#;

impl Tx {
    /// Like [`Store::accounts_of_user`], for the transaction that changes them.
    pub async fn accounts_of_user(&mut self, user: &UserId) -> Result<Vec<Account>, Fault> {
        let rows: Vec<Row> = on!(&mut self.db, tx => sqlx::query(ACCOUNTS_OF_USER)
            .bind(user)
            .fetch_all(&mut **tx)
            .await
            .map(|rows| rows.into_iter().map(Row::from).collect()))
        .map_err(fault("listing accounts"))?;
        rows.iter().map(account_of).collect()
    }

    /// Whose identity this is: the user, or `Some(None)` if the account is there and its user is not.
    pub async fn identity_user(
        &mut self,
        provider: &str,
        subject: &str,
    ) -> Result<Option<Option<User>>, Fault> {
        let row = on!(&mut self.db, tx => sqlx::query(IDENTITY_USER)
            .bind(provider)
            .bind(subject)
            .fetch_optional(&mut **tx)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("looking for an identity"))?;
        let Some(row) = row else { return Ok(None) };
        let owner = row.get::<Option<UserId>>("found.id", &row.name("account.userId"))?;
        Ok(Some(owner.map(|_| user_of(&row)).transpose()?))
    }

    /// Whether an identity still is this user's, which it then is until this transaction ends.
    pub async fn identity_hold(
        &mut self,
        provider: &str,
        subject: &str,
        user: &UserId,
    ) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(IDENTITY_HOLD)
            .bind(provider)
            .bind(subject)
            .bind(user)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("looking at an identity once more"))
    }

    /// Adds an identity; false if it belongs to somebody already.
    pub async fn identity_insert(&mut self, identity: &Identity<'_>, now: Now) -> Result<bool, Fault> {
        let sql = if self.issuer { IDENTITY_INSERT_WITH_ISSUER } else { IDENTITY_INSERT };
        let issuer = self.issuer.then_some(identity.issuer);
        let kept = identity.kept;
        on!(&mut self.db, tx => {
            let query = sqlx::query(sql)
                .bind(RowId::random())
                .bind(identity.provider)
                .bind(identity.subject)
                .bind(identity.user)
                .bind(&kept.access)
                .bind(&kept.refresh)
                .bind(&kept.id)
                .bind(kept.access_expires)
                .bind(&kept.scope)
                .bind(now);
            let query = match issuer {
                Some(issuer) => query.bind(issuer),
                None => query,
            };
            query.execute(&mut **tx).await.map(|done| done.rows_affected() == 1)
        })
        .map_err(fault("adding an identity"))
    }

    /// Replaces what is kept of a provider's tokens.
    pub async fn identity_set_tokens(
        &mut self,
        provider: &str,
        subject: &str,
        kept: &Kept,
        now: Now,
    ) -> Result<(), Fault> {
        on!(&mut self.db, tx => sqlx::query(IDENTITY_SET_TOKENS)
            .bind(provider)
            .bind(subject)
            .bind(&kept.access)
            .bind(&kept.refresh)
            .bind(&kept.id)
            .bind(kept.access_expires)
            .bind(&kept.scope)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("keeping the tokens of a provider"))
    }

    /// Removes one way in which a user signs in; false if the user has no such account.
    pub async fn account_delete(&mut self, user: &UserId, id: &RowId) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(ACCOUNT_DELETE)
            .bind(user)
            .bind(id)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("removing an account"))
    }

    /// Removes every way in which a user signs in, the password too, and returns how many there were.
    pub async fn accounts_delete_of_user(&mut self, user: &UserId) -> Result<u64, Fault> {
        on!(&mut self.db, tx => sqlx::query(ACCOUNTS_DELETE_OF_USER)
            .bind(user)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))
        .map_err(fault("removing accounts"))
    }
}
