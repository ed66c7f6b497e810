//! Who is attacked, and what that costs: rows of memory, processor time, and what somebody honest saw meanwhile.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::answer;
use crate::ordeal::{self, PASSWORD, mebibytes, now};
use crate::servers::process::Process;
use crate::servers::running::Client;
use crate::servers::tls::Certificate;

/// Whose sessions and passwords it is about.
pub(crate) const EMAIL: &str = "ada@example.com";

/// How long who is attacked may take to get rid of what is held: deadlines, and what is freed with them.
const REST: Duration = Duration::from_secs(7);

/// Counts what became of an attack, once it is over for everybody else.
pub(crate) type Aftermath = Box<dyn FnOnce() -> String>;

/// A Sidegate, and in whose name honest requests are made.
pub(crate) struct Victim {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) cookie: String,
    /// How long attacks go on that have no end of their own.
    pub(crate) length: Duration,
    pub(crate) certificate: Option<Certificate>,
    /// What the honest saw when nothing was attacked: answers per second, and their 99th percentile.
    quiet: OnceLock<(f64, Duration)>,
}

/// A connection, with TLS or without.
trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// What goes before the columns of [`Victim::row`].
pub(crate) fn head() {
    println!(
        "| attack | RSS before | at most | after | CPU | good answers/s | to quiet | bad | median | p99 | to quiet | \
         what became of it |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|"
    );
}

impl Victim {
    /// Starts one in front of `app`, with a person who is signed in.
    pub(crate) fn start(
        binary: &Path,
        folder: &Path,
        app: SocketAddr,
        (encrypted, files): (bool, Option<u32>),
        length: Duration,
    ) -> Result<Self, Box<dyn Error>> {
        let certificate = encrypted.then(|| Certificate::make(folder)).transpose()?;
        let limits = "head_timeout = \"3s\"\nrequests_per_connection = 0\n";
        let place =
            ordeal::Place { folder, upstream: (app, "http1"), certificate: certificate.as_ref(), files };
        let process = ordeal::start(binary, &place, limits)?;
        let address = process.address;
        let mut ada = match &certificate {
            None => Client::connect(address)?,
            Some(certificate) => Client::connect_tls(address, certificate)?,
        };
        ada.sign_up(EMAIL, PASSWORD)?;
        let cookie = ada.sign_in(EMAIL, PASSWORD)?.session_cookie()?;
        Ok(Self { process, address, cookie, length, certificate, quiet: OnceLock::new() })
    }

    /// Nothing happens to it: what the others are compared with.
    pub(crate) fn left_alone(&self, name: &str) -> Result<(), Box<dyn Error>> {
        self.row(name, |victim| {
            thread::sleep(victim.length);
            Ok(Box::new(String::new))
        })
    }

    /// Measures what `attack` does, and prints it.
    pub(crate) fn row(
        &self,
        name: &str,
        attack: impl FnOnce(&Self) -> io::Result<Aftermath>,
    ) -> Result<(), Box<dyn Error>> {
        let before = self.process.resident();
        let cpu = self.process.whole_cpu();
        let over = AtomicBool::new(false);
        let (became, (mut times, bad), most) = thread::scope(|scope| {
            let honest = scope.spawn(|| self.honest(&over));
            let watched = scope.spawn(|| {
                let mut most = before;
                while !over.load(Ordering::Relaxed) {
                    most = most.max(self.process.resident());
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
        let cpu = self.process.whole_cpu().saturating_sub(cpu);
        let (became, took) = became?;
        let became = became();
        thread::sleep(REST);
        let after = self.process.resident();
        times.sort_unstable();
        let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let rate = times.len() as f64 / took.as_secs_f64();
        let (quiet_rate, quiet_p99) = *self.quiet.get_or_init(|| (rate, at(99)));
        println!(
            "| {name} | {} | {} | {} | {:.1} s | {rate:.0} | {:.2} | {bad} | {:.2} ms | {:.2} ms | {:.1} | {became} |",
            mebibytes(before),
            mebibytes(most),
            mebibytes(after),
            cpu.as_secs_f64(),
            rate / quiet_rate,
            at(50).as_secs_f64() * 1e3,
            at(99).as_secs_f64() * 1e3,
            at(99).as_secs_f64() / quiet_p99.as_secs_f64(),
        );
        Ok(())
    }

    /// A connection without TLS.
    pub(crate) fn connect(&self) -> io::Result<TcpStream> {
        ordeal::connect(self.address, Duration::from_secs(20))
    }

    fn speak(&self) -> io::Result<Box<dyn Stream>> {
        let stream = self.connect()?;
        Ok(match &self.certificate {
            None => Box::new(stream),
            Some(certificate) => {
                let connected = certificate.connect(self.address, stream);
                Box::new(connected.map_err(|error| io::Error::other(error.to_string()))?)
            }
        })
    }

    pub(crate) fn request(&self, path: &str, cookie: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n", self.address)
    }

    /// Asks in somebody's name, some hundred times a second. The times of good answers, and how many were bad.
    fn honest(&self, over: &AtomicBool) -> (Vec<Duration>, usize) {
        let (mut times, mut bad) = (Vec::new(), 0);
        let request = self.request("/x", &self.cookie);
        let mut stream: Option<Box<dyn Stream>> = None;
        while !over.load(Ordering::Relaxed) {
            let start = now();
            let asked = match stream.take() {
                Some(stream) => Ok(stream),
                None => self.speak(),
            }
            .and_then(|mut stream| {
                stream.write_all(request.as_bytes())?;
                stream.flush()?;
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
}

/// Lets everybody else on this machine go first, so that what the honest see is not the attacker's share of it.
pub(crate) fn stands_back() {
    // It stays as it is where that is not allowed.
    let _ = rustix::process::nice(19);
}

/// The status of the next answer.
pub(crate) fn status(stream: &mut impl Read) -> io::Result<u16> {
    answer::read(stream).map(|(status, _)| status)
}

/// How many of these the other side has ended.
pub(crate) fn closed(streams: &[TcpStream]) -> usize {
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
