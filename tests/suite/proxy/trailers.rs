//! Trailer fields between a client and an app that speak different HTTPs (RFC 9110 §6.5).

use bytes::Bytes;
use h2::server::Builder;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::Full;

use crate::support::app2::App2;
use crate::support::h2::H2;
use crate::support::stage::Stage;
use crate::support::upstream::Upstream;

#[test]
fn f_12_an_app_by_http_2_gives_a_client_by_http_1_those_that_it_announced() {
    let app = App2::with(Builder::new(), |mut call| async move {
        let mut head = http::Response::new(());
        head.headers_mut().insert("trailer", HeaderValue::from_static("x-sum, set-cookie, content-length"));
        let mut body = call.reply.send_response(head, false).expect("the stream is open");
        body.send_data(Bytes::from_static(b"hello"), false).expect("sent");
        let mut trailers = HeaderMap::new();
        for (name, value) in [
            ("x-sum", "7"),
            ("x-sum", "8"),
            ("x-other", "9"),
            ("set-cookie", "sidegate=evil"),
            ("content-length", "5"),
        ] {
            trailers.append(name, HeaderValue::from_static(value));
        }
        body.send_trailers(trailers).expect("sent");
    });
    let stage = Stage::on(Stage::plan().set("upstream", &app.toml()));
    let mut raw = stage.connect();
    for (fields, sums) in [("TE: trailers\r\n", &["7", "8"][..]), ("TE: gzip\r\n", &[]), ("", &[])] {
        let answer = raw.send(stage.signed("GET /x HTTP/1.1", fields)).answer();
        assert_eq!((answer.header("transfer-encoding"), &*answer.text()), (Some("chunked"), "hello"));
        assert_eq!(answer.trailers.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), sums);
        assert!(answer.trailers.iter().all(|(name, _)| name == "x-sum"), "{:?}", answer.trailers);
    }
    let answer = raw.send(stage.signed("GET /x HTTP/1.0", "TE: trailers\r\n")).answer();
    assert_eq!((answer.text(), answer.trailers.len()), ("hello".to_owned(), 0), "there are none in HTTP/1.0");
}

#[test]
fn f_12_an_app_by_http_1_gives_a_client_by_http_2_those_that_are_no_part_of_the_head() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\n\
         x-sum: 7\r\nX-Sum: 8\r\nContent-Length: 3\r\nSet-Cookie: sidegate=evil\r\nHost: evil.test\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\r\n",
    );
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut client = H2::connect(stage.site.address);
    for _ in 0..2 {
        let request = Request::get(format!("{}/x", stage.site.origin))
            .header("cookie", &stage.cookie)
            .body(Full::default());
        let answer = client.ask(request.expect("a request"));
        assert_eq!((answer.status, &*answer.body), (200, &b"abc"[..]));
        let trailers = answer.trailers.expect("trailers");
        assert_eq!(trailers.get_all("x-sum").iter().collect::<Vec<_>>(), ["7", "8"]);
        assert_eq!(trailers.keys().collect::<Vec<_>>(), ["x-sum"]);
    }
    assert_eq!(stage.site.upstream.connections(), 1, "the first was read to its end");
}

#[test]
fn no_request_is_changed_by_what_comes_behind_its_body() {
    let stage = Stage::on(Stage::plan());
    let late = [
        "Destination",
        "DESTINATION",
        "Lock_Token",
        "Depth",
        "Overwrite",
        "Lock-Token",
        "If",
        "Origin",
        "Referer",
        "Range",
        "If-Range",
        "If-Match",
        "If_None_Match",
        "If-Modified-Since",
        "Sec-Fetch-Site",
        "sec.fetch.mode",
        "Sec-WebSocket-Key",
        "TE",
        "Accept",
        "Accept-Encoding",
        "Cache-Control",
        "Pragma",
        "Max-Forwards",
        "Prefer",
        "Content-Type",
        "Content_Range",
        "Content-Location",
        "Authorization",
        "X-Requested-With",
        "X-CSRF-Token",
        "X-XSRF-Token",
        "Access-Control-Request-Method",
        "User-Agent",
        "Last-Event-ID",
        "X-User-Id",
    ];
    let lines = late.map(|name| format!("{name}: /late\r\n")).concat();
    let fields = "Transfer-Encoding: chunked\r\nSec-Fetch-Site: same-origin\r\n";
    let body = format!("3\r\nabc\r\n0\r\n{lines}X-Sum: 7\r\nContent-Digest: sum\r\nGrpc-X: y\r\n\r\n");
    assert_eq!(stage.ask(stage.signed("POST /x HTTP/1.1", fields) + &body).status, 200);
    let arrived = String::from_utf8_lossy(&stage.site.upstream.only().body).into_owned();
    assert!(!arrived.contains("/late"), "{arrived}");
    for kept in ["x-sum: 7", "content-digest: sum", "grpc-x: y"] {
        assert!(arrived.contains(kept), "{arrived}");
    }
}
