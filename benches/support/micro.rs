//! Times small functions: calibrated batches, the median of fifteen, or exact instruction counts under
//! callgrind.
//!
//! `cargo bench --bench gate` prints nanoseconds, `cargo bench --bench gate -- --instructions` user-space
//! instructions for each call, which repeat on a noisy machine. A name on the command line picks the measures
//! that contain it. Both are tables in Markdown.

use std::env;
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

const BATCHES: usize = 15;
const BATCH: Duration = Duration::from_millis(20);

/// How many calls the instruction count is averaged over, and the calls before them that pay for first
/// touches.
const COUNTED: u64 = 1_000;
const UNCOUNTED: u64 = 100;

/// What the command line asked for.
pub(crate) struct Micro {
    mode: Mode,
    only: Option<String>,
    count: Count,
}

/// What callgrind counts.
#[derive(Clone, Copy)]
enum Count {
    /// What this thread does within [`counted`].
    Calls,
    /// All that the program does, less what it does for fewer calls: so many more.
    Program(u64),
}

#[derive(Clone, Copy)]
enum Mode {
    Time,
    Instructions,
    /// Calls one function this often and measures nothing: the run that callgrind watches.
    Callgrind(u64),
}

impl Micro {
    /// Reads `[--instructions | --callgrind N] [NAME]` and begins the table.
    pub(crate) fn from_args() -> Self {
        let mut micro = Self { mode: Mode::Time, only: None, count: Count::Calls };
        let mut args = env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                // Cargo's own mark for a benchmark run.
                "--bench" => {}
                "--instructions" => micro.mode = Mode::Instructions,
                "--callgrind" => {
                    let calls = args.next().and_then(|calls| calls.parse().ok());
                    micro.mode = Mode::Callgrind(calls.expect("--callgrind takes a number of calls"));
                }
                _ => micro.only = Some(arg),
            }
        }
        match micro.mode {
            Mode::Time => row("measure | ns/op, median | lowest..highest |\n|---|---:|---"),
            Mode::Instructions => row("measure | user instructions/op |\n|---|---:"),
            Mode::Callgrind(_) => {}
        }
        micro
    }

    /// For functions that have other threads work: counts the instructions of the whole program, in two runs
    /// that differ by so many calls. What its start does at random (keys, hash tables) is not taken out, so
    /// the figure repeats only about.
    pub(crate) fn across_threads(&self, calls: u64) -> Self {
        Self { mode: self.mode, only: self.only.clone(), count: Count::Program(calls) }
    }

    /// Whether times are wanted, and not instructions.
    pub(crate) fn times(&self) -> bool {
        matches!(self.mode, Mode::Time)
    }

    /// Measures the function that `prepare` makes, under a name of its own. Nothing is prepared for a measure
    /// that was not asked for.
    pub(crate) fn measure<T, F: FnMut() -> T>(&self, name: &str, prepare: impl FnOnce() -> F) {
        let wanted = self.only.as_ref().is_none_or(|only| match self.mode {
            Mode::Time | Mode::Instructions => name.contains(only.as_str()),
            Mode::Callgrind(_) => name == only,
        });
        if !wanted {
            return;
        }
        match self.mode {
            Mode::Time => report_time(name, &mut prepare()),
            Mode::Instructions => self.report_instructions(name),
            Mode::Callgrind(calls) => {
                let mut call = prepare();
                if let Count::Calls = self.count {
                    repeat(UNCOUNTED, &mut call);
                }
                counted(calls, &mut call);
            }
        }
    }

    fn report_instructions(&self, name: &str) {
        let each = match self.count {
            Count::Calls => callgrind(name, COUNTED, &["--toggle-collect=*micro*counted*"]) / COUNTED,
            Count::Program(more) => {
                let few = (more / 10).max(1);
                callgrind(name, few + more, &[]).saturating_sub(callgrind(name, few, &[])) / more
            }
        };
        assert!(each > 0, "nothing was counted: {name}");
        row(&format!("{name} | {each}"));
    }
}

/// The calls that callgrind looks at; it knows them by the name of this function.
#[inline(never)]
fn counted<T>(calls: u64, call: &mut impl FnMut() -> T) {
    repeat(calls, call);
}

fn repeat<T>(calls: u64, call: &mut impl FnMut() -> T) {
    for _ in 0..calls {
        black_box(call());
    }
}

fn report_time<T>(name: &str, call: &mut impl FnMut() -> T) {
    let mut calls = 1;
    while time(calls, call) < BATCH {
        calls *= 2;
    }
    #[expect(clippy::cast_precision_loss, reason = "batches stay far below 2^52 calls")]
    let mut batches: Vec<f64> =
        (0..BATCHES).map(|_| time(calls, call).as_secs_f64() * 1e9 / calls as f64).collect();
    batches.sort_by(f64::total_cmp);
    let [low, median, high] = [batches[0], batches[BATCHES / 2], batches[BATCHES - 1]];
    row(&format!("{name} | {median:.1} | {low:.1}..{high:.1}"));
}

#[expect(clippy::print_stdout, reason = "the figures are the output")]
fn row(cells: &str) {
    println!("| {cells} |");
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is a clock")]
fn time<T>(calls: u64, call: &mut impl FnMut() -> T) -> Duration {
    let start = Instant::now();
    repeat(calls, call);
    start.elapsed()
}

fn callgrind(name: &str, calls: u64, options: &[&str]) -> u64 {
    let program = env::current_exe().expect("this program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(options)
        .arg(program)
        .args(["--callgrind", &calls.to_string(), name])
        .output()
        .expect("valgrind is needed for --instructions");
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the measured program failed:\n{report}");
    let collected = report.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    collected.unwrap_or_else(|| panic!("callgrind gave no count:\n{report}"))
}
