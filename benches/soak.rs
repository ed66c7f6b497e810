//! Does it hold? Minutes of everything at once: sign-ins and sign-outs, new connections, `WebSocket` tunnels, uploads,
//! slow clients, an app that closes its connections.
//!
//! ```text
//! cargo bench --bench soak                    # three minutes
//! cargo bench --bench soak -- --minutes 60
//! ```
//!
//! Every answer is looked at: one that is not what it should be counts as an error, and so does a session that
//! opens something after its sign-out. One kind of refusal is to be expected, and is counted by itself: a POST that went
//! out on a kept connection which the app was closing is answered with 502, for it must not be sent twice (RFC 9110
//! §9.2.2). The app tells which those were, and a 502 of any other request is an error. One error is enough for the run
//! to fail. Memory and open files are printed as they go; at the end, when all clients have gone, they should be near
//! what they were after the first half minute.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::error::Error;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::Parser;

#[path = "support/answer.rs"]
mod answer;
#[path = "support/app.rs"]
mod app;
#[path = "support/ordeal.rs"]
mod ordeal;
#[path = "support/servers.rs"]
mod servers;

use app::{App, Met};
use ordeal::{PASSWORD, mebibytes, now};
use servers::process::Process;
use servers::running::Client;

/// Keeps a Sidegate of its own busy, over loopback.
#[derive(Parser)]
struct Options {
    /// For how long.
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// Run this binary instead of the one that cargo has just built.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_sidegate"))]
    sidegate: PathBuf,
    /// Cargo's own mark for a benchmark run.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Something that clients do, and how often it went well or not.
struct Kind {
    name: &'static str,
    clients: usize,
    good: AtomicU64,
    bad: AtomicU64,
    once: fn(&World) -> io::Result<()>,
}

const fn kind(name: &'static str, clients: usize, once: fn(&World) -> io::Result<()>) -> Kind {
    Kind { name, clients, good: AtomicU64::new(0), bad: AtomicU64::new(0), once }
}

/// What everybody knows.
struct World {
    address: SocketAddr,
    cookie: String,
    /// Targets of uploads that were answered with 502.
    refused: Mutex<Vec<String>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let directory = tempfile::tempdir()?;
    let sections = "head_timeout = \"2s\"\n\n[password]\nanswer_floor = \"0ms\"\n";
    let app = app::start()?;
    let process = ordeal::start(&options.sidegate, directory.path(), app.address, sections)?;
    let mut ada = Client::connect(process.address)?;
    for number in 0..4 {
        ada.sign_up(&format!("user{number}@example.com"), PASSWORD)?;
    }
    let cookie = ada.sign_in("user0@example.com", PASSWORD)?.session_cookie()?;
    drop(ada);
    let world = World { address: process.address, cookie, refused: Mutex::default() };
    let kinds = [
        kind("sessions: in, 20 requests, out, refused", 3, session),
        kind("200 requests on one connection", 4, kept),
        kind("one request on a new connection", 2, fresh),
        kind("50 requests to an app that closes after each", 2, closing),
        kind("256 KiB uploads", 2, upload),
        kind("1 MiB answers", 2, download),
        kind("WebSocket tunnels of 50 messages", 3, tunnel),
        kind("clients that go away in the middle", 2, gone),
        kind("heads that never end", 4, slow),
    ];
    println!("| after | RSS | open files | good | errors |\n|---|---:|---:|---:|---:|");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for kind in &kinds {
            for _ in 0..kind.clients {
                scope.spawn(|| repeat(kind, &world, &over));
            }
        }
        let begun = now();
        let length = Duration::from_secs_f64(options.minutes * 60.0);
        let mut next = Duration::from_secs(30).min(length);
        while begun.elapsed() < length {
            thread::sleep(Duration::from_millis(200));
            if begun.elapsed() >= next {
                line(&format!("{} s", next.as_secs()), &process, &kinds);
                next += Duration::from_secs(30);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    // Idle connections to the app, and those that linger.
    thread::sleep(Duration::from_secs(10));
    line("all have gone", &process, &kinds);
    println!("\n| what | good | errors |\n|---|---:|---:|");
    for kind in &kinds {
        let [good, bad] = [&kind.good, &kind.bad].map(|count| count.load(Ordering::Relaxed));
        println!("| {} | {good} | {bad} |", kind.name);
    }
    let errors: u64 = kinds.iter().map(|kind| kind.bad.load(Ordering::Relaxed)).sum();
    let unexplained = explain(&app, &world);
    let log = process.end()?;
    let strange: Vec<&str> =
        log.lines().filter(|line| line.contains("ERROR") || line.contains("panicked")).collect();
    println!(
        "\n{} errors in the log, {} warnings",
        strange.len(),
        log.lines().filter(|l| l.contains("WARN")).count()
    );
    strange.iter().take(10).for_each(|line| println!("{line}"));
    if errors > 0 || unexplained > 0 || !strange.is_empty() {
        return Err("what no client should see, or no log should say, is above".into());
    }
    Ok(())
}

/// Says which 502 had its reason, and returns how many had none.
fn explain(app: &App, world: &World) -> usize {
    let refused = world.refused.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut before, mut after, mut unexplained) = (0, 0, 0);
    for target in refused.iter() {
        match app.met(target) {
            Some(Met::Before) => before += 1,
            Some(Met::After) => after += 1,
            None => {
                unexplained += 1;
                if unexplained <= 3 {
                    println!("POST {target}: 502, and the app was not closing the connection");
                }
            }
        }
    }
    println!(
        "\n{} uploads were answered with 502 and sent again: {before} had reached the app before it closed their \
         connection, {after} after it, {unexplained} are unexplained",
        refused.len()
    );
    unexplained
}

fn line(after: &str, process: &Process, kinds: &[Kind]) {
    let sum = |count: fn(&Kind) -> &AtomicU64| {
        kinds.iter().map(|kind| count(kind).load(Ordering::Relaxed)).sum::<u64>()
    };
    println!(
        "| {after} | {} | {} | {} | {} |",
        mebibytes(process.resident()),
        process.open_files(),
        sum(|kind| &kind.good),
        sum(|kind| &kind.bad)
    );
}

fn repeat(kind: &Kind, world: &World, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        match (kind.once)(world) {
            Ok(()) => kind.good.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                if kind.bad.fetch_add(1, Ordering::Relaxed) < 3 {
                    println!("{}: {error}", kind.name);
                }
                0
            }
        };
        thread::sleep(Duration::from_millis(2));
    }
}

