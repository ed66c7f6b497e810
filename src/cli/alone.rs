//! Whether another process serves with the same SQLite file: what one ends, the other goes on to use from memory.
//!
//! That is told and not refused, for a server that is being replaced may serve with the file until its last request is
//! finished. Commands that run beside a server take no part.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use crate::app::App;
use crate::config::Database;

/// How often it is looked whether the other one is gone.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Takes the lock of the SQLite file (`flock(2)` on a file beside it, which neither SQLite nor a copy of the database
/// knows) or warns of who has it, and takes it when that one is gone. What is returned holds it; the system lets it go
/// with the process, however that ends.
pub(super) fn claim(app: &App) -> Option<File> {
    let Database::Sqlite(path) = &app.config.store.database else { return None };
    let unknown = |error: io::Error| {
        tracing::info!("whether another process serves with {} cannot be told: {error}", path.display());
    };
    let file = beside(path).and_then(|lock| open(&lock)).map_err(unknown).ok()?;
    match file.try_lock() {
        Ok(()) => return Some(file),
        Err(TryLockError::Error(error)) => unknown(error),
        Err(TryLockError::WouldBlock) => {
            tracing::warn!(
                "another process serves with {}: unless it is about to end, stop one of them. Each sees a sign-out at the \
                 other only after `session.cache_age`, and counts attempts to sign in for itself; several replicas need \
                 PostgreSQL (`store.url`)",
                path.display()
            );
            app.office.spawn(succeed(file, path.clone()));
        }
    }
    None
}

/// `<database file>.lock`, whichever link leads to the database.
fn beside(database: &Path) -> io::Result<PathBuf> {
    let mut name = OsString::from(database.canonicalize()?);
    name.push(".lock");
    Ok(name.into())
}

fn open(lock: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock)
}

/// Takes the lock once it is free, and keeps it.
async fn succeed(file: File, database: PathBuf) {
    while let Err(TryLockError::WouldBlock) = file.try_lock() {
        sleep(LOOK_EVERY).await;
    }
    tracing::info!("no other process serves with {} any more", database.display());
    // Closing the file would let the lock go.
    std::future::pending::<()>().await;
    drop(file);
}
