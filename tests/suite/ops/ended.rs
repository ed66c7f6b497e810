//! Answers that did not end well, in the access log and in the counts: who broke them off.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use serde_json::json;

use super::{Program, number, signed_in};
use crate::jobs::eventually;
use crate::support::app2::App2;
use crate::support::bare::{Bare, End};
use crate::support::h2::{frame, get as get_block};
use crate::support::raw::Raw;
use crate::support::upstream::{Arrived, Upstream, ok, switch};

const OPEN: &str = "[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n";

const HANDSHAKE: &str = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Waits until the other side has gone.
fn wait(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0]);
}

/// An app whose answers end as their path says.
fn app() -> Upstream {
    Upstream::with(|arrived: &Arrived, stream| {
        let path = arrived.line.split(' ').nth(1).unwrap_or_default();
        let says = |stream: &mut TcpStream, text: &str| {
            let _ = stream.write_all(text.as_bytes());
        };
        match path.rsplit('/').next().unwrap_or_default() {
            "slow" => wait(stream),
            "stream" => {
                says(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
                wait(stream);
            }
            "length" => {
                says(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
                let _ = stream.write_all(&[b'x'; 5000]);
                let _ = stream.shutdown(Shutdown::Both);
            }
            "chunks" => {
                says(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
                let _ = stream.shutdown(Shutdown::Both);
            }
            "garbage" => {
                says(
                    stream,
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nno chunk\r\n",
                );
                wait(stream);
            }
            "pause" => {
                says(stream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
                wait(stream);
            }
            "socket" => {
                says(stream, &(switch(arrived) + "\u{1}\u{5}hello"));
                wait(stream);
            }
            _ => says(stream, &ok("hello")),
        }
    })
}

fn get(program: &Program, path: &str, fields: &str) -> Raw {
    let mut raw = Raw::connect(program.address);
    raw.send(format!("GET /open/{path} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", program.address));
    raw
}

/// The line of the request for this path, once it is there.
fn line(program: &Program, path: &str) -> String {
    let find =
        || program.lines().into_iter().find(|line| line.contains("INFO access") && line.contains(path));
    eventually("the line is written", || find().is_some());
    find().expect("it is there")
}

#[test]
fn what_is_cut_at_the_end_of_the_drain_time_has_its_lines_and_streams_are_reset() {
    let app = app();
    let mut program = Program::start(app.address, &format!("{OPEN}[limits]\ndrain = \"300ms\"\n"));
    let mut slow = get(&program, "slow", "");
    let mut stream = get(&program, "stream", "");
    assert_eq!(stream.head().expect("an answer").status, 200);
    let mut socket = get(&program, "socket", HANDSHAKE);
    assert_eq!(socket.head().expect("an answer").status, 101);
    let host = program.address.to_string();
    let mut first = Bare::connects(program.address, &host, 65_535);
    first.asks(1, "/open/two/slow");
    let mut second = Bare::connects(program.address, &host, 65_535);
    second.asks(1, "/open/two/stream");
    assert!(second.is_answered(1));
    // Nothing that the ticker would wake waits for the rest of this one.
    let mut ours = Bare::connects(program.address, &host, 65_535);
    ours.sends(&frame(1, 4, 1, &get_block(&host, "/auth/sign-in")));
    ours.is_read();
    eventually("all are asked", || app.arrived().len() == 5);
    program.signal("-TERM");
    for client in [&mut first, &mut second, &mut ours] {
        assert_eq!(client.hears(1), End::Reset(2));
    }
    assert!(slow.is_closed() && stream.rest().is_ok() && socket.rest().is_ok());
    assert_eq!(program.exit_code(), Some(0));
    for (path, says) in [
        ("path=/open/slow http=1.1", "decision=abandoned"),
        ("path=/open/stream http=1.1", "rule=1 status=200 decision=forwarded bytes=5"),
        ("path=/open/socket http=1.1", "rule=1 status=101 decision=forwarded bytes=7"),
        ("path=/open/two/slow http=2", "decision=abandoned"),
        ("path=/open/two/stream http=2", "rule=1 status=200 decision=forwarded bytes=5"),
    ] {
        let line = line(&program, path);
        assert!(line.contains(says) && line.ends_with(" ended=drain"), "{line}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_told_from_one_that_does_not() {
    let app = app();
    let program = Program::start(app.address, OPEN);
    program.edit("[upstream]", "[upstream]\nidle_timeout = \"300ms\"");
    program.reload();
    for http in ["1.1", "2"] {
        for path in ["length", "chunks", "garbage", "pause", "well"] {
            if http == "2" {
                let mut client = Bare::connects(program.address, &program.address.to_string(), 65_535);
                client.asks(1, &format!("/open/2/{path}"));
                let ended = client.hears(1);
                assert_eq!(ended == End::Whole(5), path == "well", "{path}: {ended:?}");
            } else {
                let _ = get(&program, &format!("1.1/{path}"), "Connection: close\r\n").rest();
            }
            let line = line(&program, &format!("path=/open/{http}/{path} "));
            let ended = line.split_once(" ended=").map(|(_, ended)| ended);
            let expected = match path {
                "well" => None,
                "pause" => Some("idle"),
                _ => Some("app"),
            };
            assert_eq!(ended, expected, "{line}");
        }
    }
    let text = program.told("/metrics").text();
    let count = |kind: &str| number(&text, &format!("sidegate_upstream_errors_total{{kind=\"{kind}\"}}"));
    assert_eq!((count("broken_off"), count("idle_timeout")), (6, 2), "{text}");
}

#[test]
fn who_leaves_midway_and_whose_session_ends_is_told_too() {
    let app = app();
    let program = Program::start(app.address, OPEN);
    drop(get(&program, "slow", ""));
    let mut left = get(&program, "stream", "");
    assert_eq!(left.head().expect("an answer").status, 200);
    drop(left);
    let mut left = get(&program, "socket", HANDSHAKE);
    assert_eq!(left.exactly(7).map(|_| ()).ok(), Some(()));
    drop(left);
    for (path, says) in [("slow", "decision=abandoned"), ("stream", "status=200 decision=forwarded")] {
        let line = line(&program, &format!("path=/open/{path} "));
        assert!(line.contains(says) && line.ends_with(" ended=client"), "{line}");
    }
    // Both sides of it are done.
    let closed = line(&program, "path=/open/socket ");
    assert!(closed.contains("bytes=7 "), "{closed}");
    let (mut ada, id) = signed_in(&program);
    let mut raw = Raw::connect(program.address);
    raw.send(ada.ask("GET", &format!("/api/{id}/stream")).bytes());
    assert_eq!(raw.head().expect("an answer").status, 200);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(ada.post("/auth/revoke-sessions", &json!({})).status, 200);
    let cut = line(&program, &format!("path=/api/{id}/stream "));
    assert!(cut.ends_with(" ended=session"), "{cut}");
    let text = program.told("/metrics").text();
    assert_eq!(number(&text, "sidegate_upstream_errors_total{kind=\"broken_off\"}"), 0);
}

#[test]
fn an_app_that_resets_a_stream_breaks_its_answer_off() {
    let app = App2::with(h2::server::Builder::new(), |mut call| async move {
        let mut stream = call.begin("text/plain");
        let _ = stream.send_data("hello".into(), false);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        stream.send_reset(h2::Reason::INTERNAL_ERROR);
    });
    let program = Program::start(app.address, OPEN);
    program.edit("[upstream]", "[upstream]\nprotocol = \"h2c\"");
    program.reload();
    let _ = get(&program, "x", "Connection: close\r\n").rest();
    let line = line(&program, "path=/open/x ");
    assert!(line.contains(" bytes=5 ") && line.ends_with(" ended=app"), "{line}");
}
