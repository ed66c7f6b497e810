//! HTTP/2 towards the app: the same request as by HTTP/1.1, on streams of few connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::Builder;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Frame;
use tokio::sync::Semaphore;

use crate::jobs::eventually;
use crate::support::app2::App2;
use crate::support::h2::H2;
use crate::support::raw::PATIENCE;
use crate::support::site::Plan;
use crate::support::stage::Stage;
use crate::support::upstream::Upstream;

fn before(app: &App2) -> Plan {
    Stage::plan().set("upstream", &app.toml())
}

fn signed(stage: &Stage, method: Method, path: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("{}{path}", stage.site.origin))
        .header("cookie", &stage.cookie)
        .body(())
        .expect("a request")
}

fn whole(stage: &Stage, method: Method, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    signed(stage, method, path).map(|()| Full::from(body))
}

/// Fields as a client with bad intentions sends them.
const NASTY: &str = "Accept: */*\r\nX-User-Id: u2\r\nx_user_id: u3\r\nConnection: close, x-secret\r\nX-Secret: 1\r\n\
    Cookie: a=b\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\nX-Twice: 1\r\nX-Twice: 2\r\n\
    Transfer-Encoding: chunked\r\nTE: trailers, deflate\r\nKeep-Alive: 5\r\nX-Empty:\r\n";

#[test]
fn the_app_sees_the_same_fields_as_by_http_1_and_the_identity_last() {
    let app = App2::with(Builder::new(), |mut call| async move {
        let _ = call.collect().await;
        call.say("hello");
    });
    let stages = [Stage::on(before(&app)), Stage::new()];
    let bodies = "5\r\nhello\r\n0\r\nx-md5: 1\r\nx-user-id: u4\r\n\r\n";
    for stage in &stages {
        let request = format!("{}{bodies}", stage.signed("POST /things?x=%20 HTTP/1.1", NASTY));
        assert_eq!(stage.ask(request).text(), "hello");
    }
    let arrived = app.only();
    let host = stages[0].host();
    assert_eq!((arrived.method.as_str(), arrived.uri), ("POST", format!("http://{host}/things?x=%20")));
    let by_http2: Vec<(String, String)> = arrived
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()))
        .collect();
    let of_each_site = [
        "x-request-id",
        "x-user-id",
        "x-forwarded-host",
        "x-forwarded-port",
        "host",
        "connection",
        "transfer-encoding",
    ];
    let same = |fields: Vec<(String, String)>| -> Vec<(String, String)> {
        fields.into_iter().filter(|(name, _)| !of_each_site.contains(&name.as_str())).collect()
    };
    let by_http1 = stages[1].site.upstream.only().headers;
    assert_eq!(same(by_http2.clone()), same(by_http1));
    assert_eq!(by_http2.last(), Some(&("x-user-id".to_owned(), stages[0].me.clone())));
    assert_eq!(arrived.headers.get_all("x-twice").iter().count(), 2);
}

#[test]
fn many_requests_of_many_clients_share_a_connection() {
    let app = App2::hello();
    let stage = Stage::on(before(&app));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut raw = stage.connect();
                for _ in 0..20 {
                    assert_eq!(raw.send(stage.signed("GET /x HTTP/1.1", "")).answer().text(), "hello");
                }
            });
        }
    });
    assert_eq!((app.arrived().len(), app.connections()), (160, 1));
}

#[test]
fn an_app_that_takes_few_streams_gets_more_connections_and_refuses_nothing() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let mut builder = Builder::new();
    builder.max_concurrent_streams(3);
    let app = App2::with(builder, move |call| {
        let mut wait = wait.clone();
        async move {
            let _ = wait.wait_for(|go| *go).await;
            call.say("hello");
        }
    });
    let stage = Stage::on(before(&app));
    let mut raws: Vec<_> = (0..10).map(|_| stage.connect()).collect();
    for raw in &mut raws {
        raw.send(stage.signed("GET /x HTTP/1.1", ""));
    }
    eventually("all have asked", || app.arrived().len() == 10);
    assert_eq!((app.arrived().len(), app.connections()), (10, 4));
    go.send(true).expect("they wait");
    assert!(raws.iter_mut().all(|raw| raw.answer().text() == "hello"));
}

#[test]
fn u_8_a_client_that_goes_away_takes_its_stream_along() {
    let (told, ended) = channel();
    let app = App2::with(Builder::new(), move |mut call| {
        let told = told.clone();
        async move {
            let answers = call.head.uri.path() == "/answered";
            let mut body = answers.then(|| {
                let mut body = call.begin("text/plain");
                body.send_data(Bytes::from_static(b"hello"), false).expect("sent");
                body
            });
            let reset = std::future::poll_fn(|cx| match &mut body {
                Some(body) => body.poll_reset(cx),
                None => call.reply.poll_reset(cx),
            });
            let _ = told.send(reset.await.expect("a reset"));
        }
    });
    let stage = Stage::on(before(&app));
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /answered HTTP/1.1", ""));
    assert_eq!(raw.head().expect("a head").status, 200);
    drop(raw);
    assert_eq!(ended.recv_timeout(PATIENCE), Ok(Reason::CANCEL));
    for path in ["/answered", "/waiting"] {
        let mut client = H2::connect(stage.site.address);
        let before = app.arrived().len();
        let (_pieces, answer) = client.stream(signed(&stage, Method::POST, path));
        client.block_on(async {
            let answer = tokio::runtime::Handle::current().spawn(answer);
            while app.arrived().len() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            answer.abort();
        });
        drop(client);
        assert_eq!(ended.recv_timeout(PATIENCE), Ok(Reason::CANCEL), "{path}");
    }
    // The connection is as good as before.
    assert_eq!(app.connections(), 1);
}

