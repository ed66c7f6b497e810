//! Connections and streams by HTTP/2 that end: a request is sent again only where nothing can happen twice.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::Builder;

use crate::proxy::streaming::{noise, unchunked};
use crate::support::app2::App2;
use crate::support::h2::{answered, frame, frames, goaway};
use crate::support::raw::PATIENCE;
use crate::support::site::Plan;
use crate::support::stage::Stage;
use crate::support::upstream::Upstream;

fn before(app: &App2) -> Plan {
    Stage::plan().set("upstream", &app.toml())
}

fn by_frames(app: Upstream, more: &str) -> Stage {
    Stage::on(Stage::plan().upstream(app).set("upstream", "protocol = \"h2c\"").set("upstream", more))
}

#[test]
fn an_app_that_says_goodbye_after_every_request_costs_none() {
    let app = App2::hello();
    let stage = Stage::on(before(&app));
    let mut raw = stage.connect();
    for number in 0..100 {
        let fields = "X-Go-Away: 1\r\nContent-Length: 4\r\n";
        let response = raw.send(stage.signed("POST /x HTTP/1.1", fields)).send("four").answer();
        assert_eq!(response.status, 200, "request {number}");
    }
    assert_eq!(app.arrived().len(), 100);
    assert!(app.connections() > 50, "{}", app.connections());
}

#[test]
fn rfc_9113_8_7_what_the_app_did_not_look_at_is_sent_again_whole() {
    let refusals = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&refusals);
    let app = App2::with(Builder::new(), move |mut call| {
        let first = counted.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        async move {
            let (body, trailers) = call.collect().await;
            if first {
                call.reply.send_reset(Reason::REFUSED_STREAM);
                return;
            }
            assert_eq!(
                (body.as_slice(), trailers.expect("trailers")["x-md5"].as_bytes()),
                (&b"four"[..], &b"1"[..])
            );
            call.say("hello");
        }
    });
    let stage = Stage::on(before(&app));
    for count in 1..=3 {
        let post = stage.signed("POST /x HTTP/1.1", "Transfer-Encoding: chunked\r\n");
        let response = stage.ask(format!("{post}4\r\nfour\r\n0\r\nx-md5: 1\r\n\r\n"));
        assert_eq!((response.status, app.arrived().len()), (200, 2 * count));
    }
}

#[test]
fn rfc_9113_8_7_a_body_that_is_sent_again_goes_on_to_its_end_though_it_is_answered_before() {
    let body = noise(10_000);
    let calls = AtomicUsize::new(0);
    let mut builder = Builder::new();
    // So that most of what is sent again still waits when the answer begins.
    builder.initial_window_size(1000);
    let app = App2::with(builder, move |mut call| {
        let first = calls.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                let mut got = 0;
                while got < 8000 {
                    let data = call.body.data().await.expect("more of it").expect("a body");
                    let _ = call.body.flow_control().release_capacity(data.len());
                    got += data.len();
                }
                call.reply.send_reset(Reason::REFUSED_STREAM);
                return;
            }
            let mut answer = call.begin("application/octet-stream");
            let _ = answer.send_data(Bytes::from_static(b"early"), false);
            let (body, _) = call.collect().await;
            let _ = answer.send_data(Bytes::from(body), true);
        }
    });
    let stage = Stage::on(before(&app));
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /x HTTP/1.1", "Transfer-Encoding: chunked\r\n"));
    let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    for piece in body[..8000].chunks(2000) {
        raw.send(chunk(piece));
    }
    // The rest comes when the second answer has begun.
    assert_eq!(raw.head().expect("a head").status, 200);
    raw.send(chunk(&body[8000..])).send("0\r\n\r\n").end();
    let answer = raw.rest().expect("an answer");
    let echoed = unchunked(&answer);
    assert!(echoed.strip_prefix(b"early") == Some(&body), "{} bytes came back", echoed.len());
    assert_eq!(app.arrived().len(), 2);
}

