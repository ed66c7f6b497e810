//! How many sign-ins a second does a Sidegate carry, and does the time of an answer tell whether an account
//! exists: to who signs in, asks for a new password, or signs up?
//!
//! ```text
//! cargo bench --bench sign_in                          # all questions on SQLite, seven minutes
//! SIDEGATE_BENCH_POSTGRES=postgres://… cargo bench --bench sign_in
//! cargo bench --bench sign_in -- --samples 2000        # more answer times
//! cargo bench --bench sign_in -- --instructions        # user instructions of one sign-in, under valgrind
//! ```
//!
//! The server has its default hashing (argon2id, one hash for each core) and every rate limit out of the way.
//! Rates are measured without the answer floor, answer times with the default one: people in step, one of each
//! kind, who change places every time, so that nothing but what they ask for tells the kinds apart. Mails go to
//! the catcher.
//! Where answers are later than the floor the machine was too busy for this hashing, and the p-value says
//! what that gives away.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use clap::Parser;
use sidegate::id::UserId;
use sidegate::store::Store;
use sidegate::time::Clock;
use sidegate::visitor::User;

#[path = "support/database.rs"]
mod database;
#[path = "support/hashes.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod hashes;
#[path = "support/people.rs"]
mod people;
#[path = "support/servers.rs"]
mod servers;
#[path = "support/statistics.rs"]
mod statistics;

use database::{Database, Kind};
use people::now;
use servers::process::{self, Process};
use servers::running::{Client, Plan};
use statistics::{mann_whitney, quantile};

const PASSWORD: &str = "vexed quarry lamp";
/// Somebody with an account of ours.
const KNOWN: &str = "ada@example.com";
/// Somebody whose account was imported from better-auth.
const IMPORTED: &str = "grace@example.com";

/// Sign-ins of the two runs under callgrind: their difference is the sign-ins alone.
const FEW: u64 = 4;
const MANY: u64 = 12;

/// Measures signing in.
#[derive(Parser)]
struct Options {
    /// How long rates are measured.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// People who sign in at the same time.
    #[arg(long, default_value_t = 8)]
    people: usize,
    /// Answer times of each kind.
    #[arg(long, default_value_t = 400)]
    samples: usize,
    /// People of each kind who are in step; more is faster, and more likely to go beyond the floor.
    #[arg(long, default_value_t = 1)]
    alike: usize,
    /// Count user instructions of a sign-in instead of measuring time.
    #[arg(long)]
    instructions: bool,
    /// Measure this binary instead of the one that cargo has just built.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_sidegate"))]
    sidegate: PathBuf,
    /// Cargo's own mark for a benchmark run.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    if options.instructions {
        return count_instructions(&options);
    }
    println!(
        "{} people sign in one after the other for {} s, no answer floor\n",
        options.people, options.seconds
    );
    println!("| store | sign-ins/s | ms/sign-in, median | p95 | CPU ms/sign-in |\n|---|---:|---:|---:|---:|");
    for kind in Kind::available() {
        let house = House::open(kind, &options.sidegate, ("0s", false))?;
        println!("| {} | {} |", kind.name(), rate(&house, &options)?);
    }
    for kind in Kind::available() {
        let house = House::open(kind, &options.sidegate, ("250ms", false))?;
        for question in QUESTIONS {
            println!("\n{}", answer_times(&house, &options, (kind, question))?);
        }
    }
    Ok(())
}

/// A running Sidegate with two accounts.
struct House {
    process: Process,
    _directory: tempfile::TempDir,
    _database: Database,
}

impl House {
    fn open(kind: Kind, binary: &Path, (floor, callgrind): (&str, bool)) -> Result<Self, Box<dyn Error>> {
        let (database, directory) = (kind.create(), tempfile::tempdir()?);
        import(&database)?;
        let sections = format!(
            "[password]\nanswer_floor = \"{floor}\"\n\n\
             [limits]\nattempts_per_address = 1000000\nattempts_per_account = 1000000\n\
             attempts_in_all = 1000000\nmails_per_recipient = 1000000\n\n\
             [sign_up]\nrequire_verified_email = false\n\n\
             [mail]\ntransport = \"catcher\"\nper_recipient = 1000000\nin_all = 100000000\n"
        );
        let plan = Plan { callgrind, ..people::plan(binary, &database, &sections)? };
        let process = plan.start(directory.path())?;
        Client::connect(process.address)?.sign_up(KNOWN, PASSWORD)?;
        Ok(Self { process, _directory: directory, _database: database })
    }
}

/// Writes the account that better-auth had.
fn import(database: &Database) -> Result<(), Box<dyn Error>> {
    let clock = Clock::System;
    let now = clock.now();
    let user = User {
        id: UserId::random(),
        name: "Grace".to_owned(),
        email: IMPORTED.to_owned(),
        email_verified: true,
        image: None,
        created: now,
        updated: now,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Store::open(&database.config(1), &clock).await?;
        let mut tx = store.begin().await?;
        tx.user_insert(&user).await?;
        tx.account_insert_credential(&user.id, &hashes::scrypt(PASSWORD), now).await?;
        tx.commit().await?;
        store.close().await;
        Ok(())
    })
}

