//! Interim answers (RFC 9110 §15.2): early hints and their like reach the client ahead of the final answer.

use std::io::Write as _;
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use bytes::Bytes;
use h2::server::Builder;
use http::{Request, Response};
use http_body_util::Full;

use crate::support::app2::App2;
use crate::support::h2::H2;
use crate::support::raw::Raw;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";

/// An app that says these things first, and answers once it may.
fn after(first: impl Into<String>) -> (Stage, Sender<()>) {
    let (go, may_go) = channel::<()>();
    let (first, may_go) = (first.into(), Mutex::new(may_go));
    let upstream = Upstream::with(move |_, stream| {
        let _ = stream.write_all(first.as_bytes());
        // As long as the test lasts.
        let _ = may_go.lock().expect("no panic").recv();
        let _ = stream.write_all(ok("hello").as_bytes());
    });
    (Stage::on(Stage::plan().upstream(upstream)), go)
}

/// The next status.
fn status(raw: &mut Raw) -> u16 {
    raw.head().expect("an answer").status
}

#[test]
fn rfc_8297_early_hints_come_before_there_is_an_answer_and_bring_nothing_that_is_ours() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>\r\nX-Trace: \r\n\
        Set-Cookie: sidegate=evil\r\nSet-Cookie: theirs=1\r\nConnection: x-hop, close\r\nX-Hop: 1\r\n\
        Keep-Alive: timeout=5\r\nContent-Length: 0\r\nTrailer: x-sum\r\n\r\n";
    let (stage, go) = after(hints);
    let mut raw = stage.connect();
    for line in ["GET /x HTTP/1.1", "HEAD /x HTTP/1.1", "GET /x HTTP/1.1"] {
        raw.send(stage.signed(line, ""));
        let head = raw.head().expect("hints");
        let fields: Vec<_> =
            head.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("link", "</a.css>; rel=preload"),
            ("link", "</b.js>"),
            ("x-trace", ""),
            ("set-cookie", "theirs=1"),
        ];
        assert_eq!((head.status, &*fields), (103, &expected[..]));
        go.send(()).expect("the app waits");
        let answer = raw.try_answer(line.starts_with("HEAD")).expect("the answer");
        assert_eq!((answer.status, answer.header("link")), (200, None));
    }
}

#[test]
fn rfc_9110_15_2_every_interim_answer_passes_but_those_that_are_a_matter_of_one_connection() {
    let first = format!(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 104 Upload Resumption\r\n\r\n{HINTS}"
    );
    let (stage, go) = after(first);
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /x HTTP/1.1", ""));
    assert_eq!([(); 3].map(|()| status(&mut raw)), [102, 104, 103]);
    go.send(()).expect("the app waits");
    assert_eq!(raw.answer().text(), "hello");
    // Who waits to be invited is invited by us.
    raw.send(stage.signed("POST /x HTTP/1.1", "Expect: 100-continue\r\nContent-Length: 4\r\n"));
    assert_eq!(status(&mut raw), 100);
    raw.send("four");
    assert_eq!([(); 3].map(|()| status(&mut raw)), [102, 104, 103]);
    go.send(()).expect("the app waits");
    assert_eq!(raw.answer().text(), "hello");
    // HTTP/1.0 has none, and so has whoever is answered by HTTP/2.
    go.send(()).expect("the app waits");
    raw.send(stage.signed("GET /x HTTP/1.0", ""));
    assert_eq!(status(&mut raw), 200);
    go.send(()).expect("the app waits");
    let request = Request::get(format!("{}/x", stage.site.origin)).header("cookie", &stage.cookie);
    let answer = H2::connect(stage.site.address).ask(request.body(Full::default()).expect("a request"));
    assert_eq!((answer.status, &*answer.body), (200, &b"hello"[..]));
}

#[test]
fn f_22_there_are_eight_at_most_before_one_final_answer() {
    for (count, last) in [(8, 200), (9, 502)] {
        let bytes = format!("{}{}", HINTS.repeat(count), ok("hello"));
        let stage = Stage::on(Stage::plan().upstream(Upstream::answering(bytes)));
        let mut raw = stage.connect();
        raw.send(stage.signed("GET /x HTTP/1.1", ""));
        assert_eq!([(); 8].map(|()| status(&mut raw)), [103; 8]);
        assert_eq!(status(&mut raw), last);
    }
}

#[test]
fn an_app_that_breaks_off_behind_them_on_a_kept_connection_is_not_asked_again() {
    let upstream = Upstream::with(|arrived, stream| {
        if arrived.line.contains("good") {
            let _ = stream.write_all(ok("hello").as_bytes());
            return;
        }
        let _ = stream.write_all(HINTS.as_bytes());
        let _ = stream.shutdown(Shutdown::Both);
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    assert_eq!(raw.send(stage.signed("GET /good HTTP/1.1", "")).answer().status, 200);
    raw.send(stage.signed("GET /bad HTTP/1.1", ""));
    assert_eq!([status(&mut raw), status(&mut raw)], [103, 502]);
    assert_eq!((stage.site.upstream.arrived().len(), stage.site.upstream.connections()), (2, 1));
}

#[test]
fn those_of_an_app_by_http_2_pass_too() {
    let app = App2::with(Builder::new(), |mut call| async move {
        let hints = Response::builder().status(103).header("link", "</a.css>");
        let hints = hints.header("set-cookie", "sidegate=evil").body(()).expect("a response");
        call.reply.send_informational(hints).expect("sent");
        let mut body = call.begin("text/plain");
        body.send_data(Bytes::from_static(b"hello"), true).expect("sent");
    });
    let stage = Stage::on(Stage::plan().set("upstream", &app.toml()));
    let mut raw = stage.connect();
    for _ in 0..2 {
        raw.send(stage.signed("GET /x HTTP/1.1", ""));
        let head = raw.head().expect("hints");
        assert_eq!((head.status, head.headers), (103, vec![("link".to_owned(), "</a.css>".to_owned())]));
        assert_eq!(raw.answer().text(), "hello");
    }
}
