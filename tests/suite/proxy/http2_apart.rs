//! What one client's request makes the app do to its connection by HTTP/2 costs no other that would share it: requests
//! that are larger than apps allow, or end a connection for another reason.

use std::fs;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use h2::server::Builder;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use hyper::body::Frame;
use tokio::sync::Semaphore;

use crate::jobs::eventually;
use crate::serve::free_port;
use crate::support::app2::App2;
use crate::support::h2::{H2, answered, frames, frames_after};
use crate::support::program::Program;
use crate::support::raw::PATIENCE;
use crate::support::stage::Stage;
use crate::support::upstream::Upstream;

const HEADERS: u8 = 1;

pub(super) fn before(lines: &str) -> Stage {
    let limits = "uncounted = []";
    Stage::on(Stage::plan().rule("/open/**", "public").set("upstream", lines).set("limits", limits))
}

pub(super) fn by_frames(app: Upstream) -> Stage {
    let plan = Stage::plan().rule("/open/**", "public").upstream(app);
    Stage::on(plan.set("upstream", "protocol = \"h2c\""))
}

/// A request that is not sent again.
pub(super) fn post(stage: &Stage, path: &str) -> String {
    let fields = format!("Origin: {}\r\nContent-Length: 2\r\n", stage.site.origin);
    stage.strange(&format!("POST {path} HTTP/1.1"), &fields) + "hi"
}

/// Waits until something was seen by the app.
pub(super) fn seen<T>(of: &Receiver<T>) -> T {
    of.recv_timeout(PATIENCE).expect("the app sees it")
}

/// The head of a request with a field that is larger than nginx takes.
fn large(stage: &Stage) -> String {
    stage.strange("GET /open/x HTTP/1.1", &format!("X-A: {}\r\n", "a".repeat(20_000)))
}

#[test]
fn dos_3_a_head_that_is_too_large_for_the_app_ends_nobody_elses_answer() {
    const SIZE: usize = 1_500_000;
    let files = tempfile::tempdir().expect("a directory");
    fs::create_dir(files.path().join("open")).expect("a directory");
    fs::write(files.path().join("open/big"), vec![b'x'; SIZE]).expect("a file");
    let address = free_port();
    let server = format!(
        "server {{ listen {address} http2; root {};\n\
         location = /open/big {{ limit_rate 512k; }}\nlocation / {{ return 200 hello; }} }}",
        files.path().display()
    );
    let _nginx = Program::nginx(address, &server);
    let stage = before(&format!("url = \"http://{address}\"\nprotocol = \"h2c\""));
    let hello = || stage.ask(stage.strange("GET /open/x HTTP/1.1", "")).text();
    assert_eq!(hello(), "hello");
    let mut victim = stage.connect();
    victim.send(stage.strange("GET /open/big HTTP/1.1", "Connection: close\r\n"));
    assert_eq!(victim.head().expect("a head").status, 200);
    for _ in 0..3 {
        assert_eq!(stage.ask(large(&stage)).status, 502);
        assert_eq!(hello(), "hello");
    }
    assert_eq!(victim.rest().expect("all of it").len(), SIZE);
}

#[test]
fn dos_3_trailers_that_are_too_large_for_apps_do_not_reach_one() {
    let app = App2::with(Builder::new(), |mut call| async move {
        call.collect().await;
        call.say("hello");
    });
    let stage = before(&app.toml());
    for (length, status) in [(8000, 200), (9000, 400)] {
        let fields = format!("Origin: {}\r\nTransfer-Encoding: chunked\r\n", stage.site.origin);
        let head = stage.strange("POST /open/x HTTP/1.1", &fields);
        let body = format!("2\r\nhi\r\n0\r\nX-Sum: {}\r\n\r\n", "a".repeat(length));
        assert_eq!(stage.ask(head + &body).status, status);
        let mut client = H2::connect(stage.site.address);
        let request = Request::post(format!("{}/open/x", stage.site.origin));
        let request = request.header("origin", &stage.site.origin).body(()).expect("a request");
        let (pieces, answer) = client.stream(request);
        let sum = HeaderValue::from_str(&"a".repeat(length)).expect("a value");
        let trailers = HeaderMap::from_iter([(HeaderName::from_static("x-sum"), sum)]);
        pieces.send(Frame::trailers(trailers)).expect("it is sent");
        assert_eq!(client.block_on(answer).expect("an answer").status(), status);
    }
}

