//! The table `sidegate_oauth_flow`: browsers that are on their way through a provider.

use crate::error::Fault;
use crate::id::{SessionId, UserId};
use crate::secret::TokenHash;
use crate::store::row::Row;
use crate::store::{Store, Tx, fault};
use crate::time::Now;

/// A flow, from the moment a browser is sent away until it comes back or it is too late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OauthFlow {
    /// The hash of the state parameter, under which it is kept.
    pub state: TokenHash,
    /// The provider that the browser was sent to.
    pub provider: String,
    /// What for.
    pub aim: Aim,
    /// The hash of the secret in the browser's cookie.
    pub browser: TokenHash,
    /// The PKCE verifier, sealed.
    pub verifier: String,
    /// What the ID token must repeat.
    pub nonce: String,
    /// Where the provider sends the browser back to, as it was told.
    pub redirect_uri: String,
    /// Where to go on to.
    pub callback_url: Option<String>,
    /// Where to go on to if it fails.
    pub error_callback_url: Option<String>,
    /// Where to go on to if an account was made.
    pub new_user_callback_url: Option<String>,
    /// Whether the session will outlive the browser.
    pub remember: bool,
    /// When it began.
    pub created: Now,
    /// When it is too late.
    pub expires: Now,
    /// When it was used, which happens once.
    pub used: Option<Now>,
}

/// What a browser was sent to a provider for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// To sign in.
    SignIn,
    /// To add the provider to the ways in which this user signs in.
    Link {
        /// Whose account it will be.
        user: UserId,
        /// The session that asked for it, which must still be there.
        session: SessionId,
    },
}

impl Aim {
    /// The text in the column, which never changes.
    const fn as_str(&self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::Link { .. } => "link",
        }
    }
}

/// The columns that [`flow_of`] reads.
macro_rules! flow_columns {
    () => {
        r#""state" AS "flow.state", "providerId" AS "flow.providerId", "purpose" AS "flow.purpose",
           "browser" AS "flow.browser", "verifier" AS "flow.verifier", "nonce" AS "flow.nonce",
           "redirectURI" AS "flow.redirectURI", "callbackURL" AS "flow.callbackURL",
           "errorCallbackURL" AS "flow.errorCallbackURL", "newUserCallbackURL" AS "flow.newUserCallbackURL",
           "userId" AS "flow.userId", "sessionId" AS "flow.sessionId", "remember" AS "flow.remember",
           "createdAt" AS "flow.createdAt", "expiresAt" AS "flow.expiresAt", "usedAt" AS "flow.usedAt""#
    };
}

fn flow_of(row: &Row) -> Result<OauthFlow, Fault> {
    let id = row.name("flow.state");
    let purpose: String = row.get("flow.purpose", &id)?;
    let aim = match &*purpose {
        "sign-in" => Aim::SignIn,
        "link" => Aim::Link { user: row.get("flow.userId", &id)?, session: row.get("flow.sessionId", &id)? },
        _ => return Err(Fault::new("reading a row", format!("flow.purpose of row {id:?} is {purpose:?}"))),
    };
    Ok(OauthFlow {
        state: row.get("flow.state", &id)?,
        provider: row.get("flow.providerId", &id)?,
        aim,
        browser: row.get("flow.browser", &id)?,
        verifier: row.get("flow.verifier", &id)?,
        nonce: row.get("flow.nonce", &id)?,
        redirect_uri: row.get("flow.redirectURI", &id)?,
        callback_url: row.get("flow.callbackURL", &id)?,
        error_callback_url: row.get("flow.errorCallbackURL", &id)?,
        new_user_callback_url: row.get("flow.newUserCallbackURL", &id)?,
        remember: row.get("flow.remember", &id)?,
        created: row.get("flow.createdAt", &id)?,
        expires: row.get("flow.expiresAt", &id)?,
        used: row.get("flow.usedAt", &id)?,
    })
}

const OAUTH_FLOW: &str =
    concat!("SELECT ", flow_columns!(), r#" FROM "sidegate_oauth_flow" WHERE "state" = $1"#);

impl Store {
    /// The flow with this state, whatever has become of it.
    pub async fn oauth_flow(&self, state: TokenHash) -> Result<Option<OauthFlow>, Fault> {
        let row = on!(&self.read, pool => sqlx::query(OAUTH_FLOW)
            .bind(state)
            .fetch_optional(pool)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading a flow"))?;
        row.as_ref().map(flow_of).transpose()
    }
}

const OAUTH_FLOW_INSERT: &str = r#"
    INSERT INTO "sidegate_oauth_flow"
        ("state", "providerId", "purpose", "browser", "verifier", "nonce", "redirectURI", "callbackURL",
         "errorCallbackURL", "newUserCallbackURL", "userId", "sessionId", "remember", "createdAt", "expiresAt")
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"#;

const OAUTH_FLOW_USE: &str = r#"
    UPDATE "sidegate_oauth_flow" SET "usedAt" = $4
    WHERE "state" = $1 AND "providerId" = $2 AND "browser" = $3 AND "usedAt" IS NULL AND "expiresAt" > $4"#;

const OAUTH_FLOWS_DELETE_EXPIRED: &str = r#"
    DELETE FROM "sidegate_oauth_flow" WHERE "state" IN
        (SELECT "state" FROM "sidegate_oauth_flow" WHERE "expiresAt" <= $1 ORDER BY "expiresAt" LIMIT $2)"#;

impl Tx {
    /// Keeps a flow that begins; `used` is not looked at.
    pub async fn oauth_flow_insert(&mut self, flow: &OauthFlow) -> Result<(), Fault> {
        let (user, session) = match &flow.aim {
            Aim::SignIn => (None, None),
            Aim::Link { user, session } => (Some(user), Some(session)),
        };
        on!(&mut self.db, tx => sqlx::query(OAUTH_FLOW_INSERT)
            .bind(flow.state)
            .bind(&flow.provider)
            .bind(flow.aim.as_str())
            .bind(flow.browser)
            .bind(&flow.verifier)
            .bind(&flow.nonce)
            .bind(&flow.redirect_uri)
            .bind(&flow.callback_url)
            .bind(&flow.error_callback_url)
            .bind(&flow.new_user_callback_url)
            .bind(user)
            .bind(session)
            .bind(flow.remember)
            .bind(flow.created)
            .bind(flow.expires)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("keeping a flow"))
    }

    /// Uses a flow, once: false if it was used, is too late, belongs to another provider or another browser,
    /// or is not there.
    pub async fn oauth_flow_use(
        &mut self,
        state: TokenHash,
        provider: &str,
        browser: TokenHash,
        now: Now,
    ) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(OAUTH_FLOW_USE)
            .bind(state)
            .bind(provider)
            .bind(browser)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("using a flow"))
    }

    /// Removes up to `limit` flows for which it is too late at `now`, and returns how many.
    pub async fn oauth_flows_delete_expired(&mut self, now: Now, limit: u32) -> Result<u64, Fault> {
        on!(&mut self.db, tx => sqlx::query(OAUTH_FLOWS_DELETE_EXPIRED)
            .bind(now)
            .bind(i64::from(limit))
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))
        .map_err(fault("removing old flows"))
    }
}
