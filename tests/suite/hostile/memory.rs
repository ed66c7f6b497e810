//! What clients cost that hold on to what they have, in memory of the built program.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tempfile::TempDir;

use crate::jobs::eventually;
use crate::serve::{Program, free_port, minimal, serve};
use crate::support::bare::{Bare, End};
use crate::support::h2::{answered, frame, frames};
use crate::support::program;
use crate::support::raw::{PATIENCE, Raw, many_files};
use crate::support::upstream::{Upstream, ok};

/// A program of its own, whose memory is nobody else's.
pub(super) struct Measured<A = Upstream> {
    /// Dropped first: it holds connections to the app.
    program: Program,
    pub(super) address: SocketAddr,
    pub(super) app: A,
    /// How often the app got rid of all of 8 MiB.
    whole: Arc<AtomicUsize>,
    _directory: TempDir,
}

impl Measured {
    /// With these sections, and everything below `/open/` for everybody. The app answers `hello`, or 8 MiB at `/open/large`.
    pub(super) fn start(sections: &str) -> Self {
        let (large, small) = (ok(&"x".repeat(8 << 20)), ok("hello"));
        let whole = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&whole);
        let app = Upstream::with(move |arrived, stream| {
            if !arrived.line.contains("/open/large") {
                let _ = stream.write_all(small.as_bytes());
                return;
            }
            // What is not read on is not to lie in the kernel.
            SockRef::from(&*stream).set_send_buffer_size(16 * 1024).expect("a size");
            counted.fetch_add(usize::from(stream.write_all(large.as_bytes()).is_ok()), Ordering::SeqCst);
        });
        let upstream = format!("url = \"http://{}\"", app.address);
        Self { whole, ..Self::before(app, &upstream, sections) }
    }
}

impl Measured<(program::Program, TempDir)> {
    /// The same before nginx, which speaks HTTP/2 in frames that are smaller than they could be.
    fn before_nginx(sections: &str) -> Self {
        let (files, address) = (TempDir::new().expect("a directory"), free_port());
        std::fs::create_dir(files.path().join("open")).expect("a directory");
        std::fs::write(files.path().join("open/large"), vec![b'x'; 8 << 20]).expect("a file");
        let server = format!("server {{ listen {address} http2; root {}; }}", files.path().display());
        let nginx = program::Program::nginx(address, &server);
        let upstream = format!("url = \"http://{address}\"\nprotocol = \"h2c\"");
        Self::before((nginx, files), &upstream, sections)
    }
}

impl<A> Measured<A> {
    fn before(app: A, upstream: &str, sections: &str) -> Self {
        let (directory, address) = (TempDir::new().expect("a directory"), free_port());
        minimal(directory.path(), address, address, "sqlite:site.db");
        let file = directory.path().join("sidegate.toml");
        let text = std::fs::read_to_string(&file)
            .expect("a file")
            .replace("[listen]\n", "[listen]\nworkers = 1\n")
            .replace(&format!("[upstream]\nurl = \"http://{address}\""), &format!("[upstream]\n{upstream}"));
        let rule = "[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n";
        std::fs::write(&file, format!("{text}{sections}{rule}")).expect("a file");
        let program = serve(directory.path(), address, &["--config", "sidegate.toml"]);
        Self { program, address, app, whole: Arc::default(), _directory: directory }
    }

    /// What it has now (RSS), in KiB.
    fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that it ever had, in KiB.
    pub(super) fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let file = format!("/proc/{}/status", self.program.id());
        let text = std::fs::read_to_string(file).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }

    /// What it has once that has not changed for a second.
    fn settled(&self) -> u64 {
        let (mut last, mut same) = (self.resident(), 0);
        while same < 10 {
            thread::sleep(Duration::from_millis(100));
            let now = self.resident();
            same = if now == last { same + 1 } else { 0 };
            last = now;
        }
        last
    }

    fn request(&self, path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address)
    }

    /// Somebody who asks for 8 MiB and takes of it what fits into the smallest buffer there is; short segments keep that
    /// of the other side small too.
    fn stuck(&self) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a size");
        socket.set_tcp_mss(536).expect("a size");
        socket.connect(&self.address.into()).expect("a connection");
        let mut stream = TcpStream::from(socket);
        stream.write_all(self.request("/open/large").as_bytes()).expect("it is sent");
        stream
    }

    /// Somebody who has been answered and stays.
    fn idle(&self) -> Raw {
        let mut raw = Raw::connect(self.address);
        assert_eq!(raw.send(self.request("/open/x")).answer().status, 200);
        raw
    }
}

#[test]
fn r_04_and_dos_2_clients_that_never_read_cost_no_more_than_100_kib_each() {
    const READERS: u64 = 400;
    many_files();
    let site = Measured::start("[limits]\nbody_idle = \"10m\"\n");
    let warm: Vec<_> = (0..20).map(|_| site.stuck()).collect();
    let before = site.settled();
    let held: Vec<_> = (0..READERS).map(|_| site.stuck()).collect();
    let each = site.settled().saturating_sub(before) / READERS;
    eventually("all have asked", || site.app.arrived().len() == warm.len() + held.len());
    assert!(each <= 100, "{each} KiB each");
    let whole = site.whole.load(Ordering::SeqCst);
    assert!(whole < held.len() / 4, "the app is read on: it got rid of {whole} answers");
    assert_eq!(site.idle().send(site.request("/open/x")).answer().text(), "hello", "others are served");
}

