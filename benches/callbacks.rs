//! How many people a second does a Sidegate let in who come back from a provider, and what does one cost it?
//!
//! ```text
//! cargo bench --bench callbacks                        # on SQLite, a quarter of a minute
//! SIDEGATE_BENCH_POSTGRES=postgres://… cargo bench --bench callbacks
//! ```
//!
//! The provider is the demo's: real HTTP and real keys, in the process of the benchmark. Everybody walks the whole
//! way, sent away, choosing, sent back, and has been here before. The callback is where the code is exchanged, the
//! ID token verified and the session written; the rate and the processor time are those of the whole way, most of
//! which is the provider's signature and what lies between the processes.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use sidegate::demo::provider::{Bound, ID};
use sidegate::time::Clock;
use tokio::runtime::{Builder, Runtime};

#[path = "support/database.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod database;
#[path = "support/people.rs"]
mod people;
#[path = "support/servers.rs"]
mod servers;
#[path = "support/statistics.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod statistics;

use database::{Database, Kind};
use people::now;
use servers::process::Process;
use servers::running::Client;
use statistics::quantile;

/// Measures the way through a provider.
#[derive(Parser)]
struct Options {
    /// How long it is measured.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// People who are on the way at the same time.
    #[arg(long, default_value_t = 8)]
    people: usize,
    /// Measure this binary instead of the one that cargo has just built.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_sidegate"))]
    sidegate: PathBuf,
    /// Cargo's own mark for a benchmark run.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    println!(
        "{} people go through a provider one after the other for {} s\n\n\
         | store | people/s | CPU ms/person | ms/start, median | ms/callback, median | p95 |\n\
         |---|---:|---:|---:|---:|---:|",
        options.people, options.seconds
    );
    for kind in Kind::available() {
        let house = House::open(kind, &options)?;
        println!("| {} | {} |", kind.name(), house.rate(&options)?);
    }
    Ok(())
}

/// A running Sidegate and its provider.
struct House {
    process: Process,
    issuer: String,
    _provider: Runtime,
    _directory: tempfile::TempDir,
    _database: Database,
}

impl House {
    fn open(kind: Kind, options: &Options) -> Result<Self, Box<dyn Error>> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let provider = runtime.block_on(Bound::take())?;
        let (database, directory) = (kind.create(), tempfile::tempdir()?);
        let issuer = provider.issuer().to_owned();
        let sections = format!(
            "[limits]\nattempts_per_address = 1000000\nattempts_in_all = 1000000\n\n{}",
            provider.toml()
        );
        let plan = people::plan(&options.sidegate, &database, &sections)?;
        let process = plan.start(directory.path())?;
        let back = format!("http://{}/auth/callback/{ID}", process.address);
        provider.start(runtime.handle(), &back, Clock::System)?;
        Ok(Self { process, issuer, _provider: runtime, _directory: directory, _database: database })
    }

    /// The cells of a row: people a second, what each costs the server, the times of both requests.
    fn rate(&self, options: &Options) -> Result<String, Box<dyn Error>> {
        // The first of each makes an account, and the provider is asked for metadata and keys.
        for who in PEOPLE {
            self.walk(who).map_err(|error| error.to_string())?;
        }
        let length = Duration::from_secs_f64(options.seconds);
        let (cpu, start) = (self.process.cpu(), now());
        let person = |number: usize| -> Result<Vec<Times>, String> {
            let mut times = Vec::new();
            while start.elapsed() < length {
                times.push(self.walk(PEOPLE[number % PEOPLE.len()]).map_err(|error| error.to_string())?);
            }
            Ok(times)
        };
        let times = people::together(options.people, person)?;
        let (cpu, elapsed) = (self.process.cpu().saturating_sub(cpu), start.elapsed());
        let sorted = |of: fn(&Times) -> f64| {
            let mut times: Vec<f64> = times.iter().map(of).collect();
            times.sort_by(f64::total_cmp);
            times
        };
        let (starts, callbacks) = (sorted(|times| times.start), sorted(|times| times.callback));
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let count = times.len() as f64;
        Ok(format!(
            "{:.0} | {:.2} | {:.1} | {:.1} | {:.1}",
            count / elapsed.as_secs_f64(),
            cpu.as_secs_f64() * 1e3 / count,
            quantile(&starts, 0.5),
            quantile(&callbacks, 0.5),
            quantile(&callbacks, 0.95),
        ))
    }

    /// Somebody in a new browser goes to the provider and comes back.
    fn walk(&self, who: &str) -> Result<Times, Box<dyn Error>> {
        let address = self.process.address;
        let mut site = Client::connect(address)?;
        let mut provider = Client::connect(self.issuer.trim_start_matches("http://").parse()?)?;
        let sent = now();
        let away = site.visit(&format!("/auth/sign-in/{ID}"), "")?;
        let start = sent.elapsed();
        let chosen = provider.submit(&away.leads_to(&self.issuer)?, &format!("person={who}"))?;
        let back = chosen.leads_to(&format!("http://{address}"))?;
        let sent = now();
        let done = site.visit(&back, &away.cookies())?;
        let callback = sent.elapsed();
        done.session_cookie()?;
        Ok(Times { start: start.as_secs_f64() * 1e3, callback: callback.as_secs_f64() * 1e3 })
    }
}

/// Who can be chosen at the demo's provider.
const PEOPLE: [&str; 3] = ["grace", "katherine", "alan"];

/// How long the two requests took, in milliseconds.
#[derive(Clone)]
struct Times {
    start: f64,
    callback: f64,
}
