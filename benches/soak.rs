//! Does it hold? Minutes of everything at once, at two Sidegates: one for HTTP/1.1 and HTTP/2 without TLS in front of an
//! app by HTTP/1.1, one for both with TLS in front of an app by HTTP/2, with calls of gRPC.
//!
//! ```text
//! cargo bench --bench soak                    # three minutes
//! cargo bench --bench soak -- --seconds 3600
//! ```
//!
//! People sign in and out, connections come and go, there are `WebSocket` tunnels, events, uploads, large answers, slow
//! clients and those that go away in the middle; every ten seconds the configuration is read again and says something
//! else, every twenty an app ends with all of its connections and comes back. Before that, 1 GiB goes through one tunnel.
//!
//! Every answer is looked at: its status, whose name the app was told, its body, its trailers. One that is not what it
//! should be is an error, and so is a session that opens something after its sign-out. Two kinds of trouble are to be
//! expected, and are counted by themselves: what breaks while an app is away, and a POST that went out on a kept
//! connection which the app was closing, for it must not be sent twice (RFC 9110 §9.2.2) and is answered with 502; the
//! app tells which those were. One error is enough for the run to fail. Memory, open files and sessions in memory are
//! printed as they go; at the end, when all clients have gone, it is said what is left.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;

#[path = "support/app.rs"]
mod app;
#[path = "support/app_h2.rs"]
mod app_h2;
#[path = "support/churn.rs"]
mod churn;
#[path = "support/giant.rs"]
mod giant;
#[path = "support/ordeal.rs"]
mod ordeal;
#[path = "support/pattern.rs"]
mod pattern;
#[path = "support/restarts.rs"]
mod restarts;
#[path = "support/servers.rs"]
mod servers;
#[path = "support/streams.rs"]
mod streams;
#[path = "support/world.rs"]
mod world;

use ordeal::{mebibytes, now};
use servers::process;
use world::{House, Outcome, Trouble};

/// Keeps two Sidegates of its own busy, over loopback.
#[derive(Parser)]
struct Options {
    /// For how long.
    #[arg(long, default_value_t = 180.0)]
    seconds: f64,
    /// MiB that go through one tunnel before.
    #[arg(long, default_value_t = 1024)]
    giant: usize,
    /// Run this binary instead of the one that cargo has just built.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_sidegate"))]
    sidegate: PathBuf,
    /// Cargo's own mark for a benchmark run.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Something that clients do, and how often it went well, had an excuse, or neither.
struct Kind {
    name: &'static str,
    /// Whether they come to the house with TLS.
    encrypted: bool,
    clients: usize,
    good: AtomicU64,
    excused: AtomicU64,
    bad: AtomicU64,
    once: fn(&House) -> Outcome,
}

const fn plain(name: &'static str, clients: usize, once: fn(&House) -> Outcome) -> Kind {
    let [good, excused, bad] = [const { AtomicU64::new(0) }; 3];
    Kind { name, encrypted: false, clients, good, excused, bad, once }
}

const fn tls(name: &'static str, clients: usize, once: fn(&House) -> Outcome) -> Kind {
    Kind { encrypted: true, ..plain(name, clients, once) }
}

static KINDS: [Kind; 19] = [
    plain("sessions: in, 20 requests, out, refused", 2, churn::session),
    plain("200 requests on one connection", 2, churn::kept),
    plain("one request on a new connection", 2, churn::fresh),
    plain("50 requests to an app that closes after each", 2, churn::closing),
    plain("256 KiB uploads", 2, churn::upload),
    plain("1 MiB answers", 1, churn::download),
    plain("events", 4, churn::events),
    plain("WebSocket tunnels of 50 messages", 2, churn::tunnel),
    plain("clients that go away in the middle", 2, churn::gone),
    plain("heads that never end", 4, churn::slow),
    plain("HTTP/2: 200 requests, 10 at a time", 2, streams::many),
    plain("HTTP/2: WebSocket tunnels of 50 messages", 2, streams::tunnel),
    plain("HTTP/2: streams given up in the middle", 1, streams::given_up),
    tls("TLS: sessions: in, 20 requests, out, refused", 1, churn::session),
    tls("TLS: 200 requests on one connection", 2, churn::kept),
    tls("TLS: HTTP/2: 200 requests, 10 at a time", 2, streams::many),
    tls("TLS: HTTP/2: 1 MiB answers", 1, streams::large),
    tls("TLS: HTTP/2: events", 4, streams::events),
    tls("TLS: HTTP/2: gRPC, all four shapes", 2, streams::grpc),
];

/// How often numbers are printed, configurations read, and apps started anew.
const LINE: Duration = Duration::from_secs(30);
const RELOAD: Duration = Duration::from_secs(10);
const RESTART: Duration = Duration::from_secs(20);
/// Idle connections to the app, and those that linger, have gone then.
const REST: Duration = Duration::from_secs(15);

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    process::raise_open_files();
    let houses = [House::open(&options.sidegate, false)?, House::open(&options.sidegate, true)?];
    if options.giant > 0 {
        giant::pass(&houses[0], options.giant << 20)?;
    }
    println!(
        "| after | RSS | open files | sessions | with TLS: RSS | open files | sessions | good | excused | errors |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    );
    line("nothing yet", &houses);
    let before = houses.each_ref().map(House::look);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for kind in &KINDS {
            for _ in 0..kind.clients {
                scope.spawn(|| repeat(kind, &houses[usize::from(kind.encrypted)], &over));
            }
        }
        let disturbed = disturb(&houses, Duration::from_secs_f64(options.seconds));
        over.store(true, Ordering::Relaxed);
        disturbed
    })?;
    thread::sleep(REST);
    line("all have gone", &houses);
    for (house, before) in houses.iter().zip(before) {
        left(house, before);
    }
    judge(houses)
}

