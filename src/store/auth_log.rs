//! The table `sidegate_auth_log`: who signed in, out or tried to, kept longer than the user.

use crate::error::Fault;
use crate::id::{RowId, UserId};
use crate::metrics::StoreCounts;
use crate::store::row::Row;
use crate::store::{Tx, fault};
use crate::time::Now;

/// What was done or tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// An account was made.
    SignUp,
    /// A session was opened.
    SignIn,
    /// A session was ended by its owner in its own browser.
    SignOut,
    /// A program exchanged a refresh token.
    Refresh,
    /// Sessions were ended from elsewhere.
    Revoke,
    /// A provider became one more way to sign in.
    Link,
    /// A way to sign in was removed.
    Unlink,
    /// The owner of a mailbox got the account that somebody had made under its address.
    TakeOver,
    /// A provider ended the sessions that came from it.
    ProviderSignOut,
    /// A user's name or picture was changed.
    Update,
    /// A mail to prove an address was asked for.
    VerifyRequest,
    /// An address was proved.
    Verify,
    /// A link for a new password was asked for.
    ResetRequest,
    /// A new password was set by a link.
    PasswordReset,
    /// The password was changed.
    PasswordChange,
    /// Another address was asked for.
    EmailRequest,
    /// Another address counts.
    EmailChange,
    /// A link to delete the account was asked for.
    DeleteRequest,
    /// The account was deleted.
    Delete,
    /// A personal access token was made.
    TokenCreate,
    /// A personal access token was ended.
    TokenRevoke,
    /// A user was kept out.
    Disable,
    /// A user was let in again.
    Enable,
}

impl Action {
    /// The text in the column, which never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignUp => "signup",
            Self::SignIn => "login",
            Self::SignOut => "logout",
            Self::Refresh => "refresh",
            Self::Revoke => "revoke",
            Self::Link => "link",
            Self::Unlink => "unlink",
            Self::TakeOver => "takeover",
            Self::ProviderSignOut => "provider_logout",
            Self::Update => "update",
            Self::VerifyRequest => "verify-request",
            Self::Verify => "verify",
            Self::ResetRequest => "reset-request",
            Self::PasswordReset => "password-reset",
            Self::PasswordChange => "password-change",
            Self::EmailRequest => "email-request",
            Self::EmailChange => "email-change",
            Self::DeleteRequest => "delete-request",
            Self::Delete => "delete",
            Self::TokenCreate => "token-create",
            Self::TokenRevoke => "token-revoke",
            Self::Disable => "disable",
            Self::Enable => "enable",
        }
    }
}

/// One line of the log.
pub struct LogEntry {
    /// Whose account it was about, if that is known.
    pub user: Option<UserId>,
    /// What was done or tried.
    pub action: Action,
    /// When.
    pub at: Now,
    /// Whether it came about.
    pub success: bool,
    /// The stable code of what stood in the way.
    pub error: Option<&'static str>,
    /// The address it came from.
    pub address: Option<String>,
    /// The browser it came from.
    pub agent: Option<String>,
    /// What else is worth knowing: the rules by which a sign-in was unusual.
    pub detail: Option<String>,
    /// Of a sign-in: `password`, `code`, or the id of the provider. It is counted and told, and not kept.
    pub way: Option<String>,
}

/// A line that was added, told and counted once it is committed.
pub(super) struct Event {
    user: Option<UserId>,
    action: Action,
    error: Option<&'static str>,
    success: bool,
    address: Option<String>,
    way: Option<String>,
}

impl Event {
    /// Says so in the log, as something that concerns security, and counts it.
    pub(super) fn tell(&self, counts: &StoreCounts) {
        let outcome = if self.success { "success" } else { "failure" };
        counts.events.add(self.action.as_str(), outcome, 1);
        let way = self.way.as_deref();
        if self.action == Action::SignIn {
            counts.sign_ins.add(way.unwrap_or("other"), outcome, 1);
        }
        let user = self.user.as_ref().map(UserId::as_str);
        let (event, client, reason) = (self.action.as_str(), self.address.as_deref(), self.error);
        tracing::info!(target: "security", event, outcome, user_id = user, client_ip = client, way, reason, "account");
    }
}

/// What a line of the log says of how an account was used.
pub struct Logged {
    /// The text of the [`Action`], known to this version or not.
    pub action: String,
    /// When.
    pub at: Now,
    /// Whether it came about.
    pub success: bool,
    /// The stable code of what stood in the way.
    pub error: Option<String>,
    /// The address it came from.
    pub address: Option<String>,
    /// The browser it came from.
    pub agent: Option<String>,
}

