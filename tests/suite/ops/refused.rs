//! What is seen of that which is turned away, given up or refused, in the log and in the counts.

use super::{Program, number};
use crate::jobs::eventually;
use crate::support::h2::preface;
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;

const OPEN: &str = "[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n";

fn with(limits: &str) -> (Upstream, Program) {
    let app = Upstream::hello();
    let program = Program::start(app.address, &format!("{OPEN}[limits]\n{limits}\n"));
    (app, program)
}

fn count(program: &Program, sample: &str) -> u64 {
    number(&program.told("/metrics").text(), sample)
}

/// The line of the request for this path, once it is there.
fn line(program: &Program, path: &str) -> String {
    let find = || program.lines().into_iter().find(|line| line.contains(&format!("path={path} ")));
    eventually("the line is written", || find().is_some());
    find().expect("it is there")
}

#[test]
fn a_body_that_says_that_it_is_too_large_is_refused_and_one_that_stalls_timed_out() {
    let (app, program) = with("body = \"1KiB\"\nbody_idle = \"300ms\"");
    let post = |path: &str, fields: &str| {
        let host = program.address;
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n{fields}\r\n12345");
        Raw::connect(host).send(head).answer()
    };
    let large = post("/open/large", "Content-Length: 2000\r\n");
    assert_eq!((large.status, large.code().as_str()), (413, "BODY_TOO_LARGE"));
    let said = line(&program, "/open/large");
    assert!(said.contains(" status=413 decision=refused ") && !said.contains("upstream_ms"), "{said}");
    let sample =
        "sidegate_requests_total{route=\"/open/**\",outcome=\"refused\",method=\"POST\",code=\"4xx\"}";
    assert_eq!(count(&program, sample), 1);
    for path in ["/open/stalls", "/auth/login"] {
        let stalled =
            post(path, "Content-Type: application/json\r\nSec-Fetch-Site: none\r\nContent-Length: 10\r\n");
        assert_eq!((stalled.status, stalled.code().as_str()), (408, "BODY_TIMEOUT"), "{path}");
        assert!(line(&program, path).contains(" reason=BODY_TIMEOUT "));
    }
    assert!(app.arrived().is_empty());
}

#[test]
fn a_head_that_does_not_come_to_its_end_is_counted() {
    let (_app, program) = with("head_timeout = \"300ms\"");
    let sample = "sidegate_connections_timed_out_total{awaiting=\"head\"}";
    let mut silent = Raw::connect(program.address);
    assert!(silent.is_closed());
    assert_eq!(count(&program, sample), 0, "who says nothing at all has begun nothing");
    let mut slow = Raw::connect(program.address);
    assert!(slow.send("GET /open/x HTTP/1.1\r\nHost: ").is_closed());
    eventually("it is counted", || count(&program, sample) == 1);
    let mut slow = Raw::connect(program.address);
    let hello = preface();
    assert!(slow.send(&hello[..hello.len() - 4]).rest().is_ok());
    eventually("that of HTTP/2 too", || count(&program, sample) == 2);
}

#[test]
fn it_is_said_by_which_limit_a_connection_was_refused() {
    let (_app, program) = with("connections_per_address = 2\nuncounted = []");
    // Who is answered was let in, by whichever worker.
    let _open = [(); 2].map(|()| {
        let mut raw = Raw::connect(program.address);
        let asks = format!("GET /open/x HTTP/1.1\r\nHost: {}\r\n\r\n", program.address);
        assert_eq!(raw.send(asks).answer().status, 200);
        raw
    });
    assert!(Raw::connect(program.address).is_closed());
    eventually("it is said", || program.says("has more than limits.connections_per_address"));
}

#[test]
fn a_host_that_is_none_of_ours_is_named() {
    let (_app, program) = with("");
    let ask = |path: &str, host: &str| {
        Raw::connect(program.address)
            .send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .answer()
            .status
    };
    assert_eq!(ask("/open/elsewhere", "other.example"), 421);
    assert!(line(&program, "/open/elsewhere").contains("path=/open/elsewhere host=other.example http=1.1 "));
    assert_eq!(ask("/open/here", &program.address.to_string()), 200);
    assert!(!line(&program, "/open/here").contains("host="));
}

#[test]
fn whether_the_last_reload_was_good_is_told() {
    let (app, program) = with("");
    let good = || count(&program, "sidegate_config_reload_success");
    assert_eq!(good(), 1);
    program.configure(app.address, "nonsense = 1\n");
    program.reload();
    assert_eq!(good(), 0);
    program.configure(app.address, "");
    program.reload();
    assert_eq!(good(), 1);
}
