//! The servers of a benchmark: started as children on chosen cores, metered through `/proc`, ended by their
//! handle.

use std::error::Error;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Cores as `taskset -c` writes them, such as `0` or `1-3`; `None` leaves the choice to the scheduler.
pub(crate) type Cores<'a> = Option<&'a str>;

/// How often and how many times a server is looked at while it starts or ends: half a minute, since valgrind
/// is slow.
const POLL: Duration = Duration::from_millis(50);
const MOST_POLLS: usize = 600;

/// One server: a child of ours, and the workers it may have started.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    pids: Vec<u32>,
    log: PathBuf,
}

impl Process {
    /// Starts a server on these cores and waits until it accepts connections at `address`.
    ///
    /// What it writes goes to `directory/log`, and into the error if it does not come up.
    pub(crate) fn start<A: AsRef<OsStr>>(
        cores: Cores<'_>,
        directory: &Path,
        address: SocketAddr,
        command: impl IntoIterator<Item = A>,
    ) -> Result<Self, Box<dyn Error>> {
        let log = directory.join("log");
        let output = File::create(&log)?;
        // The kernel ends the server with us even if we are killed.
        let mut launcher = Command::new("setpriv");
        launcher.args(["--pdeathsig", "TERM"]);
        if let Some(cores) = cores {
            launcher.args(["taskset", "-c", cores]);
        }
        configured_here_alone(&mut launcher);
        let child = launcher
            .args(command)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| format!("setpriv and taskset (util-linux) are needed: {error}"))?;
        let mut process = Self { child, address, pids: Vec::new(), log };
        process.wait_until_listening()?;
        process.pids = family(process.child.id());
        Ok(process)
    }

    fn wait_until_listening(&mut self) -> Result<(), Box<dyn Error>> {
        for _ in 0..MOST_POLLS {
            thread::sleep(POLL);
            if self.child.try_wait()?.is_some() {
                break;
            }
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
        }
        Err(format!("no server came up at {}:\n{}", self.address, fs::read_to_string(&self.log)?).into())
    }

    /// Asks the server to end, waits until it has, and returns what it wrote.
    pub(crate) fn end(mut self) -> std::io::Result<String> {
        self.terminate();
        fs::read_to_string(&self.log)
    }

    /// An nginx master takes its workers along on TERM, but not on the KILL that the handle can send.
    fn terminate(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let terminate = format!("kill -TERM {}", self.child.id());
        let asked = Command::new("sh").args(["-c", &terminate]).stderr(Stdio::null()).status();
        for _ in 0..MOST_POLLS {
            if asked.is_err() || !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(POLL);
        }
    }

    /// The id of the server; `setpriv` and `taskset` become it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many files and sockets it has open.
    pub(crate) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// Processor time used so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.pids.iter().map(|pid| cpu_of(&format!("/proc/{pid}"))).sum()
    }

    /// The same of the server's one process with its threads that have ended, at 10 ms resolution.
    pub(crate) fn whole_cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // utime and stime, in ticks of 1/100 s (proc(5)), behind a name that may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory in KiB; pages that workers share count once for each.
    pub(crate) fn resident(&self) -> u64 {
        self.pids.iter().filter_map(|pid| resident_of(*pid)).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.terminate();
        // Both fail if it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes away what Sidegate would take for configuration: any `SIDEGATE_…`.
pub(crate) fn configured_here_alone(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SIDEGATE_"))
    {
        command.env_remove(name);
    }
}

/// Under callgrind, whose report is the last that a server writes.
pub(crate) const CALLGRIND: [&str; 3] = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];

/// The user instructions that callgrind reports.
pub(crate) fn instructions(log: &str) -> Result<u64, Box<dyn Error>> {
    let collected = log.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    collected.ok_or_else(|| format!("callgrind (valgrind is needed) gave no count:\n{log}").into())
}

/// Processor time this process has used so far.
pub(crate) fn own_cpu() -> Duration {
    cpu_of("/proc/self")
}

/// Processor time that a child without children has used so far.
pub(crate) fn child_cpu(pid: u32) -> Duration {
    cpu_of(&format!("/proc/{pid}"))
}

/// Time that all cores together spent in programs and the kernel since boot, at 10 ms resolution.
pub(crate) fn machine_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    // cpu user nice system idle …, in ticks of 1/100 s (proc(5)).
    let ticks: u64 =
        stat.split_whitespace().skip(1).take(3).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Moves all threads of this process to these cores.
pub(crate) fn pin_self(cores: &str) -> Result<(), Box<dyn Error>> {
    let own = std::process::id().to_string();
    let moved =
        Command::new("taskset").args(["-a", "-c", "-p", cores, &own]).stdout(Stdio::null()).status()?;
    if moved.success() { Ok(()) } else { Err(format!("cannot run on core {cores}; try --unpinned").into()) }
}

/// As many open files as the system allows: each connection of a load generator is one.
pub(crate) fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // The system's answer to too many connections is clear enough.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// A loopback address nobody listens on.
pub(crate) fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

fn family(root: u32) -> Vec<u32> {
    let mut family = vec![root];
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    family.extend(
        processes
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| parent_of(*pid) == Some(root)),
    );
    family
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // pid (name) state parent …: the name may hold spaces and parentheses.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Exact scheduler time of all threads: `schedstat` counts nanoseconds where `stat` counts ticks.
fn cpu_of(process: &str) -> Duration {
    let tasks = fs::read_dir(PathBuf::from(process).join("task")).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .map(Duration::from_nanos)
        .sum()
}

fn resident_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