/// One connection of a client.
struct Link {
    stream: TcpStream,
    address: SocketAddr,
}

impl Link {
    fn new(world: &World) -> io::Result<Self> {
        let stream = ordeal::connect(world.address, Duration::from_secs(30))?;
        Ok(Self { stream, address: world.address })
    }

    fn send(&mut self, line: &str, cookie: &str, fields: &str, body: &[u8]) -> io::Result<()> {
        let head = format!("{line} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n{fields}\r\n", self.address);
        self.stream.write_all(&[head.as_bytes(), body].concat())
    }

    /// Status and body of the next answer.
    fn answer(&mut self) -> io::Result<(u16, Vec<u8>)> {
        answer::read(&mut self.stream)
    }

    fn get(&mut self, path: &str, cookie: &str, wanted: u16) -> io::Result<Vec<u8>> {
        self.send(&format!("GET {path}"), cookie, "", b"")?;
        let (status, body) = self.answer()?;
        if status == wanted { Ok(body) } else { Err(io::Error::other(format!("GET {path}: {status}"))) }
    }
}

fn session(world: &World) -> io::Result<()> {
    static TURN: AtomicU64 = AtomicU64::new(0);
    let number = TURN.fetch_add(1, Ordering::Relaxed) % 4;
    let answer = Client::connect(world.address)?.sign_in(&format!("user{number}@example.com"), PASSWORD);
    let cookie = answer
        .and_then(|answer| answer.session_cookie())
        .map_err(|error| io::Error::other(error.to_string()))?;
    for _ in 0..20 {
        Link::new(world)?.get("/x", &cookie, 200)?;
    }
    let mut link = Link::new(world)?;
    let fields = format!("Origin: http://{}\r\nContent-Length: 0\r\n", world.address);
    link.send("POST /auth/sign-out", &cookie, &fields, b"")?;
    let (status, _) = link.answer()?;
    if status != 200 {
        return Err(io::Error::other(format!("sign-out: {status}")));
    }
    Link::new(world)?.get("/x", &cookie, 401).map(drop)
}

