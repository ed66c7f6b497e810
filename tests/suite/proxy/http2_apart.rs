//! What one client's request makes the app do to its connection by HTTP/2 costs no other that would share it: requests
//! that are larger than apps allow, or end a connection for another reason.

use std::fs;
use std::io::Write as _;
use std::sync::mpsc::{Receiver, channel};

use h2::server::Builder;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use hyper::body::Frame;

use crate::serve::free_port;
use crate::support::app2::App2;
use crate::support::h2::{H2, answered, frames};
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
