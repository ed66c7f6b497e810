//! What does a forwarded request cost, next to nginx with and without authentication?
//!
//! ```text
//! cargo bench --bench forward                                  # all targets, three minutes
//! cargo bench --bench forward -- --rounds 8 --only sidegate,auth_request
//! cargo bench --bench forward -- --only sidegate --body 64k --tuned   # from here on 40 seconds each; also 1m
//! cargo bench --bench forward -- --only sidegate --post        # sends 1 KiB
//! cargo bench --bench forward -- --only sidegate --connections 1000   # also 1
//! cargo bench --bench forward -- --only sidegate --fresh       # a new connection for each request
//! cargo bench --bench forward -- --only sidegate --protocol https     # also with --fresh: full handshakes
//! cargo bench --bench forward -- --only sidegate --protocol h2  # of 8 streams; also --connections 1000 --streams 1
//! cargo bench --bench forward -- --verify                      # /auth/verify/nginx, asked as a proxy asks
//! cargo bench --bench forward -- --only sidegate,oauth2-proxy --oauth2-proxy path   # it takes part if it is in PATH
//! cargo bench --bench forward -- --pinned                      # one worker, alone on core 0
//! cargo bench --bench forward -- --memory                      # only what is kept in memory
//! cargo bench --bench forward -- --instructions                # user instructions of one forward, under valgrind
//! cargo bench --bench forward -- --instructions --protocol h2  # the same over TLS and HTTP/2; also https
//! BENCH_ACCESS_LOG=1 cargo bench --bench forward               # the same with Sidegate's access log written
//! cargo bench --bench forward -- --instructions --assertion    # and with a signed identity for the app
//! ```
//!
//! The last lines of a run are a row for the table of figures in `docs/figures.md` and the targets that were met. Needs
//! `nginx` and util-linux (`taskset`, `setpriv`) in the path, for TLS `openssl`, for HTTP/2 `h2load`; Linux only. Under
//! TLS both sides speak 1.3 with the same P-256 certificate. Two layouts, which answer two questions:
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
//! nginx (`proxy_pass`, or `return 204` for `--verify`) is sampled before and after each, and a ratio is target ÷ mean of
//! these two, so that a clock that drifts drifts for both. CPU is scheduler time of the proxy's processes ÷ requests. A sample
//! during which other programs used more than 8 % of a core is repeated. Where "proxy busy" is well below 1
//! the load generator or the upstream was the limit, and CPU for each request is the honest column, not
//! requests for each second.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;

#[path = "support/h2load.rs"]
mod h2load;
#[path = "support/histogram.rs"]
mod histogram;
#[path = "support/load.rs"]
mod load;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/nginx.rs"]
mod nginx;
#[path = "support/oauth2_proxy.rs"]
mod oauth2_proxy;
#[path = "support/options.rs"]
mod options;
#[path = "support/report.rs"]
mod report;
#[path = "support/servers.rs"]
mod servers;
#[path = "support/sessions.rs"]
mod sessions;
#[path = "support/site.rs"]
mod site;

use h2load::H2Load;
use load::{Load, Sample};
use options::Options;
use report::{Figures, Report};
use servers::process;
use site::{Layout, Protocol, Site, Target, Traffic};

/// Foreign load, in cores, above which a sample is repeated.
const FOREIGN: f64 = 0.08;
/// How often a disturbed sample is repeated.
const REPEATS: usize = 2;
/// Requests of the two runs under callgrind: their difference is the forwards alone.
const FEW: u64 = 2_000;
const MANY: u64 = 12_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::parse();
    if options.pinned {
        options.workers = 1;
    }
    if options.fresh && options.protocol == Protocol::H2 {
        return Err("--fresh has no generator for h2".into());
    }
    process::raise_open_files();
    let targets = options.targets();
    let pinned = options.workers == 1 && !options.unpinned;
    let rest = rest_of_the_cores()?;
    if pinned {
        process::pin_self(&rest)?;
    }
    let oauth2_proxy = options.oauth2_proxy();
    let layout = Layout {
        workers: options.workers,
        proxies: pinned.then_some("0"),
        rest: pinned.then_some(rest.as_str()),
        tuned: options.tuned,
        sidegate: Path::new(&options.sidegate),
        oauth2_proxy: oauth2_proxy.as_deref(),
        callgrind: options.instructions,
        assertion: options.assertion,
    };
    let traffic = Traffic {
        protocol: options.protocol,
        fresh: options.fresh,
        answer: options.body.bytes(),
        post: options.post,
    };
    if options.instructions {
        return count_instructions(&layout, traffic, &options);
    }
    let site = Site::start(&layout, traffic, &targets)?;
    let scratch = tempfile::tempdir()?;
    let cores = pinned.then_some(rest.as_str());
    let bench = Bench { site, options: &options, scratch: scratch.path(), cores };
    println!("{}", bench.describe(pinned));
    let report = bench.run(&layout, &targets)?;
    if options.memory {
        println!("{}", report.memory());
    } else {
        println!("{}", report.tables());
        println!("{}", report.row(&options.in_short()));
    }
    println!("{}", report.verdicts(traffic));
    Ok(())
}

