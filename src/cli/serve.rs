//! `sidegate serve`: runs until it is told to stop, then lets what is in flight finish.

use std::io::Write as _;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, Settings};
use crate::app::App;
use crate::config::NewSecret;
use crate::log;
use crate::server::Server;
use crate::time::Clock;

/// Threads of the office.
const OFFICE_THREADS: usize = 2;

/// Serves until SIGTERM or SIGINT; a second one ends at once.
pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let config = settings.load(NewSecret::Keep)?;
    log::start(&config.log);
    for danger in &config.dangers {
        tracing::warn!("{danger}");
    }
    let office =
        office().map_err(|error| Failure::Other(format!("the runtime cannot be started: {error}")))?;
    office.block_on(async {
        let app =
            App::start(config, Clock::System).await.map_err(|fault| Failure::Other(fault.to_string()))?;
        serve(app).await
    })
}

/// The runtime for everything that may take its time.
pub(super) fn office() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(OFFICE_THREADS).thread_name("office").enable_all().build()
}

/// Serves `app` until a signal says otherwise.
pub(super) async fn serve(app: Arc<App>) -> Result<(), Failure> {
    let mut stop =
        Stop::new().map_err(|error| Failure::Other(format!("signals cannot be received: {error}")))?;
    let server = Server::start(&app).map_err(|error| {
        Failure::Other(format!("cannot listen on {}: {error}", app.config.listen.address))
    })?;
    tracing::info!(address = %server.address(), public = app.config.public.origin, "serving");
    stop.told().await;
    tracing::info!("stopping; requests in flight are finished");
    let mut stopping = tokio::task::spawn_blocking(move || server.stop());
    tokio::select! {
        _ = &mut stopping => {}
        () = stop.told() => {
            let _ = writeln!(std::io::stderr(), "told to stop again: ending now");
            std::process::exit(1);
        }
    }
    app.store.close().await;
    Ok(())
}

/// The signals that ask for an end.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
