//! Bodies by HTTP/2 that pause, trickle or are too large, and answers that are taken too slowly: bounded as those of
//! HTTP/1.1 are, one stream at a time.

use std::io::Write as _;
use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use h2::server::Builder;
use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Frame;

use crate::support::app2::App2;
use crate::support::bare::{Bare, End};
use crate::support::h2::{H2, frame, get};
use crate::support::stage::Stage;
use crate::support::upstream::Upstream;

const HEADERS: u8 = 1;
const END_HEADERS: u8 = 4;
const NO_ERROR: u32 = 0;

/// The head of a `POST` by somebody who is signed in.
fn post(stage: &Stage, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("{}{path}", stage.site.origin))
        .header("cookie", &stage.cookie)
        .header("origin", &stage.site.origin);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

fn data(length: usize) -> Frame<Bytes> {
    Frame::data(Bytes::from(vec![b'x'; length]))
}

/// The status of the answer to something that needs no body.
fn goes_on(client: &mut H2, stage: &Stage) {
    let request = post(stage, "/x", &[("content-length", "0")]).map(|()| Full::default());
    assert_eq!(client.ask(request).status, 200, "the other streams go on");
    assert_eq!(stage.site.upstream.last().body, b"");
}

#[test]
fn r_02_and_dos_3_a_body_that_pauses_ends_its_request_by_http_2() {
    let stage = Stage::on(Stage::plan().set("limits", "body_idle = \"300ms\""));
    let mut client = H2::connect(stage.site.address);
    for fields in [&[][..], &[("content-length", "10")]] {
        for path in ["/x", "/auth/sign-out"] {
            // Nothing at all, or half of it.
            for length in [0, 5] {
                let (pieces, answer) = client.stream(post(&stage, path, fields));
                if length > 0 {
                    pieces.send(data(length)).expect("it is sent");
                }
                let answer = client.block_on(answer).expect("an answer");
                assert_eq!(answer.status(), 408, "{path}, {fields:?}, {length}");
                drop(pieces);
            }
        }
    }
    assert!(stage.site.upstream.arrived().is_empty(), "no half request was completed");
    goes_on(&mut client, &stage);
}

#[test]
fn r_02_a_body_that_trickles_in_ends_its_request_by_http_2_unless_it_is_a_conversation() {
    let limits = "min_rate = \"16KiB\"\nmin_rate_grace = \"1s\"";
    let stage = Stage::on(Stage::plan().set("limits", limits));
    let trickle = |stage: &Stage, fields: &[(&str, &str)], length: usize, most: usize| {
        let mut client = H2::connect(stage.site.address);
        let (pieces, answer) = client.stream(post(stage, "/x", fields));
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..most {
                    if ended.load(Ordering::Relaxed) || pieces.send(data(length)).is_err() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(50));
                }
                drop(pieces);
            });
            let status = client.block_on(answer).expect("an answer").status().as_u16();
            ended.store(true, Ordering::Relaxed);
            status
        })
    };
    assert_eq!(trickle(&stage, &[], 1, 200), 408);
    assert!(stage.site.upstream.arrived().is_empty(), "no half request was completed");
    assert_eq!(trickle(&stage, &[], 65_536, 40), 200, "slow, but not too slow");
    let grpc = [("content-type", "application/grpc")];
    trickle(&stage, &grpc, 1, 200);
    assert_eq!(stage.site.upstream.arrived().len(), 1, "gRPC needs an app that speaks HTTP/2");
    let app = App2::with(Builder::new(), |mut call| async move {
        while let Some(Ok(piece)) = call.body.data().await {
            let _ = call.body.flow_control().release_capacity(piece.len());
        }
        call.say("heard");
    });
    let stage = Stage::on(Stage::plan().set("upstream", &app.toml()).set("limits", limits));
    assert_eq!(trickle(&stage, &grpc, 1, 40), 200, "a conversation");
    assert_eq!(trickle(&stage, &[], 1, 200), 408, "none");
}

