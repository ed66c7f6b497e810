//! What a proxy keeps in memory: for itself, for an idle connection, for a client that does not read, for a
//! session.

use std::error::Error;

use sidegate::config;

use crate::load::Load;
use crate::report::Retained;
use crate::sessions;
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
    let database = config::Database::Sqlite(file.clone());
    let config = config::Store { database, migrate: true, connections: 1 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tokens = runtime.block_on(sessions::write(&config, SESSIONS_BEFORE + SESSIONS))?;
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