/// The difference of two runs, so that start, sign-in and end do not count. The load comes over as many
/// connections as otherwise, so that one look for events finds as many.
fn count_instructions(
    layout: &Layout<'_>,
    traffic: Traffic,
    options: &Options,
) -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let run = |requests| -> Result<u64, Box<dyn Error>> {
        let site = Site::start(layout, traffic, &[Target::Sidegate])?;
        let bench = Bench { site, options, scratch: scratch.path(), cores: None };
        if traffic.protocol == Protocol::H2 {
            bench.h2load(Target::Sidegate)?.exactly(requests)?;
        } else {
            bench.load(Target::Sidegate).exactly(requests)?;
        }
        process::instructions(&bench.site.end_sidegate()?)
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
    /// A folder to write to.
    scratch: &'a Path,
    /// Where a load generator runs that is a process of its own.
    cores: process::Cores<'a>,
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
        let Options { rounds, seconds, workers, tuned, .. } = self.options;
        let nginx = if *tuned { "16 buffers of 16k" } else { "its default buffers" };
        let place = if pinned { "proxy on core 0, load and upstream on the others" } else { "unpinned" };
        format!(
            "{}; {workers} worker(s), {place}; nginx with {nginx}; {rounds} rounds of {seconds} s; \
             median [lowest..highest]\n",
            self.options.in_short()
        )
    }

    fn run(&self, layout: &Layout<'_>, targets: &[Target]) -> Result<Report, Box<dyn Error>> {
        let base = if self.options.verify { Target::Yes } else { Target::Nginx };
        let mut report = Report::new(base, targets);
        if self.options.measures_memory() {
            for target in [Target::Nginx, Target::Sidegate] {
                if target == Target::Nginx || targets.contains(&target) {
                    report.retained.push((target, memory::retained(&self.site, layout, target)?));
                }
            }
        }
        if self.options.memory {
            return Ok(report);
        }
        let others: Vec<Target> = targets.iter().copied().filter(|target| *target != base).collect();
        for round in 0..self.options.rounds {
            let mut order = others.clone();
            order.rotate_left(round % others.len().max(1));
            let mut before = self.sample(base, &mut report)?;
            let mut samples = Vec::new();
            for target in order {
                let figures = self.sample(target, &mut report)?;
                let after = self.sample(base, &mut report)?;
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
        let sample = self.measure(target, |own| Reading {
            proxy: proxy.map(process::Process::cpu).unwrap_or_default(),
            own,
            servers: self.site.cpu(),
            machine: process::machine_cpu(),
        })?;
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

    /// Loads this target; `meter` is told the processor time of the generator.
    fn measure<R>(&self, target: Target, meter: impl Fn(Duration) -> R) -> Result<Sample<R>, Box<dyn Error>> {
        let length = Duration::from_secs_f64(self.options.seconds);
        if self.options.protocol == Protocol::H2 {
            let load = self.h2load(target)?;
            return load.run(length, |pid| meter(process::own_cpu() + process::child_cpu(pid)));
        }
        self.load(target).run(length, || meter(process::own_cpu()))
    }

    fn load(&self, target: Target) -> Load {
        let Options { connections, fresh, .. } = *self.options;
        let tls = self.site.certificate().map(|certificate| Arc::clone(&certificate.client));
        let (address, request) = (self.site.address(target), self.site.request(target));
        Load { address, request, connections, tls, fresh }
    }

    fn h2load(&self, target: Target) -> Result<H2Load<'_>, Box<dyn Error>> {
        let Options { connections, streams, post, .. } = *self.options;
        let body = post.then(|| self.scratch.join("body"));
        if let Some(body) = &body {
            fs::write(body, "x".repeat(1024))?;
        }
        Ok(H2Load {
            address: self.site.address(target),
            path: target.path(),
            fields: self.site.fields(target),
            connections,
            streams,
            body,
            folder: self.scratch,
            cores: self.cores,
        })
    }
}
