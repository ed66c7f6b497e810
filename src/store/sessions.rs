//! The table `session`: it holds hashes of tokens, never a token.

use crate::error::Fault;
use crate::id::{SessionId, UserId};
use crate::secret::TokenHash;
use crate::store::disabled::unless_disabled;
use crate::store::row::Row;
use crate::store::users::{user_columns, user_of};
use crate::store::{Db, Store, Tx, fault};
use crate::time::Now;
use crate::visitor::User;

/// The channel on which PostgreSQL tells every replica which sessions were ended. A payload is one
/// or more token hashes as `session.token` has them, with spaces between.
pub(super) const ENDED_CHANNEL: &str = "sidegate_session_ended";

/// Hashes in one payload, which PostgreSQL limits to 8000 bytes.
const ENDED_AT_ONCE: usize = 150;

/// A session as it is stored, with its user.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// The public handle.
    pub id: SessionId,
    /// The hash of its token.
    pub token: TokenHash,
    /// Whose it is.
    pub user: User,
    /// When it was opened.
    pub opened: Now,
    /// When it was last renewed.
    pub renewed: Now,
    /// When it ends if it is not renewed.
    pub expires: Now,
    /// Whether it outlives the browser and slides with use.
    pub remember: bool,
    /// From which address it was opened.
    pub address: Option<String>,
    /// By which browser it was opened.
    pub agent: Option<String>,
}

/// The columns that [`session_of`] reads.
macro_rules! session_columns {
    () => {
        concat!(
            r#""session"."id" AS "session.id", "session"."token" AS "session.token",
               "session"."createdAt" AS "session.createdAt", "session"."updatedAt" AS "session.updatedAt",
               "session"."expiresAt" AS "session.expiresAt",
               "session"."sidegateRemember" AS "session.sidegateRemember",
               "session"."ipAddress" AS "session.ipAddress", "session"."userAgent" AS "session.userAgent", "#,
            user_columns!(),
            r#" FROM "session" JOIN "user" ON "user"."id" = "session"."userId" "#
        )
    };
}

fn session_of(row: &Row) -> Result<SessionRow, Fault> {
    let id = row.name("session.id");
    Ok(SessionRow {
        id: row.get("session.id", &id)?,
        token: row.get("session.token", &id)?,
        user: user_of(row)?,
        opened: row.get("session.createdAt", &id)?,
        renewed: row.get("session.updatedAt", &id)?,
        expires: row.get("session.expiresAt", &id)?,
        remember: row.get::<Option<bool>>("session.sidegateRemember", &id)?.unwrap_or(false),
        address: row.text("session.ipAddress", &id)?,
        agent: row.text("session.userAgent", &id)?,
    })
}

