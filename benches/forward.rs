//! What does a forwarded request cost, next to nginx with and without authentication?
//!
//! ```text
//! cargo bench --bench forward                                  # all targets, about two minutes
//! cargo bench --bench forward -- --rounds 8 --only sidegate,auth_request
//! cargo bench --bench forward -- --body 64k --tuned            # also 1m; --post sends 1 KiB
//! cargo bench --bench forward -- --pinned                      # one worker, alone on core 0
//! cargo bench --bench forward -- --memory                      # only what is kept in memory
//! cargo bench --bench forward -- --instructions                # user instructions of one forward, under valgrind
//! BENCH_ACCESS_LOG=1 cargo bench --bench forward               # the same with Sidegate's access log written
//! cargo bench --bench forward -- --instructions --assertion    # and with a signed identity for the app
//! ```
//!
//! Needs `nginx` and util-linux (`taskset`, `setpriv`) in the path; Linux only. Two layouts, which answer two
//! questions:
//!
//! - *As deployed* (the default): every proxy has a worker for each core and shares the cores with load
//!   generator, upstream and authentication server. What the proxies differ in is then only a part of what each
//!   request costs the machine: a proxy that cost nothing could not be faster than "direct" is here, and requests
//!   for each second of two proxies lie closer together than their own costs do.
//! - *Pinned* (`--pinned`): every proxy has one worker and core 0 to itself; all else runs on the other cores.
//!   Where the proxy is busy all the time, requests for each second and processor time say the same. What a second
//!   worker would do for the 99th percentile cannot be seen.
//!
//! Targets take turns;
//! nginx `proxy_pass` is sampled before and after each, and a ratio is target ÷ mean of these two, so that a
//! clock that drifts drifts for both. CPU is scheduler time of the proxy's processes ÷ requests. A sample
//! during which other programs used more than 8 % of a core is repeated. Where "proxy busy" is well below 1
//! the load generator or the upstream was the limit, and CPU for each request is the honest column, not
//! requests for each second.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};

#[path = "support/load.rs"]
mod load;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/process.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod process;
#[path = "support/report.rs"]
mod report;
#[path = "support/running.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod running;
#[path = "support/site.rs"]
mod site;

use load::Load;
use report::{Figures, Report};
use site::{Layout, Site, Target, Traffic};

/// Foreign load, in cores, above which a sample is repeated.
const FOREIGN: f64 = 0.08;
/// How often a disturbed sample is repeated.
const REPEATS: usize = 2;
/// Requests of the two runs under callgrind: their difference is the forwards alone.
const FEW: u64 = 2_000;
const MANY: u64 = 12_000;

/// Compares forwarding through Sidegate with nginx.
#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
struct Options {
    /// How often every target is sampled.
    #[arg(long, default_value_t = 6)]
    rounds: usize,
    /// Length of a sample.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Connections of the load generator.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Workers of every proxy: as many as cores unless said otherwise, sharing them with load and upstream.
    /// With one, the proxies have core 0 to themselves.
    #[arg(long, default_value_t = cores())]
    workers: usize,
    /// One worker for every proxy, with core 0 to itself.
    #[arg(long, conflicts_with = "unpinned")]
    pinned: bool,
    /// Leave the choice of cores to the scheduler, with one worker too.
    #[arg(long)]
    unpinned: bool,
    /// Targets, separated by commas; the baseline always takes part.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Target>,
    /// Size of the answer.
    #[arg(long, value_enum, default_value = "1k")]
    body: Body,
    /// Send 1 KiB with POST; answers are 1 KiB.
    #[arg(long, conflicts_with = "body")]
    post: bool,
    /// Give nginx `proxy_buffers 16 16k`: its best setting here for large answers, at more memory than its
    /// default.
    #[arg(long)]
    tuned: bool,
    /// Measure only what is kept in memory.
    #[arg(long, conflicts_with = "instructions")]
    memory: bool,
    /// Count the user instructions of an authenticated forward instead of measuring time.
    #[arg(long)]
    instructions: bool,
    /// Have Sidegate send the app a signed identity with each request.
    #[arg(long)]
    assertion: bool,
    /// Measure this binary instead of the one that cargo has just built.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_sidegate"))]
    sidegate: PathBuf,
    /// Cargo's own mark for a benchmark run.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Body {
    #[value(name = "1k")]
    OneKib,
    #[value(name = "64k")]
    SixtyFourKib,
    #[value(name = "1m")]
    OneMib,
}

