//! What a proxy keeps in memory: for itself, for an idle connection, for a client that does not read, for a
//! session.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use sidegate::id::{SessionId, UserId};
use sidegate::secret::{Purpose, RootSecret};
use sidegate::store::Store;
use sidegate::store::sessions::SessionRow;
use sidegate::time::Clock;
use sidegate::visitor::User;

use crate::load::Load;
use crate::report::Retained;
use crate::servers::running::SECRET;
use crate::site::{self, Layout, Site, Target};

/// Idle connections over which their memory is averaged.
const IDLE_CONNECTIONS: usize = 500;
/// Clients over which it is averaged what one costs that does not read.
const STALLED: usize = 400;
/// Sessions that are used before the count begins, so that the database's own cache is full, and those that
/// count.
const SESSIONS_BEFORE: usize = 10_000;
const SESSIONS: usize = 20_000;

/// Measures a proxy that has had no load yet. Who reads nothing comes without TLS, and so do the sessions.
pub(crate) fn retained(site: &Site, layout: &Layout<'_>, target: Target) -> Result<Retained, Box<dyn Error>> {
    let proxy = site.proxy(target).ok_or("this target has no process")?;
    let address = site.address(target);
    let tls = site.certificate().map(|certificate| certificate.client.clone());
    let plain = tls.is_none();
    let load =
        Load { address, request: site.request(target), connections: IDLE_CONNECTIONS, tls, fresh: false };
    let (idle, held) = load.hold(|| proxy.resident())?;
    let load = Load { request: site.request_large(target), connections: STALLED, ..load };
    let stalled = plain.then(|| load.stall(|| proxy.resident())).transpose()?;
    let session = (plain && target == Target::Sidegate).then(|| sessions(site, layout)).transpose()?;
    #[expect(clippy::cast_precision_loss, reason = "KiB stay far below 2^52")]
    Ok(Retained {
        fresh: site.fresh(target).map(|fresh| fresh as f64 / 1024.0),
        idle: idle as f64 / 1024.0,
        connection: held.saturating_sub(idle) as f64 / (IDLE_CONNECTIONS - 1) as f64,
        // What the idle connections left behind is used again, so all that came since counts.
        stalled: stalled.map(|stalled| stalled.saturating_sub(idle) as f64 / STALLED as f64),
        session,
    })
}

/// Bytes that each session adds when its first request brings it from the store into memory.
///
/// A Sidegate of its own, which reads over one connection: the page cache of SQLite grows to 2 MB for each.
fn sessions(site: &Site, layout: &Layout<'_>) -> Result<f64, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("sidegate.db");
    let tokens = open_sessions(&file)?;
    let store = format!("url = \"sqlite:{}\"\nconnections = 1", file.display());
    let process = layout.sidegate(site.upstream(), store, None).start(directory.path())?;
    let requests = tokens.iter().map(|token| {
        let fields = site::fields(&format!("sidegate={token}"));
        site::request((process.address, "/bench/x"), &fields, false)
    });
    let (before, after) = Load::each(process.address, requests, SESSIONS_BEFORE, || process.resident())?;
    #[expect(clippy::cast_precision_loss, reason = "KiB stay far below 2^52")]
    Ok(after.saturating_sub(before) as f64 * 1024.0 / SESSIONS as f64)
}

/// Writes the sessions of one user into a new database; returns their tokens.
fn open_sessions(file: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let key = RootSecret::new(SECRET.into()).ok_or("the secret is too short")?.key(Purpose::SessionTag);
    let database = sidegate::config::Database::Sqlite(file.to_owned());
    let config = sidegate::config::Store { database, migrate: true, connections: 1 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (clock, mut tokens) = (Clock::System, Vec::new());
        let store = Store::open(&config, &clock).await?;
        let now = clock.now();
        let user = User {
            id: UserId::random(),
            name: "Ada Lovelace".to_owned(),
            email: "ada@example.com".to_owned(),
            email_verified: true,
            image: None,
            created: now,
            updated: now,
        };
        let mut tx = store.begin().await?;
        tx.user_insert(&user).await?;
        for _ in 0..SESSIONS_BEFORE + SESSIONS {
            let token = key.issue();
            tx.session_insert(&SessionRow {
                id: SessionId::random(),
                token: token.hash(),
                user: user.clone(),
                opened: now,
                renewed: now,
                expires: now.plus(Duration::from_hours(24)),
                remember: true,
                address: Some("192.0.2.1".to_owned()),
                agent: Some(
                    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".to_owned(),
                ),
            })
            .await?;
            tokens.push(token.reveal());
        }
        tx.commit().await?;
        store.close().await;
        Ok(tokens)
    })
}