#[test]
fn r_04_streams_that_are_never_read_cost_no_more_than_32_kib_each() {
    const CLIENTS: u64 = 4;
    const STREAMS: u32 = 128;
    many_files();
    let site = Measured::start("[limits]\nbody_idle = \"10m\"\n");
    let host = site.address.to_string();
    let stuck = || {
        let mut client = Bare::connects(site.address, &host, 0);
        (0..STREAMS).for_each(|number| client.asks(2 * number + 1, "/open/large"));
        client
    };
    let warm = stuck();
    let before = site.settled();
    let held: Vec<_> = (0..CLIENTS).map(|_| stuck()).collect();
    let each = site.settled().saturating_sub(before) / CLIENTS / u64::from(STREAMS);
    eventually("all have asked", || site.app.arrived().len() as u64 == (CLIENTS + 1) * u64::from(STREAMS));
    assert!(each <= 32, "{each} KiB each");
    drop((warm, held));
}

#[test]
fn r_04_streams_of_http2_to_the_app_that_are_never_read_cost_no_more_than_64_kib_each() {
    const CLIENTS: u64 = 4;
    const STREAMS: u32 = 128;
    let site = Measured::before_nginx("[limits]\nbody_idle = \"10m\"\n");
    let host = site.address.to_string();
    let stuck = || {
        let mut client = Bare::connects(site.address, &host, 0);
        (0..STREAMS).for_each(|number| client.asks(2 * number + 1, "/open/large"));
        assert!(client.is_answered(2 * STREAMS - 1));
        client
    };
    let warm = stuck();
    let before = site.settled();
    let held: Vec<_> = (0..CLIENTS).map(|_| stuck()).collect();
    let each = site.settled().saturating_sub(before) / CLIENTS / u64::from(STREAMS);
    assert!(each <= 64, "{each} KiB each");
    drop((warm, held));
}

#[test]
fn r_06_idle_clients_cost_no_more_than_20_kib_each() {
    const CLIENTS: u64 = 2000;
    many_files();
    let site = Measured::start("[limits]\nkeep_alive = \"10m\"\n");
    let warm: Vec<_> = (0..100).map(|_| site.idle()).collect();
    let before = site.settled();
    let mut held: Vec<_> = (0..CLIENTS).map(|_| site.idle()).collect();
    let each = site.settled().saturating_sub(before) * 1024 / CLIENTS;
    assert!(each <= 20 * 1024, "{each} bytes each");
    // All of them are still there.
    assert_eq!(warm.len(), 100);
    for raw in &mut held {
        assert_eq!(raw.send(site.request("/open/x")).answer().status, 200);
    }
}

#[test]
fn dos_2_what_an_app_says_by_http2_to_nobody_is_not_kept() {
    const HEADERS: u8 = 1;
    const CANCEL: u32 = 8;
    // `:status: 103` without compression (RFC 7541 §6.2.2), and pieces as small as can be.
    let hints = |of| frame(HEADERS, 4, of, b"\x08\x03103").repeat(200_000);
    let pieces = move |of| [frame(HEADERS, 4, of, &[0x88]), frame(0, 0, of, b"x").repeat(30_000)].concat();
    let (told, came) = channel();
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let app = frames(move |_, stream, (kind, _, of, _)| {
        if kind != HEADERS {
            return true;
        }
        let _ = told.send(of);
        let said = match of {
            3 => hints(of),
            5 | 7 => {
                let _ = may_go.lock().expect("no panic").recv_timeout(PATIENCE);
                if of == 5 { hints(of) } else { pieces(of) }
            }
            _ => answered(of),
        };
        stream.write_all(&said).is_ok()
    });
    let upstream = format!("url = \"http://{}\"\nprotocol = \"h2c\"", app.address);
    let site = Measured::before(app, &upstream, "");
    let mut client = Bare::connects(site.address, &site.address.to_string(), 65_535);
    let mut next = 1;
    let mut ask = |client: &mut Bare, path: &str| {
        client.asks(next, path);
        assert_eq!(came.recv_timeout(PATIENCE), Ok(next), "all that it has said was taken");
        next += 2;
        next - 2
    };
    ask(&mut client, "/open/x");
    let before = site.peak();
    ask(&mut client, "/open/too-many-hints");
    for path in ["/open/hints-for-nobody", "/open/pieces-for-nobody"] {
        let stream = ask(&mut client, path);
        client.resets(stream, CANCEL);
        client.is_read();
        go.send(()).expect("the app waits");
    }
    let last = ask(&mut client, "/open/x");
    assert_eq!(client.hears(last), End::Whole(0));
    let more = site.peak() - before;
    assert!(more < 8 * 1024, "{more} KiB more");
}