#[test]
fn f_12_trailers_pass_both_ways_and_bring_no_identity() {
    let app = App2::with(Builder::new(), |mut call| async move {
        let (_, trailers) = call.collect().await;
        let names: Vec<String> = trailers.unwrap_or_default().keys().map(ToString::to_string).collect();
        let mut body = call.begin("text/plain");
        body.send_data(Bytes::from(names.join(" ")), false).expect("sent");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "7".parse().expect("a value"));
        trailers.insert("set-cookie", "sidegate=evil".parse().expect("a value"));
        body.send_trailers(trailers).expect("sent");
    });
    let stage = Stage::on(before(&app));
    let mut client = H2::connect(stage.site.address);
    let (pieces, answer) = client.stream(signed(&stage, Method::POST, "/x"));
    pieces.send(Frame::data(Bytes::from_static(b"abc"))).expect("it listens");
    let mut trailers = HeaderMap::new();
    for name in ["x-md5", "x-user-id", "x_user_id", "authorization", "cookie", "x-forwarded-for", "host"] {
        trailers.insert(name, "1".parse().expect("a value"));
    }
    pieces.send(Frame::trailers(trailers)).expect("it listens");
    let collected = client.block_on(async { answer.await.expect("an answer").into_body().collect().await });
    let collected = collected.expect("a body");
    let told = collected.trailers().expect("trailers").clone();
    assert_eq!(collected.to_bytes(), "x-md5");
    assert_eq!((told.len(), told["x-sum"].as_bytes()), (1, &b"7"[..]));
    // By HTTP/1.1 too, as far as it is known there.
    let post = stage.signed("POST /x HTTP/1.1", "TE: trailers\r\nTransfer-Encoding: chunked\r\n");
    let response = stage.ask(format!("{post}3\r\nabc\r\n0\r\nX-Md5: 1\r\nX-User-Id: 2\r\n\r\n"));
    assert_eq!(response.text(), "x-md5");
}

#[test]
fn u_13_pieces_pass_as_they_come_in_both_directions_and_to_both_kinds_of_clients() {
    let app = App2::with(Builder::new(), |mut call| async move {
        let mut body = call.begin("text/event-stream");
        while let Some(Ok(data)) = call.body.data().await {
            let _ = call.body.flow_control().release_capacity(data.len());
            if body.send_data(data, false).is_err() {
                return;
            }
        }
        let _ = body.send_data(Bytes::new(), true);
    });
    let stage = Stage::on(before(&app));
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /events HTTP/1.1", "Transfer-Encoding: chunked\r\n"));
    assert_eq!(raw.head().expect("a head").header("content-type"), Some("text/event-stream"));
    for _ in 0..5 {
        raw.send("7\r\ndata: 1\r\n");
        assert_eq!(raw.exactly(12).expect("the piece"), b"7\r\ndata: 1\r\n");
    }
    raw.send("0\r\n\r\n");
    assert_eq!(raw.exactly(5).expect("the end"), b"0\r\n\r\n");

    let mut client = H2::connect(stage.site.address);
    let (pieces, answer) = client.stream(signed(&stage, Method::POST, "/events"));
    client.block_on(async {
        let mut body = answer.await.expect("a head").into_body();
        for _ in 0..5 {
            pieces.send(Frame::data(Bytes::from_static(b"data: 1"))).expect("it listens");
            let frame = body.frame().await.expect("a frame").expect("sound");
            assert_eq!(frame.into_data().expect("data"), "data: 1");
        }
        drop(pieces);
        assert!(body.collect().await.expect("an end").to_bytes().is_empty());
    });
}

#[test]
fn lif_10_an_event_stream_ends_soon_after_its_session() {
    let app = App2::with(Builder::new(), |mut call| async move {
        let mut body = call.begin("text/event-stream");
        body.send_data(Bytes::from_static(b"data: 1"), false).expect("sent");
        let _ = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
    });
    let stage = Stage::on(before(&app));
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /events HTTP/1.1", ""));
    raw.head().expect("a head");
    raw.exactly(12).expect("the piece");
    stage.sign_out();
    let ended = raw.exactly(1).expect_err("nothing more comes");
    assert_eq!(ended.kind(), std::io::ErrorKind::UnexpectedEof, "cut, not merely silent");
}

