//! The steps that bring the tables up to date: embedded, forward only, each applied once.
//!
//! A name that the database knows and this version does not is left alone: during a rolling update
//! the older replica meets the newer one's tables, which only ever gain things.

use crate::error::Fault;
use crate::store::row::Row;
use crate::store::{Db, Tx, fault};
use crate::time::Now;

struct Migration {
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! migration {
    ($name:literal) => {
        Migration {
            name: $name,
            sqlite: include_str!(concat!("migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("migrations/postgres/", $name, ".sql")),
        }
    };
}

const ALL: &[Migration] = &[
    migration!("0001_better_auth"),
    migration!("0002_session_remember"),
    migration!("0003_sidegate"),
    migration!("0004_providers"),
    migration!("0005_outbox"),
    migration!("0006_tickets"),
    migration!("0007_pending"),
    migration!("0008_keys"),
    migration!("0009_refresh"),
    migration!("0010_personal_tokens"),
    migration!("0011_provider_issuers"),
    migration!("0012_disabled_users"),
    migration!("0013_languages"),
];

/// The columns that our queries name, looked for once in tables that were there before us.
const NEEDED: [(&str, &[&str]); 4] = [
    ("user", &["id", "name", "email", "emailVerified", "image", "createdAt", "updatedAt"]),
    ("session", &["id", "expiresAt", "token", "createdAt", "updatedAt", "ipAddress", "userAgent", "userId"]),
    ("account", &["id", "accountId", "providerId", "userId", "password", "createdAt", "updatedAt"]),
    ("verification", &["id", "identifier", "value", "expiresAt", "createdAt", "updatedAt"]),
];

/// Names the lock under which one replica migrates and the others wait: the first eight bytes of
/// the table's name.
const LOCK: i64 = i64::from_be_bytes(*b"sidegate");

const MIGRATIONS_APPLIED: &str = r#"SELECT "name" AS "sidegate_migration.name" FROM "sidegate_migration""#;

const MIGRATION_INSERT: &str = r#"INSERT INTO "sidegate_migration" ("name", "at") VALUES ($1, $2)"#;

const ACCOUNT_DUPLICATE: &str = r#"
    SELECT "providerId" AS "account.providerId", "accountId" AS "account.accountId" FROM "account"
    GROUP BY "providerId", "accountId" HAVING COUNT(*) > 1 ORDER BY "providerId", "accountId" LIMIT 1"#;

impl Tx {
    /// Applies what is missing, all or nothing with this transaction, and returns the names.
    pub(super) async fn migrate(&mut self, now: Now) -> Result<Vec<&'static str>, Fault> {
        if let Db::Postgres(tx) = &mut self.db {
            sqlx::query("SELECT pg_advisory_xact_lock($1)")
                .bind(LOCK)
                .execute(&mut **tx)
                .await
                .map_err(fault("waiting for another migration"))?;
        }
        let missing = self.migrations_missing().await?;
        if missing.is_empty() {
            return Ok(missing);
        }
        match &mut self.db {
            Db::Sqlite(tx) => sqlx::raw_sql(
                r#"CREATE TABLE IF NOT EXISTS "sidegate_migration" ("name" text NOT NULL PRIMARY KEY, "at" date NOT NULL)"#,
            )
            .execute(&mut **tx)
            .await
            .map(|_| ()),
            Db::Postgres(tx) => sqlx::raw_sql(
                r#"CREATE TABLE IF NOT EXISTS "sidegate_migration" ("name" text NOT NULL PRIMARY KEY, "at" timestamptz NOT NULL)"#,
            )
            .execute(&mut **tx)
            .await
            .map(|_| ()),
        }
        .map_err(fault("creating the table of migrations"))?;
        for migration in ALL.iter().filter(|migration| missing.contains(&migration.name)) {
            self.apply(migration, now).await?;
        }
        Ok(missing)
    }

    async fn apply(&mut self, migration: &Migration, now: Now) -> Result<(), Fault> {
        let needless = match migration.name {
            // SQLite cannot add a column only if it is missing, and a database may come back from a
            // dump that had the four tables and not ours.
            "0002_session_remember" => self.column_exists("session", "sidegateRemember").await?,
            "0003_sidegate" => {
                self.refuse_duplicate_accounts().await?;
                false
            }
            _ => false,
        };
        if !needless {
            match &mut self.db {
                Db::Sqlite(tx) => sqlx::raw_sql(migration.sqlite).execute(&mut **tx).await.map(|_| ()),
                Db::Postgres(tx) => sqlx::raw_sql(migration.postgres).execute(&mut **tx).await.map(|_| ()),
            }
            .map_err(fault(migration.name))?;
        }
        if migration.name == "0001_better_auth" {
            self.refuse_missing_columns().await?;
        }
        on!(&mut self.db, tx => sqlx::query(MIGRATION_INSERT)
            .bind(migration.name)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("recording a migration"))
    }

    /// The names that the database lacks, in order.
    pub(super) async fn migrations_missing(&mut self) -> Result<Vec<&'static str>, Fault> {
        let mut applied = Vec::new();
        if self.column_exists("sidegate_migration", "name").await? {
            let rows: Vec<Row> = on!(&mut self.db, tx => sqlx::query(MIGRATIONS_APPLIED)
                .fetch_all(&mut **tx)
                .await
                .map(|rows| rows.into_iter().map(Row::from).collect()))
            .map_err(fault("reading which migrations were applied"))?;
            applied.extend(rows.iter().map(|row| row.name("sidegate_migration.name")));
        }
        Ok(ALL
            .iter()
            .map(|migration| migration.name)
            .filter(|name| !applied.iter().any(|one| one == name))
            .collect())
    }

    /// Whether a table is there and has this column.
    pub(super) async fn column_exists(&mut self, table: &str, column: &str) -> Result<bool, Fault> {
        match &mut self.db {
            Db::Sqlite(tx) => {
                sqlx::query_scalar(r#"SELECT EXISTS (SELECT 1 FROM pragma_table_info($1) WHERE "name" = $2)"#)
                    .bind(table)
                    .bind(column)
                    .fetch_one(&mut **tx)
                    .await
            }
            Db::Postgres(tx) => {
                sqlx::query_scalar(
                    "SELECT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass(quote_ident($1))
                                      AND attname::text = $2 AND NOT attisdropped)",
                )
                .bind(table)
                .bind(column)
                .fetch_one(&mut **tx)
                .await
            }
        }
        .map_err(fault("looking for a column"))
    }

    /// better-auth has no unique index on accounts, but can itself not read duplicates.
    async fn refuse_duplicate_accounts(&mut self) -> Result<(), Fault> {
        let row = on!(&mut self.db, tx => sqlx::query(ACCOUNT_DUPLICATE)
            .fetch_optional(&mut **tx)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("looking for duplicate accounts"))?;
        let Some(row) = row else { return Ok(()) };
        Err(Fault::new(
            "taking over the tables",
            format!(
                "several rows of the table account have providerId {:?} and accountId {:?}: delete all but the right one",
                row.name("account.providerId"),
                row.name("account.accountId"),
            ),
        ))
    }

    async fn refuse_missing_columns(&mut self) -> Result<(), Fault> {
        for (table, columns) in NEEDED {
            for column in columns {
                if !self.column_exists(table, column).await? {
                    return Err(Fault::new(
                        "taking over the tables",
                        format!(
                            "the table {table} has no column {column}: renamed tables and columns are not supported"
                        ),
                    ));
                }
            }
        }
        Ok(())
    }
}
