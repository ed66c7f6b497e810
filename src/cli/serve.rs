//! `sidegate serve`: runs until it is told to stop, then lets what is in flight finish.

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, Settings};
use crate::app::App;
use crate::config::unusual::Mode;
use crate::config::{Config, NewSecret};
use crate::jobs::Jobs;
use crate::log;
use crate::server::Server;
use crate::server::listen::Reservation;
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
    let office = office()?;
    let outcome = office.block_on(serve(config));
    // A computation that nobody waits for any more must not delay the end.
    office.shutdown_background();
    outcome
}

async fn serve(config: Config) -> Result<(), Failure> {
    let mut held = Vec::new();
    for address in config.listen.addresses().chain(config.listen.redirect_http) {
        let reserved = Reservation::take(address)
            .map_err(|error| Failure::Other(format!("cannot listen on {address}: {error}")))?;
        held.push(reserved);
    }
    let app = App::start(config, Clock::System).await.map_err(|fault| Failure::Other(fault.to_string()))?;
    if app.config.unusual.mode != Mode::Off
        && let Some(what) = app.geo.blind_spots()
    {
        tracing::info!("{what}");
    }
    let mut stop = Stop::new()?;
    let _jobs = Jobs::start(&app);
    // Mails wait for a server that is down; whoever configured it wrongly should hear of it now.
    let mail = Arc::clone(&app);
    app.office.spawn(async move {
        if let Some(mailer) = &mail.mailer
            && let Err(what) = mailer.check().await
        {
            tracing::warn!("mail cannot be sent at present: {what}; `sidegate doctor` tries again");
        }
    });
    let server = Server::start(&app).map_err(|error| Failure::Other(format!("cannot listen on {error}")))?;
    drop(held);
    for place in app.config.listen.places.iter().skip(1) {
        tracing::info!(address = %place, "also listening");
    }
    if let Some(address) = server.redirect() {
        tracing::info!(%address, "leading plain http to https");
    }
    tracing::info!(address = %server.place(), public = app.config.public.origin, "serving");
    until_told(app, server, &mut stop).await
}

/// The runtime for everything that may take its time.
pub(super) fn office() -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .worker_threads(OFFICE_THREADS)
        .thread_name("office")
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(format!("the runtime cannot be started: {error}")))
}

/// Lets `server` run until a signal says otherwise, then lets what is in flight finish. A second signal ends
/// that at once and counts as a failure.
pub(super) async fn until_told(app: Arc<App>, server: Server, stop: &mut Stop) -> Result<(), Failure> {
    loop {
        tokio::select! {
            _ = stop.terminate.recv() => break,
            _ = stop.interrupt.recv() => break,
            _ = stop.hangup.recv() => reload(&server),
        }
    }
    tracing::info!("stopping; requests in flight are finished");
    let mut stopping = tokio::task::spawn_blocking(move || server.stop());
    tokio::select! {
        _ = &mut stopping => {}
        () = stop.told() => return Err(Failure::Other("told to stop again: ended at once".to_owned())),
    }
    app.store.close().await;
    Ok(())
}

/// Reads again what can change while we serve.
fn reload(server: &Server) {
    match server.reload() {
        Ok(()) => tracing::info!("certificates were read again"),
        Err(unusable) => tracing::error!("nothing was reloaded: {unusable}"),
    }
}

/// The signals that ask for an end, or for another look at the files.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Stop {
    /// From now on the signals end nothing by themselves.
    pub(super) fn new() -> Result<Self, Failure> {
        let receive = |kind| {
            signal(kind).map_err(|error| Failure::Other(format!("signals cannot be received: {error}")))
        };
        Ok(Self {
            terminate: receive(SignalKind::terminate())?,
            interrupt: receive(SignalKind::interrupt())?,
            hangup: receive(SignalKind::hangup())?,
        })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
