//! What does an attack cost: in memory, in processor time, and for everybody else?
//!
//! ```text
//! cargo bench --bench attack                    # all of them, three minutes
//! cargo bench --bench attack -- --slowhttptest  # with slowhttptest (Debian) as the client of the slow ones
//! ```
//!
//! While each goes on, somebody who is signed in asks for a small answer again and again, with a rest of 5 ms: the
//! columns say how many of those answers came in a second, how many were bad, and how long half and all but a hundredth
//! of them took. Memory is what the process has (RSS) before, at its most during, and some seconds after. Deadlines are
//! short, so that one sees them at work. None takes a minute.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

#[path = "support/answer.rs"]
mod answer;
#[path = "support/app.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod app;
#[path = "support/ordeal.rs"]
mod ordeal;
#[path = "support/servers.rs"]
mod servers;
#[path = "support/slowhttptest.rs"]
mod slowhttptest;

use ordeal::{PASSWORD, mebibytes, now};
use servers::process::{self, Process};
use servers::running::Client;

const EMAIL: &str = "ada@example.com";
/// Tokens as long as ours.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

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

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let directory = tempfile::tempdir()?;
    process::raise_open_files();
    let limits = "head_timeout = \"3s\"\nrequests_per_connection = 0\n";
    let app = app::start()?;
    let process = ordeal::start(&options.sidegate, directory.path(), app.address, limits)?;
    let mut ada = Client::connect(process.address)?;
    ada.sign_up(EMAIL, PASSWORD)?;
    let cookie = ada.sign_in(EMAIL, PASSWORD)?.session_cookie()?;
    let attack =
        Attack { address: process.address, cookie, length: Duration::from_secs_f64(options.seconds) };
    println!(
        "| attack | RSS before | at most | after | CPU | good answers/s | bad | median | p99 | what became of it |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---|"
    );
    let held = options.connections;
    attack.row(&process, "nothing", |attack| {
        thread::sleep(attack.length);
        Ok(Box::new(String::new))
    })?;
    attack.row(&process, &format!("{held} idle connections"), |attack| attack.idle(held))?;
    if options.slowhttptest {
        for (name, mode) in [
            ("slow heads", "-H -i 1"),
            ("slow bodies", "-B -i 1 -s 8192"),
            ("slow readers", "-X -w 512 -y 1024 -n 3 -z 32 -k 3"),
        ] {
            attack.row(&process, &format!("slowhttptest, {name}"), |attack| {
                let what = (attack.address, "/large", attack.cookie.as_str());
                let became = slowhttptest::attack(what, held, attack.length, mode)?;
                Ok(Box::new(move || became))
            })?;
        }
    } else {
        attack.row(&process, &format!("{held} slow heads"), |attack| attack.trickle(held, false))?;
        attack.row(&process, &format!("{held} slow bodies"), |attack| attack.trickle(held, true))?;
    }
    attack
        .row(&process, &format!("{} who read nothing of 1 MiB", held / 2), |attack| attack.stuck(held / 2))?;
    attack.row(&process, &format!("{} invented cookies", options.cookies), |attack| {
        attack.invented(options.cookies)
    })?;
    attack.row(&process, "64 who guess passwords", |attack| Ok(attack.guess(64)))?;
    Ok(())
}

/// Counts what became of an attack, once it is over for everybody else.
type Aftermath = Box<dyn FnOnce() -> String>;

/// Whom to attack, and in whose name honest requests are made.
struct Attack {
    address: SocketAddr,
    cookie: String,
    length: Duration,
}

/// How long who is attacked may take to get rid of what is held: deadlines, and what is freed with them.
const REST: Duration = Duration::from_secs(7);
/// An attack by number ends after this time too.
const LONGEST: Duration = Duration::from_secs(45);

