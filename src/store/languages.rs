//! The table `sidegate_language`: in which language a user reads.

use crate::error::Fault;
use crate::id::UserId;
use crate::store::row::Row;
use crate::store::{Tx, fault};

const LANGUAGE_OF_USER: &str = r#"
    SELECT "language" AS "sidegate_language.language" FROM "sidegate_language" WHERE "userId" = $1"#;

const LANGUAGE_SET: &str = r#"
    INSERT INTO "sidegate_language" ("userId", "language") VALUES ($1, $2)
    ON CONFLICT ("userId") DO UPDATE SET "language" = excluded."language"
    WHERE "sidegate_language"."language" <> excluded."language""#;

impl Tx {
    /// The language tag (RFC 5646) that was noted for a user; `None` if there is none.
    pub async fn language_of_user(&mut self, user: &UserId) -> Result<Option<String>, Fault> {
        let row = on!(&mut self.db, tx => sqlx::query(LANGUAGE_OF_USER)
            .bind(user)
            .fetch_optional(&mut **tx)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading the language of a user"))?;
        row.map(|row| row.get("sidegate_language.language", user.as_str())).transpose()
    }

    /// Notes in which language a user reads from now on.
    pub async fn language_set(&mut self, user: &UserId, language: &str) -> Result<(), Fault> {
        on!(&mut self.db, tx => sqlx::query(LANGUAGE_SET)
            .bind(user)
            .bind(language)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("noting the language of a user"))
    }
}