impl Body {
    fn bytes(self) -> usize {
        match self {
            Self::OneKib => 1024,
            Self::SixtyFourKib => 64 * 1024,
            Self::OneMib => 1024 * 1024,
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::parse();
    if options.pinned {
        options.workers = 1;
    }
    let targets =
        if options.only.is_empty() { Target::value_variants().to_vec() } else { options.only.clone() };
    let pinned = options.workers == 1 && !options.unpinned;
    let rest = rest_of_the_cores()?;
    if pinned {
        process::pin_self(&rest)?;
    }
    let layout = Layout {
        workers: options.workers,
        proxies: pinned.then_some("0"),
        rest: pinned.then_some(rest.as_str()),
        tuned: options.tuned,
        sidegate: Path::new(&options.sidegate),
        callgrind: options.instructions,
        assertion: options.assertion,
    };
    let traffic = Traffic { answer: options.body.bytes(), post: options.post };
    if options.instructions {
        return count_instructions(&layout, traffic, options.connections);
    }
    let site = Site::start(&layout, traffic, &targets)?;
    let bench = Bench { site, options: &options };
    println!("{}", bench.describe(pinned));
    let report = bench.run(&layout, &targets)?;
    println!("{}", if bench.options.memory { report.memory() } else { report.tables() });
    println!("{}", report.verdicts(traffic));
    Ok(())
}

/// The difference of two runs, so that start, sign-in and end do not count. The load comes over as many
/// connections as otherwise, so that one look for events finds as many.
fn count_instructions(
    layout: &Layout<'_>,
    traffic: Traffic,
    connections: usize,
) -> Result<(), Box<dyn Error>> {
    let run = |requests| -> Result<u64, Box<dyn Error>> {
        let site = Site::start(layout, traffic, &[Target::Sidegate])?;
        let address = site.address(Target::Sidegate);
        Load { address, request: site.request(Target::Sidegate), connections }.exactly(requests)?;
        process::instructions(&site.end_sidegate()?)
    };
    let (few, many) = (run(FEW)?, run(MANY)?);
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let each = many.saturating_sub(few) as f64 / (MANY - FEW) as f64;
    println!("| measure | user instructions |\n|---|---:|\n| one authenticated forward | {each:.0} |\n");
    print!("{}", report::instructions(each));
    Ok(())
}

/// Every core but the first, which is the proxies'.
fn rest_of_the_cores() -> Result<String, Box<dyn Error>> {
    match std::thread::available_parallelism()?.get() {
        1 => Ok("0".to_owned()),
        cores => Ok(format!("1-{}", cores - 1)),
    }
}

struct Bench<'a> {
    site: Site,
    options: &'a Options,
}

/// What the meters say at one moment.
struct Reading {
    proxy: Duration,
    own: Duration,
    servers: Duration,
    machine: Duration,
}

impl Bench<'_> {
    fn describe(&self, pinned: bool) -> String {
        let Options { rounds, seconds, connections, workers, post, body, tuned, .. } = self.options;
        let method = if *post { "POST 1 KiB" } else { "GET" };
        let nginx = if *tuned { "16 buffers of 16k" } else { "its default buffers" };
        let place = if pinned { "proxy on core 0, load and upstream on the others" } else { "unpinned" };
        format!(
            "{method}, {} KiB answers, {connections} keep-alive connections, {workers} worker(s), {place}; \
             nginx with {nginx}; {rounds} rounds of {seconds} s; median [lowest..highest]\n",
            body.bytes() / 1024
        )
    }

    fn run(&self, layout: &Layout<'_>, targets: &[Target]) -> Result<Report, Box<dyn Error>> {
        let mut report = Report::new(targets);
        for target in [Target::Nginx, Target::Sidegate] {
            if target == Target::Nginx || targets.contains(&target) {
                report.retained.push((target, memory::retained(&self.site, layout, target)?));
            }
        }
        if self.options.memory {
            return Ok(report);
        }
        let others: Vec<Target> = targets.iter().copied().filter(|target| *target != Target::Nginx).collect();
        for round in 0..self.options.rounds {
            let mut order = others.clone();
            order.rotate_left(round % others.len().max(1));
            let mut before = self.sample(Target::Nginx, &mut report)?;
            let mut samples = Vec::new();
            for target in order {
                let figures = self.sample(target, &mut report)?;
                let after = self.sample(Target::Nginx, &mut report)?;
                samples.push((target, figures, Figures::mean(&before, &after)));
                report.baseline.push(before);
                before = after;
            }
            report.baseline.push(before);
            report.add_round(&samples);
        }
        Ok(report)
    }

    /// One sample; if other programs disturbed it, the least disturbed of a few.
    fn sample(&self, target: Target, report: &mut Report) -> Result<Figures, Box<dyn Error>> {
        let (mut figures, mut foreign) = self.sample_once(target)?;
        for _ in 0..REPEATS {
            if foreign <= FOREIGN {
                return Ok(figures);
            }
            let again = self.sample_once(target)?;
            if again.1 < foreign {
                (figures, foreign) = again;
            }
        }
        report.disturbed += usize::from(foreign > FOREIGN);
        Ok(figures)
    }

    fn sample_once(&self, target: Target) -> Result<(Figures, f64), Box<dyn Error>> {
        let proxy = self.site.proxy(target);
        let meter = || Reading {
            proxy: proxy.map(process::Process::cpu).unwrap_or_default(),
            own: process::own_cpu(),
            servers: self.site.cpu(),
            machine: process::machine_cpu(),
        };
        let sample = self.load(target).run(Duration::from_secs_f64(self.options.seconds), meter)?;
        if sample.reconnects > 0 {
            println!("{}: {} connections were closed under load", target.name(), sample.reconnects);
        }
        let (before, after) = (&sample.before, &sample.after);
        let used = |read: fn(&Reading) -> Duration| (read(after).saturating_sub(read(before))).as_secs_f64();
        let elapsed = sample.elapsed.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let requests = sample.requests as f64;
        let figures = Figures {
            rate: requests / elapsed,
            cpu: used(|reading| reading.proxy) * 1e6 / requests,
            p50: sample.latency.quantile(0.5).as_secs_f64() * 1e3,
            p99: sample.latency.quantile(0.99).as_secs_f64() * 1e3,
            busy: used(|reading| reading.proxy) / elapsed,
            load: used(|reading| reading.own) * 1e6 / requests,
            #[expect(clippy::cast_precision_loss, reason = "KiB stay far below 2^52")]
            resident: proxy.map_or(0.0, |proxy| proxy.resident() as f64 / 1024.0),
        };
        let ours = used(|reading| reading.servers) + used(|reading| reading.own);
        let foreign = (used(|reading| reading.machine) - ours) / elapsed;
        Ok((figures, foreign))
    }

    fn load(&self, target: Target) -> Load {
        Load {
            address: self.site.address(target),
            request: self.site.request(target),
            connections: self.options.connections,
        }
    }
}