#[test]
fn rfc_9113_8_7_what_the_app_may_have_looked_at_is_not_sent_again() {
    for (reason, times) in [(Reason::INTERNAL_ERROR, 1), (Reason::CANCEL, 1), (Reason::REFUSED_STREAM, 3)] {
        let app = App2::with(Builder::new(), move |mut call| async move { call.reply.send_reset(reason) });
        let stage = Stage::on(before(&app));
        assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 502, "{reason:?}");
        assert_eq!(app.arrived().len(), times, "{reason:?}");
    }
    // Too much of the body is gone to send it again.
    let app = App2::with(Builder::new(), |mut call| async move {
        let _ = call.collect().await;
        call.reply.send_reset(Reason::REFUSED_STREAM);
    });
    let stage = Stage::on(before(&app));
    let large = vec![b'a'; 60_000];
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /x HTTP/1.1", "Content-Length: 60000\r\n")).send(large);
    assert_eq!((raw.answer().status, app.arrived().len()), (502, 1));
}

#[test]
fn rfc_9113_6_8_a_request_behind_the_last_that_counts_is_sent_again_even_with_an_effect() {
    // The first connection answers its first request and leaves at the second, the others answer all.
    let app = frames(|number, stream, (kind, _, id, _)| match (kind, number, id) {
        (1, 1, 3) => {
            let _ = stream.write_all(&goaway(1));
            false
        }
        (1, ..) => stream.write_all(&answered(id)).is_ok(),
        _ => true,
    });
    let stage = by_frames(app, "");
    for _ in 0..3 {
        let post = stage.signed("POST /x HTTP/1.1", "Content-Length: 4\r\n");
        assert_eq!(stage.ask(format!("{post}four")).status, 200);
    }
    assert_eq!(stage.site.upstream.connections(), 2);
}

#[test]
fn u_5_a_connection_that_is_lost_costs_no_request_without_effect_and_repeats_no_other() {
    // Every connection is lost at its second request.
    let app = frames(|_, stream, (kind, _, id, _)| match (kind, id) {
        (1, 1) => stream.write_all(&answered(id)).is_ok(),
        (1, _) => false,
        _ => true,
    });
    let stage = by_frames(app, "");
    for _ in 0..5 {
        assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 200);
    }
    // What is sent again has one of its own.
    assert_eq!(stage.site.upstream.connections(), 5);
    assert_eq!(stage.ask(stage.signed("POST /x HTTP/1.1", "Content-Length: 0\r\n")).status, 502);
    assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 200);
}

#[test]
fn an_app_that_vanished_is_noticed_before_its_requests_are_given_up() {
    let app = frames(|number, stream, (kind, _, id, _)| match kind {
        1 if number > 1 || id == 1 => stream.write_all(&answered(id)).is_ok(),
        // From the second request on nothing is heard of the first connection, not even to a ping.
        _ => true,
    });
    let stage = by_frames(app, "ping = \"300ms\"\nresponse_timeout = \"30s\"");
    assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 200);
    assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 200, "it is sent again");
    assert_eq!(stage.site.upstream.connections(), 2);
}

#[test]
fn a_connection_on_which_no_request_is_answered_gets_no_more_however_much_is_said_on_it() {
    let app = frames(|number, stream, (kind, _, id, _)| {
        let said = if number > 1 { answered(id) } else { frame(8, 0, 0, &1_u32.to_be_bytes()) };
        kind != 1 || stream.write_all(&said).is_ok()
    });
    let stage = by_frames(app, "response_timeout = \"1s\"");
    let statuses = [(); 4].map(|()| stage.ask(stage.signed("GET /x HTTP/1.1", "")).status);
    assert_eq!(statuses, [504, 504, 504, 200]);
    assert_eq!(stage.site.upstream.connections(), 2);
}

#[test]
fn a_connection_on_which_others_are_answered_is_kept() {
    let app = App2::with(Builder::new(), |call| async move {
        if call.head.uri.path() == "/slow" {
            std::future::pending::<()>().await;
        }
        call.say("hello");
    });
    let stage = Stage::on(before(&app).set("upstream", "response_timeout = \"1s\""));
    for _ in 0..4 {
        let mut slow = stage.connect();
        slow.send(stage.signed("GET /slow HTTP/1.1", ""));
        assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 200);
        assert_eq!(slow.answer().status, 504);
    }
    assert_eq!(app.connections(), 1);
}

