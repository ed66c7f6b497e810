//! The table `sidegate_provider`: for which provider each configured id stands.

use crate::error::Fault;
use crate::store::row::Row;
use crate::store::{Tx, fault};
use crate::time::Now;

const PROVIDER_INSERT: &str = r#"
    INSERT INTO "sidegate_provider" ("id", "issuer", "createdAt") VALUES ($1, $2, $3)
    ON CONFLICT ("id") DO NOTHING"#;

const PROVIDER_ISSUER: &str =
    r#"SELECT "issuer" AS "provider.issuer" FROM "sidegate_provider" WHERE "id" = $1"#;

/// Where nobody has an account it does not matter.
const PROVIDER_RENAME: &str = r#"
    UPDATE "sidegate_provider" SET "issuer" = $2
    WHERE "id" = $1 AND ("issuer" = $3 OR NOT EXISTS (SELECT 1 FROM "account" WHERE "providerId" = $1))"#;

impl Tx {
    /// Has `id` stand for the provider that calls itself `issuer`, if it does already, stood for nobody or for
    /// `formerly`, or no account is held under it. Otherwise, for whom it stands.
    pub async fn provider_bind(
        &mut self,
        id: &str,
        (issuer, formerly): (&str, Option<&str>),
        now: Now,
    ) -> Result<Result<(), String>, Fault> {
        on!(&mut self.db, tx => sqlx::query(PROVIDER_INSERT)
            .bind(id)
            .bind(issuer)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("noting a provider"))?;
        let row = on!(&mut self.db, tx => sqlx::query(PROVIDER_ISSUER)
            .bind(id)
            .fetch_one(&mut **tx)
            .await
            .map(Row::from))
        .map_err(fault("reading a provider"))?;
        let bound: String = row.get("provider.issuer", id)?;
        if bound == issuer {
            return Ok(Ok(()));
        }
        let renamed = on!(&mut self.db, tx => sqlx::query(PROVIDER_RENAME)
            .bind(id)
            .bind(issuer)
            .bind(formerly)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("noting a provider"))?;
        Ok(if renamed { Ok(()) } else { Err(bound) })
    }
}
