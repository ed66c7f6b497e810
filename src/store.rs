//! Users, sessions and accounts in SQLite or PostgreSQL: reads on [`Store`], writes only on [`Tx`].
//!
//! One SQL text serves both databases. House rules for it: `$1` placeholders, quoted identifiers,
//! `RETURNING`, duplicates found by `ON CONFLICT DO NOTHING` and the number of rows; no `now()`,
//! arrays, `ILIKE` or `FOR UPDATE`. Names are noun first. Where the dialects part, both arms stand
//! side by side.

use std::error::Error as StdError;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::error::ErrorKind as Violation;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, PgConnection, PgPool, Postgres, Sqlite, SqlitePool, Transaction};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::config;
use crate::config::Database;
use crate::error::Fault;
use crate::metrics::{self, StoreCounts};
use crate::time::Clock;
use auth_log::Event;

/// The two arms of everything in here.
pub(crate) enum Db<S, P> {
    /// On SQLite.
    Sqlite(S),
    /// On PostgreSQL.
    Postgres(P),
}

/// Writes an expression once and compiles it for both arms.
macro_rules! on {
    ($db:expr, $inner:ident => $body:expr) => {
        match $db {
            $crate::store::Db::Sqlite($inner) => $body,
            $crate::store::Db::Postgres($inner) => $body,
        }
    };
}

pub mod accounts;
pub mod auth_log;
mod columns;
pub mod devices;
pub mod disabled;
pub mod ended;
pub mod identities;
pub mod keys;
pub mod languages;
mod migrations;
pub mod oauth_flows;
pub mod outbox;
pub mod pending;
pub mod personal_tokens;
pub mod provider_issuers;
pub mod refresh;
mod row;
pub mod session_providers;
pub mod sessions;
pub mod tickets;
pub mod users;

/// How long a caller waits for a connection, and SQLite for another process's lock, before the
/// store counts as unavailable.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whatever the database's default is: who waited for a row goes on with what it is then, and is not broken off (40001).
/// A parameter of the connection would say the same, and poolers refuse it.
const BEGIN_POSTGRES: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// What a pool that waited for so long knows.
const NO_CONNECTION: &str =
    "no connection within 5 s: the database cannot be reached, or all of them are in use";

/// The open database. Clones share its connections.
#[derive(Clone)]
pub struct Store {
    read: Pools,
    /// On SQLite a pool of one, so that writers queue here and not on the file's lock.
    write: Pools,
    /// Whether `account` has the `issuer` column of better-auth 1.7.0 to 1.7.2.
    issuer: bool,
    /// Told whenever mails were committed.
    mail_news: Arc<Notify>,
    counts: Arc<StoreCounts>,
}

type Pools = Db<SqlitePool, PgPool>;

impl Clone for Pools {
    fn clone(&self) -> Self {
        match self {
            Self::Sqlite(pool) => Self::Sqlite(pool.clone()),
            Self::Postgres(pool) => Self::Postgres(pool.clone()),
        }
    }
}

/// One transaction. Dropped without [`Tx::commit`], it never happened.
pub struct Tx {
    db: Db<Transaction<'static, Sqlite>, Transaction<'static, Postgres>>,
    issuer: bool,
    /// How many mails it holds.
    mails: u64,
    mail_news: Arc<Notify>,
    /// Lines of the log of sign-ins that it holds.
    events: Vec<Event>,
    counts: Arc<StoreCounts>,
}

impl Store {
    /// Connects, and brings the tables up to date if the configuration wants that; if it does not,
    /// tables that are behind are a fault.
    pub async fn open(config: &config::Store, clock: &Clock) -> Result<Self, Fault> {
        let mut store = Self::connect(config).await?;
        let mut tx = store.begin().await?;
        if config.migrate {
            tx.migrate(clock.now()).await?;
        } else if let missing = tx.migrations_missing().await?
            && !missing.is_empty()
        {
            return Err(Fault::new(
                "opening the store",
                format!(
                    "its tables are behind this version ({} missing): run `sidegate migrate`, or set store.migrate = true",
                    missing.join(", ")
                ),
            ));
        }
        store.issuer = tx.column_exists("account", "issuer").await?;
        tx.commit().await?;
        Ok(store)
    }