#[test]
fn dos_3_what_is_sent_again_since_its_connection_was_lost_shares_none() {
    let (told, came) = channel();
    // The first connection is lost at its second request. What is sent again waits, and whoever joins it is lost.
    let app = frames(move |number, stream, (kind, _, of, _)| {
        if kind != HEADERS {
            return true;
        }
        let _ = told.send(number);
        match (number, of) {
            (2, 1) => true,
            (1 | 2, 3..) => false,
            _ => stream.write_all(&answered(of)).is_ok(),
        }
    });
    let stage = by_frames(app);
    assert_eq!(stage.ask(stage.strange("GET /open/x HTTP/1.1", "")).status, 200);
    let mut waits = stage.connect();
    waits.send(stage.strange("GET /open/x HTTP/1.1", ""));
    assert_eq!([seen(&came), seen(&came), seen(&came)], [1, 1, 2]);
    for _ in 0..2 {
        assert_eq!(stage.ask(post(&stage, "/open/x")).status, 200);
        assert_eq!(seen(&came), 3, "others share one all the same");
    }
}

#[test]
fn dos_3_an_app_that_comes_back_is_not_met_by_a_connection_for_each_request_that_was_lost() {
    /// How many are lost, and how many of them may be made connections of their own for at a time.
    const LOST: usize = 20;
    const APART: usize = 8;
    let (told, came) = channel();
    let (go, wait) = channel::<()>();
    let (wait, seen_by_first) = (Mutex::new(wait), AtomicUsize::new(0));
    let gate = move |number| {
        if number > 1 {
            // Until there is nobody who could say more.
            let _ = wait.lock().expect("no panic").recv_timeout(PATIENCE);
        }
    };
    let app = frames_after(gate, move |number, stream, (kind, _, of, _)| {
        if kind != HEADERS {
            return true;
        }
        let _ = told.send(number);
        if number > 1 || of == 1 {
            return stream.write_all(&answered(of)).is_ok();
        }
        seen_by_first.fetch_add(1, Ordering::SeqCst) + 1 < LOST
    });
    let stage = by_frames(app);
    assert_eq!(stage.ask(stage.strange("GET /open/x HTTP/1.1", "")).status, 200);
    let mut waiting: Vec<_> = (0..LOST)
        .map(|_| {
            let mut raw = stage.connect();
            raw.send(stage.strange("GET /open/x HTTP/1.1", ""));
            raw
        })
        .collect();
    // One besides, which all others share.
    let most = 1 + APART + 1;
    eventually("they are connected again", || stage.site.upstream.connections() >= most);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(stage.site.upstream.connections(), most);
    drop(go);
    assert!(waiting.iter_mut().all(|raw| raw.answer().status == 200));
    assert_eq!(came.try_iter().filter(|&number| number > 1).count(), LOST);
}

#[test]
fn a_connection_that_is_lost_is_held_against_its_instance_once_however_many_were_on_it() {
    /// As many as the instance may fail in a row and more.
    const LOST: usize = 6;
    let count = AtomicUsize::new(0);
    let app = frames(move |number, stream, (kind, _, of, _)| {
        if kind != HEADERS {
            return true;
        }
        if number > 1 {
            return stream.write_all(&answered(of)).is_ok();
        }
        count.fetch_add(1, Ordering::SeqCst) + 1 < LOST
    });
    let go = Arc::new(Semaphore::new(0));
    let until = Arc::clone(&go);
    let other = App2::with(Builder::new(), move |call| {
        let until = Arc::clone(&until);
        async move {
            drop(until.acquire().await);
            call.say("hello");
        }
    });
    let more = format!("protocol = \"h2c\"\nmore = [\"http://{}\"]\nrest = \"50s\"", other.address);
    let plan = Stage::plan().rule("/open/**", "public").upstream(app);
    let stage = Stage::on(plan.set("upstream", &more));
    let mut waiting: Vec<_> = (0..2 * LOST)
        .map(|_| {
            let mut raw = stage.connect();
            raw.send(post(&stage, "/open/x"));
            raw
        })
        .collect();
    eventually("the other one has its half", || other.arrived().len() == LOST);
    go.add_permits(1);
    let failed = waiting.iter_mut().filter_map(|raw| (raw.answer().status == 502).then_some(())).count();
    assert_eq!(failed, LOST);
    for _ in 0..10 {
        assert_eq!(stage.ask(stage.strange("GET /open/x HTTP/1.1", "")).status, 200);
    }
    let rest = other.arrived().len() - LOST;
    assert!((3..=7).contains(&rest), "{rest} of 10: the one that lost a connection is passed over");
}
