//! The table `sidegate_disabled_user`, and users as whoever runs the site sees them.
//!
//! **Invariant:** no session and no personal access token of a disabled user is given out, whatever rows there are:
//! one that is written at the moment in which its user is disabled opens nothing.

use crate::error::Fault;
use crate::id::UserId;
use crate::store::row::Row;
use crate::store::users::{user_columns, user_of};
use crate::store::{Store, Tx, fault};
use crate::time::Now;
use crate::visitor::User;

/// Behind a condition on a row that joins `user`: unless the user is disabled.
macro_rules! unless_disabled {
    () => {
        r#" AND NOT EXISTS (SELECT 1 FROM "sidegate_disabled_user" WHERE "sidegate_disabled_user"."userId" = "user"."id")"#
    };
}
pub(super) use unless_disabled;

/// A user, and since when disabled.
pub struct Listed {
    /// Who it is.
    pub user: User,
    /// Since when the user is disabled.
    pub disabled: Option<Now>,
}

const USERS: &str = concat!(
    "SELECT ",
    user_columns!(),
    r#", "sidegate_disabled_user"."at" AS "disabled_user.at"
    FROM "user" LEFT JOIN "sidegate_disabled_user" ON "sidegate_disabled_user"."userId" = "user"."id"
    WHERE "user"."email" > $1 ORDER BY "user"."email" LIMIT $2"#
);

impl Store {
    /// Up to `limit` users whose addresses follow on `after`, by address.
    pub async fn users(&self, after: &str, limit: u32) -> Result<Vec<Listed>, Fault> {
        let rows: Vec<Row> = on!(&self.read, pool => sqlx::query(USERS)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await
            .map(|rows| rows.into_iter().map(Row::from).collect()))
        .map_err(fault("listing users"))?;
        let listed = |row: &Row| {
            let user = user_of(row)?;
            Ok(Listed { disabled: row.get("disabled_user.at", user.id.as_str())?, user })
        };
        rows.iter().map(listed).collect()
    }
}

const USER_DISABLED: &str =
    r#"SELECT "at" AS "disabled_user.at" FROM "sidegate_disabled_user" WHERE "userId" = $1"#;

const USER_DISABLE: &str = r#"
    INSERT INTO "sidegate_disabled_user" ("userId", "at") VALUES ($1, $2) ON CONFLICT ("userId") DO NOTHING"#;

const USER_ENABLE: &str = r#"DELETE FROM "sidegate_disabled_user" WHERE "userId" = $1"#;

impl Tx {
    /// Since when a user is disabled.
    pub async fn user_disabled(&mut self, user: &UserId) -> Result<Option<Now>, Fault> {
        let row = on!(&mut self.db, tx => sqlx::query(USER_DISABLED)
            .bind(user)
            .fetch_optional(&mut **tx)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading whether a user is disabled"))?;
        row.map(|row| row.get("disabled_user.at", user.as_str())).transpose()
    }

    /// Keeps a user who is stored out; false if that was so before.
    pub async fn user_disable(&mut self, user: &UserId, now: Now) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(USER_DISABLE)
            .bind(user)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("disabling a user"))
    }

    /// Lets a user in again; false if nothing kept the user out.
    pub async fn user_enable(&mut self, user: &UserId) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(USER_ENABLE)
            .bind(user)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("enabling a user"))
    }
}
