//! Closed-loop HTTP/2 load under TLS, by nghttp2's `h2load`.

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::histogram::Histogram;
use crate::load::Sample;

/// How long h2load may take to connect: handshakes of both sides share the machine.
const START: Duration = Duration::from_millis(500);
const HANDSHAKE: Duration = Duration::from_millis(2);
/// It goes on for so long after the count has ended.
const REST: Duration = Duration::from_millis(300);

/// What is asked, where, and how many at a time.
pub(crate) struct H2Load<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'a str,
    /// Lines of `name: value`.
    pub(crate) fields: String,
    pub(crate) connections: usize,
    /// Requests under way on each connection.
    pub(crate) streams: usize,
    /// A file to send with POST.
    pub(crate) body: Option<PathBuf>,
    /// Where it may write.
    pub(crate) folder: &'a Path,
    /// Where it runs, as `taskset -c` has it.
    pub(crate) cores: Option<&'a str>,
}

impl H2Load<'_> {
    /// Loads for `length` once all connections should stand, and reads `meter`, with the id of h2load, when
    /// counting starts and ends. What counts is every answer that came between these two readings.
    ///
    /// Any answer that is not a 200 ends the run with an error.
    pub(crate) fn run<R>(
        &self,
        length: Duration,
        meter: impl Fn(u32) -> R,
    ) -> Result<Sample<R>, Box<dyn Error>> {
        let log = self.folder.join("h2load.log");
        // It appends.
        let _ = fs::remove_file(&log);
        let start = START + HANDSHAKE * u32::try_from(self.connections)?;
        let mut command = self.command();
        command.args(["-D", &format!("{}ms", (start + length + REST).as_millis())]);
        let child = spawn(command.arg("--log-file").arg(&log))?;
        thread::sleep(start);
        let (before, from) = (meter(child.id()), micros());
        thread::sleep(length);
        let (after, to) = (meter(child.id()), micros());
        answered(child)?;
        let latency = read(&fs::read_to_string(&log)?, from, to)?;
        Ok(Sample {
            requests: latency.count(),
            reconnects: 0,
            elapsed: Duration::from_micros(to - from),
            latency,
            before,
            after,
        })
    }

    /// Asks exactly this many times, over all connections together.
    pub(crate) fn exactly(&self, requests: u64) -> Result<(), Box<dyn Error>> {
        answered(spawn(self.command().args(["-n", &requests.to_string()]))?)
    }

    /// What both have in common.
    fn command(&self) -> Command {
        let mut command = match self.cores {
            None => Command::new("h2load"),
            Some(cores) => {
                let mut command = Command::new("taskset");
                command.args(["-c", cores, "h2load"]);
                command
            }
        };
        command
            .arg(format!("https://{}{}", self.address, self.path))
            .args(["-c", &self.connections.to_string(), "-m", &self.streams.to_string()])
            .args(self.fields.lines().flat_map(|field| ["-H", field]));
        if let Some(body) = &self.body {
            command.arg("-d").arg(body);
        }
        command
    }
}

fn spawn(command: &mut Command) -> Result<Child, Box<dyn Error>> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    Ok(child.map_err(|error| format!("h2load (nghttp2-client) is needed: {error}"))?)
}

/// Waits for its end; an answer that did not come is an error.
fn answered(child: Child) -> Result<(), Box<dyn Error>> {
    let output = child.wait_with_output()?;
    let report = String::from_utf8_lossy(&output.stdout);
    if report.contains(", 0 failed, 0 errored, 0 timeout") {
        return Ok(());
    }
    Err(format!("{report}\n{}", String::from_utf8_lossy(&output.stderr)).into())
}

/// The latencies of those answers that came between two times, from lines of start, status and duration, in
/// microseconds.
fn read(log: &str, from: u64, to: u64) -> Result<Histogram, Box<dyn Error>> {
    let mut latency = Histogram::new();
    for line in log.lines() {
        let mut words = line.split_whitespace();
        let [start, status, took] = [words.next(), words.next(), words.next()].map(Option::unwrap_or_default);
        let (start, took): (u64, u64) = (start.parse()?, took.parse()?);
        if (from..to).contains(&(start + took)) {
            // A request that the end of the run cut off has none.
            if status != "200" {
                return Err(format!("not a 200: {line}").into());
            }
            latency.record(Duration::from_micros(took));
        }
    }
    if latency.count() == 0 { Err("h2load had no answer".into()) } else { Ok(latency) }
}

#[expect(clippy::disallowed_methods, reason = "a load generator is a clock")]
fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