const SESSION_BY_HASH: &str =
    concat!("SELECT ", session_columns!(), r#"WHERE "session"."token" = $1"#, unless_disabled!());

const SESSION_BY_ID: &str = concat!(
    "SELECT ",
    session_columns!(),
    r#"WHERE "session"."id" = $1 AND length("session"."token") = 43"#,
    unless_disabled!()
);

/// Rows that better-auth wrote hold a token in clear (32 characters) and open nothing here, so they
/// are not listed; a hash has 43.
const SESSIONS_OF_USER: &str = concat!(
    "SELECT ",
    session_columns!(),
    r#"WHERE "session"."userId" = $1 AND "session"."expiresAt" > $2 AND length("session"."token") = 43
       ORDER BY "session"."createdAt" DESC, "session"."id""#
);

/// Those that open something; see [`SESSIONS_OF_USER`].
const SESSIONS_ACTIVE: &str =
    r#"SELECT COUNT(*) FROM "session" WHERE "expiresAt" > $1 AND length("token") = 43"#;

impl Store {
    /// How many sessions have not expired at `now`.
    pub async fn sessions_active(&self, now: Now) -> Result<u64, Fault> {
        let count: i64 =
            on!(&self.read, pool => sqlx::query_scalar(SESSIONS_ACTIVE).bind(now).fetch_one(pool).await)
                .map_err(fault("counting sessions"))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The session with this token, whether it has expired or not; none of a disabled user.
    pub async fn session_by_hash(&self, token: TokenHash) -> Result<Option<SessionRow>, Fault> {
        let row = on!(&self.read, pool => sqlx::query(SESSION_BY_HASH)
            .bind(token)
            .fetch_optional(pool)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading a session"))?;
        row.as_ref().map(session_of).transpose()
    }

    /// The session with this public handle, whether it has expired or not; none of a disabled user.
    pub async fn session_by_id(&self, id: &SessionId) -> Result<Option<SessionRow>, Fault> {
        let row = on!(&self.read, pool => sqlx::query(SESSION_BY_ID)
            .bind(id)
            .fetch_optional(pool)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading a session"))?;
        row.as_ref().map(session_of).transpose()
    }

    /// A user's sessions that have not expired at `now`, newest first.
    pub async fn sessions_of_user(&self, user: &UserId, now: Now) -> Result<Vec<SessionRow>, Fault> {
        let rows: Vec<Row> = on!(&self.read, pool => sqlx::query(SESSIONS_OF_USER)
            .bind(user)
            .bind(now)
            .fetch_all(pool)
            .await
            .map(|rows| rows.into_iter().map(Row::from).collect()))
        .map_err(fault("listing sessions"))?;
        rows.iter().map(session_of).collect()
    }
}

const SESSION_INSERT: &str = r#"
    INSERT INTO "session" ("id", "token", "userId", "createdAt", "updatedAt", "expiresAt",
                           "sidegateRemember", "ipAddress", "userAgent")
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"#;

const SESSION_RENEW: &str = r#"
    UPDATE "session" SET "updatedAt" = $3, "expiresAt" = $4
    WHERE "id" = $1 AND "updatedAt" = $2 AND "expiresAt" > $3"#;

const SESSION_SET_TOKEN: &str = r#"UPDATE "session" SET "token" = $2 WHERE "token" = $1"#;

/// PostgreSQL locks a row that is updated, with whatever.
const SESSION_HOLD: &str = r#"
    UPDATE "session" SET "updatedAt" = "updatedAt" WHERE "userId" = $1 AND "id" = $2 AND "expiresAt" > $3"#;

const SESSION_TOUCH: &str =
    r#"UPDATE "session" SET "updatedAt" = $2, "expiresAt" = $3 WHERE "id" = $1 AND "expiresAt" > $2"#;

const SESSION_DELETE: &str = r#"DELETE FROM "session" WHERE "token" = $1"#;

const SESSION_DELETE_BY_ID: &str = r#"
    DELETE FROM "session" WHERE "id" = $2 AND "userId" = $1 AND length("token") = 43
    RETURNING "token" AS "session.token""#;

const SESSIONS_DELETE_OF_USER: &str = r#"
    DELETE FROM "session" WHERE "userId" = $1 AND ($2 IS NULL OR "id" <> $2)
    RETURNING "token" AS "session.token""#;

const SESSION_LIVES: &str = r#"
    SELECT EXISTS (SELECT 1 FROM "session" WHERE "userId" = $1 AND "id" = $2 AND "expiresAt" > $3)"#;

/// The condition stands twice: PostgreSQL asks the outer one again if a renewal came between.
const SESSIONS_DELETE_EXPIRED: &str = r#"
    DELETE FROM "session" WHERE "expiresAt" <= $1 AND "id" IN
        (SELECT "id" FROM "session" WHERE "expiresAt" <= $1 ORDER BY "expiresAt" LIMIT $2)"#;

impl Tx {
    /// Stores a new session of a user who is stored.
    pub async fn session_insert(&mut self, session: &SessionRow) -> Result<(), Fault> {
        on!(&mut self.db, tx => sqlx::query(SESSION_INSERT)
            .bind(&session.id)
            .bind(session.token)
            .bind(&session.user.id)
            .bind(session.opened)
            .bind(session.renewed)
            .bind(session.expires)
            .bind(session.remember)
            .bind(&session.address)
            .bind(&session.agent)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("storing a session"))
    }

    /// Moves the end of a session, once: false if it was renewed since `seen`, has expired or is gone.
    pub async fn session_renew(
        &mut self,
        id: &SessionId,
        seen: Now,
        now: Now,
        expires: Now,
    ) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(SESSION_RENEW)
            .bind(id)
            .bind(seen)
            .bind(now)
            .bind(expires)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("renewing a session"))
    }

    /// Gives a session another token, so that the earlier one opens nothing; false if there is no such
    /// session.
    pub async fn session_set_token(&mut self, earlier: TokenHash, token: TokenHash) -> Result<bool, Fault> {
        let changed = on!(&mut self.db, tx => sqlx::query(SESSION_SET_TOKEN)
            .bind(earlier)
            .bind(token)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("changing the token of a session"))?;
        if changed {
            self.tell_ended(&[earlier]).await?;
        }
        Ok(changed)
    }

    /// Whether a user's session is there and has not expired at `now`, for a change that it asks for: a copy in
    /// memory may have been overtaken.
    pub async fn session_lives(&mut self, user: &UserId, id: &SessionId, now: Now) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query_scalar(SESSION_LIVES)
            .bind(user)
            .bind(id)
            .bind(now)
            .fetch_one(&mut **tx)
            .await)
        .map_err(fault("looking for a session"))
    }

    /// Like [`Self::session_lives`], and nobody ends the session before this transaction ends.
    pub async fn session_hold(&mut self, user: &UserId, id: &SessionId, now: Now) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(SESSION_HOLD)
            .bind(user)
            .bind(id)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("holding a session"))
    }

    /// Moves the end of a session, whenever that was done last: false if it has expired or is gone. Until this
    /// transaction ends, nobody else changes the session.
    pub async fn session_touch(&mut self, id: &SessionId, now: Now, expires: Now) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(SESSION_TOUCH)
            .bind(id)
            .bind(now)
            .bind(expires)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("renewing a session"))
    }

    /// Ends the session with this token; false if there is none.
    pub async fn session_delete(&mut self, token: TokenHash) -> Result<bool, Fault> {
        let ended = on!(&mut self.db, tx => sqlx::query(SESSION_DELETE)
            .bind(token)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("ending a session"))?;
        if ended {
            self.tell_ended(&[token]).await?;
        }
        Ok(ended)
    }

    /// Ends one of a user's sessions, and returns the hash of its token; `None` if this user has no such
    /// session.
    pub async fn session_delete_by_id(
        &mut self,
        user: &UserId,
        id: &SessionId,
    ) -> Result<Option<TokenHash>, Fault> {
        let row = on!(&mut self.db, tx => sqlx::query(SESSION_DELETE_BY_ID)
            .bind(user)
            .bind(id)
            .fetch_optional(&mut **tx)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("ending a session"))?;
        let Some(row) = row else { return Ok(None) };
        let token = row.get("session.token", id.as_str())?;
        self.tell_ended(&[token]).await?;
        Ok(Some(token))
    }

    /// Ends all sessions of a user, those that better-auth opened too, `except` one. Returns the
    /// hashes of our tokens among them.
    pub async fn sessions_delete_of_user(
        &mut self,
        user: &UserId,
        except: Option<&SessionId>,
    ) -> Result<Vec<TokenHash>, Fault> {
        let rows: Vec<Row> = on!(&mut self.db, tx => sqlx::query(SESSIONS_DELETE_OF_USER)
            .bind(user)
            .bind(except)
            .fetch_all(&mut **tx)
            .await
            .map(|rows| rows.into_iter().map(Row::from).collect()))
        .map_err(fault("ending sessions"))?;
        let tokens: Vec<_> =
            rows.iter().filter_map(|row| TokenHash::from_column(&row.name("session.token"))).collect();
        self.tell_ended(&tokens).await?;
        Ok(tokens)
    }

    /// Removes up to `limit` sessions that have expired at `now`, the longest expired first, and
    /// returns how many. No replica needs to be told: every copy of them has expired too.
    pub async fn sessions_delete_expired(&mut self, now: Now, limit: u32) -> Result<u64, Fault> {
        on!(&mut self.db, tx => sqlx::query(SESSIONS_DELETE_EXPIRED)
            .bind(now)
            .bind(i64::from(limit))
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))
        .map_err(fault("removing expired sessions"))
    }

    /// Tells the other replicas, when this transaction commits. SQLite has none.
    pub(super) async fn tell_ended(&mut self, tokens: &[TokenHash]) -> Result<(), Fault> {
        let Db::Postgres(tx) = &mut self.db else { return Ok(()) };
        for tokens in tokens.chunks(ENDED_AT_ONCE) {
            let payload: Vec<_> = tokens.iter().map(|token| token.to_column()).collect();
            sqlx::query("SELECT pg_notify($1, $2)")
                .bind(ENDED_CHANNEL)
                .bind(payload.join(" "))
                .execute(&mut **tx)
                .await
                .map_err(fault("telling that sessions ended"))?;
        }
        Ok(())
    }
}
