//! The table `sidegate_pending_session`: sign-ins that wait for a code. It holds hashes of tokens and codes.

use crate::error::Fault;
use crate::id::{PendingId, UserId};
use crate::secret::TokenHash;
use crate::store::row::Row;
use crate::store::session_providers::ProviderSession;
use crate::store::users::{user_columns, user_of};
use crate::store::{Store, Tx, fault};
use crate::time::Now;
use crate::visitor::User;

/// A sign-in that waits for its code.
#[derive(Clone, PartialEq, Eq)]
pub struct PendingRow {
    /// Its id.
    pub id: PendingId,
    /// The hash of the token in its cookie.
    pub token: TokenHash,
    /// Who would be signed in.
    pub user: User,
    /// Whether the session will outlive the browser.
    pub remember: bool,
    /// The rules by which the sign-in was unusual.
    pub rules: String,
    /// Where to go afterwards, as it was asked for.
    pub callback_url: Option<String>,
    /// The provider's side of the session, if the sign-in was there.
    pub provider: Option<ProviderSession>,
    /// The keyed hash of the code.
    pub code: String,
    /// When the code ends.
    pub code_expires: Now,
    /// How often this code was guessed at.
    pub tries: i64,
    /// How many codes were sent.
    pub codes: i64,
    /// When the first factor was proved.
    pub created: Now,
    /// When it ends, whatever becomes of its code.
    pub expires: Now,
    /// From which address.
    pub address: Option<String>,
    /// By which browser.
    pub agent: Option<String>,
}

const PENDING_BY_HASH: &str = r#"
    SELECT "id" AS "sidegate_pending_session.id" FROM "sidegate_pending_session"
    WHERE "token" = $1 AND "expiresAt" > $2"#;

