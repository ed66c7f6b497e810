//! A database of a test's own: a SQLite file, or a new database on the PostgreSQL server that `tests/run`
//! starts.

use std::env;
use std::fmt::Write as _;
use std::future::Future;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::Arc;
use std::thread;

use sidegate::config;
use sidegate::store::Store;
use sidegate::time::{Clock, Now};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, raw_sql};
use tempfile::TempDir;

/// The moment at which every test's clock starts: 2026-01-02T03:04:05.678Z.
pub(crate) const START: Now = Now::from_millis(1_767_323_045_678);

/// An empty database, gone when dropped.
pub(crate) enum Database {
    /// A file in a directory of its own.
    Sqlite(Arc<TempDir>),
    /// A database with a random name.
    Postgres {
        /// The maintenance database's options.
        server: Box<PgConnectOptions>,
        /// The name of the test's database.
        name: String,
    },
}

impl Database {
    /// The same database once more, for a second process beside the first; on SQLite, after it. On PostgreSQL it goes
    /// with whichever is dropped first.
    pub(crate) fn shared(&self) -> Self {
        match self {
            Self::Sqlite(directory) => Self::Sqlite(Arc::clone(directory)),
            Self::Postgres { server, name } => Self::Postgres { server: server.clone(), name: name.clone() },
        }
    }

    /// A path for a SQLite file, which does not exist yet.
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(Arc::new(tempfile::tempdir().expect("a temporary directory")))
    }

    /// A new database on the server of `SIDEGATE_TEST_POSTGRES`.
    pub(crate) fn postgres() -> Self {
        let url = env::var("SIDEGATE_TEST_POSTGRES")
            .expect("SIDEGATE_TEST_POSTGRES names no PostgreSQL server: run the tests with tests/run");
        let server = Box::new(
            PgConnectOptions::from_str(&url).expect("a postgres:// URL").disable_statement_logging(),
        );
        let name = format!("test_{}", sidegate::id::RowId::random().as_str().replace('-', ""));
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        let options = server.clone();
        blocking(async move {
            let mut connection = PgConnection::connect_with(&options).await?;
            raw_sql(AssertSqlSafe(create)).execute(&mut connection).await?;
            connection.close().await
        })
        .expect("the PostgreSQL server makes a database");
        Self::Postgres { server, name }
    }

    /// The `[store]` section that names this database.
    pub(crate) fn config(&self) -> config::Store {
        let database = match self {
            Self::Sqlite(_) => config::Database::Sqlite(self.file().expect("a file")),
            Self::Postgres { server, name } => {
                config::Database::Postgres(server.clone().database(name).to_url_lossy().to_string())
            }
        };
        config::Store { database, migrate: true, connections: 4 }
    }

    /// The SQLite file.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Sqlite(directory) => Some(directory.path().join("sidegate.db")),
            Self::Postgres { .. } => None,
        }
    }

    /// Opens it, migrated, with a clock that stands at [`START`].
    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.config(), &Clock::fixed(START)).await.expect("the store opens")
    }

    /// Runs statements past the store. A SQLite file that is missing is created.
    pub(crate) async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(_) => raw_sql(sql).execute(&mut self.sqlite_connection().await).await.map(|_| ()),
            Self::Postgres { .. } => {
                raw_sql(sql).execute(&mut self.postgres_connection().await).await.map(|_| ())
            }
        }
        .expect("the statements run");
    }

    /// The first column of what a query finds, past the store; it must be text.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(_) => sqlx::query_scalar(sql).fetch_all(&mut self.sqlite_connection().await).await,
            Self::Postgres { .. } => {
                sqlx::query_scalar(sql).fetch_all(&mut self.postgres_connection().await).await
            }
        }
        .expect("the query runs")
    }

    /// The names of all tables, in order.
    pub(crate) async fn tables(&self) -> Vec<String> {
        self.texts(match self {
            Self::Sqlite(_) => r#"SELECT "name" FROM "sqlite_schema" WHERE "type" = 'table' ORDER BY "name""#,
            Self::Postgres { .. } => {
                r#"SELECT relname::text FROM pg_class
                   WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname COLLATE "C""#
            }
        })
        .await
    }

    /// The columns of a table, in order.
    pub(crate) async fn columns(&self, table: &str) -> Vec<String> {
        self.texts(&match self {
            Self::Sqlite(_) => format!(r#"SELECT "name" FROM pragma_table_info('{table}') ORDER BY "cid""#),
            Self::Postgres { .. } => format!(
                "SELECT column_name::text FROM information_schema.columns
                 WHERE table_schema = 'public' AND table_name = '{table}' ORDER BY ordinal_position"
            ),
        })
        .await
    }

    /// Every value of every row of every table, as text: to look for what must not be there.
    pub(crate) async fn dump(&self) -> String {
        let mut dump = String::new();
        for table in self.tables().await {
            let values: Vec<_> = self
                .columns(&table)
                .await
                .iter()
                .map(|column| format!(r#"COALESCE(CAST("{column}" AS text), 'NULL')"#))
                .collect();
            let rows =
                self.texts(&format!(r#"SELECT {} FROM "{table}""#, values.join(" || ' | ' || "))).await;
            for row in rows {
                writeln!(dump, "{table}: {row}").expect("a string takes it");
            }
        }
        dump
    }

    async fn sqlite_connection(&self) -> SqliteConnection {
        let options =
            SqliteConnectOptions::new().filename(self.file().expect("a file")).create_if_missing(true);
        SqliteConnection::connect_with(&options).await.expect("the file opens")
    }

    async fn postgres_connection(&self) -> PgConnection {
        let Self::Postgres { server, name } = self else { panic!("not on PostgreSQL") };
        PgConnection::connect_with(&server.clone().database(name)).await.expect("PostgreSQL answers")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Self::Postgres { server, name } = self {
            let (options, drop) = (server.clone(), format!("DROP DATABASE {name} WITH (FORCE)"));
            // At best: a server that is being stopped takes the database with it.
            let _ = blocking(async move {
                let mut connection = PgConnection::connect_with(&options).await?;
                raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await?;
                connection.close().await
            });
        }
    }
}

/// Runs to its end on a thread of its own, so that it can be called from inside a runtime.
fn blocking<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    thread::spawn(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
    })
    .join()
    .expect("the work does not panic")
}

/// Makes two tests of each scenario: `sqlite` and `postgres`, in a module with the scenario's name. A
/// scenario that starts a site, which has a runtime of its own, is a plain function.
macro_rules! on_both_databases {
    ($($(#[$meta:meta])* fn $name:ident($database:ident) $body:block)*) => { $(
        $(#[$meta])*
        mod $name {
            use super::*;
            use $crate::support::database::Database;

            fn scenario($database: Database) $body

            #[test]
            fn sqlite() {
                scenario(Database::sqlite());
            }

            #[test]
            fn postgres() {
                scenario(Database::postgres());
            }
        }
    )* };
    ($($(#[$meta:meta])* async fn $name:ident($database:ident) $body:block)*) => { $(
        $(#[$meta])*
        mod $name {
            use super::*;
            use $crate::support::database::Database;

            async fn scenario($database: Database) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                scenario(Database::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                scenario(Database::postgres()).await;
            }
        }
    )* };
}
pub(crate) use on_both_databases;
