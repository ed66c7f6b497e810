//! How many connections to the app there may be where open files are few, and who makes room for whom.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use h2::server::Builder;
use tempfile::TempDir;

use crate::hostile::files::limit_files;
use crate::jobs::eventually;
use crate::serve::{self, Program};
use crate::support::app2::App2;
use crate::support::bare::Bare;
use crate::support::raw::{PATIENCE, Raw, Response};
use crate::support::upstream::{Upstream, ok};

/// Connections of clients, and as many to the app, that fit into this many open files if there is one worker.
const FILES: usize = 128;
const PLACES: usize = 40;

/// The built program with one worker, for whom everything below `/open/` is public.
struct Served {
    /// Dropped first: it holds connections to the app.
    program: Program,
    address: SocketAddr,
    _directory: TempDir,
}

impl Served {
    /// In front of `app`, with these further lines of `[upstream]`.
    fn start(app: SocketAddr, upstream: &str) -> Self {
        let (directory, address) = (TempDir::new().expect("a directory"), serve::free_port());
        serve::minimal(directory.path(), address, app, "sqlite:sidegate.db");
        let file = directory.path().join("sidegate.toml");
        let text = fs::read_to_string(&file)
            .expect("a file")
            .replace("[listen]\n", "[listen]\nworkers = 1\n")
            .replace("[upstream]\n", &format!("[upstream]\nkeep_alive = \"5m\"\nmax_idle = 100\n{upstream}"));
        let rule = "[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n";
        fs::write(&file, format!("{text}{rule}")).expect("a file");
        let script = format!("ulimit -n {FILES}; exec \"$0\" \"$@\"");
        let program = serve::serve_with(&script, directory.path(), address);
        Self { program, address, _directory: directory }
    }

    /// A connection on which this was asked.
    fn asks(&self, path: &str) -> Raw {
        let mut raw = Raw::connect(self.address);
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address));
        raw
    }

    fn get(&self, path: &str) -> Response {
        self.asks(path).answer()
    }
}

/// An app that says its name, and answers nobody until it may.
struct Gathering {
    app: Upstream,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    waits: Mutex<bool>,
    may_go: Condvar,
    /// Requests that have come, but for those that ask how it is.
    came: AtomicUsize,
    ill: AtomicBool,
    /// Connections that have ended, but for those that asked how it is.
    ended: AtomicUsize,
}

impl Gathering {
    fn start(name: &'static str) -> Self {
        let state = Arc::<State>::default();
        let own = Arc::clone(&state);
        Self { app: Upstream::listening(move |stream| own.serve(name, &stream)), state }
    }

    fn waits(&self, waits: bool) {
        *self.state.waits.lock().expect("no panic") = waits;
        self.state.may_go.notify_all();
    }

    fn came(&self) -> usize {
        self.state.came.load(Ordering::SeqCst)
    }
}

