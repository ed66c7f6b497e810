//! Interim answers (RFC 9110 §15.2): early hints and their like reach the client ahead of the final answer.

use std::future::poll_fn;
use std::io::Write as _;
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;
use http::request::Builder;
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::support::app2::App2;
use crate::support::raw::{PATIENCE, Raw};
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
    // HTTP/1.0 has none.
    go.send(()).expect("the app waits");
    raw.send(stage.signed("GET /x HTTP/1.0", ""));
    assert_eq!(status(&mut raw), 200);
}

/// A client of HTTP/2 that has asked for something, and hears what precedes the answer.
struct Early {
    runtime: Runtime,
    answer: ResponseFuture,
    body: SendStream<Bytes>,
}

impl Early {
    fn asks(stage: &Stage, request: Builder, whole: bool) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let request = request.uri(format!("{}/x", stage.site.origin)).header("cookie", &stage.cookie);
        let request = request.header("origin", &stage.site.origin).body(()).expect("a request");
        let (connection, (answer, body)) = runtime.block_on(async {
            let stream = TcpStream::connect(stage.site.address).await.expect("it listens");
            let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
            let mut sender = sender.ready().await.expect("it is ready");
            (connection, sender.send_request(request, whole).expect("it is sent"))
        });
        runtime.spawn(connection);
        Self { runtime, answer, body }
    }

    /// The next interim answer.
    fn hears(&mut self) -> (u16, HeaderMap) {
        let told = poll_fn(|cx| self.answer.poll_informational(cx));
        let told = self.runtime.block_on(async { timeout(PATIENCE, told).await.expect("in time") });
        let (head, ()) = told.expect("one more").expect("a head").into_parts();
        (head.status.as_u16(), head.headers)
    }

    /// The status of the answer.
    fn ends(self) -> u16 {
        let answer = self.runtime.block_on(async { timeout(PATIENCE, self.answer).await.expect("in time") });
        answer.expect("an answer").status().as_u16()
    }
}

#[test]
fn clients_of_http_2_hear_them_on_their_streams() {
    let (stage, go) = after(format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n{HINTS}"));
    let mut client = Early::asks(&stage, Request::get("/"), true);
    assert_eq!(client.hears(), (102, HeaderMap::new()));
    let (status, fields) = client.hears();
    assert_eq!(
        (status, fields.len(), fields.get("link")),
        (103, 1, Some(&"</a.css>; rel=preload".parse().expect("a value")))
    );
    go.send(()).expect("the app waits");
    assert_eq!(client.ends(), 200);
    // Who waits to be invited is invited by us.
    let mut client = Early::asks(&stage, Request::post("/").header("expect", "100-continue"), false);
    assert_eq!(client.hears(), (100, HeaderMap::new()));
    client.body.send_data(Bytes::from_static(b"four"), true).expect("it is sent");
    assert_eq!([client.hears().0, client.hears().0], [102, 103]);
    go.send(()).expect("the app waits");
    assert_eq!(client.ends(), 200);
    assert!(stage.site.upstream.last().body.ends_with(b"four\r\n0\r\n\r\n"));
}

#[test]
fn those_for_clients_of_http_2_are_few_bytes_and_eight_too() {
    let hints = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "x".repeat(5000));
    let (stage, go) = after(hints.repeat(8));
    let mut client = Early::asks(&stage, Request::get("/"), true);
    assert_eq!([(); 3].map(|()| client.hears().0), [103; 3]);
    go.send(()).expect("the app waits");
    let told = poll_fn(|cx| client.answer.poll_informational(cx));
    let told = client.runtime.block_on(async { timeout(PATIENCE, told).await.expect("in time") });
    assert!(told.is_none(), "the rest would be too much for one that does not read");
    assert_eq!(client.ends(), 200);
    let (stage, _go) = after(HINTS.repeat(9));
    assert_eq!(Early::asks(&stage, Request::get("/"), true).ends(), 502);
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
    let app = App2::with(h2::server::Builder::new(), |mut call| async move {
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
