//! An empty database for a benchmark: a SQLite file always, and one on the server that
//! `SIDEGATE_BENCH_POSTGRES` names.

use std::env;
use std::future::Future;
use std::str::FromStr as _;
use std::thread;

use sidegate::config;
use sidegate::id::RowId;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, raw_sql};
use tempfile::TempDir;

/// Which kinds there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// Gone when dropped.
pub(crate) enum Database {
    Sqlite(TempDir),
    Postgres { server: Box<PgConnectOptions>, name: String },
}

impl Kind {
    /// SQLite, and PostgreSQL if a server is named.
    pub(crate) fn available() -> Vec<Self> {
        let postgres = server().map(|_| Self::Postgres);
        std::iter::once(Self::Sqlite).chain(postgres).collect()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }

    /// Makes one.
    pub(crate) fn create(self) -> Database {
        match self {
            Self::Sqlite => Database::Sqlite(tempfile::tempdir().expect("a temporary directory")),
            Self::Postgres => {
                let server = Box::new(server().expect("SIDEGATE_BENCH_POSTGRES names a server"));
                let name = format!("bench_{}", RowId::random().as_str().replace('-', ""));
                run(*server.clone(), format!("CREATE DATABASE {name} TEMPLATE template0"))
                    .expect("the PostgreSQL server makes a database");
                Database::Postgres { server, name }
            }
        }
    }
}

impl Database {
    /// The value of `store.url` that names it.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(directory) => format!("sqlite:{}", directory.path().join("sidegate.db").display()),
            Self::Postgres { server, name } => server.clone().database(name).to_url_lossy().to_string(),
        }
    }

    /// The `[store]` section that names it, with so many connections.
    pub(crate) fn config(&self, connections: u32) -> config::Store {
        let database = match self {
            Self::Sqlite(directory) => config::Database::Sqlite(directory.path().join("sidegate.db")),
            Self::Postgres { .. } => config::Database::Postgres(self.url()),
        };
        config::Store { database, migrate: true, connections }
    }
}

impl Drop for Database {
    #[expect(clippy::print_stderr, reason = "somebody has to know what is left behind on a server")]
    fn drop(&mut self) {
        if let Self::Postgres { server, name } = self
            && let Err(error) = run(*server.clone(), format!("DROP DATABASE {name} WITH (FORCE)"))
        {
            eprintln!("the database {name} is left behind: {error}");
        }
    }
}

fn server() -> Option<PgConnectOptions> {
    let url = env::var("SIDEGATE_BENCH_POSTGRES").ok()?;
    let options = PgConnectOptions::from_str(&url).expect("SIDEGATE_BENCH_POSTGRES is a postgres:// URL");
    Some(options.disable_statement_logging())
}

fn run(server: PgConnectOptions, sql: String) -> Result<(), sqlx::Error> {
    blocking(async move {
        let mut connection = PgConnection::connect_with(&server).await?;
        raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
        connection.close().await
    })
}

/// Runs to its end on a thread of its own, so that it can be called from inside a runtime.
fn blocking<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    thread::spawn(move || runtime.block_on(work)).join().expect("the work does not panic")
}