#[test]
fn an_answer_that_breaks_off_never_looks_complete() {
    for reason in [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
        let go = Arc::new(Semaphore::new(0));
        let may_go = Arc::clone(&go);
        let app = App2::with(Builder::new(), move |mut call| {
            let may_go = Arc::clone(&may_go);
            async move {
                let mut body = call.begin("text/plain");
                body.send_data(Bytes::from_static(b"hel"), false).expect("sent");
                may_go.acquire().await.expect("it is open").forget();
                body.send_reset(reason);
            }
        });
        let stage = Stage::on(before(&app));
        let mut raw = stage.connect();
        assert_eq!(raw.send(stage.signed("GET /x HTTP/1.1", "")).head().expect("a head").status, 200);
        go.add_permits(1);
        let whole_body = raw.rest().is_ok_and(|rest| rest.ends_with(b"0\r\n\r\n"));
        assert!(!whole_body, "{reason:?}");
        let mut client = H2::connect(stage.site.address);
        let response = client.begin(whole(&stage, Method::GET, "/x", "")).expect("a head");
        assert_eq!(response.status(), 200);
        go.add_permits(1);
        assert!(client.block_on(response.into_body().collect()).is_err(), "{reason:?}");
    }
}

#[test]
fn an_answer_is_cleaned_as_one_by_http_1_is() {
    let app = App2::with(Builder::new(), |mut call| async move {
        let status = call.head.uri.path()[1..].parse::<u16>().unwrap_or(200);
        let head = Response::builder()
            .status(status)
            .header("set-cookie", "sidegate=evil; Path=/")
            .header("set-cookie", "mine=1")
            .header("content-length", "5")
            .header("proxy-authenticate", "Basic")
            .body(())
            .expect("a response");
        let bodiless = call.head.method == Method::HEAD || status == 304;
        if let Ok(mut body) = call.reply.send_response(head, bodiless)
            && !bodiless
        {
            let _ = body.send_data(Bytes::from_static(b"hello"), true);
        }
    });
    let stage = Stage::on(before(&app));
    let mut raw = stage.connect();
    let response = raw.send(stage.signed("GET /200 HTTP/1.1", "")).answer();
    assert_eq!((response.text().as_str(), response.all("set-cookie")), ("hello", vec!["mine=1"]));
    assert_eq!(
        (response.header("content-length"), response.header("cache-control")),
        (Some("5"), Some("private"))
    );
    assert_eq!(response.header("proxy-authenticate"), None);
    let head = raw.send(stage.signed("HEAD /200 HTTP/1.1", "")).answer_to_head();
    assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
    assert_eq!(raw.send(stage.signed("GET /304 HTTP/1.1", "")).answer().status, 304);
    assert_eq!(raw.send(stage.signed("GET /404 HTTP/1.1", "")).answer().status, 404);
}

#[test]
fn a_body_goes_no_faster_than_the_app_takes_it_and_arrives_whole() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let app = App2::with(Builder::new(), move |mut call| {
        let mut wait = wait.clone();
        async move {
            let _ = wait.wait_for(|go| *go).await;
            let (body, _) = call.collect().await;
            let sound =
                body.iter().enumerate().all(|(at, byte)| *byte == u8::try_from(at % 251).expect("small"));
            call.say(if sound && body.len() == 6_000_000 { "whole" } else { "broken" });
        }
    });
    let stage = Stage::on(before(&app));
    let body: Vec<u8> = (0..6_000_000).map(|at| u8::try_from(at % 251).expect("small")).collect();
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /x HTTP/1.1", "Content-Length: 6000000\r\n"));
    let mut writer = raw.try_clone();
    let written = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.send(&body);
            written.store(true, Ordering::SeqCst);
        });
        std::thread::sleep(Duration::from_millis(700));
        assert!(!written.load(Ordering::SeqCst), "more is held than any buffer is meant to hold");
        go.send(true).expect("it waits");
        assert_eq!(raw.answer().text(), "whole");
    });
}

#[test]
fn u_1_what_goes_wrong_is_told_and_takes_no_longer_than_configured() {
    let silent = App2::with(Builder::new(), |call| async move {
        let _held = call.reply;
        std::future::pending::<()>().await;
    });
    let stage = Stage::on(before(&silent).set("upstream", "response_timeout = \"300ms\""));
    assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 504);

    let pausing = App2::with(Builder::new(), |mut call| async move {
        let mut body = call.begin("text/plain");
        body.send_data(Bytes::from_static(b"hel"), false).expect("sent");
        std::future::pending::<()>().await;
    });
    let stage = Stage::on(before(&pausing).set("upstream", "idle_timeout = \"300ms\""));
    assert!(stage.connect().send(stage.signed("GET /x HTTP/1.1", "")).try_answer(false).is_err());

    let gone = before(&App2::hello());
    let stage = Stage::on(gone);
    assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 502);

    // Speaks HTTP/1.1, or nothing.
    for (app, status) in [
        (Upstream::answering("HTTP/1.1 400 Bad Request\r\n\r\n"), 502),
        (
            Upstream::listening(|stream| {
                std::thread::sleep(Duration::from_secs(10));
                drop(stream);
            }),
            504,
        ),
    ] {
        let upstream = "protocol = \"h2c\"\nconnect_timeout = \"2s\"";
        let stage = Stage::on(Stage::plan().upstream(app).set("upstream", upstream));
        assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, status);
    }
}