#[test]
fn r_03_a_reader_who_is_too_slow_is_reset_by_http_2_and_one_behind_a_slow_app_is_not() {
    const SIZE: usize = 40_000_000;
    let upstream = Upstream::with(|arrived, stream| {
        if arrived.line.contains("large") {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
            let _ = stream.write_all(&vec![b'x'; SIZE]);
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n");
        for _ in 0..30 {
            thread::sleep(Duration::from_millis(100));
            let _ = stream.write_all(b"x");
        }
    });
    let limits = "min_rate = \"1MiB\"\nmin_rate_grace = \"1s\"";
    let stage = Stage::on(Stage::plan().set("limits", limits).rule("/open/**", "public").upstream(upstream));
    let mut client = Bare::greets(&stage, 65_535);
    client.asks(1, "/open/slow");
    assert_eq!(client.hears(1), End::Whole(30));
    client.asks(3, "/open/large");
    let (mut opener, ended) = (client.again(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            // A third of what is asked for, never a pause, and far less in all than there is.
            for _ in 0..300 {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                opener.opens(3, 16_384);
                thread::sleep(Duration::from_millis(50));
            }
        });
        let end = client.hears(3);
        ended.store(true, Ordering::Relaxed);
        assert!(matches!(end, End::Reset(1..)), "{end:?}");
    });
    client.asks(5, "/auth/ok");
    assert!(matches!(client.hears(5), End::Whole(1..)), "the other streams go on");
}

#[test]
fn r_10_a_body_beyond_the_limit_is_413_by_http_2_before_or_while_it_is_sent() {
    let stage = Stage::on(Stage::plan().set("limits", "body = \"1KiB\""));
    let mut client = H2::connect(stage.site.address);
    let mut send = |fields: &[(&str, &str)], lengths: &[usize]| {
        let (pieces, answer) = client.stream(post(&stage, "/x", fields));
        for &length in lengths {
            // The answer may have come already.
            let _ = pieces.send(data(length));
        }
        // Who waits for an answer before the end of the body gets it.
        let pieces = (lengths.iter().sum::<usize>() > 1024 || lengths.is_empty()).then_some(pieces);
        let status = client.block_on(answer).expect("an answer").status().as_u16();
        drop(pieces);
        status
    };
    assert_eq!(send(&[("content-length", "1024")], &[1024]), 200);
    assert_eq!(send(&[], &[512, 512]), 200);
    for length in ["1025", "1000000"] {
        assert_eq!(send(&[("content-length", length)], &[]), 413, "nothing of it has to be sent");
    }
    assert_eq!(send(&[("content-length", "1025")], &[1025]), 413);
    assert_eq!(send(&[], &[1025]), 413);
    assert_eq!(send(&[], &[512, 512, 1]), 413);
    assert_eq!(stage.site.upstream.arrived().len(), 2, "the app saw no whole one of the others");
    goes_on(&mut client, &stage);
}

/// The status that curl has of an upload of 1 MB, with this field.
fn curl(stage: &Stage, method: &str, cookie: &str, length: &str) -> String {
    let (origin, cookie) = (&stage.site.origin, format!("Cookie: {cookie}"));
    let mut curl = Command::new("curl")
        .args(["--silent", "--max-time", "20", "--http2-prior-knowledge", "--noproxy", "*"])
        .args(["--output", "/dev/null", "--write-out", "%{http_code}", "--data-binary", "@-"])
        .args(["--header", length, "--header", &cookie, "--header", &format!("Origin: {origin}")])
        .args(["--request", method, &format!("{origin}/x")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl is installed");
    // It takes all of it before it begins.
    curl.stdin.take().expect("a pipe").write_all(&vec![b'x'; 1_000_000]).expect("it reads");
    let output = curl.wait_with_output().expect("an end");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn f_14_an_answer_before_the_end_of_an_upload_is_not_lost_to_curl() {
    let stage = Stage::on(Stage::plan().set("limits", "body = \"100KiB\""));
    for length in ["Content-Length: 1000000", "Content-Length:"] {
        assert_eq!(curl(&stage, "POST", &stage.cookie, length), "413", "{length}");
        assert_eq!(curl(&stage, "POST", "none", length), "401", "{length}");
        assert_eq!(curl(&stage, "TRACE", &stage.cookie, length), "405", "{length}");
    }
    assert!(stage.site.upstream.arrived().is_empty());
}

#[test]
fn r_07_an_upload_that_was_answered_early_makes_room_by_itself() {
    let stage = Stage::on(Stage::plan().set("limits", "streams = 1").rule("/open/**", "public"));
    let mut client = Bare::greets(&stage, 65_535);
    let upload = [&[0x83][..], &get(stage.host(), "/closed")[1..]].concat();
    client.sends(&frame(HEADERS, END_HEADERS, 1, &upload));
    assert!(matches!(client.hears(1), End::Whole(1..)));
    assert_eq!(client.hears(1), End::Reset(NO_ERROR), "the rest is not wanted (RFC 9113 §8.1)");
    client.asks(3, "/open/x");
    assert_eq!(client.hears(3), End::Whole("hello".len()));
    assert!(client.goodbyes.is_empty());
}
