//! The table `sidegate_auth_log`: who signed in, out or tried to, kept longer than the user.

use crate::error::Fault;
use crate::id::{RowId, UserId};
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
    /// Sessions were ended from elsewhere.
    Revoke,
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
}

impl Action {
    /// The text in the column, which never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignUp => "signup",
            Self::SignIn => "login",
            Self::SignOut => "logout",
            Self::Revoke => "revoke",
            Self::VerifyRequest => "verify-request",
            Self::Verify => "verify",
            Self::ResetRequest => "reset-request",
            Self::PasswordReset => "password-reset",
            Self::PasswordChange => "password-change",
            Self::EmailRequest => "email-request",
            Self::EmailChange => "email-change",
            Self::DeleteRequest => "delete-request",
            Self::Delete => "delete",
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
}

const AUTH_LOG_INSERT: &str = r#"
    INSERT INTO "sidegate_auth_log"
        ("id", "userId", "action", "at", "success", "error", "address", "userAgent")
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"#;

const AUTH_LOG_DELETE_OLD: &str = r#"
    DELETE FROM "sidegate_auth_log" WHERE "id" IN (
        SELECT "id" FROM "sidegate_auth_log" WHERE "at" <= $1 ORDER BY "at" LIMIT $2)"#;

impl Tx {
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
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("writing the log of sign-ins"))
    }
}
