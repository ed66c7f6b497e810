//! What `forward` is told on its command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::oauth2_proxy;
use crate::site::{Protocol, Target};

/// Compares forwarding through Sidegate with nginx.
#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Options {
    /// How often every target is sampled.
    #[arg(long, default_value_t = 6)]
    pub(crate) rounds: usize,
    /// Length of a sample.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) seconds: f64,
    /// Connections of the load generator.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// How clients speak to the proxies: HTTP/1.1 without TLS, with it, or HTTP/2 with it.
    #[arg(long, value_enum, default_value = "http")]
    pub(crate) protocol: Protocol,
    /// Requests under way on each connection of HTTP/2.
    #[arg(long, default_value_t = 8)]
    pub(crate) streams: usize,
    /// Open a connection for each request.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Ask Sidegate as a proxy does that has it decide, next to an nginx that says yes without a look.
    #[arg(long, conflicts_with_all = ["only", "protocol", "body", "post", "memory", "instructions"])]
    pub(crate) verify: bool,
    /// Workers of every proxy: as many as cores unless said otherwise, sharing them with load and upstream.
    /// With one, the proxies have core 0 to themselves.
    #[arg(long, default_value_t = cores())]
    pub(crate) workers: usize,
    /// One worker for every proxy, with core 0 to itself.
    #[arg(long, conflicts_with = "unpinned")]
    pub(crate) pinned: bool,
    /// Leave the choice of cores to the scheduler, with one worker too.
    #[arg(long)]
    pub(crate) unpinned: bool,
    /// Targets, separated by commas; the baseline always takes part.
    #[arg(long, value_delimiter = ',', value_enum)]
    pub(crate) only: Vec<Target>,
    /// Size of the answer.
    #[arg(long, value_enum, default_value = "1k")]
    pub(crate) body: Body,
    /// Send 1 KiB with POST; answers are 1 KiB.
    #[arg(long, conflicts_with = "body")]
    pub(crate) post: bool,
    /// Give nginx `proxy_buffers 16 16k`: its best setting here for large answers, at more memory than its
    /// default.
    #[arg(long)]
    pub(crate) tuned: bool,
    /// Measure only what is kept in memory.
    #[arg(long, conflicts_with = "instructions")]
    pub(crate) memory: bool,
    /// Count the user instructions of an authenticated forward instead of measuring time.
    #[arg(long)]
    pub(crate) instructions: bool,
    /// Have Sidegate send the app a signed identity with each request.
    #[arg(long)]
    pub(crate) assertion: bool,
    /// The oauth2-proxy to compare with, unless it is in `PATH`; without one, it is left out.
    #[arg(long)]
    pub(crate) oauth2_proxy: Option<PathBuf>,
    /// Measure this binary instead of the one that cargo has just built.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_sidegate"))]
    pub(crate) sidegate: PathBuf,
    /// Cargo's own mark for a benchmark run.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

/// Size of an answer.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Body {
    #[value(name = "1k")]
    OneKib,
    #[value(name = "64k")]
    SixtyFourKib,
    #[value(name = "1m")]
    OneMib,
}

impl Body {
    pub(crate) fn bytes(self) -> usize {
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

impl Options {
    /// Whom this run compares, the baseline first if it is named.
    pub(crate) fn targets(&self) -> Vec<Target> {
        if self.verify {
            return vec![Target::Yes, Target::Verify];
        }
        if !self.only.is_empty() {
            return self.only.clone();
        }
        let mut all = Target::value_variants().to_vec();
        all.retain(|target| !matches!(target, Target::Yes | Target::Verify));
        if self.oauth2_proxy().is_none() {
            all.retain(|target| *target != Target::Oauth2Proxy);
        }
        if self.protocol != Protocol::Http {
            // Those who ask others are measured without TLS, and so is the app.
            all.retain(|target| matches!(target, Target::Nginx | Target::SidegateOpen | Target::Sidegate));
        }
        all
    }

    /// The oauth2-proxy to compare with, if there is one.
    pub(crate) fn oauth2_proxy(&self) -> Option<PathBuf> {
        oauth2_proxy::found(self.oauth2_proxy.as_deref())
    }

    /// The traffic as a table names it.
    pub(crate) fn in_short(&self) -> String {
        let protocol = match self.protocol {
            Protocol::Http => "HTTP/1.1".to_owned(),
            Protocol::Https => "HTTP/1.1, TLS".to_owned(),
            Protocol::H2 => format!("HTTP/2, TLS, {} streams each", self.streams),
        };
        let what = match (self.verify, self.post) {
            (true, _) => "forward-auth".to_owned(),
            (_, true) => "POST 1 KiB".to_owned(),
            _ => format!("{} KiB answers", self.body.bytes() / 1024),
        };
        let connections = self.connections;
        let way = if self.fresh { "each request on a new one" } else { "keep-alive" };
        format!("{protocol}, {what}, {connections} connections, {way}")
    }

    /// Memory is measured where nothing else would tell the runs apart.
    pub(crate) fn measures_memory(&self) -> bool {
        let usual = matches!(self.body, Body::OneKib) && !self.post && !self.fresh && !self.verify;
        self.memory || usual && self.protocol != Protocol::H2 && self.connections == 64
    }
}
