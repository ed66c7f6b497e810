//! `sidegate demo`: a small app and Sidegate in front of it, on this machine only, with nothing to set up.

use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio::runtime::Handle;

use super::Failure;
use super::serve::{self, Stop};
use crate::app::App;
use crate::config::{self, Config, Flags, NewSecret, Sources};
use crate::demo::provider::Bound;
use crate::demo::{self, Directory};
use crate::jobs::Jobs;
use crate::log;
use crate::server::Server;
use crate::server::listen::Reservation;
use crate::time::Clock;

/// What the demo can be told.
#[derive(Args)]
pub(crate) struct Options {
    /// Loopback address and port to listen on; port 0 lets the system choose.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Keep users and sessions in this directory rather than in a temporary one.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Serves the demo until SIGINT or SIGTERM.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    if !options.listen.ip().is_loopback() {
        let what = "is not a loopback address, and the demo is for this machine only";
        return Err(Failure::Usage(format!(
            "--listen {} {what}: for other machines, use `sidegate serve`",
            options.listen
        )));
    }
    let reserved =
        Reservation::take(options.listen).map_err(|error| cannot_listen(options.listen, &error))?;
    let directory = Directory::open(options.directory.as_deref(), &std::env::temp_dir())
        .map_err(|error| Failure::Other(format!("no directory for the demo: {error}")))?;
    let office = serve::office()?;
    let outcome = office.block_on(serve(reserved, &directory));
    // A computation that nobody waits for any more must not delay the end.
    office.shutdown_background();
    outcome
}

async fn serve(held: Reservation, directory: &Directory) -> Result<(), Failure> {
    let address = held.address();
    // From here on, Ctrl-C tidies up.
    let mut stop = Stop::new()?;
    let upstream = demo::app::start(&Handle::current())
        .await
        .map_err(|error| Failure::Other(format!("the demo's app cannot be started: {error}")))?;
    let provider = Bound::take()
        .await
        .map_err(|error| Failure::Other(format!("the demo's provider cannot be started: {error}")))?;
    let issuer = provider.issuer().to_owned();
    let config = config(address, upstream, &provider, directory)?;
    let redirect_uri = format!("{}{}/callback/{}", config.public.origin, config.mount(), demo::provider::ID);
    provider
        .start(&Handle::current(), &redirect_uri, Clock::System)
        .map_err(|error| Failure::Other(format!("the demo's provider cannot be started: {error}")))?;
    log::start(&config.log).map_err(serve::no_log)?;
    let app = App::start(config, Clock::System).await.map_err(|fault| Failure::Other(fault.to_string()))?;
    let _jobs = Jobs::start(&app);
    let server = Server::start(&app).map_err(|error| cannot_listen(address, &error))?;
    drop(held);
    let text = demo::invitation(&app.config.public.origin, app.config.mount(), &issuer, directory);
    // Without anyone to read it the demo still runs.
    let _ = io::stdout().write_all(text.as_bytes());
    let outcome = serve::until_told(Arc::clone(&app), server, &mut stop, None).await;
    if outcome.is_ok() {
        let _ = writeln!(io::stdout(), "\nThe demo has ended.");
    }
    outcome
}

/// The configuration that `serve` would read, from the demo's settings and the environment.
fn config(
    address: SocketAddr,
    upstream: SocketAddr,
    provider: &Bound,
    directory: &Directory,
) -> Result<Config, Failure> {
    let file = directory
        .configure(&demo::configuration(&format!("http://{address}"), provider))
        .map_err(|error| Failure::Other(format!("the demo's configuration cannot be written: {error}")))?;
    let env = std::env::vars_os().collect();
    let flags = Flags {
        upstream: Some(format!("http://{upstream}")),
        listen: Some(address.to_string()),
        store: Some(format!("sqlite:{}", directory.path().join("demo.db").display())),
    };
    let sources = Sources { file: Some(file), env, flags, new_secret: NewSecret::Keep };
    let config = config::load(&sources).map_err(Failure::Configuration)?;
    let refused = |what: &str| Err(Failure::Usage(format!("The demo is for this machine only: {what}")));
    if config.public.https {
        return refused("public.url is https; use `sidegate serve` for that");
    }
    match config.dangers.first() {
        Some(danger) => refused(danger),
        None => Ok(config),
    }
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    let ip = SocketAddr::new(address.ip(), 0);
    Failure::Other(match error.kind() {
        ErrorKind::AddrInUse => {
            format!(
                "{address} is taken by another program; try `sidegate demo --listen {ip}`, which takes a free port"
            )
        }
        _ => format!("cannot listen on {address}: {error}"),
    })
}
