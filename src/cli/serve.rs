//! `sidegate serve`: runs until it is told to stop, then lets what is in flight finish.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::watch::Watch;
use super::{Failure, Settings, alone, notify};
use crate::app::App;
use crate::config::listen::Place;
use crate::config::unusual::Mode;
use crate::config::{self, Config, NewSecret, Sources};
use crate::jobs::Jobs;
use crate::log::sink::Sink;
use crate::log::{self, Levels};
use crate::server::listen::Reservation;
use crate::server::passed::Passed;
use crate::server::{Server, unbound};
use crate::time::Clock;

/// Threads of the office.
const OFFICE_THREADS: usize = 2;

/// Serves until SIGTERM or SIGINT; a second one ends at once.
pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    // Without it, sockets could be meant for any process that inherits them.
    let passed = match std::env::var_os("LISTEN_PID") {
        Some(_) => {
            Passed::take().map_err(|error| Failure::Other(format!("what was handed over: {error}")))?
        }
        None => Passed::default(),
    };
    let config = settings.load_whole(NewSecret::Keep)?;
    let (levels, sink) = log::start(&config.log).map_err(no_log)?;
    tell_dangers(&config, &passed.addresses().collect::<Vec<_>>());
    passed.dangers().for_each(|danger| tracing::warn!("{danger}"));
    if !passed.is_empty() && !config.listen.places.contains(&Place::Passed) {
        tracing::warn!("sockets were handed over, and `listen.address = \"systemd\"` does not ask for them");
    }
    let office = office()?;
    let sources = settings.sources(NewSecret::Leave);
    let outcome = office.block_on(serve(config, (sources, levels, sink), passed));
    // A computation that nobody waits for any more must not delay the end.
    office.shutdown_background();
    outcome
}

async fn serve(
    config: Config,
    (sources, levels, sink): (Sources, Levels, Sink),
    passed: Passed,
) -> Result<(), Failure> {
    let watch = Watch::new(&config);
    let mut held = Vec::new();
    for (key, place) in config.listen.named() {
        let Place::Tcp(address) = place else { continue };
        let reserved = Reservation::take(address).map_err(|error| {
            Failure::Other(format!("cannot listen on {}", unbound::named(&key, &place, &error)))
        })?;
        held.push(reserved);
    }
    let app = App::start(config, Clock::System).await.map_err(|fault| Failure::Other(fault.to_string()))?;
    app.log_to(sink);
    let _alone = alone::claim(&app);
    if app.config.unusual.mode != Mode::Off
        && let Some(what) = app.geo.blind_spots()
    {
        tracing::info!("{what}");
    }
    let mut stop = Stop::new()?;
    let jobs = Jobs::start(&app);
    try_mail(&app);
    let server = Server::start_with(&app, &passed)
        .map_err(|error| Failure::Other(format!("cannot listen on {error}")))?;
    let handed = passed.addresses().collect();
    drop((held, passed));
    for place in app.config.listen.places.iter().skip(1) {
        tracing::info!(address = %place, "also listening");
    }
    if let Some(address) = server.redirect() {
        tracing::info!(%address, "leading plain http to https");
    }
    tracing::info!(address = %server.place(), public = app.config.public.origin, "serving");
    if let Some(admin) = server.admin_address() {
        tracing::info!(address = %admin, "admin listener");
    }
    notify::tell(notify::READY);
    until_told(app, server, &mut stop, Some(Reloader { sources, levels, jobs, handed, watch })).await
}

/// Says what weakens the defaults, and whether others can reach the sockets that were `handed` over.
fn tell_dangers(config: &Config, handed: &[SocketAddr]) {
    for danger in &config.dangers {
        tracing::warn!("{danger}");
    }
    if config.listen.places.contains(&Place::Passed)
        && let Some(danger) = handed.iter().find_map(|address| config.public.danger_at(*address))
    {
        tracing::warn!("{danger}");
    }
}

/// Tries the way to the mail server: mails wait for one that is down, and whoever configured it wrongly should hear of
/// it now.
fn try_mail(app: &App) {
    let Some(mailer) = app.mailer.clone() else { return };
    app.office.spawn(async move {
        if let Err(what) = mailer.check().await {
            tracing::warn!("mail cannot be sent at present: {what}; `sidegate doctor` tries again");
        }
    });
}