impl Store {
    /// The sign-in that waits for its code under this token and has not ended at `now`.
    pub async fn pending_by_hash(&self, token: TokenHash, now: Now) -> Result<Option<PendingId>, Fault> {
        let row = on!(&self.read, pool => sqlx::query(PENDING_BY_HASH)
            .bind(token)
            .bind(now)
            .fetch_optional(pool)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading a pending sign-in"))?;
        row.map(|row| row.get("sidegate_pending_session.id", "?")).transpose()
    }
}

const PENDING_BY_ID: &str = concat!(
    r#"SELECT "p"."id" AS "pending.id", "p"."token" AS "pending.token", "p"."remember" AS "pending.remember",
       "p"."rules" AS "pending.rules", "p"."callbackUrl" AS "pending.callbackUrl",
       "p"."provider" AS "pending.provider", "p"."code" AS "pending.code",
       "p"."codeExpiresAt" AS "pending.codeExpiresAt", "p"."tries" AS "pending.tries",
       "p"."codes" AS "pending.codes", "p"."createdAt" AS "pending.createdAt",
       "p"."expiresAt" AS "pending.expiresAt", "p"."address" AS "pending.address",
       "p"."userAgent" AS "pending.userAgent", "#,
    user_columns!(),
    r#" FROM "sidegate_pending_session" AS "p" JOIN "user" ON "user"."id" = "p"."userId"
       WHERE "p"."id" = $1 AND "p"."expiresAt" > $2"#
);

fn pending_of(row: &Row) -> Result<PendingRow, Fault> {
    let id = row.name("pending.id");
    Ok(PendingRow {
        id: row.get("pending.id", &id)?,
        token: row.get("pending.token", &id)?,
        user: user_of(row)?,
        remember: row.get("pending.remember", &id)?,
        rules: row.get("pending.rules", &id)?,
        callback_url: row.text("pending.callbackUrl", &id)?,
        provider: provider_of(row, &id)?,
        code: row.get("pending.code", &id)?,
        code_expires: row.get("pending.codeExpiresAt", &id)?,
        tries: row.get("pending.tries", &id)?,
        codes: row.get("pending.codes", &id)?,
        created: row.get("pending.createdAt", &id)?,
        expires: row.get("pending.expiresAt", &id)?,
        address: row.text("pending.address", &id)?,
        agent: row.text("pending.userAgent", &id)?,
    })
}

fn provider_of(row: &Row, id: &str) -> Result<Option<ProviderSession>, Fault> {
    let unreadable = |error| Fault::new("reading a row", format!("pending.provider of row {id:?}: {error}"));
    let provider = row.text("pending.provider", id)?;
    provider.map(|text| serde_json::from_str(&text)).transpose().map_err(unreadable)
}

const PENDING_INSERT: &str = r#"
    INSERT INTO "sidegate_pending_session"
        ("id", "token", "userId", "remember", "rules", "callbackUrl", "provider", "code", "codeExpiresAt", "tries",
         "codes", "createdAt", "expiresAt", "address", "userAgent")
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"#;

/// The count is part of the condition: guesses at the same moment are counted one after the other.
const PENDING_TRY: &str = r#"
    UPDATE "sidegate_pending_session" SET "tries" = "tries" + 1
    WHERE "id" = $1 AND "tries" < $3 AND "codeExpiresAt" > $2 AND "expiresAt" > $2"#;

const PENDING_SET_CODE: &str = r#"
    UPDATE "sidegate_pending_session" SET "code" = $2, "codeExpiresAt" = $3, "tries" = 0, "codes" = "codes" + 1
    WHERE "id" = $1 AND "expiresAt" > $4"#;

const PENDING_VOID_CODE: &str = r#"
    UPDATE "sidegate_pending_session" SET "codeExpiresAt" = $2 WHERE "id" = $1 AND "codeExpiresAt" > $2"#;

const PENDING_DELETE: &str = r#"DELETE FROM "sidegate_pending_session" WHERE "id" = $1"#;

const PENDING_DELETE_BY_HASH: &str = r#"DELETE FROM "sidegate_pending_session" WHERE "token" = $1"#;

const PENDINGS_DELETE_OF_USER: &str = r#"DELETE FROM "sidegate_pending_session" WHERE "userId" = $1"#;

/// Few sign-ins wait, and fewer came from a provider; what of it is meant is not told apart here.
const PENDINGS_OF_PROVIDERS: &str = r#"
    SELECT "id" AS "pending.id", "provider" AS "pending.provider" FROM "sidegate_pending_session"
    WHERE "provider" LIKE $1 ESCAPE '!'"#;

const PENDINGS_DELETE_EXPIRED: &str = r#"
    DELETE FROM "sidegate_pending_session" WHERE "id" IN
        (SELECT "id" FROM "sidegate_pending_session" WHERE "expiresAt" <= $1 ORDER BY "expiresAt" LIMIT $2)"#;

impl Tx {
    /// Stores a sign-in that waits for its code.
    pub async fn pending_insert(&mut self, pending: &PendingRow) -> Result<(), Fault> {
        let provider = pending.provider.as_ref().map(serde_json::to_string).transpose();
        let provider = provider.map_err(|error| Fault::new("storing a pending sign-in", error))?;
        on!(&mut self.db, tx => sqlx::query(PENDING_INSERT)
            .bind(&pending.id)
            .bind(pending.token)
            .bind(&pending.user.id)
            .bind(pending.remember)
            .bind(&pending.rules)
            .bind(&pending.callback_url)
            .bind(&provider)
            .bind(&pending.code)
            .bind(pending.code_expires)
            .bind(pending.tries)
            .bind(pending.codes)
            .bind(pending.created)
            .bind(pending.expires)
            .bind(&pending.address)
            .bind(&pending.agent)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("storing a pending sign-in"))
    }

