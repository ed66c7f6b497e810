//! The tables `sidegate_session_provider` and `sidegate_logout_token`: which sessions a provider opened, and
//! what it said of their end.

use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::id::{SessionId, UserId};
use crate::secret::TokenHash;
use crate::store::row::Row;
use crate::store::{Tx, fault};
use crate::time::Now;

/// The provider's side of a session.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderSession {
    /// The provider, by the id that it was configured with.
    pub provider: String,
    /// What it calls itself.
    pub issuer: String,
    /// What it calls the user.
    pub subject: String,
    /// What it calls its own session with the user.
    pub sid: Option<String>,
    /// The ID token with which the session was opened, sealed.
    pub id_token: Option<String>,
}

const SESSION_PROVIDER_INSERT: &str = r#"
    INSERT INTO "sidegate_session_provider" ("sessionId", "providerId", "issuer", "subject", "sid", "idToken")
    VALUES ($1, $2, $3, $4, $5, $6)"#;

const SESSION_PROVIDER: &str = r#"
    SELECT "providerId" AS "by.providerId", "issuer" AS "by.issuer", "subject" AS "by.subject", "sid" AS "by.sid",
           "idToken" AS "by.idToken"
    FROM "sidegate_session_provider" WHERE "sessionId" = $1"#;

const SESSIONS_DELETE_OF_PROVIDER_BY_SID: &str = r#"
    DELETE FROM "session" WHERE "id" IN
        (SELECT "sessionId" FROM "sidegate_session_provider"
         WHERE "providerId" = $1 AND "issuer" = $2 AND "sid" = $3 AND ($4 IS NULL OR "subject" = $4))
    RETURNING "token" AS "session.token", "userId" AS "session.userId""#;

const SESSIONS_DELETE_OF_PROVIDER_BY_SUBJECT: &str = r#"
    DELETE FROM "session" WHERE "id" IN
        (SELECT "sessionId" FROM "sidegate_session_provider"
         WHERE "providerId" = $1 AND "issuer" = $2 AND "subject" = $3)
    RETURNING "token" AS "session.token", "userId" AS "session.userId""#;

const SESSIONS_DELETE_OF_WAY: &str = r#"
    DELETE FROM "session" WHERE "userId" = $1 AND "id" <> $2 AND "id" IN
        (SELECT "sessionId" FROM "sidegate_session_provider" WHERE "providerId" = $3 AND "subject" = $4)
    RETURNING "token" AS "session.token""#;

const LOGOUT_TOKEN_INSERT: &str = r#"
    INSERT INTO "sidegate_logout_token" ("token", "expiresAt") VALUES ($1, $2)
    ON CONFLICT ("token") DO NOTHING"#;

const LOGOUT_TOKENS_DELETE_EXPIRED: &str = r#"
    DELETE FROM "sidegate_logout_token" WHERE "token" IN
        (SELECT "token" FROM "sidegate_logout_token" WHERE "expiresAt" <= $1 ORDER BY "expiresAt" LIMIT $2)"#;

impl Tx {
    /// Notes which provider opened a session that is stored.
    pub async fn session_provider_insert(
        &mut self,
        session: &SessionId,
        by: &ProviderSession,
    ) -> Result<(), Fault> {
        on!(&mut self.db, tx => sqlx::query(SESSION_PROVIDER_INSERT)
            .bind(session)
            .bind(&by.provider)
            .bind(&by.issuer)
            .bind(&by.subject)
            .bind(&by.sid)
            .bind(&by.id_token)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("storing the provider of a session"))
    }

