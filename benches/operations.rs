//! What matters to who runs it: how soon it serves with a million users, what a session costs in memory, and how soon
//! every replica sees that one has ended.
//!
//! ```text
//! cargo bench --bench operations                             # three minutes, most of them for writing the database
//! SIDEGATE_BENCH_POSTGRES=postgres://… cargo bench --bench operations    # and revocation between two replicas
//! cargo bench --bench operations -- --users 10000
//! ```
//!
//! A start is measured from the making of the process to the first answer to a request of somebody who is signed in:
//! the configuration is read, the tables are looked at, the session comes from the database. The database is in the
//! page cache of the system. Who waits for a revocation has asked before, so that the session is in memory, and asks
//! again and again from when the sign-out is answered. With the feed down, nothing of what PostgreSQL says to a
//! `LISTEN` reaches the other replica, which does not know that: only the age of its copy ends it.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

#[path = "support/answer.rs"]
mod answer;
#[path = "support/app.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod app;
#[path = "support/database.rs"]
mod database;
#[path = "support/deaf.rs"]
mod deaf;
#[path = "support/million.rs"]
mod million;
#[path = "support/ordeal.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod ordeal;
#[path = "support/pattern.rs"]
mod pattern;
#[path = "support/restarts.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod restarts;
#[path = "support/revocation.rs"]
mod revocation;
#[path = "support/servers.rs"]
mod servers;
#[path = "support/sessions.rs"]
mod sessions;

use servers::process;

/// Measures starts, sessions in memory, and revocations.
#[derive(Parser)]
struct Options {
    /// Users in the database, each with an account and a session.
    #[arg(long, default_value_t = 1_000_000)]
    users: u32,
    /// How often each thing is done.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Measure this binary instead of the one that cargo has just built.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_sidegate"))]
    sidegate: PathBuf,
    /// Cargo's own mark for a benchmark run.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    process::raise_open_files();
    let app = app::start()?;
    println!("| start to the first answer, {} rounds | least | median | most | RSS then |", options.rounds);
    println!("|---|---:|---:|---:|---:|");
    for users in [1, options.users] {
        let house = million::House::build(users)?;
        println!("| SQLite, {users} users, {} | {} |", house.size()?, house.starts(&options, app.address)?);
        if users == options.users {
            println!("\n| in memory | bytes |\n|---|---:|");
            println!(
                "| one session more, over {} | {:.0} |",
                million::COUNTED,
                house.sessions(&options, app.address)?
            );
        }
    }
    revocation::table(&options, app.address)
}

/// Least, median and most of some times, as cells.
fn cells(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let ms = |time: Option<&Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
    format!(
        "{:.1} ms | {:.1} ms | {:.1} ms",
        ms(times.first()),
        ms(times.get(times.len() / 2)),
        ms(times.last())
    )
}
