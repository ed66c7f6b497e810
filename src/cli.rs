//! The command line: arguments to one command, its outcome to an exit code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

mod alone;
mod check;
mod demo;
mod doctor;
mod explain;
mod healthcheck;
mod keys;
mod migrate;
mod notify;
mod serve;
mod session;
mod user;
mod watch;

use crate::account::place::Geo;
use crate::config::problem::Problems;
use crate::config::{self, Config, Flags, NewSecret, Sources};
use crate::log;
use crate::proxy::connect::Connector;
use crate::server::tls::Tls;
use crate::time::Clock;

/// Bad usage or configuration (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;

/// A reverse-proxy authentication sidecar: one binary and one TOML file give a web app its users.
#[derive(Parser)]
#[command(name = "sidegate", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Stand in front of the app.
    Serve(Settings),
    /// Try it: a small app and Sidegate in front of it, on this machine only, with nothing to set up.
    Demo(demo::Options),
    /// Read the configuration and tell everything that is wrong with it, or what it comes to.
    Check(Settings),
    /// Tell what would be done with a request, and why.
    Explain(explain::Question),
    /// Try the store and the mail server that the configuration names, and tell how they fare.
    Doctor(Settings),
    /// Ask a running instance with this configuration whether it answers.
    Healthcheck(Settings),
    /// Bring the tables of the database up to date.
    Migrate(Settings),
    /// Show or replace the keys that sign tokens.
    Keys(keys::Options),
    /// Show, make, change or remove the accounts of users.
    User(user::Options),
    /// Show or end the sessions of a user.
    Session(session::Options),
}

/// Where the configuration comes from.
#[derive(Args)]
pub(crate) struct Settings {
    /// The TOML file.
    #[arg(long, value_name = "FILE", env = "SIDEGATE_CONFIG")]
    config: Option<PathBuf>,
    /// The app behind us, http://host:port.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The database, sqlite:PATH or postgres://….
    #[arg(long, value_name = "URL", hide_env_values = true)]
    store: Option<String>,
}

impl Settings {
    /// What a configuration is read from: these, and the environment of this process.
    pub(crate) fn sources(&self, new_secret: NewSecret) -> Sources {
        let flags =
            Flags { upstream: self.upstream.clone(), listen: self.listen.clone(), store: self.store.clone() };
        let env = std::env::vars_os().collect();
        Sources { file: self.config.clone(), env, flags, new_secret }
    }

    /// Reads the configuration with the environment of this process.
    pub(crate) fn load(&self, new_secret: NewSecret) -> Result<Config, Failure> {
        self.read(new_secret, |_, _| {})
    }

    /// The same for whoever serves with it: larger files are opened too.
    pub(crate) fn load_whole(&self, new_secret: NewSecret) -> Result<Config, Failure> {
        self.read(new_secret, |config, problems| {
            if !problems.within("geo") {
                problems.take(Geo::open(&config.geo));
            }
        })
    }

    fn read(
        &self,
        new_secret: NewSecret,
        more: impl FnOnce(&Config, &mut Problems),
    ) -> Result<Config, Failure> {
        let mut tls = None;
        let look = |config: &Config, problems: &mut Problems| {
            more(config, problems);
            if let Some(files) = config.tls.as_ref().filter(|_| !problems.within("tls")) {
                tls = problems.take(Tls::load(files));
            }
            if !problems.within("upstream") {
                problems.take(Connector::new(&config.upstream.tls));
            }
        };
        let mut config =
            config::load_with(&self.sources(new_secret), look).map_err(Failure::Configuration)?;
        let (host, now) = (&config.public.authority, Clock::System.now());
        config.dangers.extend(tls.iter().flat_map(|tls| tls.dangers(host, now)));
        Ok(config)
    }
}

/// Why a command failed.
pub(crate) enum Failure {
    /// The configuration is wrong; nothing was done.
    Configuration(Problems),
    /// What was asked for is not what the command does, or cannot be done as it stands; nothing was done.
    Usage(String),
    /// Anything else, in one line.
    Other(String),
}

/// Runs the command that `arguments` name (the first is the program). Exit code 0, 1 for a
/// failure, 64 for bad usage or a bad configuration.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(answer) => {
            // Help and the version come this way too; a closed pipe is nobody's failure.
            let _ = answer.print();
            return if answer.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match cli.command {
        Command::Serve(settings) => serve::run(&settings),
        Command::Demo(options) => demo::run(&options),
        Command::Migrate(settings) => migrate::run(&settings),
        Command::Keys(options) => keys::run(&options),
        Command::User(options) => user::run(&options),
        Command::Session(options) => session::run(&options),
        Command::Check(settings) => check::run(&settings),
        Command::Doctor(settings) => doctor::run(&settings),
        Command::Explain(question) => explain::run(&question),
        Command::Healthcheck(settings) => healthcheck::run(&settings),
    };
    let (code, text) = match outcome {
        Ok(()) => (ExitCode::SUCCESS, String::new()),
        Err(Failure::Configuration(problems)) => (ExitCode::from(EXIT_USAGE), problems.to_string()),
        Err(Failure::Usage(what)) => (ExitCode::from(EXIT_USAGE), format!("{what}\n")),
        Err(Failure::Other(what)) => (ExitCode::FAILURE, format!("{what}\n")),
    };
    log::last_words(&text);
    code
}