    /// Which provider opened a session, for the transaction that ends it.
    pub async fn session_provider(&mut self, session: &SessionId) -> Result<Option<ProviderSession>, Fault> {
        let row = on!(&mut self.db, tx => sqlx::query(SESSION_PROVIDER)
            .bind(session)
            .fetch_optional(&mut **tx)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading the provider of a session"))?;
        let Some(row) = row else { return Ok(None) };
        let id = session.as_str();
        Ok(Some(ProviderSession {
            provider: row.get("by.providerId", id)?,
            issuer: row.get("by.issuer", id)?,
            subject: row.get("by.subject", id)?,
            sid: row.get("by.sid", id)?,
            id_token: row.get("by.idToken", id)?,
        }))
    }

    /// Ends the sessions of a user that a provider opened for its `subject`, `except` one. Returns the hashes of
    /// their tokens.
    pub async fn sessions_delete_of_way(
        &mut self,
        user: &UserId,
        except: &SessionId,
        (provider, subject): (&str, &str),
    ) -> Result<Vec<TokenHash>, Fault> {
        let rows: Vec<Row> = on!(&mut self.db, tx => sqlx::query(SESSIONS_DELETE_OF_WAY)
            .bind(user)
            .bind(except)
            .bind(provider)
            .bind(subject)
            .fetch_all(&mut **tx)
            .await
            .map(|rows| rows.into_iter().map(Row::from).collect()))
        .map_err(fault("ending the sessions of a provider"))?;
        let tokens: Vec<_> =
            rows.iter().filter_map(|row| TokenHash::from_column(&row.name("session.token"))).collect();
        self.tell_ended(&tokens).await?;
        Ok(tokens)
    }

    /// Ends the sessions that a provider opened and now wants ended: those of its session `sid` if it names
    /// one, else all of its user `subject` (OpenID Connect Back-Channel Logout 1.0 §2.7). Returns the hashes
    /// of their tokens and whose they were.
    pub async fn sessions_delete_of_provider(
        &mut self,
        provider: &str,
        issuer: &str,
        subject: Option<&str>,
        sid: Option<&str>,
    ) -> Result<Vec<(TokenHash, UserId)>, Fault> {
        let rows: Vec<Row> = match (sid, subject) {
            (Some(sid), subject) => {
                on!(&mut self.db, tx => sqlx::query(SESSIONS_DELETE_OF_PROVIDER_BY_SID)
                    .bind(provider)
                    .bind(issuer)
                    .bind(sid)
                    .bind(subject)
                    .fetch_all(&mut **tx)
                    .await
                    .map(|rows| rows.into_iter().map(Row::from).collect()))
            }
            (None, Some(subject)) => {
                on!(&mut self.db, tx => sqlx::query(SESSIONS_DELETE_OF_PROVIDER_BY_SUBJECT)
                    .bind(provider)
                    .bind(issuer)
                    .bind(subject)
                    .fetch_all(&mut **tx)
                    .await
                    .map(|rows| rows.into_iter().map(Row::from).collect()))
            }
            (None, None) => Ok(Vec::new()),
        }
        .map_err(fault("ending the sessions of a provider"))?;
        let mut ended = Vec::with_capacity(rows.len());
        for row in &rows {
            ended.push((row.get("session.token", "?")?, row.get("session.userId", "?")?));
        }
        let tokens: Vec<TokenHash> = ended.iter().map(|(token, _)| *token).collect();
        self.tell_ended(&tokens).await?;
        Ok(ended)
    }

    /// Remembers a logout token until it has expired; false if it was seen before. `token` is a keyed hash of
    /// its issuer and `jti`.
    pub async fn logout_token_insert(&mut self, token: TokenHash, expires: Now) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(LOGOUT_TOKEN_INSERT)
            .bind(token)
            .bind(expires)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("remembering a logout token"))
    }

    /// Forgets up to `limit` logout tokens that have expired at `now`, and returns how many.
    pub async fn logout_tokens_delete_expired(&mut self, now: Now, limit: u32) -> Result<u64, Fault> {
        on!(&mut self.db, tx => sqlx::query(LOGOUT_TOKENS_DELETE_EXPIRED)
            .bind(now)
            .bind(i64::from(limit))
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))
        .map_err(fault("forgetting logout tokens"))
    }
}
