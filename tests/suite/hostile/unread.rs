//! Bodies that nobody wants, expects or has been asked for: none of their bytes are ever taken for a request (RFC 9112
//! §6.3, §9.3; RFC 9110 §10.1.1).

use std::io::{Read as _, Write as _};

use crate::support::stage::Stage;
use crate::support::upstream::Upstream;

fn post(stage: &Stage, fields: &str, body: &str) -> String {
    format!("{}{body}", stage.signed("POST /x HTTP/1.1", fields))
}

#[test]
fn f_14_and_smug_3_nothing_in_the_body_of_a_refused_request_is_a_request() {
    let stage = Stage::on(Stage::plan().rule("/no/**", "deny"));
    let hidden = stage.signed("GET /hidden HTTP/1.1", "");
    let navigates = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\n";
    for (line, more, status) in [
        ("POST /x HTTP/1.1", "", 401),
        ("HEAD /x HTTP/1.1", "", 401),
        ("POST /no/x HTTP/1.1", "", 403),
        ("POST /auth/nothing HTTP/1.1", "", 404),
        ("POST /auth/me HTTP/1.1", "", 405),
        ("DELETE /auth/ok HTTP/1.1", "", 405),
        // Led to the sign-in page.
        ("GET /x HTTP/1.1", navigates, 302),
        ("HEAD /x HTTP/1.1", navigates, 302),
        ("POST /x HTTP/1.1", navigates, 303),
        ("GET /auth/sign-out HTTP/1.1", navigates, 302),
    ] {
        for fields in
            [format!("Content-Length: {}\r\n", hidden.len()), "Transfer-Encoding: chunked\r\n".to_owned()]
        {
            let body = if fields.starts_with('C') {
                hidden.clone()
            } else {
                format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len())
            };
            let mut raw = stage.connect();
            raw.send(format!("{}{body}", stage.strange(line, &format!("{more}{fields}"))));
            let answer = raw.try_answer(line.starts_with("HEAD")).expect("an answer");
            assert_eq!(answer.status, status, "{line}");
            raw.send(stage.strange("GET /auth/ok HTTP/1.1", "Connection: close\r\n"));
            assert_eq!(raw.answer().text(), "{\"ok\":true}", "{line}");
            assert!(raw.is_closed());
            assert!(stage.site.upstream.arrived().is_empty(), "{line}");
        }
    }
}

#[test]
fn f_14_and_smug_3_a_body_too_large_to_read_away_ends_the_connection_and_the_answer_still_arrives() {
    let stage = Stage::new();
    for size in [100_000, 1_000_000] {
        let mut raw = stage.connect();
        raw.send(stage.strange("POST /x HTTP/1.1", &format!("Content-Length: {size}\r\n")));
        // A reset while it is sent could take the answer away.
        for _ in 0..size / 50_000 {
            assert!(raw.try_send("x".repeat(50_000)), "{size}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        raw.send(stage.signed("GET /hidden HTTP/1.1", ""));
        let response = raw.answer();
        assert_eq!((response.status, response.header("connection")), (401, Some("close")), "{size}");
        assert!(raw.is_closed());
        assert!(stage.site.upstream.arrived().is_empty());
    }
}

#[test]
fn f_15_and_smug_1_nothing_leaves_http_before_the_app_says_so() {
    let stage = Stage::new();
    for protocol in ["websocket", "foo"] {
        let before = stage.site.upstream.arrived().len();
        let fields = format!("Connection: Upgrade\r\nUpgrade: {protocol}\r\n");
        let first = stage.signed("GET /first HTTP/1.1", &fields);
        let second = stage.strange("GET /hidden HTTP/1.1", "X-User-Id: admin\r\n");
        let mut raw = stage.connect();
        raw.send(format!("{first}{second}"));
        assert_eq!((raw.answer().status, raw.answer().status), (200, 401), "{protocol}");
        let arrived = &stage.site.upstream.arrived()[before..];
        assert_eq!(arrived.len(), 1, "{arrived:?}");
    }
}

#[test]
fn f_16_a_handshake_has_no_body() {
    let stage = Stage::new();
    for framing in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        let fields = format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{framing}");
        stage.rejects(format!("{}hello", stage.signed("GET /x HTTP/1.1", &fields)), &[400]);
    }
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n";
    stage.arrives(stage.signed("GET /x HTTP/1.1", fields));
}

#[test]
fn f_18_an_expectation_is_met_only_for_a_request_that_is_let_through() {
    let stage = Stage::new();
    let fields = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /x HTTP/1.1", fields));
    assert_eq!(raw.head().expect("an interim answer").status, 100);
    assert_eq!(raw.send("hello").answer().status, 200);
    let arrived = stage.site.upstream.only();
    assert_eq!((arrived.header("expect"), arrived.body.as_slice()), (None, &b"hello"[..]));

    let mut raw = stage.connect();
    raw.send(stage.strange("POST /x HTTP/1.1", fields));
    let response = raw.head().expect("an answer");
    assert_eq!((response.status, response.header("connection")), (401, Some("close")), "no 100 before it");

    let mut raw = stage.connect();
    raw.send(format!(
        "{}hello{}",
        stage.signed("POST /x HTTP/1.1", fields),
        stage.signed("GET /y HTTP/1.1", "")
    ));
    assert_eq!((raw.answer().status, raw.answer().status), (200, 200));
    assert_eq!(stage.site.upstream.last().line, "GET /y HTTP/1.1");

    for expectation in ["y 100-continue", "200-ok", "100-continue, x", ""] {
        let fields = format!("Expect: {expectation}\r\nContent-Length: 0\r\n");
        stage.rejects(stage.signed("POST /x HTTP/1.1", &fields), &[417]);
    }
    let two = "Expect: y\r\nExpect: 100-continue\r\nContent-Length: 0\r\n";
    stage.rejects(stage.signed("POST /x HTTP/1.1", two), &[417]);
}

#[test]
fn a_request_that_breaks_off_is_not_completed_for_the_app() {
    let stage = Stage::new();
    for (fields, body) in [
        ("Content-Length: 10\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
        ("X: y\r\nZ", ""),
    ] {
        let mut raw = stage.connect();
        let request = post(&stage, fields, body);
        raw.send(request.trim_end_matches("\r\n\r\n")).end();
        let _ = raw.try_answer(false);
        assert!(stage.site.upstream.arrived().is_empty());
    }
    assert!(stage.site.is_well());
}

#[test]
fn an_answer_that_says_no_to_a_large_body_says_that_the_connection_ends() {
    for (status, length, last) in [
        ("413 Content Too Large", 1_000_000, true),
        ("413 Content Too Large", 1000, false),
        ("200 OK", 1_000_000, false),
    ] {
        // It answers when it has read the head.
        let app = Upstream::listening(move |mut stream| {
            let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
            while let Ok(count @ 1..) = stream.read(&mut piece) {
                let before = seen.len();
                seen.extend_from_slice(&piece[..count]);
                if before == 0 {
                    let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno");
                }
            }
        });
        let stage = Stage::on(Stage::plan().upstream(app));
        let mut raw = stage.connect();
        raw.send(stage.signed("POST /x HTTP/1.1", &format!("Content-Length: {length}\r\n")) + "begun");
        let head = raw.head().expect("an answer");
        assert_eq!(head.header("connection") == Some("close"), last, "{status}, {length}");
    }
}