    /// The pending sign-in with its user, if it has not ended at `now`.
    pub async fn pending_by_id(&mut self, id: &PendingId, now: Now) -> Result<Option<PendingRow>, Fault> {
        let row = on!(&mut self.db, tx => sqlx::query(PENDING_BY_ID)
            .bind(id)
            .bind(now)
            .fetch_optional(&mut **tx)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading a pending sign-in"))?;
        row.as_ref().map(pending_of).transpose()
    }

    /// Spends one try of a code; false if it has none left, or has ended. Until this transaction ends, others
    /// that guess at the same code wait.
    pub async fn pending_try(&mut self, id: &PendingId, now: Now, most: i64) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(PENDING_TRY)
            .bind(id)
            .bind(now)
            .bind(most)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("counting a try of a code"))
    }

    /// Gives a pending sign-in another code with all its tries; false if it has ended.
    pub async fn pending_set_code(
        &mut self,
        id: &PendingId,
        code: &str,
        code_expires: Now,
        now: Now,
    ) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(PENDING_SET_CODE)
            .bind(id)
            .bind(code)
            .bind(code_expires)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("changing a code"))
    }

    /// Makes a code end now.
    pub async fn pending_void_code(&mut self, id: &PendingId, now: Now) -> Result<(), Fault> {
        on!(&mut self.db, tx => sqlx::query(PENDING_VOID_CODE)
            .bind(id)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("ending a code"))
    }

    /// Ends a pending sign-in; false if it was not there any more.
    pub async fn pending_delete(&mut self, id: &PendingId) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(PENDING_DELETE)
            .bind(id)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("ending a pending sign-in"))
    }

    /// Ends the pending sign-in with this token.
    pub async fn pending_delete_by_hash(&mut self, token: TokenHash) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(PENDING_DELETE_BY_HASH)
            .bind(token)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("ending a pending sign-in"))
    }

    /// Ends all pending sign-ins of a user, and returns how many.
    pub async fn pendings_delete_of_user(&mut self, user: &UserId) -> Result<u64, Fault> {
        on!(&mut self.db, tx => sqlx::query(PENDINGS_DELETE_OF_USER)
            .bind(user)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))
        .map_err(fault("ending pending sign-ins"))
    }

    /// Ends the pending sign-ins that began at a provider which now wants them ended, as
    /// [`Tx::sessions_delete_of_provider`] does with sessions.
    pub async fn pendings_delete_of_provider(
        &mut self,
        provider: &str,
        issuer: &str,
        subject: Option<&str>,
        sid: Option<&str>,
    ) -> Result<(), Fault> {
        let Some(name) = sid.or(subject) else { return Ok(()) };
        let quoted =
            serde_json::to_string(name).map_err(|error| Fault::new("ending pending sign-ins", error))?;
        let mut pattern = String::from("%");
        for c in quoted.chars() {
            if matches!(c, '!' | '%' | '_') {
                pattern.push('!');
            }
            pattern.push(c);
        }
        pattern.push('%');
        let rows: Vec<Row> = on!(&mut self.db, tx => sqlx::query(PENDINGS_OF_PROVIDERS)
            .bind(&pattern)
            .fetch_all(&mut **tx)
            .await
            .map(|rows| rows.into_iter().map(Row::from).collect()))
        .map_err(fault("reading pending sign-ins"))?;
        for row in &rows {
            let id: PendingId = row.get("pending.id", "?")?;
            let by = provider_of(row, id.as_str())?;
            let meant = by.is_some_and(|by| {
                by.provider == provider
                    && by.issuer == issuer
                    && subject.is_none_or(|subject| by.subject == subject)
                    && sid.is_none_or(|sid| by.sid.as_deref() == Some(sid))
            });
            if meant {
                self.pending_delete(&id).await?;
            }
        }
        Ok(())
    }

    /// Removes up to `limit` pending sign-ins that have ended at `now`, and returns how many.
    pub async fn pendings_delete_expired(&mut self, now: Now, limit: u32) -> Result<u64, Fault> {
        on!(&mut self.db, tx => sqlx::query(PENDINGS_DELETE_EXPIRED)
            .bind(now)
            .bind(i64::from(limit))
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))
        .map_err(fault("removing expired pending sign-ins"))
    }
}
