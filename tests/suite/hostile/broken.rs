//! Requests that break when their head is with the app already: it must never take what came for the whole.

use std::io::{Read as _, Write as _};
use std::sync::mpsc::{Receiver, channel};

use crate::support::app2::App2;
use crate::support::raw::PATIENCE;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

/// What no chunk looks like, and what no trailer does.
const BROKEN: [&str; 7] = [
    "0x5\r\nhello\r\n0\r\n\r\n",
    "g\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\r\nhelloXX0\r\n\r\n",
    "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "0\r\nX\r\n\r\n",
    "0\r\n: y\r\n\r\n",
];

/// Sends a request with one good chunk, waits until `heard` tells that it has come, and sends what is broken.
fn breaks<T>(stage: &Stage, broken: &str, heard: &Receiver<T>) {
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /x HTTP/1.1", "Transfer-Encoding: chunked\r\n")).send("5\r\nhello\r\n");
    heard.recv_timeout(PATIENCE).expect("the first chunk is with the app");
    raw.send(broken);
    if let Ok(response) = raw.try_answer(false) {
        assert_eq!(response.status, 400, "{broken:?}");
    }
    assert!(raw.is_closed(), "{broken:?}");
}

#[test]
fn f_10_a_chunk_that_breaks_behind_a_head_that_was_forwarded_is_an_abort_to_the_app() {
    let (hear, heard) = channel();
    let (end, ended) = channel();
    let upstream = Upstream::listening(move |mut stream| {
        let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            all.extend_from_slice(&buffer[..count]);
            if all.starts_with(b"GET ") {
                let _ = stream.write_all(ok("hello").as_bytes());
            } else if all.ends_with(b"\r\n\r\n5\r\nhello\r\n") {
                let _ = hear.send(());
            }
        }
        let _ = end.send(String::from_utf8_lossy(&all).into_owned());
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    for (count, broken) in BROKEN.iter().enumerate() {
        breaks(&stage, broken, &heard);
        let all = ended.recv_timeout(PATIENCE).expect("the app's connection ends");
        let body = all.split_once("\r\n\r\n").expect("a head").1;
        assert!(body.starts_with("5\r\nhello\r\n") && !body.contains("\r\n0\r\n"), "{broken:?}: {body:?}");
        assert_eq!(stage.site.upstream.connections(), count + 1);
    }
    assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).text(), "hello");
    assert_eq!(stage.site.upstream.connections(), BROKEN.len() + 1, "on a connection of its own");
}

#[test]
fn f_10_a_chunk_that_breaks_is_a_reset_to_an_app_that_speaks_http_2() {
    let (hear, heard) = channel();
    let (end, ended) = channel();
    let app = App2::with(h2::server::Builder::new(), move |mut call| {
        let (hear, end) = (hear.clone(), end.clone());
        async move {
            if call.head.method == "GET" {
                return call.say("hello");
            }
            let mut body = Vec::new();
            while let Some(piece) = call.body.data().await {
                match piece {
                    Ok(data) => body.extend_from_slice(&data),
                    Err(error) => return drop(end.send(Err(error.to_string()))),
                }
                if body == b"hello" {
                    let _ = hear.send(());
                }
            }
            let trailers = call.body.trailers().await;
            let _ = end.send(trailers.map(|_| body).map_err(|error| error.to_string()));
        }
    });
    let stage = Stage::on(Stage::plan().set("upstream", &app.toml()));
    for broken in BROKEN {
        breaks(&stage, broken, &heard);
        let whole = ended.recv_timeout(PATIENCE).expect("the app's stream ends");
        assert!(whole.is_err(), "{broken:?}: {whole:?}");
        assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).text(), "hello");
    }
}
