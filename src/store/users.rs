//! The table `user`.

use crate::error::Fault;
use crate::id::UserId;
use crate::store::row::Row;
use crate::store::{Tx, fault};
use crate::time::Now;
use crate::visitor::User;

/// The columns that [`user_of`] reads.
macro_rules! user_columns {
    () => {
        r#""user"."id" AS "user.id", "user"."name" AS "user.name", "user"."email" AS "user.email",
           "user"."emailVerified" AS "user.emailVerified", "user"."image" AS "user.image",
           "user"."createdAt" AS "user.createdAt", "user"."updatedAt" AS "user.updatedAt""#
    };
}
pub(super) use user_columns;

/// The user in a row that has the columns of `user_columns!`.
pub(super) fn user_of(row: &Row) -> Result<User, Fault> {
    let id = row.name("user.id");
    Ok(User {
        id: row.get("user.id", &id)?,
        name: row.get("user.name", &id)?,
        email: row.get("user.email", &id)?,
        email_verified: row.get("user.emailVerified", &id)?,
        image: row.text("user.image", &id)?,
        created: row.get("user.createdAt", &id)?,
        updated: row.get("user.updatedAt", &id)?,
    })
}

const USER_INSERT: &str = r#"
    INSERT INTO "user" ("id", "name", "email", "emailVerified", "image", "createdAt", "updatedAt")
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT ("email") DO NOTHING"#;

const USER_SET_NAME: &str = r#"UPDATE "user" SET "name" = $2, "updatedAt" = $3 WHERE "id" = $1"#;

const USER_SET_IMAGE: &str = r#"UPDATE "user" SET "image" = $2, "updatedAt" = $3 WHERE "id" = $1"#;

impl Tx {
    /// Adds a user; false if the address is taken.
    pub async fn user_insert(&mut self, user: &User) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(USER_INSERT)
            .bind(&user.id)
            .bind(&user.name)
            .bind(&user.email)
            .bind(user.email_verified)
            .bind(&user.image)
            .bind(user.created)
            .bind(user.updated)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("adding a user"))
    }

    /// Gives a user another name; false if there is no such user.
    pub async fn user_set_name(&mut self, id: &UserId, name: &str, now: Now) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(USER_SET_NAME)
            .bind(id)
            .bind(name)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("changing a name"))
    }

    /// Gives a user another picture, or none; false if there is no such user.
    pub async fn user_set_image(&mut self, id: &UserId, image: Option<&str>, now: Now) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(USER_SET_IMAGE)
            .bind(id)
            .bind(image)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("changing a picture"))
    }
}