impl State {
    fn serve(&self, name: &str, stream: &TcpStream) {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        while let Some(line) = lines.next() {
            lines.by_ref().find(String::is_empty);
            let mut answer = ok(name);
            if line.contains("/healthz") {
                let says = if self.ill.load(Ordering::SeqCst) { "500 No" } else { "200 OK" };
                answer = answer.replace("200 OK", says);
                let _ = (&*stream).write_all(answer.as_bytes());
                return;
            }
            self.came.fetch_add(1, Ordering::SeqCst);
            let waits = self.waits.lock().expect("no panic");
            drop(self.may_go.wait_timeout_while(waits, PATIENCE, |waits| *waits).expect("no panic"));
            let _ = (&*stream).write_all(answer.as_bytes());
        }
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn r_5_what_is_idle_makes_room_and_little_is_kept_idle_where_most_places_are_taken() {
    let (one, other) = (Gathering::start("one"), Gathering::start("other"));
    let health = "path = \"/healthz\"\ninterval = \"100ms\"\nhealthy = 1\nunhealthy = 1";
    let more =
        format!("more = [\"http://{}\"]\nhealth = {{ {} }}\n", other.app.address, health.replace('\n', ", "));
    let site = Served::start(one.app.address, &more);
    // All of them under way at a time, each begun when the one before has come.
    let together = |count: usize| -> Vec<String> {
        one.waits(true);
        other.waits(true);
        let before = one.came() + other.came();
        let begin = |number: usize| {
            let raw = site.asks("/open/x");
            eventually("it comes", || one.came() + other.came() == before + number + 1);
            raw
        };
        let mut asking: Vec<Raw> = (0..count).map(begin).collect();
        one.waits(false);
        other.waits(false);
        asking.iter_mut().map(|raw| raw.answer().text()).collect()
    };
    let half = PLACES / 4;
    assert_eq!(together(2 * half).iter().filter(|who| *who == "one").count(), half);
    // What is idle at an instance that nobody is sent to any more takes the places of what the other needs.
    other.state.ill.store(true, Ordering::SeqCst);
    eventually("nobody is sent there", || (0..10).all(|_| site.get("/open/x").text() == "one"));
    let most = PLACES - half / 2;
    assert!(together(most).iter().all(|who| who == "one"));
    eventually("it made room", || other.state.ended.load(Ordering::SeqCst) == half);
    let kept = PLACES / 4 * 3;
    eventually("the others are closed", || one.state.ended.load(Ordering::SeqCst) >= most - kept);
    assert_eq!(site.get("/open/x").text(), "one");
}

fn lowest_free_file(program: &Program) -> usize {
    let is_open =
        |number: &usize| fs::exists(format!("/proc/{}/fd/{number}", program.id())).expect("it runs");
    (0..FILES).find(|number| !is_open(number)).expect("one is free")
}

#[test]
fn r_5_what_is_idle_to_the_app_makes_room_for_a_client() {
    let (one, two) = (Upstream::hello(), App2::hello());
    for (app, protocol) in [(one.address, "http1"), (two.address, "h2c")] {
        let site = Served::start(app, &format!("protocol = \"{protocol}\"\n"));
        let mut held = site.asks("/open/x");
        assert_eq!(held.answer().text(), "hello");
        // Others take what is free below the connection to the app; then there is nothing left.
        let others = [(); 5].map(|()| site.asks("/auth/ok"));
        let others = others.map(|mut raw| (raw.answer().status, raw));
        assert!(others.iter().all(|(status, _)| *status == 200));
        limit_files(&site.program, &format!("{}:", lowest_free_file(&site.program)));
        assert_eq!(site.get("/auth/ok").status, 200, "{protocol}");
    }
}

#[test]
fn r_5_an_app_by_http_2_is_not_blamed_for_places_that_are_taken() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let mut builder = Builder::new();
    builder.max_concurrent_streams(1);
    let app = App2::with(builder, move |call| {
        let mut wait = wait.clone();
        async move {
            let _ = wait.wait_for(|go| *go).await;
            call.say("hello");
        }
    });
    let site = Served::start(app.address, "protocol = \"h2c\"\n");
    let mut client = Bare::connects(site.address, &site.address.to_string(), 65_535);
    for n in 0..PLACES {
        client.asks(2 * u32::try_from(n).expect("few") + 1, "/open/x");
        eventually("the app is asked", || app.arrived().len() == n + 1);
    }
    assert_eq!(app.connections(), PLACES);
    for _ in 0..2 {
        let refused = site.get("/open/y");
        assert_eq!((refused.status, refused.code().as_str()), (503, "OVERLOADED"));
        assert!(refused.header("retry-after").is_some());
    }
    go.send(true).expect("they wait");
    eventually("there is room again", || site.get("/open/y").status == 200);
}

#[test]
fn r_5_an_instance_is_not_called_ill_because_there_is_no_file_to_ask_it() {
    let app = Gathering::start("one");
    let health = "health = { path = \"/healthz\", interval = \"100ms\", healthy = 1, unhealthy = 1 }\n";
    let site = Served::start(app.app.address, health);
    let mut held = site.asks("/open/x");
    assert_eq!(held.answer().text(), "one");
    limit_files(&site.program, "10:");
    eventually("nobody asks it any more", || {
        let before = app.app.connections();
        thread::sleep(Duration::from_millis(400));
        app.app.connections() == before
    });
    held.send(format!("GET /open/x HTTP/1.1\r\nHost: {}\r\n\r\n", site.address));
    assert_eq!(held.answer().text(), "one");
}