/// The cells of a row: successful sign-ins a second, their times, and what they cost the server.
fn rate(house: &House, options: &Options) -> Result<String, Box<dyn Error>> {
    let address = house.process.address;
    let length = Duration::from_secs_f64(options.seconds);
    let (cpu, start) = (house.process.cpu(), now());
    let person = |_| -> Result<Vec<f64>, String> {
        let mut times = Vec::new();
        let mut client = Client::connect(address).map_err(|error| error.to_string())?;
        while start.elapsed() < length {
            let sent = now();
            let answer = client.sign_in(KNOWN, PASSWORD).map_err(|error| error.to_string())?;
            if answer.status != 200 {
                return Err(answer.head);
            }
            times.push(sent.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    };
    let mut times = people::together(options.people, person)?;
    let (cpu, elapsed) = (house.process.cpu().saturating_sub(cpu), start.elapsed());
    times.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = times.len() as f64;
    Ok(format!(
        "{:.1} | {:.1} | {:.1} | {:.1}",
        count / elapsed.as_secs_f64(),
        quantile(&times, 0.5),
        quantile(&times, 0.95),
        cpu.as_secs_f64() * 1e3 / count
    ))
}

/// A question whose answers must look alike.
#[derive(Clone, Copy)]
struct Question {
    name: &'static str,
    path: &'static str,
    status: u16,
    /// Who is meant: the first is nobody, or somebody new each time.
    kinds: &'static [(&'static str, &'static str)],
}

const QUESTIONS: [Question; 3] = [
    Question {
        name: "failed sign-ins",
        path: "/auth/sign-in/email",
        status: 401,
        kinds: &[
            ("unknown account", "nobody@example.com"),
            ("wrong password", KNOWN),
            ("wrong password, imported scrypt row", IMPORTED),
        ],
    },
    Question {
        name: "requests for a new password",
        path: "/auth/request-password-reset",
        status: 200,
        kinds: &[("unknown account", "nobody@example.com"), ("known account", KNOWN)],
    },
    Question {
        name: "sign-ups",
        path: "/auth/sign-up/email",
        status: 200,
        kinds: &[("free address", "new{n}@example.com"), ("taken address", KNOWN)],
    },
];

fn answer_times(
    house: &House,
    options: &Options,
    (kind, question): (Kind, Question),
) -> Result<String, Box<dyn Error>> {
    let Question { path, status, kinds, .. } = question;
    let people = options.alike * kinds.len();
    let rounds = options.samples.div_ceil(options.alike.max(1));
    let (address, barrier) = (house.process.address, Barrier::new(people));
    let person = |place: usize| -> Result<Vec<(usize, f64)>, String> {
        let mut client = Client::connect(address).map_err(|error| error.to_string());
        let mut times = Vec::new();
        for round in 0..rounds {
            let which = (place + round) % kinds.len();
            let email = kinds[which].1.replace("{n}", &format!("{place}-{round}"));
            let body = serde_json::json!({ "name": "Ada", "email": email, "password": "not the password" });
            barrier.wait();
            // Whoever failed keeps the step, so that the others can end.
            if let Ok(connected) = &mut client {
                let sent = now();
                let answer = connected.post(path, &body);
                let time = sent.elapsed().as_secs_f64() * 1e3;
                match answer {
                    Ok(answer) if answer.status == status => times.push((which, time)),
                    Ok(answer) => client = Err(answer.head),
                    Err(error) => client = Err(error.to_string()),
                }
            }
        }
        client.map(|_| times)
    };
    let times = thread::scope(|scope| {
        let people: Vec<_> = (0..people).map(|place| scope.spawn(move || person(place))).collect();
        let times: Result<Vec<_>, String> =
            people.into_iter().map(|person| person.join().expect("nobody panics")).collect();
        times.map(|times| times.concat())
    })?;
    let of = |which| {
        let mut times: Vec<f64> =
            times.iter().filter(|(of, _)| *of == which).map(|(_, time)| *time).collect();
        times.sort_by(f64::total_cmp);
        times
    };
    let times: Vec<Vec<f64>> = (0..kinds.len()).map(of).collect();
    Ok(compare(kind, question, &times))
}

fn compare(kind: Kind, question: Question, times: &[Vec<f64>]) -> String {
    let mut text = format!(
        "Answer times of {} on {}, {} of each kind, floor 250 ms; p by Mann-Whitney against the first\n\n\
         | kind | ms, median | p5 | p95 | over 260 ms | p |\n|---|---:|---:|---:|---:|---:|\n",
        question.name,
        kind.name(),
        times[0].len()
    );
    for ((name, _), sorted) in question.kinds.iter().zip(times) {
        let late = sorted.iter().filter(|time| **time > 260.0).count();
        let _ = writeln!(
            text,
            "| {name} | {:.2} | {:.2} | {:.2} | {late} | {:.3} |",
            quantile(sorted, 0.5),
            quantile(sorted, 0.05),
            quantile(sorted, 0.95),
            mann_whitney(sorted, &times[0])
        );
    }
    text
}

fn count_instructions(options: &Options) -> Result<(), Box<dyn Error>> {
    println!("| store | user instructions/sign-in |\n|---|---:|");
    for kind in Kind::available() {
        let run = |sign_ins: u64| -> Result<u64, Box<dyn Error>> {
            let house = House::open(kind, &options.sidegate, ("0s", true))?;
            let mut client = Client::connect(house.process.address)?;
            for _ in 0..sign_ins {
                let answer = client.sign_in(KNOWN, PASSWORD)?;
                if answer.status != 200 {
                    return Err(answer.head.into());
                }
            }
            drop(client);
            process::instructions(&house.process.end()?)
        };
        let (few, many) = (run(FEW)?, run(MANY)?);
        println!("| {} | {} |", kind.name(), many.saturating_sub(few) / (MANY - FEW));
    }
    Ok(())
}