/// Looks at both while clients are busy, has them read their configurations, and starts their apps anew.
fn disturb(houses: &[House; 2], length: Duration) -> std::io::Result<()> {
    let begun = now();
    let [mut lines, mut reloads, mut restarts] = [1, 1, 1];
    while begun.elapsed() < length {
        thread::sleep(Duration::from_millis(200));
        let _ = houses.each_ref().map(House::look);
        let passed = begun.elapsed();
        if passed >= LINE * lines {
            line(&format!("{} s", (LINE * lines).as_secs()), houses);
            lines += 1;
        }
        if passed >= RELOAD * reloads {
            houses.iter().try_for_each(|house| house.reload(reloads - 1))?;
            reloads += 1;
        }
        if passed >= RESTART * restarts {
            let house = &houses[usize::from(restarts % 2 == 0)];
            house.restarts().into_iter().for_each(restarts::Restarts::again);
            restarts += 1;
        }
    }
    Ok(())
}

fn sum(count: fn(&Kind) -> &AtomicU64) -> u64 {
    KINDS.iter().map(|kind| count(kind).load(Ordering::Relaxed)).sum()
}

fn line(after: &str, houses: &[House; 2]) {
    let [plain, tls] = houses.each_ref().map(|house| {
        let sessions = house.number("sidegate_session_cache_entries");
        format!("{} | {} | {sessions}", mebibytes(house.look()), house.process.open_files())
    });
    let counts = [sum(|kind| &kind.good), sum(|kind| &kind.excused), sum(|kind| &kind.bad)];
    println!("| {after} | {plain} | {tls} | {} | {} | {} |", counts[0], counts[1], counts[2]);
}

/// What one keeps of all that.
fn left(house: &House, before: u64) {
    let now = house.look();
    println!(
        "\n{}: RSS {} before, {} at most, {} left, {} more than before; {} connections and {} tunnels are open; \
         {} reloads, {} restarts of the app",
        house.origin(),
        mebibytes(before),
        mebibytes(house.most()),
        mebibytes(now),
        mebibytes(now.saturating_sub(before)),
        house.number("sidegate_connections_open"),
        house.number("sidegate_upgraded_connections"),
        house.number("sidegate_config_reloads_total"),
        house.restarts().map_or(0, restarts::Restarts::count)
    );
}

/// Prints what came of it, and fails if anything is not as it should be.
fn judge(houses: [House; 2]) -> Result<(), Box<dyn Error>> {
    println!("\n| what | good | excused | errors |\n|---|---:|---:|---:|");
    for kind in &KINDS {
        let [good, excused, bad] =
            [&kind.good, &kind.excused, &kind.bad].map(|count| count.load(Ordering::Relaxed));
        println!("| {} | {good} | {excused} | {bad} |", kind.name);
    }
    println!("\n| what broke while an app was away | how often |\n|---|---:|");
    for house in &houses {
        for (what, times) in house.excused.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            println!("| {what} | {times} |");
        }
    }
    let unexplained: usize = houses.iter().filter(|house| house.app.is_some()).map(churn::explain).sum();
    let errors = sum(|kind| &kind.bad);
    let mut strange = 0;
    for house in houses {
        let log = house.process.end()?;
        let lines: Vec<&str> =
            log.lines().filter(|line| line.contains("ERROR") || line.contains("panicked")).collect();
        let warnings = log.lines().filter(|line| line.contains("WARN")).count();
        println!("\n{} errors in the log, {warnings} warnings", lines.len());
        lines.iter().take(10).for_each(|line| println!("{line}"));
        strange += lines.len();
    }
    if errors > 0 || unexplained > 0 || strange > 0 {
        return Err("what no client should see, or no log should say, is above".into());
    }
    Ok(())
}

fn repeat(kind: &Kind, house: &House, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let begun = now();
        let count = match (kind.once)(house) {
            Ok(()) => &kind.good,
            Err(trouble) if house.excuses(&trouble, begun) => &kind.excused,
            Err(trouble) => {
                if kind.bad.load(Ordering::Relaxed) < 3 {
                    let (Trouble::Wrong(what) | Trouble::Broken(what)) = trouble;
                    println!("{}: {what}", kind.name);
                }
                &kind.bad
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(2));
    }
}
