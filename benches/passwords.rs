//! What does a password cost, and how many sign-ins a second can the hashing pool judge?
//!
//! ```text
//! cargo bench --bench passwords                     # nanoseconds, and the pool
//! cargo bench --bench passwords -- --instructions   # user instructions, under valgrind
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use sidegate::account::password::Passwords;
use sidegate::config;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

#[path = "support/hashes.rs"]
mod hashes;
#[path = "support/micro.rs"]
mod micro;

use micro::Micro;

const PASSWORD: &str = "vexed quarry lamp";
const ANOTHER: &str = "purple tandem ferry";

/// Verifications of one measure of the pool, fewer than may wait.
const QUEUE: usize = 48;
const MEASURES: usize = 5;

fn main() {
    let micro = Micro::from_args();
    // A thread of the pool computes.
    let micro = micro.across_threads(3);
    micro.measure("hash, argon2id", || {
        let (runtime, passwords) = (runtime(), passwords(1));
        move || runtime.block_on(passwords.hash(PASSWORD)).is_ok()
    });
    verify(&micro, "verify, argon2id", (PASSWORD, || argon2(PASSWORD)), true);
    verify(&micro, "verify, argon2id, wrong password", (ANOTHER, || argon2(PASSWORD)), false);
    verify(&micro, "verify, better-auth's scrypt", (PASSWORD, || Some(hashes::scrypt(PASSWORD))), true);
    verify(&micro, "verify, bcrypt of cost 10", (PASSWORD, || Some(hashes::bcrypt(PASSWORD))), true);
    verify(&micro, "verify, no such account", (PASSWORD, || None), false);
    if micro.times() {
        pool();
    }
}

fn argon2(password: &str) -> Option<String> {
    runtime().block_on(passwords(1).hash(password)).ok()
}

fn verify(micro: &Micro, name: &str, (password, stored): (&str, fn() -> Option<String>), expected: bool) {
    micro.measure(name, || {
        let (runtime, passwords, stored) = (runtime(), passwords(1), stored());
        move || {
            let verdict = runtime.block_on(passwords.verify(password, stored.as_deref()));
            assert!(verdict.is_ok_and(|verdict| verdict.matches == expected), "{name}: another verdict");
        }
    });
}

/// Verifications a second, with one seat and with one for each core.
#[expect(clippy::print_stdout, reason = "the figures are the output")]
fn pool() {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    println!("\n| hashes at a time | sign-ins/s, median | lowest..highest |\n|---:|---:|---|");
    let mut seats = vec![1, cores];
    seats.dedup();
    for seats in seats {
        let mut rates: Vec<f64> = (0..MEASURES).map(|_| rate(seats)).collect();
        rates.sort_by(f64::total_cmp);
        let [low, median, high] = [rates[0], rates[MEASURES / 2], rates[MEASURES - 1]];
        println!("| {seats} | {median:.1} | {low:.1}..{high:.1} |");
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is a clock")]
fn rate(seats: usize) -> f64 {
    let (runtime, passwords) = (runtime(), Arc::new(passwords(seats)));
    runtime.block_on(async {
        let start = Instant::now();
        let mut waiting = JoinSet::new();
        for _ in 0..QUEUE {
            let passwords = Arc::clone(&passwords);
            waiting.spawn(async move { passwords.verify(PASSWORD, None).await.is_ok() });
        }
        assert!(waiting.join_all().await.into_iter().all(|judged| judged), "turned away");
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let judged = QUEUE as f64;
        judged / start.elapsed().as_secs_f64()
    })
}

fn passwords(concurrency: usize) -> Passwords {
    Passwords::new(&config::Password { min_length: 8, concurrency, answer_floor: Duration::ZERO })
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}