    /// Brings the tables up to date and returns the names of the migrations that it applied.
    pub async fn migrate(config: &config::Store, clock: &Clock) -> Result<Vec<&'static str>, Fault> {
        let store = Self::connect(config).await?;
        let mut tx = store.begin().await?;
        let applied = tx.migrate(clock.now()).await?;
        tx.commit().await?;
        store.close().await;
        Ok(applied)
    }

    /// The names of the migrations that the tables lack. Changes nothing.
    pub async fn missing(config: &config::Store) -> Result<Vec<&'static str>, Fault> {
        let store = Self::connect(config).await?;
        let missing = store.begin().await?.migrations_missing().await?;
        store.close().await;
        Ok(missing)
    }

    async fn connect(config: &config::Store) -> Result<Self, Fault> {
        let (read, write) = match &config.database {
            Database::Sqlite(path) => {
                let (read, write) = sqlite(path, config.connections).await?;
                (Db::Sqlite(read), Db::Sqlite(write))
            }
            Database::Postgres(url) => {
                let pool = postgres(url, config.connections).await?;
                (Db::Postgres(pool.clone()), Db::Postgres(pool))
            }
        };
        Ok(Self { read, write, issuer: false, mail_news: Arc::default(), counts: Arc::default() })
    }

    /// Begins a transaction that may write. On SQLite it has the write lock from the start
    /// (a transaction that reads first and asks for the lock later fails when another writer came between).
    pub async fn begin(&self) -> Result<Tx, Fault> {
        let db = match &self.write {
            Db::Sqlite(pool) => Db::Sqlite(
                pool.begin_with("BEGIN IMMEDIATE").await.map_err(fault("beginning a transaction"))?,
            ),
            Db::Postgres(pool) => {
                Db::Postgres(pool.begin_with(BEGIN_POSTGRES).await.map_err(fault("beginning a transaction"))?)
            }
        };
        let (mail_news, counts) = (Arc::clone(&self.mail_news), Arc::clone(&self.counts));
        Ok(Tx { db, issuer: self.issuer, mails: 0, mail_news, events: Vec::new(), counts })
    }

    /// What is counted of its work.
    pub fn counts(&self) -> &StoreCounts {
        &self.counts
    }

    /// Asks for nothing, to see whether there is an answer.
    pub async fn ping(&self) -> Result<(), Fault> {
        on!(&self.read, pool => sqlx::query("SELECT 1").execute(pool).await.map(|_| ()))
            .map_err(fault("asking whether the store answers"))
    }

    /// Waits until a transaction of this process has committed a mail.
    pub async fn mail_news(&self) {
        self.mail_news.notified().await;
    }

    /// Waits until every connection is back and closed; afterwards every call is a fault.
    pub async fn close(&self) {
        on!(&self.read, pool => pool.close().await);
        on!(&self.write, pool => pool.close().await);
    }
}

impl Tx {
    /// Whether no other replica does work of this name until this transaction ends.
    pub async fn alone(&mut self, work: &str) -> Result<bool, Fault> {
        match &mut self.db {
            // One process writes, and this is its one writing transaction.
            Db::Sqlite(_) => Ok(true),
            Db::Postgres(tx) => {
                sqlx::query_scalar("SELECT pg_try_advisory_xact_lock(hashtextextended('sidegate/' || $1, 0))")
                    .bind(work)
                    .fetch_one(&mut **tx)
                    .await
                    .map_err(fault("asking whether another replica does the same"))
            }
        }
    }

    /// Makes it last.
    pub async fn commit(self) -> Result<(), Fault> {
        on!(self.db, tx => tx.commit().await).map_err(fault("committing a transaction"))?;
        for event in &self.events {
            event.tell(&self.counts);
        }
        if self.mails > 0 {
            self.counts.mails.queued.add(self.mails);
            self.mail_news.notify_one();
        }
        Ok(())
    }
}