const AUTH_LOG_INSERT: &str = r#"
    INSERT INTO "sidegate_auth_log"
        ("id", "userId", "action", "at", "success", "error", "address", "userAgent", "detail")
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"#;

/// A moment at which a user signed in, if there ever was one.
const AUTH_LOG_LAST_SIGN_IN: &str = r#"
    SELECT "id" AS "sidegate_auth_log.id", "at" AS "sidegate_auth_log.at" FROM "sidegate_auth_log"
    WHERE "userId" = $1 AND "action" = $2 AND "success" ORDER BY "at" DESC LIMIT 1"#;

const AUTH_LOG_SINCE: &str = r#"
    SELECT "id" AS "sidegate_auth_log.id", "action" AS "sidegate_auth_log.action",
           "at" AS "sidegate_auth_log.at", "success" AS "sidegate_auth_log.success", "error" AS "sidegate_auth_log.error",
           "address" AS "sidegate_auth_log.address", "userAgent" AS "sidegate_auth_log.userAgent"
    FROM "sidegate_auth_log" WHERE "userId" = $1 AND "at" > $2 ORDER BY "at" DESC LIMIT $3"#;

const AUTH_LOG_DELETE_OLD: &str = r#"
    DELETE FROM "sidegate_auth_log" WHERE "id" IN (
        SELECT "id" FROM "sidegate_auth_log" WHERE "at" <= $1 ORDER BY "at" LIMIT $2)"#;

impl Tx {
    /// When the user last signed in, as far as the log goes back.
    pub async fn auth_log_last_sign_in(&mut self, user: &UserId) -> Result<Option<Now>, Fault> {
        let row = on!(&mut self.db, tx => sqlx::query(AUTH_LOG_LAST_SIGN_IN)
            .bind(user)
            .bind(Action::SignIn.as_str())
            .fetch_optional(&mut **tx)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading the log of sign-ins"))?;
        row.map(|row| row.get("sidegate_auth_log.at", &row.name("sidegate_auth_log.id"))).transpose()
    }

    /// Up to `limit` lines about a user that are younger than `since`, newest first.
    pub async fn auth_log_since(
        &mut self,
        user: &UserId,
        since: Now,
        limit: u32,
    ) -> Result<Vec<Logged>, Fault> {
        let rows: Vec<Row> = on!(&mut self.db, tx => sqlx::query(AUTH_LOG_SINCE)
            .bind(user)
            .bind(since)
            .bind(i64::from(limit))
            .fetch_all(&mut **tx)
            .await
            .map(|rows| rows.into_iter().map(Row::from).collect()))
        .map_err(fault("reading the log of sign-ins"))?;
        rows.iter().map(logged_of).collect()
    }

    /// Deletes up to `limit` lines written before this time, the oldest first, and returns how many.
    pub async fn auth_log_delete_old(&mut self, before: Now, limit: u32) -> Result<u64, Fault> {
        on!(&mut self.db, tx => sqlx::query(AUTH_LOG_DELETE_OLD)
            .bind(before)
            .bind(i64::from(limit))
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))
        .map_err(fault("deleting old lines of the log of sign-ins"))
    }

    /// Adds a line to the log.
    pub async fn auth_log_insert(&mut self, entry: &LogEntry) -> Result<(), Fault> {
        on!(&mut self.db, tx => sqlx::query(AUTH_LOG_INSERT)
            .bind(RowId::random())
            .bind(&entry.user)
            .bind(entry.action.as_str())
            .bind(entry.at)
            .bind(entry.success)
            .bind(entry.error)
            .bind(&entry.address)
            .bind(&entry.agent)
            .bind(&entry.detail)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("writing the log of sign-ins"))?;
        self.events.push(Event {
            user: entry.user.clone(),
            action: entry.action,
            error: entry.error,
            success: entry.success,
            address: entry.address.clone(),
            way: entry.way.clone(),
        });
        Ok(())
    }
}

fn logged_of(row: &Row) -> Result<Logged, Fault> {
    let id = row.name("sidegate_auth_log.id");
    Ok(Logged {
        action: row.get("sidegate_auth_log.action", &id)?,
        at: row.get("sidegate_auth_log.at", &id)?,
        success: row.get("sidegate_auth_log.success", &id)?,
        error: row.text("sidegate_auth_log.error", &id)?,
        address: row.text("sidegate_auth_log.address", &id)?,
        agent: row.text("sidegate_auth_log.userAgent", &id)?,
    })
}