fn kept(world: &World) -> io::Result<()> {
    let mut link = Link::new(world)?;
    (0..200).try_for_each(|_| link.get("/x", &world.cookie, 200).map(drop))
}

fn fresh(world: &World) -> io::Result<()> {
    Link::new(world)?.get("/x", &world.cookie, 200).map(drop)
}

fn closing(world: &World) -> io::Result<()> {
    let mut link = Link::new(world)?;
    (0..50).try_for_each(|_| link.get("/close", &world.cookie, 200).map(drop))
}

fn upload(world: &World) -> io::Result<()> {
    static TURN: AtomicU64 = AtomicU64::new(0);
    let body = vec![b'x'; 256 * 1024];
    // Whoever sent a request with an effect has to send it again.
    for _ in 0..6 {
        let target = format!("/x?upload={}", TURN.fetch_add(1, Ordering::Relaxed));
        let mut link = Link::new(world)?;
        let length = format!("Content-Length: {}\r\n", body.len());
        link.send(&format!("POST {target}"), &world.cookie, &length, &body)?;
        match link.answer()? {
            (200, said) if said == b"262144" => return Ok(()),
            (502, _) => world.refused.lock().unwrap_or_else(PoisonError::into_inner).push(target),
            (status, _) => return Err(io::Error::other(format!("upload: {status}"))),
        }
    }
    Err(io::Error::other("an upload failed six times"))
}

fn download(world: &World) -> io::Result<()> {
    let body = Link::new(world)?.get("/large", &world.cookie, 200)?;
    if body.len() == 1 << 20 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn tunnel(world: &World) -> io::Result<()> {
    let mut link = Link::new(world)?;
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    link.send("GET /socket", &world.cookie, fields, b"")?;
    let (status, _) = link.answer()?;
    if status != 101 {
        return Err(io::Error::other(format!("handshake: {status}")));
    }
    // A whole masked frame, so that whoever looks inside finds one.
    let message = [&[0x82, 0x80 | 16, 0, 0, 0, 0][..], b"0123456789abcdef"].concat();
    let mut said_back = vec![0; message.len()];
    for _ in 0..50 {
        link.stream.write_all(&message)?;
        link.stream.read_exact(&mut said_back)?;
        if said_back != message {
            return Err(io::Error::other("not what was said"));
        }
    }
    Ok(())
}

fn gone(world: &World) -> io::Result<()> {
    let mut link = Link::new(world)?;
    link.send("GET /large", &world.cookie, "", b"")?;
    let mut some = [0; 1000];
    link.stream.read_exact(&mut some)?;
    let mut link = Link::new(world)?;
    link.send("POST /x", &world.cookie, "Content-Length: 100000\r\n", &[b'x'; 5000])
}

fn slow(world: &World) -> io::Result<()> {
    let mut link = Link::new(world)?;
    link.stream.write_all(format!("GET /x HTTP/1.1\r\nHost: {}\r\nX-", world.address).as_bytes())?;
    let mut rest = Vec::new();
    // It is ended for us.
    link.stream.read_to_end(&mut rest).map(drop)
}

impl Process {
    /// How many files and sockets it has open.
    fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }
}