impl Attack {
    /// Measures what `attack` does, and prints it.
    fn row(
        &self,
        process: &Process,
        name: &str,
        attack: impl FnOnce(&Self) -> io::Result<Aftermath>,
    ) -> Result<(), Box<dyn Error>> {
        let before = process.resident();
        let cpu = process.cpu();
        let over = AtomicBool::new(false);
        let (became, (mut times, bad), most) = thread::scope(|scope| {
            let honest = scope.spawn(|| self.honest(&over));
            let watched = scope.spawn(|| {
                let mut most = before;
                while !over.load(Ordering::Relaxed) {
                    most = most.max(process.resident());
                    thread::sleep(Duration::from_millis(50));
                }
                most
            });
            let begun = now();
            let became = attack(self);
            let took = begun.elapsed();
            over.store(true, Ordering::Relaxed);
            (
                became.map(|became| (became, took)),
                honest.join().unwrap_or_default(),
                watched.join().unwrap_or(before),
            )
        });
        let cpu = process.cpu().saturating_sub(cpu);
        let (became, took) = became?;
        let became = became();
        thread::sleep(REST);
        let after = process.resident();
        times.sort_unstable();
        let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let rate = times.len() as f64 / took.as_secs_f64();
        println!(
            "| {name} | {} | {} | {} | {:.1} s | {rate:.0} | {bad} | {:.2} ms | {:.2} ms | {} |",
            mebibytes(before),
            mebibytes(most),
            mebibytes(after),
            cpu.as_secs_f64(),
            at(50).as_secs_f64() * 1e3,
            at(99).as_secs_f64() * 1e3,
            became
        );
        Ok(())
    }

    fn connect(&self) -> io::Result<TcpStream> {
        ordeal::connect(self.address, Duration::from_secs(20))
    }

    fn request(&self, path: &str, cookie: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n", self.address)
    }

    /// Asks in somebody's name, some hundred times a second. The times of good answers, and how many were bad.
    fn honest(&self, over: &AtomicBool) -> (Vec<Duration>, usize) {
        let (mut times, mut bad) = (Vec::new(), 0);
        let request = self.request("/x", &self.cookie);
        let mut stream: Option<TcpStream> = None;
        while !over.load(Ordering::Relaxed) {
            let start = now();
            let asked = match stream.take() {
                Some(stream) => Ok(stream),
                None => self.connect(),
            }
            .and_then(|mut stream| {
                stream.write_all(request.as_bytes())?;
                Ok((status(&mut stream)?, stream))
            });
            match asked {
                Ok((200, kept)) => {
                    times.push(start.elapsed());
                    stream = Some(kept);
                }
                Ok(_) | Err(_) => bad += 1,
            }
            thread::sleep(Duration::from_millis(5));
        }
        (times, bad)
    }

    fn idle(&self, count: usize) -> io::Result<Aftermath> {
        let request = self.request("/x", &self.cookie);
        let mut held = Vec::new();
        for _ in 0..count {
            let mut stream = self.connect()?;
            stream.write_all(request.as_bytes())?;
            status(&mut stream)?;
            held.push(stream);
        }
        thread::sleep(self.length);
        Ok(Box::new(move || format!("{} of them closed", closed(&held))))
    }

    /// One byte at a time, of the head or of the body.
    fn trickle(&self, count: usize, body: bool) -> io::Result<Aftermath> {
        let mut start = format!("POST /x HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n", self.address, self.cookie);
        if body {
            start.push_str("Content-Length: 8192\r\n\r\n");
        }
        let mut held = Vec::new();
        for _ in 0..count {
            let mut stream = self.connect()?;
            stream.write_all(start.as_bytes())?;
            held.push(stream);
        }
        let begun = now();
        while begun.elapsed() < self.length {
            for stream in &mut held {
                // Whether it is still taken is counted at the end.
                let _ = stream.write_all(b"x");
            }
            thread::sleep(Duration::from_millis(500));
        }
        Ok(Box::new(move || format!("{} of them closed", closed(&held))))
    }

    fn stuck(&self, count: usize) -> io::Result<Aftermath> {
        let request = self.request("/large", &self.cookie);
        let mut held = Vec::new();
        for _ in 0..count {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
            socket.set_recv_buffer_size(4096)?;
            socket.connect(&self.address.into())?;
            let mut stream = TcpStream::from(socket);
            stream.write_all(request.as_bytes())?;
            held.push(stream);
        }
        thread::sleep(self.length);
        Ok(Box::new(move || {
            let begun = now();
            let whole = held.iter().filter(|stream| whole(stream, begun)).count();
            format!("{whole} of them could have had it all")
        }))
    }