async fn sqlite(path: &Path, readers: u32) -> Result<(SqlitePool, SqlitePool), Fault> {
    let file = sqlite_file(path)?;
    let unusable =
        |error| failed("opening the database file", Some(&format!("store.url {}", path.display())), error);
    let options = SqliteConnectOptions::new()
        .filename(file)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(PATIENCE);
    let pool = || {
        SqlitePoolOptions::new()
            .acquire_timeout(PATIENCE)
            .max_lifetime(None)
            .idle_timeout(None)
            .test_before_acquire(false)
    };
    let write = pool()
        .max_connections(1)
        // Where a COMMIT fails, say since the disk is full, SQLite may have ended the transaction by itself. The driver
        // still counts it, and nothing could begin on the connection any more.
        .before_acquire(|connection, _| {
            let sound = !connection.is_in_transaction();
            Box::pin(async move { Ok(sound) })
        })
        .connect_with(options.clone().journal_mode(SqliteJournalMode::Wal))
        .await
        .map_err(unusable)?;
    let read = pool()
        .max_connections(readers.max(1))
        .connect_with(options.pragma("query_only", "ON"))
        .await
        .map_err(unusable)?;
    Ok((read, write))
}

/// The file's absolute path, which SQLite cannot take for a URI or a name with a meaning. A missing
/// file is created, readable by its owner alone; SQLite gives the same mode to the files beside it.
fn sqlite_file(path: &Path) -> Result<PathBuf, Fault> {
    let named = |error: std::io::Error| {
        Fault::new("opening the database file", format!("store.url {}: {error}", path.display()))
    };
    if path == Path::new(":memory:") {
        return Err(Fault::new(
            "opening the database file",
            "a database in memory is not supported: name a file",
        ));
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(named(error)),
        Ok(_) | Err(_) => path.canonicalize().map_err(named),
    }
}

async fn postgres(url: &str, connections: u32) -> Result<PgPool, Fault> {
    let options = PgConnectOptions::from_str(url)
        .map_err(fault("reading the database URL"))?
        .application_name("sidegate");
    let pool = PgPoolOptions::new()
        .acquire_timeout(PATIENCE)
        .max_connections(connections.max(1))
        .connect_with(options.clone())
        .await;
    let error = match pool {
        // It tried again and again, and only says that it did for too long.
        Err(sqlx::Error::PoolTimedOut) => match timeout(PATIENCE, PgConnection::connect_with(&options)).await
        {
            Ok(Err(reason)) => reason,
            Ok(Ok(_)) | Err(_) => sqlx::Error::PoolTimedOut,
        },
        Err(error) => error,
        Ok(pool) => return Ok(pool),
    };
    let place = format!("store.url {}:{}", options.get_host(), options.get_port());
    Err(failed("connecting to PostgreSQL", Some(&place), error))
}

/// A store that did not do its work; counted. `place` is where it is, if that is news.
fn failed(doing: &'static str, place: Option<&str>, error: sqlx::Error) -> Fault {
    metrics::store_failed();
    let error: Box<dyn StdError + Send + Sync> = match error {
        sqlx::Error::PoolTimedOut => NO_CONNECTION.into(),
        error => error.into(),
    };
    match place {
        Some(place) => Fault::store(doing, format!("{place}: {error}")),
        None => Fault::store(doing, error),
    }
}

/// What a driver's error means to us. A row that breaks a rule of the tables would break it again,
/// so that is an ordinary fault; everything else is a store that did not do its work.
fn fault(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Fault {
    move |error| match error.as_database_error().map(sqlx::error::DatabaseError::kind) {
        Some(
            Violation::UniqueViolation
            | Violation::ForeignKeyViolation
            | Violation::NotNullViolation
            | Violation::CheckViolation
            | Violation::ExclusionViolation,
        ) => Fault::new(doing, error),
        _ => failed(doing, None, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pragma(pools: &Pools, name: &str) -> i64 {
        let Db::Sqlite(pool) = pools else { panic!("not on SQLite") };
        let sql = sqlx::AssertSqlSafe(format!("PRAGMA {name}"));
        sqlx::query_scalar(sql).fetch_one(pool).await.expect("SQLite answers")
    }

    #[tokio::test]
    async fn a_commit_is_synced_foreign_keys_hold_and_readers_cannot_write() {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::Sqlite(directory.path().join("a.db"));
        let config = config::Store { database, migrate: true, connections: 2 };
        let store = Store::open(&config, &Clock::System).await.expect("opens");
        assert_eq!(pragma(&store.write, "synchronous").await, 2, "FULL");
        assert_eq!(pragma(&store.write, "foreign_keys").await, 1);
        assert_eq!(pragma(&store.write, "query_only").await, 0);
        assert_eq!(pragma(&store.read, "query_only").await, 1);
    }
}
