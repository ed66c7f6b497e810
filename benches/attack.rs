//! What does an attack cost: in memory, in processor time, and for everybody else?
//!
//! ```text
//! cargo bench --bench attack                          # all of them, eight minutes
//! cargo bench --bench attack -- --only http1,http2    # also tls, files
//! cargo bench --bench attack -- --slowhttptest        # with slowhttptest (Debian) as the client of the slow ones
//! ```
//!
//! While each goes on, somebody who is signed in asks for a small answer again and again, with a rest of 5 ms: the
//! columns say how many of those answers came in a second, how many were bad, and how long half and all but a hundredth
//! of them took, with the ratio to the row in which nothing happens. Attackers are on the same machine; they let others
//! go first, as if they had one of their own. Memory is what the process has (RSS) before, at its most during, and some
//! seconds after. Deadlines are short, so that one sees them at work. None takes a minute.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

#[path = "support/answer.rs"]
mod answer;
#[path = "support/app.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod app;
#[path = "support/floods.rs"]
mod floods;
#[path = "../tests/suite/support/frame.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod frame;
#[path = "support/ordeal.rs"]
mod ordeal;
#[path = "support/pattern.rs"]
mod pattern;
#[path = "support/restarts.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod restarts;
#[path = "support/scarce.rs"]
mod scarce;
#[path = "support/servers.rs"]
mod servers;
#[path = "support/slow.rs"]
mod slow;
#[path = "support/slowhttptest.rs"]
mod slowhttptest;
#[path = "support/victim.rs"]
mod victim;

use floods::FLOODS;
use servers::process;
use victim::Victim;

/// Attacks a Sidegate of its own, over loopback.
#[derive(Parser)]
struct Options {
    /// Connections of the attacks that hold them.
    #[arg(long, default_value_t = 1000)]
    connections: usize,
    /// Invented session cookies.
    #[arg(long, default_value_t = 1_000_000)]
    cookies: u64,
    /// How long attacks go on that have no end of their own.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Only these kinds.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Kind>,
    /// Have slowhttptest attack with slow heads, bodies and readers.
    #[arg(long)]
    slowhttptest: bool,
    /// Measure this binary instead of the one that cargo has just built.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_sidegate"))]
    sidegate: PathBuf,
    /// Cargo's own mark for a benchmark run.
    #[arg(long, hide = true)]
    bench: bool,
}

/// By what means.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Http1,
    Http2,
    Tls,
    Files,
}

/// Open files of a Sidegate that has few.
const FEW_FILES: u32 = 512;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    process::raise_open_files();
    let app = app::start()?;
    victim::head();
    let wanted = |kind| options.only.is_empty() || options.only.contains(&kind);
    let [http1, http2] = [Kind::Http1, Kind::Http2].map(wanted);
    if http1 || http2 {
        let folder = tempfile::tempdir()?;
        let victim = options.victim(&folder, app.address, (false, None))?;
        victim.left_alone("nothing")?;
        if http1 {
            by_http1(&victim, &options)?;
        }
        if http2 {
            by_http2(&victim)?;
        }
    }
    if wanted(Kind::Tls) {
        let folder = tempfile::tempdir()?;
        let victim = options.victim(&folder, app.address, (true, None))?;
        victim.left_alone("nothing, the honest come by TLS")?;
        victim.row("32 who do TLS handshakes and nothing else", |victim| Ok(victim.handshakes()))?;
        let held = options.connections;
        victim
            .row(&format!("{held} TLS handshakes that never go on"), |victim| victim.half_handshakes(held))?;
    }
    if wanted(Kind::Files) {
        let folder = tempfile::tempdir()?;
        let victim = options.victim(&folder, app.address, (false, Some(FEW_FILES)))?;
        victim.left_alone(&format!("nothing, of {FEW_FILES} open files"))?;
        let held = options.connections;
        victim.row(&format!("{held} connections for these files"), |victim| victim.crowd(held, false))?;
        let folder = tempfile::tempdir()?;
        let victim = options.victim(&folder, app.address, (false, None))?;
        victim.left_alone("nothing, once more")?;
        victim
            .row(&format!("{held} connections and no open file left"), |victim| victim.crowd(held, true))?;
    }
    Ok(())
}

impl Options {
    fn victim(
        &self,
        folder: &tempfile::TempDir,
        app: SocketAddr,
        how: (bool, Option<u32>),
    ) -> Result<Victim, Box<dyn Error>> {
        Victim::start(&self.sidegate, folder.path(), app, how, Duration::from_secs_f64(self.seconds))
    }
}

fn by_http1(victim: &Victim, options: &Options) -> Result<(), Box<dyn Error>> {
    let held = options.connections;
    victim.row(&format!("{held} idle connections"), |victim| victim.idle(held))?;
    if options.slowhttptest {
        for (name, mode) in [
            ("slow heads", "-H -i 1"),
            ("slow bodies", "-B -i 1 -s 8192"),
            ("slow readers", "-X -w 512 -y 1024 -n 3 -z 32 -k 3"),
        ] {
            victim.row(&format!("slowhttptest, {name}"), |victim| {
                let what = (victim.address, "/large", victim.cookie.as_str());
                let became = slowhttptest::attack(what, held, victim.length, mode)?;
                Ok(Box::new(move || became))
            })?;
        }
    } else {
        victim.row(&format!("{held} slow heads"), |victim| victim.trickle(held, false))?;
        victim.row(&format!("{held} slow bodies"), |victim| victim.trickle(held, true))?;
    }
    let half = held / 2;
    victim.row(&format!("{half} who read nothing of 1 MiB"), |victim| victim.stuck(half))?;
    let cookies = options.cookies;
    victim.row(&format!("{cookies} invented cookies"), |victim| victim.invented(cookies))?;
    victim.row("64 who guess passwords", |victim| Ok(victim.guess(64)))
}

fn by_http2(victim: &Victim) -> Result<(), Box<dyn Error>> {
    for (name, flood) in FLOODS {
        victim.row(&format!("HTTP/2: {name}"), |victim| Ok(victim.flood(flood)))?;
    }
    for (window, name) in
        [(0, "no window"), (65_535, "the usual window"), (1 << 30, "the connection's window")]
    {
        victim
            .row(&format!("HTTP/2: 16 × 128 × 1 MiB unread, {name}"), |victim| victim.unread(16, window))?;
    }
    Ok(())
}
