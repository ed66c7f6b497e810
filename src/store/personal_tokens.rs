//! The table `sidegate_personal_token`: tokens that users made for their programs, by the hash of each.

use crate::error::Fault;
use crate::id::{RowId, UserId};
use crate::pattern::Pattern;
use crate::secret::TokenHash;
use crate::store::disabled::unless_disabled;
use crate::store::row::Row;
use crate::store::users::{user_columns, user_of};
use crate::store::{Store, Tx, fault};
use crate::time::Now;
use crate::visitor::{Grant, User};

/// A personal access token as it is stored.
pub struct PersonalRow {
    /// Names it to its owner.
    pub id: RowId,
    /// Whose it is.
    pub user: UserId,
    /// Its hash, which is not that of a session's token.
    pub token: TokenHash,
    /// What its owner calls it.
    pub name: String,
    /// The last characters of its text, by which its owner knows it again.
    pub last_four: String,
    /// What it may do.
    pub grant: Grant,
    /// When it was made.
    pub created: Now,
    /// When it ends.
    pub expires: Now,
    /// When it was used, to within an hour or so.
    pub used: Option<Now>,
}

/// The columns that [`personal_of`] reads.
macro_rules! personal_columns {
    () => {
        r#""sidegate_personal_token"."id" AS "personal_token.id",
           "sidegate_personal_token"."userId" AS "personal_token.userId",
           "sidegate_personal_token"."token" AS "personal_token.token",
           "sidegate_personal_token"."name" AS "personal_token.name",
           "sidegate_personal_token"."lastFour" AS "personal_token.lastFour",
           "sidegate_personal_token"."paths" AS "personal_token.paths",
           "sidegate_personal_token"."readOnly" AS "personal_token.readOnly",
           "sidegate_personal_token"."createdAt" AS "personal_token.createdAt",
           "sidegate_personal_token"."expiresAt" AS "personal_token.expiresAt",
           "sidegate_personal_token"."usedAt" AS "personal_token.usedAt""#
    };
}

fn personal_of(row: &Row) -> Result<PersonalRow, Fault> {
    let id = row.name("personal_token.id");
    // A limit that cannot be read is no reason to do without.
    let paths = row.get::<Option<String>>("personal_token.paths", &id)?;
    let paths = paths.map(|paths| {
        paths.split(' ').map(Pattern::parse).collect::<Result<Vec<_>, _>>().map_err(|problem| {
            Fault::new("reading a row", format!("personal_token.paths of row {id:?} {problem}"))
        })
    });
    Ok(PersonalRow {
        user: row.get("personal_token.userId", &id)?,
        token: row.get("personal_token.token", &id)?,
        name: row.get("personal_token.name", &id)?,
        last_four: row.get("personal_token.lastFour", &id)?,
        grant: Grant { paths: paths.transpose()?, read_only: row.get("personal_token.readOnly", &id)? },
        created: row.get("personal_token.createdAt", &id)?,
        expires: row.get("personal_token.expiresAt", &id)?,
        used: row.get("personal_token.usedAt", &id)?,
        id: row.get("personal_token.id", &id)?,
    })
}

const PERSONAL_TOKEN_BY_HASH: &str = concat!(
    "SELECT ",
    personal_columns!(),
    ", ",
    user_columns!(),
    r#" FROM "sidegate_personal_token" JOIN "user" ON "user"."id" = "sidegate_personal_token"."userId"
    WHERE "sidegate_personal_token"."token" = $1"#,
    unless_disabled!()
);

const PERSONAL_TOKENS_OF_USER: &str = concat!(
    "SELECT ",
    personal_columns!(),
    r#" FROM "sidegate_personal_token" WHERE "userId" = $1 AND "expiresAt" > $2
    ORDER BY "createdAt" DESC, "id""#
);

