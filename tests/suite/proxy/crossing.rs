//! What an app says beside an answer, on a connection that others use next.

use std::io::Write as _;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

#[test]
fn a_body_that_was_announced_where_there_is_none_never_answers_the_next_request() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 60\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 60\r\n\r\n",
    ] {
        let upstream = Upstream::with(move |arrived, stream| {
            if arrived.line.contains("/odd") {
                let _ = stream.write_all(head.as_bytes());
                thread::sleep(Duration::from_millis(100));
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Evil: 1\r\n\r\nEVIL");
            } else {
                thread::sleep(Duration::from_millis(200));
                let _ = stream.write_all(ok("hello").as_bytes());
            }
        });
        let stage = Stage::on(Stage::plan().set("listen", "workers = 1").upstream(upstream));
        let method = if head.contains("200") { "HEAD" } else { "GET" };
        let mut raw = stage.connect();
        raw.send(stage.signed(&format!("{method} /odd HTTP/1.1"), ""));
        let odd = raw.try_answer(true).expect("an answer");
        assert!(odd.header("x-evil").is_none());
        // At once: what comes late meets it on the way.
        let next = stage.ask(stage.signed("GET /next HTTP/1.1", ""));
        assert_eq!((next.status, next.text().as_str()), (200, "hello"), "{head}");
        assert_eq!(stage.site.upstream.connections(), 2, "{head}");
    }
}

#[test]
fn rfc_9110_15_5_9_a_408_to_nobody_answers_no_request_that_crosses_it() {
    const GOODBYE: &str = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let upstream = Upstream::with(|arrived, stream| {
        let answer = if arrived.line.contains("/crossed") && arrived.connection == 1 {
            GOODBYE.to_owned()
        } else {
            ok("hello")
        };
        let _ = stream.write_all(answer.as_bytes());
        if answer == GOODBYE {
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    let stage = Stage::on(Stage::plan().set("listen", "workers = 1").upstream(upstream));
    assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 200);
    let crossed = stage.ask(stage.signed("GET /crossed HTTP/1.1", ""));
    assert_eq!((crossed.status, crossed.text().as_str()), (200, "hello"));
    assert_eq!(stage.site.upstream.connections(), 2);
    // On a new connection it is an answer.
    let upstream = Upstream::answering(GOODBYE);
    let stage = Stage::on(Stage::plan().upstream(upstream));
    assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 408);
}

#[test]
fn an_answer_without_a_length_that_is_cut_never_looks_whole() {
    let upstream = Upstream::with(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        thread::sleep(Duration::from_secs(10));
    });
    let mut stage = Stage::on(Stage::plan().set("limits", "drain = \"200ms\"").upstream(upstream));
    let mut old = stage.connect();
    old.send(stage.signed("GET /x HTTP/1.0", ""));
    assert_eq!(old.head().expect("an answer").status, 200);
    assert_eq!(old.exactly(3).expect("what there is"), b"abc");
    stage.site.stop();
    let cut = old.rest().map_err(|error| error.kind());
    assert_eq!(cut, Err(std::io::ErrorKind::ConnectionReset));
}

#[test]
fn an_answer_without_a_length_that_is_whole_ends_in_order() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let stage = Stage::on(Stage::plan().upstream(Upstream::answering(chunked)));
    let mut old = stage.connect();
    old.send(stage.signed("GET /x HTTP/1.0", ""));
    assert_eq!(old.head().expect("an answer").status, 200);
    assert_eq!(old.rest().expect("an orderly end"), b"abc");
}
