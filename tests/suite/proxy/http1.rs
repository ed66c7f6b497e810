//! HTTP/1.1 with clients: which messages a connection carries, in which order, and how each of them ends.

use std::io::Write as _;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use http_body_util::Full;

use crate::support::h2::H2;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok, switch};

/// An app that answers with the target it was asked for.
fn parrot() -> Upstream {
    Upstream::with(|arrived, stream| {
        let target = arrived.line.split(' ').nth(1).unwrap_or_default();
        let _ = stream.write_all(ok(target).as_bytes());
    })
}

#[test]
fn pipelined_requests_are_answered_each_with_its_own_answer_and_in_their_order() {
    let stage = Stage::on(Stage::plan().upstream(parrot()));
    let wire: String = (0..100)
        .map(|number| match number % 4 {
            0 => stage.signed("POST /auth/nothing HTTP/1.1", "Content-Length: 3\r\n") + "abc",
            1 => {
                stage.signed(&format!("POST /{number} HTTP/1.1"), "Transfer-Encoding: chunked\r\n")
                    + "3\r\nabc\r\n0\r\n\r\n"
            }
            2 => stage.signed(&format!("GET /{number} HTTP/1.1"), ""),
            _ => stage.strange("GET /auth/ok HTTP/1.1", ""),
        })
        .collect();
    for piece in [wire.len(), 4096, 1000] {
        let mut raw = stage.connect();
        let mut writer = raw.try_clone();
        thread::scope(|scope| {
            scope.spawn(|| {
                for bytes in wire.as_bytes().chunks(piece) {
                    writer.send(bytes);
                }
            });
            for number in 0..100 {
                let answer = raw.answer();
                match number % 4 {
                    0 => assert_eq!(answer.status, 404),
                    3 => assert_eq!(answer.text(), "{\"ok\":true}"),
                    _ => assert_eq!(answer.text(), format!("/{number}")),
                }
            }
        });
    }
}

#[test]
fn heads_and_bodies_that_come_byte_by_byte_are_the_same_heads_and_bodies() {
    let stage = Stage::new();
    let chunked = "Transfer-Encoding: chunked\r\nTE: trailers\r\n";
    let wire = [
        stage.signed("GET /1 HTTP/1.1", "X-A: b\r\n"),
        stage.signed("POST /2 HTTP/1.1", chunked) + "2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n",
        stage.signed("POST /3 HTTP/1.1", "Content-Length: 5\r\n") + "hello",
    ]
    .concat();
    let mut raw = stage.connect();
    for byte in wire.as_bytes().chunks(1) {
        raw.send(byte);
    }
    for _ in 0..3 {
        assert_eq!(raw.answer().status, 200);
    }
    let arrived = stage.site.upstream.arrived();
    assert_eq!(arrived[0].header("x-a"), Some("b"));
    let body = String::from_utf8_lossy(&arrived[1].body).into_owned();
    // Chunks may be cut anew, never mixed up.
    let data: String = body.split("\r\n").filter(|line| line.bytes().any(|b| b"helo".contains(&b))).collect();
    assert!(data.replace(|c: char| c.is_ascii_digit(), "").starts_with("hello"), "{body}");
    assert!(body.ends_with("0\r\nx-sum: 1\r\n\r\n"), "{body}");
    assert_eq!(arrived[2].body, b"hello");
}

#[test]
fn an_older_client_is_answered_in_its_own_way() {
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let stage = Stage::on(Stage::plan().upstream(Upstream::answering(chunks)));
    let mut raw = stage.connect();
    let answer = raw.send(stage.signed("GET /x HTTP/1.0", "Connection: keep-alive\r\n")).answer();
    assert_eq!((answer.text().as_str(), answer.header("transfer-encoding")), ("hello", None));
    assert!(raw.is_closed(), "the end of the connection is the end of the body");

    let stage = Stage::new();
    let mut raw = stage.connect();
    for _ in 0..2 {
        let answer = raw.send(stage.signed("GET /x HTTP/1.0", "Connection: keep-alive\r\n")).answer();
        assert_eq!((answer.text().as_str(), answer.header("connection")), ("hello", Some("keep-alive")));
    }
    let answer = raw.send(stage.signed("GET /x HTTP/1.0", "")).answer();
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("hello", Some("close")));
    assert!(raw.is_closed());
    // It may not know what an interim answer is (RFC 9110 §15.2).
    let fields = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /x HTTP/1.0", fields)).send("hello");
    assert_eq!(raw.head().expect("an answer").status, 200);
}

