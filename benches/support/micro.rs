//! Times a small function: calibrated batches, the median of fifteen, or exact instruction counts under callgrind.
//!
//! `cargo bench --bench gate` prints nanoseconds, `cargo bench --bench gate -- --instructions` user-space
//! instructions for each call, which repeat on a noisy machine. A name on the command line picks the measures that
//! contain it.

use std::env;
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

const BATCHES: usize = 15;
const BATCH: Duration = Duration::from_millis(20);

/// How many calls the instruction count is averaged over, and the calls before them that pay for first touches.
const COUNTED: u64 = 1_000;
const UNCOUNTED: u64 = 100;

/// What the command line asked for.
pub(crate) struct Micro {
    mode: Mode,
    only: Option<String>,
}

enum Mode {
    Time,
    Instructions,
    /// Calls each function this often and measures nothing: the run that callgrind watches.
    Callgrind(u64),
}

impl Micro {
    /// Reads `[--instructions | --callgrind N] [NAME]`.
    pub(crate) fn from_args() -> Self {
        let mut micro = Self { mode: Mode::Time, only: None };
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
        micro
    }

    /// Measures one function under a name that no other measure of this program contains.
    pub(crate) fn measure<T>(&self, name: &str, mut call: impl FnMut() -> T) {
        if self.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            return;
        }
        match self.mode {
            Mode::Time => report_time(name, &mut call),
            Mode::Instructions => report_instructions(name),
            Mode::Callgrind(calls) => repeat(calls, &mut call),
        }
    }
}

fn repeat<T>(calls: u64, call: &mut impl FnMut() -> T) {
    for _ in 0..calls {
        black_box(call());
    }
}

#[expect(clippy::print_stdout, reason = "the figures are the output")]
fn report_time<T>(name: &str, call: &mut impl FnMut() -> T) {
    let mut calls = 1;
    while time(calls, call) < BATCH {
        calls *= 2;
    }
    #[expect(clippy::cast_precision_loss, reason = "batches stay far below 2^52 calls")]
    let mut batches: Vec<f64> = (0..BATCHES).map(|_| time(calls, call).as_secs_f64() * 1e9 / calls as f64).collect();
    batches.sort_by(f64::total_cmp);
    let [low, median, high] = [batches[0], batches[BATCHES / 2], batches[BATCHES - 1]];
    println!("{name:<48} {median:>12.1} ns  [{low:.1}..{high:.1}]");
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is a clock")]
fn time<T>(calls: u64, call: &mut impl FnMut() -> T) -> Duration {
    let start = Instant::now();
    repeat(calls, call);
    start.elapsed()
}

/// The difference of two runs of this program under callgrind, so that its start and end do not count.
#[expect(clippy::print_stdout, reason = "the figures are the output")]
fn report_instructions(name: &str) {
    let all = count_instructions(name, UNCOUNTED + COUNTED);
    let before = count_instructions(name, UNCOUNTED);
    println!("{name:<48} {:>12} instructions", (all - before) / COUNTED);
}

fn count_instructions(name: &str, calls: u64) -> u64 {
    let program = env::current_exe().expect("this program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--callgrind", &calls.to_string(), name])
        .output()
        .expect("valgrind is needed for --instructions");
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    collected.unwrap_or_else(|| panic!("callgrind gave no count:\n{report}"))
}
