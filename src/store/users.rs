//! The table `user`.

use crate::error::Fault;
use crate::id::UserId;
use crate::store::row::Row;
use crate::store::{Db, Tx, fault};
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

const USER_TOUCH: &str = r#"UPDATE "user" SET "updatedAt" = $2 WHERE "id" = $1"#;

/// On SQLite whoever writes is alone already.
const USER_HOLD_SQLITE: &str = r#"SELECT 1 FROM "user" WHERE "id" = $1"#;

/// Not the stronger `FOR UPDATE`: rows that only name the user are still written beside it.
const USER_HOLD_POSTGRES: &str = r#"SELECT 1 FROM "user" WHERE "id" = $1 FOR NO KEY UPDATE"#;

const USER_SET_PROFILE: &str =
    r#"UPDATE "user" SET "name" = $2, "image" = $3, "updatedAt" = $4 WHERE "id" = $1"#;

const USER_BY_ID: &str = concat!("SELECT ", user_columns!(), r#" FROM "user" WHERE "user"."id" = $1"#);

const USER_BY_EMAIL: &str = concat!("SELECT ", user_columns!(), r#" FROM "user" WHERE "user"."email" = $1"#);

const USER_PROVE_EMAIL: &str = r#"
    UPDATE "user" SET "emailVerified" = $3, "updatedAt" = $4
    WHERE "id" = $1 AND "email" = $2 AND "emailVerified" <> $3"#;

const USER_SET_EMAIL: &str = r#"
    UPDATE "user" SET "email" = $3, "emailVerified" = $4, "updatedAt" = $5
    WHERE "id" = $1 AND "email" = $2 AND NOT EXISTS (SELECT 1 FROM "user" AS "other" WHERE "other"."email" = $3)"#;

const USER_DELETE: &str = r#"DELETE FROM "user" WHERE "id" = $1"#;

const USER_SET_NAME: &str = r#"UPDATE "user" SET "name" = $2, "updatedAt" = $3 WHERE "id" = $1"#;

const USER_SET_IMAGE: &str = r#"UPDATE "user" SET "image" = $2, "updatedAt" = $3 WHERE "id" = $1"#;

impl Tx {
    /// Notes that something of a user changes; false if there is none. Until this transaction ends, no other
    /// one gets past this point for the same user.
    pub async fn user_touch(&mut self, user: &UserId, now: Now) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(USER_TOUCH)
            .bind(user)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("changing a user"))
    }

    /// Like [`Self::user_touch`], and changes nothing. Who holds a user and other rows of theirs takes the user
    /// first, so that no two wait for each other.
    pub async fn user_hold(&mut self, user: &UserId) -> Result<bool, Fault> {
        match &mut self.db {
            Db::Sqlite(tx) => sqlx::query(USER_HOLD_SQLITE)
                .bind(user)
                .fetch_optional(&mut **tx)
                .await
                .map(|row| row.is_some()),
            Db::Postgres(tx) => sqlx::query(USER_HOLD_POSTGRES)
                .bind(user)
                .fetch_optional(&mut **tx)
                .await
                .map(|row| row.is_some()),
        }
        .map_err(fault("holding a user"))
    }

    /// Replaces a user's name and picture; false if there is no such user.
    pub async fn user_set_profile(
        &mut self,
        user: &UserId,
        name: &str,
        image: Option<&str>,
        now: Now,
    ) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(USER_SET_PROFILE)
            .bind(user)
            .bind(name)
            .bind(image)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("changing a profile"))
    }

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

    /// The user with this id, as this transaction sees it.
    pub async fn user_by_id(&mut self, id: &UserId) -> Result<Option<User>, Fault> {
        let row = on!(&mut self.db, tx => sqlx::query(USER_BY_ID)
            .bind(id)
            .fetch_optional(&mut **tx)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading a user"))?;
        row.as_ref().map(user_of).transpose()
    }

    /// The user with this address (in its canonical form), as this transaction sees it.
    pub async fn user_by_email(&mut self, email: &str) -> Result<Option<User>, Fault> {
        let row = on!(&mut self.db, tx => sqlx::query(USER_BY_EMAIL)
            .bind(email)
            .fetch_optional(&mut **tx)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading a user"))?;
        row.as_ref().map(user_of).transpose()
    }

    /// Notes that the mailbox of a user was proved; false if it was before, or the user has another address.
    pub async fn user_prove_email(&mut self, id: &UserId, email: &str, now: Now) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(USER_PROVE_EMAIL)
            .bind(id)
            .bind(email)
            .bind(true)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("noting that an address was proved"))
    }

    /// Gives a user whose address is `old` another one, whose mailbox was proved; false if it is taken, or the
    /// user's is another by now. Whoever hears that gives the transaction up: PostgreSQL has done so if somebody
    /// took the address at this moment.
    pub async fn user_set_email(
        &mut self,
        id: &UserId,
        old: &str,
        new: &str,
        now: Now,
    ) -> Result<bool, Fault> {
        let changed = on!(&mut self.db, tx => sqlx::query(USER_SET_EMAIL)
            .bind(id)
            .bind(old)
            .bind(new)
            .bind(true)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1));
        match changed {
            Err(error)
                if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation) =>
            {
                Ok(false)
            }
            changed => changed.map_err(fault("changing an address")),
        }
    }

    /// Deletes a user with everything that belongs to it; false if there is none. The log stays.
    pub async fn user_delete(&mut self, id: &UserId) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(USER_DELETE)
            .bind(id)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("deleting a user"))
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
    pub async fn user_set_image(
        &mut self,
        id: &UserId,
        image: Option<&str>,
        now: Now,
    ) -> Result<bool, Fault> {
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