/// Why nothing can be logged.
#[expect(clippy::needless_pass_by_value, reason = "the form in which it is passed on")]
pub(super) fn no_log(error: io::Error) -> Failure {
    Failure::Other(format!("lines cannot be logged: {error}"))
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

/// What a new look at the configuration needs.
pub(super) struct Reloader {
    sources: Sources,
    levels: Levels,
    jobs: Jobs,
    /// Where the sockets are that were handed over.
    handed: Vec<SocketAddr>,
    /// The certificates as they were when they were read.
    watch: Watch,
}

/// Lets `server` run until a signal says otherwise, then lets what is in flight finish. A second signal ends
/// that at once and counts as a failure.
pub(super) async fn until_told(
    mut app: Arc<App>,
    server: Server,
    stop: &mut Stop,
    mut reloader: Option<Reloader>,
) -> Result<(), Failure> {
    loop {
        tokio::select! {
            _ = stop.terminate.recv() => break,
            _ = stop.interrupt.recv() => break,
            () = Watch::wait(&app.config) => {
                if let Some(reloader) = &mut reloader {
                    reloader.watch.look(&app, &server);
                }
            }
            _ = stop.user_1.recv() => nothing_to_reopen(),
            _ = stop.user_2.recv() => nothing_to_reopen(),
            _ = stop.hangup.recv() => {
                if let Some(reloader) = &mut reloader {
                    let fresh = reload(Arc::clone(&app), &server, reloader);
                    tokio::select! {
                        fresh = fresh => app = fresh,
                        // Whatever it waits for, nobody needs it any more.
                        () = stop.told() => break,
                    }
                } else {
                    tracing::info!("there is nothing to be read again");
                }
            }
        }
    }
    let at_once = || Err(Failure::Other("told to stop again: ended at once".to_owned()));
    server.announce_end();
    notify::tell(notify::STOPPING);
    let grace = app.config.limits.grace;
    if !grace.is_zero() {
        tracing::info!(?grace, "going down: nobody new should be sent here");
        tokio::select! {
            () = tokio::time::sleep(grace) => {}
            () = stop.told() => return at_once(),
        }
    }
    tracing::info!("stopping; requests in flight are finished");
    let mut stopping = tokio::task::spawn_blocking(move || server.stop());
    tokio::select! {
        _ = &mut stopping => {}
        () = stop.told() => return at_once(),
    }
    app.store.close().await;
    Ok(())
}

/// Reads the configuration again and serves with it, or with the earlier one if anything is wrong with it. It
/// runs on a thread of its own, where files may be waited for.
async fn reload(app: Arc<App>, server: &Server, reloader: &mut Reloader) -> Arc<App> {
    let metrics = Arc::clone(&app.metrics);
    match renewed(&app, server, reloader).await {
        Ok((fresh, waiting)) => {
            metrics.configured_at(fresh.clock.now());
            metrics.reloaded(true);
            tracing::info!("the configuration was read again, and counts");
            for key in waiting {
                tracing::warn!(key, "has changed, and stays as it was until the next start");
            }
            tell_dangers(&fresh.config, &reloader.handed);
            // At a start they are part of the configuration's.
            server.dangers().iter().for_each(|danger| tracing::warn!("{danger}"));
            try_mail(&fresh);
            // Last, so that it is heard of whatever is to be heard from now on.
            reloader.levels.apply(&fresh.config.log);
            fresh
        }
        Err(why) => {
            metrics.reloaded(false);
            for line in why.lines() {
                tracing::error!("nothing was reloaded: {line}");
            }
            app
        }
    }
}

/// The application under the configuration as it is now, being served, and the keys that wait for a start.
async fn renewed(
    app: &App,
    server: &Server,
    reloader: &mut Reloader,
) -> Result<(Arc<App>, Vec<String>), String> {
    let (config, waiting) =
        config::reload(&reloader.sources, &app.config).map_err(|problems| problems.to_string())?;
    let fresh = app.under(config).map_err(|fault| fault.to_string())?;
    let watch = Watch::new(&fresh.config);
    let ready = server.prepare(&fresh).map_err(|problems| fresh.config.located(problems).to_string())?;
    // The last that can fail: from here on it counts.
    fresh.bind(app).await.map_err(|fault| fault.to_string())?;
    server.apply(ready);
    reloader.jobs.apply(&fresh);
    reloader.watch = watch;
    Ok((fresh, waiting))
}

/// Says so to whoever rotates logs, or anything else, by the signals at which other servers reopen files or replace
/// themselves. Left alone they would end the process.
fn nothing_to_reopen() {
    tracing::info!(
        "nothing is reopened: the log goes to stderr, and its files belong to whoever reads it there"
    );
}

/// The signals that ask for an end, for another look at the files, or for what other servers do at them.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user_1: Signal,
    user_2: Signal,
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
            user_1: receive(SignalKind::user_defined1())?,
            user_2: receive(SignalKind::user_defined2())?,
        })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
