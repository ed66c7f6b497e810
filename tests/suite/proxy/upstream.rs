//! Connections to the app: kept, used again, given up.

use std::io::Write as _;
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::jobs::eventually;
use crate::support::raw::PATIENCE;
use crate::support::site::Plan;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

#[test]
fn one_connection_carries_many_requests_of_many_clients() {
    let stage = Stage::new();
    for _ in 0..10 {
        stage.arrives(stage.signed("GET /x HTTP/1.1", ""));
        let post = stage.signed("POST /x HTTP/1.1", "Transfer-Encoding: chunked\r\n");
        stage.arrives(format!("{post}5\r\nhello\r\n0\r\n\r\n"));
    }
    assert_eq!(stage.site.upstream.connections(), 1);
}

#[test]
fn u_9_a_close_of_the_apps_ends_the_apps_connection_and_not_the_clients() {
    for answer in [
        ok("x").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"),
        "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx".to_owned(),
    ] {
        let stage = Stage::on(Stage::plan().upstream(Upstream::answering(answer)));
        let mut raw = stage.connect();
        for count in 1..=3 {
            let response = raw.send(stage.signed("GET /x HTTP/1.1", "")).answer();
            assert_eq!((response.status, response.header("connection")), (200, None));
            assert_eq!(stage.site.upstream.connections(), count);
        }
    }
    let answer = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx";
    let stage = Stage::on(Stage::plan().upstream(Upstream::answering(answer)));
    (0..3).for_each(|_| assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 200));
    assert_eq!(stage.site.upstream.connections(), 1);
}

/// An app that answers the first request of a connection and lets the second one fall.
fn forgetful() -> Upstream {
    let seen = AtomicUsize::new(0);
    Upstream::with(move |arrived, stream| {
        let first_of_its_connection = seen.swap(arrived.connection, Ordering::SeqCst) != arrived.connection;
        if first_of_its_connection {
            let _ = stream.write_all(ok("hello").as_bytes());
        } else {
            let _ = stream.shutdown(Shutdown::Both);
        }
    })
}

#[test]
fn u_5_a_request_without_effect_is_sent_again_when_a_kept_connection_dies_under_it() {
    let stage = Stage::on(Stage::plan().upstream(forgetful()));
    for (number, method) in ["GET", "GET", "HEAD", "OPTIONS", "PUT", "DELETE"].iter().enumerate() {
        let mut raw = stage.connect();
        let fields = if *method == "PUT" { "Content-Length: 0\r\n" } else { "" };
        raw.send(stage.signed(&format!("{method} /x HTTP/1.1"), fields));
        let response = if *method == "HEAD" { raw.answer_to_head() } else { raw.answer() };
        assert_eq!(response.status, 200, "{method}");
        assert_eq!(stage.site.upstream.connections(), number + 1, "{method}");
    }
}

#[test]
fn u_5_a_request_with_an_effect_is_never_sent_twice() {
    let stage = Stage::on(Stage::plan().upstream(forgetful()));
    for (method, fields, body) in [
        ("POST", "Content-Length: 5\r\n", "hello"),
        ("POST", "Content-Length: 0\r\n", ""),
        ("PATCH", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("PUT", "Content-Length: 5\r\n", "hello"),
        ("LOCK", "", ""),
    ] {
        let request = format!("{}{body}", stage.signed(&format!("{method} /x HTTP/1.1"), fields));
        let before = stage.site.upstream.arrived().len();
        assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 200);
        assert_eq!(stage.ask(&request).status, 502, "{method}");
        assert_eq!(stage.site.upstream.arrived().len(), before + 2, "{method} was sent once");
    }
}