impl Store {
    /// The personal access token with this hash, whether it has expired or not, and its owner.
    pub async fn personal_token_by_hash(
        &self,
        token: TokenHash,
    ) -> Result<Option<(PersonalRow, User)>, Fault> {
        let row = on!(&self.read, pool => sqlx::query(PERSONAL_TOKEN_BY_HASH)
            .bind(token)
            .fetch_optional(pool)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading a personal access token"))?;
        row.map(|row| Ok((personal_of(&row)?, user_of(&row)?))).transpose()
    }

    /// A user's tokens that have not expired at `now`, newest first.
    pub async fn personal_tokens_of_user(&self, user: &UserId, now: Now) -> Result<Vec<PersonalRow>, Fault> {
        let rows: Vec<Row> = on!(&self.read, pool => sqlx::query(PERSONAL_TOKENS_OF_USER)
            .bind(user)
            .bind(now)
            .fetch_all(pool)
            .await
            .map(|rows| rows.into_iter().map(Row::from).collect()))
        .map_err(fault("listing personal access tokens"))?;
        rows.iter().map(personal_of).collect()
    }
}

const PERSONAL_TOKEN_INSERT: &str = r#"
    INSERT INTO "sidegate_personal_token"
        ("id", "userId", "token", "name", "lastFour", "paths", "readOnly", "createdAt", "expiresAt", "usedAt")
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"#;

const PERSONAL_TOKENS_COUNT: &str =
    r#"SELECT COUNT(*) FROM "sidegate_personal_token" WHERE "userId" = $1 AND "expiresAt" > $2"#;

const PERSONAL_TOKEN_USED: &str = r#"
    UPDATE "sidegate_personal_token" SET "usedAt" = $2
    WHERE "id" = $1 AND ("usedAt" IS NULL OR "usedAt" <= $3)"#;

const PERSONAL_TOKEN_DELETE: &str = r#"
    DELETE FROM "sidegate_personal_token" WHERE "id" = $2 AND "userId" = $1
    RETURNING "token" AS "personal_token.token""#;

const PERSONAL_TOKENS_DELETE_OF_USER: &str = r#"
    DELETE FROM "sidegate_personal_token" WHERE "userId" = $1
    RETURNING "token" AS "personal_token.token""#;

const PERSONAL_TOKENS_DELETE_EXPIRED: &str = r#"
    DELETE FROM "sidegate_personal_token" WHERE "id" IN
        (SELECT "id" FROM "sidegate_personal_token" WHERE "expiresAt" <= $1 ORDER BY "expiresAt" LIMIT $2)"#;

impl Tx {
    /// Adds a token of a user who is stored.
    pub async fn personal_token_insert(&mut self, token: &PersonalRow) -> Result<(), Fault> {
        let paths = token
            .grant
            .paths
            .as_ref()
            .map(|paths| paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        on!(&mut self.db, tx => sqlx::query(PERSONAL_TOKEN_INSERT)
            .bind(&token.id)
            .bind(&token.user)
            .bind(token.token)
            .bind(&token.name)
            .bind(&token.last_four)
            .bind(&paths)
            .bind(token.grant.read_only)
            .bind(token.created)
            .bind(token.expires)
            .bind(token.used)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("adding a personal access token"))
    }

    /// How many tokens a user has that have not expired at `now`.
    pub async fn personal_tokens_count(&mut self, user: &UserId, now: Now) -> Result<i64, Fault> {
        on!(&mut self.db, tx => sqlx::query_scalar(PERSONAL_TOKENS_COUNT)
            .bind(user)
            .bind(now)
            .fetch_one(&mut **tx)
            .await)
        .map_err(fault("counting personal access tokens"))
    }

    /// Notes that a token is used, unless that was noted after `before`; false if it was.
    pub async fn personal_token_used(&mut self, id: &RowId, now: Now, before: Now) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(PERSONAL_TOKEN_USED)
            .bind(id)
            .bind(now)
            .bind(before)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("noting the use of a personal access token"))
    }

    /// Ends one of a user's tokens, and returns its hash; `None` if this user has no such token.
    pub async fn personal_token_delete(
        &mut self,
        user: &UserId,
        id: &RowId,
    ) -> Result<Option<TokenHash>, Fault> {
        let row = on!(&mut self.db, tx => sqlx::query(PERSONAL_TOKEN_DELETE)
            .bind(user)
            .bind(id)
            .fetch_optional(&mut **tx)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("ending a personal access token"))?;
        let Some(row) = row else { return Ok(None) };
        let token = row.get("personal_token.token", id.as_str())?;
        self.tell_ended(&[token]).await?;
        Ok(Some(token))
    }

    /// Ends all of a user's tokens, and returns their hashes.
    pub async fn personal_tokens_delete_of_user(&mut self, user: &UserId) -> Result<Vec<TokenHash>, Fault> {
        let rows: Vec<Row> = on!(&mut self.db, tx => sqlx::query(PERSONAL_TOKENS_DELETE_OF_USER)
            .bind(user)
            .fetch_all(&mut **tx)
            .await
            .map(|rows| rows.into_iter().map(Row::from).collect()))
        .map_err(fault("ending personal access tokens"))?;
        let tokens: Vec<_> =
            rows.iter().map(|row| row.get("personal_token.token", "?")).collect::<Result<_, _>>()?;
        self.tell_ended(&tokens).await?;
        Ok(tokens)
    }

    /// Removes up to `limit` tokens that have expired at `now`, and returns how many. No replica needs to be
    /// told: every copy of them has expired too.
    pub async fn personal_tokens_delete_expired(&mut self, now: Now, limit: u32) -> Result<u64, Fault> {
        on!(&mut self.db, tx => sqlx::query(PERSONAL_TOKENS_DELETE_EXPIRED)
            .bind(now)
            .bind(i64::from(limit))
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))
        .map_err(fault("removing expired personal access tokens"))
    }
}