#[test]
fn an_idle_connection_is_closed_with_a_goodbye() {
    let (told, heard) = channel();
    let app = frames(move |_, stream, (kind, _, id, _)| {
        let _ = told.send(kind);
        kind != 1 || stream.write_all(&answered(id)).is_ok()
    });
    let stage = by_frames(app, "keep_alive = \"200ms\"");
    assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 200);
    while heard.recv_timeout(PATIENCE).expect("a frame") != 7 {}
}

#[test]
fn an_app_is_asked_by_http_2_whether_it_is_well() {
    let well = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&well);
    let app = App2::with(Builder::new(), move |mut call| {
        let status =
            if call.head.uri.path() != "/healthz" || asked.load(Ordering::SeqCst) { 200 } else { 500 };
        async move {
            let head = http::Response::builder().status(status).body(()).expect("a response");
            let _ = call.reply.send_response(head, true);
        }
    });
    let health = "path = \"/healthz\"\ninterval = \"100ms\"\nhealthy = 1\nunhealthy = 1";
    let stage = Stage::on(before(&app).set("upstream.health", health));
    let becomes = |status: u16| {
        let found = (0..400).any(|_| {
            std::thread::sleep(Duration::from_millis(25));
            stage.ask(stage.signed("GET /x HTTP/1.1", "")).status == status
        });
        assert!(found, "it never became {status}");
    };
    becomes(503);
    well.store(true, Ordering::SeqCst);
    becomes(200);
}

#[test]
fn r_10_a_body_that_grows_too_large_is_refused_and_its_stream_ended() {
    let (told, ended) = channel();
    let app = App2::with(Builder::new(), move |mut call| {
        let told = told.clone();
        async move {
            while let Some(Ok(data)) = call.body.data().await {
                let _ = call.body.flow_control().release_capacity(data.len());
            }
            let _ = told.send(std::future::poll_fn(|cx| call.reply.poll_reset(cx)).await);
        }
    });
    let stage = Stage::on(before(&app).set("limits", "body = 10"));
    let declared = stage.signed("POST /x HTTP/1.1", "Content-Length: 11\r\n");
    assert_eq!(stage.ask(format!("{declared}hello hello")).status, 413);
    assert!(app.arrived().is_empty());
    let chunked = stage.signed("POST /x HTTP/1.1", "Transfer-Encoding: chunked\r\n");
    assert_eq!(stage.ask(format!("{chunked}5\r\nhello\r\n6\r\n hello\r\n0\r\n\r\n")).status, 413);
    assert_eq!(ended.recv_timeout(PATIENCE).expect("an end").expect("a reset"), Reason::CANCEL);
}

#[test]
fn what_an_app_that_has_too_much_to_send_on_a_connection_does_not_want_is_asked_on_another_one() {
    let (told, came) = channel();
    // The second one takes nothing, the others one request each.
    let app = frames(move |number, stream, (kind, _, of, _)| {
        if kind != 1 {
            return true;
        }
        let _ = told.send((number, of));
        let calm = frame(3, 0, of, &11_u32.to_be_bytes());
        let answer = if number == 2 || of > 1 { calm } else { answered(of) };
        stream.write_all(&answer).is_ok()
    });
    let stage = by_frames(app, "");
    let get = || stage.ask(stage.signed("GET /x HTTP/1.1", "")).status;
    assert_eq!([get(), get()], [200, 200]);
    // One with an effect is not repeated.
    assert_eq!(stage.ask(stage.signed("POST /x HTTP/1.1", "Content-Length: 2\r\n") + "hi").status, 502);
    assert_eq!(came.try_iter().collect::<Vec<_>>(), [(1, 1), (1, 3), (2, 1), (3, 1), (3, 3)]);
}