    /// Random cookies over a few connections, many at a time.
    fn invented(&self, count: u64) -> io::Result<Aftermath> {
        const CONNECTIONS: u64 = 16;
        const AT_ONCE: u64 = 32;
        let length = self.cookie.split_once('=').map_or(54, |(_, token)| token.len());
        let begun = now();
        let one = |place: u64| -> io::Result<[u64; 2]> {
            let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(place + 1);
            let mut stream = self.connect()?;
            let mut answers = BufReader::new(stream.try_clone()?);
            let mut counts = [0; 2];
            while counts[0] < count / CONNECTIONS && begun.elapsed() < LONGEST {
                let mut wire = String::new();
                for _ in 0..AT_ONCE {
                    let token: String = (0..length).map(|_| letter(&mut random)).collect();
                    let _ = write!(wire, "{}", self.request("/x", &format!("sidegate={token}")));
                }
                stream.write_all(wire.as_bytes())?;
                for _ in 0..AT_ONCE {
                    counts[1] += u64::from(status(&mut answers)? != 401);
                }
                counts[0] += AT_ONCE;
            }
            Ok(counts)
        };
        let [sent, let_through] = thread::scope(|scope| {
            let one = &one;
            let runs: Vec<_> = (0..CONNECTIONS).map(|place| scope.spawn(move || one(place))).collect();
            runs.into_iter().try_fold([0; 2], |[sent, through], run| {
                let [more, past] = run.join().unwrap_or(Ok([0, u64::MAX]))?;
                io::Result::Ok([sent + more, through + past])
            })
        })?;
        Ok(Box::new(move || format!("{let_through} of {sent} were not refused")))
    }

    fn guess(&self, people: usize) -> Aftermath {
        let counts = thread::scope(|scope| {
            let runs: Vec<_> = (0..people)
                .map(|number| {
                    scope.spawn(move || -> [u64; 3] {
                        let mut counts = [0; 3];
                        let begun = now();
                        while begun.elapsed() < self.length {
                            let answer =
                                Client::connect(self.address).map_err(Box::<dyn Error>::from).and_then(
                                    |mut client| client.sign_in(EMAIL, &format!("wrong guess {number}")),
                                );
                            match answer.map(|answer| answer.status) {
                                Ok(401) => counts[0] += 1,
                                Ok(429 | 503) => counts[1] += 1,
                                Ok(_) | Err(_) => counts[2] += 1,
                            }
                        }
                        counts
                    })
                })
                .collect();
            runs.into_iter().fold([0; 3], |mut sum, run| {
                let counts = run.join().unwrap_or([0, 0, 1]);
                sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                sum
            })
        });
        let [hashed, refused, other] = counts;
        Box::new(move || format!("{hashed} hashed, {refused} turned away, {other} otherwise"))
    }
}

/// The next letter of a token (xorshift64).
fn letter(random: &mut u64) -> char {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    let place = usize::try_from(*random >> 58).unwrap_or_default();
    char::from(LETTERS[place])
}

/// The status of the next answer.
fn status(stream: &mut impl Read) -> io::Result<u16> {
    answer::read(stream).map(|(status, _)| status)
}

/// How many of these the other side has ended.
fn closed(streams: &[TcpStream]) -> usize {
    streams
        .iter()
        .filter(|stream| {
            let _ = stream.set_nonblocking(true);
            let mut buffer = [0; 4096];
            loop {
                match (&mut &**stream).read(&mut buffer) {
                    Ok(0) => return true,
                    Ok(_) => {}
                    Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
                }
            }
        })
        .count()
}

/// Whether the whole of 1 MiB is there for who reads at last. Who was let wait for it is not waited for long.
fn whole(mut stream: &TcpStream, begun: Instant) -> bool {
    let patience = Duration::from_secs(2).saturating_sub(begun.elapsed()).max(Duration::from_millis(5));
    let _ = stream.set_read_timeout(Some(patience));
    let (mut sum, mut buffer) = (0, vec![0; 1 << 16]);
    while sum < 1 << 20
        && let Ok(count @ 1..) = stream.read(&mut buffer)
    {
        sum += count;
    }
    sum >= 1 << 20
}