#[test]
fn u_5_a_fresh_connection_that_dies_is_not_tried_again() {
    let upstream = Upstream::with(|_, stream| {
        let _ = stream.shutdown(Shutdown::Both);
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 502);
    assert_eq!(stage.site.upstream.arrived().len(), 1);
}

#[test]
fn u_5_an_app_that_closes_after_every_answer_costs_no_request() {
    // Sooner or later than the next request comes: 0 to 50 ms, most of them short.
    fn pause(number: usize) {
        let step = (number.wrapping_mul(2_654_435_761) >> 7) as u64 % 51;
        thread::sleep(Duration::from_micros(step * step * 20));
    }
    let upstream = Upstream::with(|arrived, stream| {
        let _ = stream.write_all(ok("hello").as_bytes());
        pause(arrived.connection);
        let _ = stream.shutdown(Shutdown::Both);
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    thread::scope(|scope| {
        for client in 1..=40 {
            let stage = &stage;
            scope.spawn(move || {
                let mut raw = stage.connect();
                for number in 0..250 {
                    let status = raw.send(stage.signed("GET /x HTTP/1.1", "")).answer().status;
                    assert_eq!(status, 200, "request {number} of client {client}");
                    pause(client * 1000 + number);
                }
            });
        }
    });
}

#[test]
fn u_6_a_connection_that_was_idle_too_long_is_not_used_again() {
    let stage = Stage::on(Stage::plan().set("upstream", "keep_alive = \"100ms\""));
    stage.arrives(stage.signed("GET /x HTTP/1.1", ""));
    thread::sleep(Duration::from_millis(700));
    stage.arrives(stage.signed("GET /x HTTP/1.1", ""));
    assert_eq!(stage.site.upstream.connections(), 2);
}

#[test]
fn connections_are_kept_no_more_than_configured() {
    let stage = Stage::on(Stage::plan().set("upstream", "max_idle = 0"));
    (0..3).for_each(|_| drop(stage.arrives(stage.signed("GET /x HTTP/1.1", ""))));
    assert_eq!(stage.site.upstream.connections(), 3);
}

/// Nothing but the end of the client ends a request.
fn patient(upstream: Upstream) -> Plan {
    let lines = "response_timeout = \"10m\"\nidle_timeout = \"10m\"";
    Stage::plan().set("upstream", lines).set("limits", "body_idle = \"10m\"").upstream(upstream)
}

#[test]
fn u_8_a_client_that_goes_away_before_it_is_answered_takes_its_request_along() {
    for (line, fields, body) in [
        ("GET /x HTTP/1.1", "", ""),
        ("POST /x HTTP/1.1", "Content-Length: 5\r\n", "hello"),
        ("POST /x HTTP/1.1", "Content-Length: 500\r\n", "hello"),
        ("POST /x HTTP/1.1", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
    ] {
        let (told, events) = std::sync::mpsc::channel();
        let upstream = Upstream::listening(move |mut stream| {
            let mut buffer = [0; 4096];
            while let Ok(count) = std::io::Read::read(&mut stream, &mut buffer) {
                let _ = told.send(count);
                if buffer.starts_with(b"GET /after ") {
                    let _ = stream.write_all(ok("hello").as_bytes());
                }
                if count == 0 {
                    break;
                }
            }
        });
        let stage = Stage::on(patient(upstream));
        let mut raw = stage.connect();
        raw.send(format!("{}{body}", stage.signed(line, fields)));
        // It has come to the app, which says nothing.
        assert!(events.recv_timeout(PATIENCE).is_ok_and(|count| count > 0), "{line}");
        drop(raw);
        while events.recv_timeout(PATIENCE).expect("the app hears of the end") > 0 {}
        assert_eq!(stage.ask(stage.signed("GET /after HTTP/1.1", "")).text(), "hello");
        assert_eq!(stage.site.upstream.connections(), 2, "{line}");
    }
}

#[test]
fn u_8_the_app_hears_that_a_client_has_gone_before_a_second_is_over() {
    let (told, ended) = std::sync::mpsc::channel();
    let upstream = Upstream::with(move |arrived, stream| {
        let _ = std::io::Read::read(stream, &mut [0]);
        let _ = told.send(arrived.line.clone());
    });
    let plan = Stage::plan().set("upstream", "response_timeout = \"2s\"").upstream(upstream);
    let stage = Stage::on(plan);
    // Another request has a second left then. Whatever slows the machine down slows both; a client that did not get to
    // leave in time has another try.
    let sooner = (0..5).any(|_| {
        let (mut stays, mut leaves) = (stage.connect(), stage.connect());
        for (raw, path) in [(&mut stays, "/stays"), (&mut leaves, "/leaves")] {
            let before = stage.site.upstream.arrived().len();
            raw.send(stage.signed(&format!("GET {path} HTTP/1.1"), ""));
            eventually("it has come to the app", || stage.site.upstream.arrived().len() > before);
            if path == "/stays" {
                thread::sleep(Duration::from_secs(1));
            }
        }
        drop(leaves);
        let ends: Vec<_> = (0..2).map(|_| ended.recv_timeout(PATIENCE).expect("an end")).collect();
        assert_eq!(stays.answer().status, 504);
        ends[0].contains("/leaves")
    });
    assert!(sooner, "it takes longer than a second");
}

#[test]
fn u_8_a_client_that_goes_away_takes_its_request_along() {
    let (told, ended) = std::sync::mpsc::channel();
    let upstream = Upstream::with(move |arrived, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        if arrived.line.contains("after") {
            let _ = stream.write_all(b"world");
            return;
        }
        // The end of the connection, not a byte.
        let _ = told.send(std::io::Read::read(stream, &mut [0]).unwrap_or(0));
    });
    let stage = Stage::on(patient(upstream));
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /x HTTP/1.1", ""));
    assert_eq!(raw.head().expect("a head").status, 200);
    drop(raw);
    assert_eq!(ended.recv_timeout(PATIENCE), Ok(0));
    assert_eq!(stage.ask(stage.signed("GET /after HTTP/1.1", "")).text(), "helloworld");
    assert_eq!(stage.site.upstream.connections(), 2, "what was left of the answer is nobody's");
}