#[test]
fn f_23_an_answer_without_a_length_that_breaks_off_resets_the_connection_of_an_older_client() {
    let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let upstream = Upstream::with(move |_, stream| {
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Both);
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /x HTTP/1.0", ""));
    let ended = raw.try_answer(false).expect_err("it must not look whole");
    assert_eq!(ended.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn an_answer_that_breaks_off_at_once_has_its_head_all_the_same() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let upstream = Upstream::with(move |_, stream| {
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.shutdown(Shutdown::Both);
        });
        let stage = Stage::on(Stage::plan().upstream(upstream));
        for _ in 0..5 {
            // On a connection that was used before: one that ends without a byte would have the client ask again.
            let mut raw = stage.connect();
            assert_eq!(raw.send(stage.strange("GET /auth/ok HTTP/1.1", "")).answer().status, 200);
            raw.send(stage.signed("POST /x HTTP/1.1", "Content-Length: 0\r\n"));
            assert_eq!(raw.head().expect("a head").status, 200);
            assert!(raw.is_closed(), "and no more than that");
        }
    }
}

#[test]
fn f_21_an_answer_to_head_has_the_length_and_not_the_body_whoever_answers() {
    let stage = Stage::new();
    let mut raw = stage.connect();
    for request in [
        stage.signed("HEAD /x HTTP/1.1", ""),
        stage.strange("HEAD /x HTTP/1.1", ""),
        stage.signed("HEAD /auth/nothing HTTP/1.1", ""),
        stage.strange("HEAD /auth/ok HTTP/1.1", ""),
    ] {
        let answer = raw.send(&request).answer_to_head();
        let length: usize = answer.header("content-length").and_then(|l| l.parse().ok()).expect("a length");
        assert!(length > 0, "{request}");
    }
    assert_eq!(raw.send(stage.signed("GET /x HTTP/1.1", "")).answer().text(), "hello");
}

#[test]
fn every_answer_is_dated_and_an_apps_own_date_stays() {
    let stage = Stage::new();
    for request in [stage.signed("GET /x HTTP/1.1", ""), stage.strange("GET /x HTTP/1.1", "")] {
        let answer = stage.ask(request);
        let date = answer.all("date");
        assert!(date.len() == 1 && date[0].ends_with(" GMT") && date[0].len() == 29, "{date:?}");
    }
    let own = ok("x").replace("\r\n\r\n", "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
    let stage = Stage::on(Stage::plan().upstream(Upstream::answering(own)));
    assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).all("date"), ["Sun, 06 Nov 1994 08:49:37 GMT"]);
}

#[test]
fn f_18_an_invitation_is_not_sent_to_who_did_not_wait_for_it() {
    let stage = Stage::new();
    let fields = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    let mut raw = stage.connect();
    raw.send(format!("{}hello", stage.signed("POST /x HTTP/1.1", fields)));
    assert_eq!(raw.head().expect("an answer").status, 200, "and no interim one before it");
    // Nothing follows the head, so there is nothing to invite.
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /x HTTP/1.1", "Expect: 100-continue\r\n"));
    assert_eq!(raw.head().expect("an answer").status, 200);
    // An endpoint of ours wants its body too.
    let origin = format!("Origin: {}\r\nContent-Type: application/json\r\n{fields}", stage.site.origin);
    let mut raw = stage.connect();
    raw.send(stage.strange("POST /auth/sign-in/email HTTP/1.1", &origin));
    assert_eq!(raw.head().expect("an invitation").status, 100);
    assert_eq!(raw.send("{\"a\"}").answer().status, 400);
}

#[test]
fn a_client_that_has_been_answered_for_the_last_time_can_read_it_however_much_it_still_sends() {
    let stage = Stage::new();
    for line in ["GET /x#y HTTP/1.1", "GET /x HTTP/1.1\nX: y"] {
        let mut raw = stage.connect();
        let mut writer = raw.try_clone();
        thread::scope(|scope| {
            let bytes = format!("{}{}", stage.signed(line, ""), "x".repeat(1_000_000));
            scope.spawn(move || {
                writer.send(bytes);
            });
            assert_eq!(raw.answer().status, 400);
            assert!(raw.is_closed());
        });
    }
}

#[test]
fn r_2_a_chunked_body_may_be_slow_but_not_silent() {
    let stage = Stage::on(Stage::plan().set("limits", "body_idle = \"1500ms\""));
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /x HTTP/1.1", "Transfer-Encoding: chunked\r\n"));
    for byte in b"5\r\nhello\r\n0\r\n\r\n" {
        raw.send([*byte]);
        thread::sleep(Duration::from_millis(150));
    }
    assert_eq!(raw.answer().status, 200);
    assert_eq!(stage.site.upstream.only().body.last(), Some(&b'\n'));
}

#[test]
fn rfc_9110_8_6_an_answer_that_can_have_no_body_has_no_length() {
    let app = Upstream::answering("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n");
    let stage = Stage::on(Stage::plan().upstream(app));
    let answer = stage.ask(stage.signed("GET /x HTTP/1.1", ""));
    assert_eq!((answer.status, answer.header("content-length")), (204, None));
    let request = http::Request::get(format!("{}/x", stage.site.origin)).header("cookie", &stage.cookie);
    let answer = H2::connect(stage.site.address).ask(request.body(Full::default()).expect("a request"));
    assert_eq!((answer.status, answer.headers.get("content-length")), (204, None));
    let app = Upstream::with(|arrived, stream| {
        let head = switch(arrived).replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
    });
    let stage = Stage::on(Stage::plan().upstream(app));
    let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let head = stage.connect().send(stage.signed("GET /ws HTTP/1.1", fields)).head().expect("a head");
    assert_eq!((head.status, head.header("content-length")), (101, None));
}
