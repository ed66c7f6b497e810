//! Requests by HTTP/2 that their client gives up cost no other that shares the connection to the app: apps end one on which
//! much is given up, and go on to work on it.

use std::io::Write as _;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use h2::server::Builder;
use tokio::sync::Semaphore;

use crate::jobs::eventually;
use crate::proxy::http2_apart::{before, by_frames, post, seen};
use crate::support::app2::App2;
use crate::support::bare::{Bare, End};
use crate::support::h2::{answered, frame, frames, get};
use crate::support::raw::PATIENCE;
use crate::support::stage::Stage;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

/// So many times `GET /open/x` and a reset of it, of which `of` makes what is sent.
fn burst(stage: &Stage, first: u32, count: u32, of: impl Fn(Vec<u8>, Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let block = get(stage.host(), "/open/x");
    let one = |number| {
        let stream = first + 2 * number;
        of(frame(HEADERS, 5, stream, &block), frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()))
    };
    (0..count).flat_map(one).collect()
}

#[test]
fn r_07_what_is_given_up_at_once_does_not_reach_the_app() {
    let (told, came) = channel();
    let app = frames(move |_, stream, (kind, _, of, _)| {
        let _ = told.send(kind);
        kind != HEADERS || stream.write_all(&answered(of)).is_ok()
    });
    let stage = by_frames(app);
    assert_eq!(stage.ask(stage.strange("GET /open/x HTTP/1.1", "")).status, 200);
    let mut client = Bare::greets(&stage, 65_535);
    client.sends(&burst(&stage, 1, 50, |head, reset| [head, reset].concat()));
    client.asks(101, "/open/x");
    assert_eq!(client.hears(101), End::Whole(0));
    assert_eq!(came.try_iter().filter(|kind| [HEADERS, RST_STREAM].contains(kind)).count(), 2);
}

#[test]
fn dos_3_what_is_given_up_does_not_end_what_others_wait_for() {
    let (told, came) = channel();
    let (go, wait) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (until, busy) = (Arc::clone(&go), Arc::clone(&wait));
    // One thread, which does nothing else while it is busy; streams that are reset before it looks are counted.
    let mut builder = Builder::new();
    builder.max_pending_accept_reset_streams(20);
    let app = App2::with(builder, move |call| {
        let (told, until, busy) = (told.clone(), Arc::clone(&until), Arc::clone(&busy));
        async move {
            let path = call.head.uri.path().to_owned();
            let _ = told.send(path.clone());
            match path.as_str() {
                "/open/wait" => drop(until.acquire().await),
                "/open/busy" => {
                    while busy.try_acquire().is_err() {
                        thread::sleep(Duration::from_millis(5));
                    }
                }
                _ => {}
            }
            call.say("hello");
        }
    });
    let stage = before(&app.toml());
    let mut victim = stage.connect();
    victim.send(post(&stage, "/open/wait"));
    assert_eq!(seen(&came), "/open/wait");
    let mut client = Bare::greets(&stage, 65_535);
    client.asks(1, "/open/busy");
    assert_eq!(seen(&came), "/open/busy");
    client.sends(&burst(&stage, 3, 40, |head, _| head));
    client.is_read();
    client.sends(&burst(&stage, 3, 40, |_, reset| reset));
    client.is_read();
    // By now the resets would have been sent on.
    thread::sleep(Duration::from_millis(100));
    wait.add_permits(1);
    assert_eq!(client.hears(1), End::Whole("hello".len()));
    go.add_permits(1);
    assert_eq!(victim.answer().text(), "hello");
    assert_eq!(app.connections(), 1);
}

#[test]
fn dos_3_an_app_has_no_more_to_do_on_a_connection_than_it_allows_though_requests_are_given_up() {
    const MOST: usize = 10;
    let (told, came) = channel();
    let go = Arc::new(Semaphore::new(0));
    let until = Arc::clone(&go);
    let mut builder = Builder::new();
    builder.max_concurrent_streams(u32::try_from(MOST).expect("few"));
    let app = App2::with(builder, move |call| {
        let (told, until) = (told.clone(), Arc::clone(&until));
        async move {
            let _ = told.send(());
            drop(until.acquire().await);
            call.say("hello");
        }
    });
    let stage = before(&app.toml());
    let mut victim = stage.connect();
    victim.send(post(&stage, "/open/wait"));
    seen(&came);
    let mut client = Bare::greets(&stage, 65_535);
    for number in 0..40 {
        client.asks(2 * number + 1, "/open/x");
        seen(&came);
        client.resets(2 * number + 1, CANCEL);
        client.is_read();
    }
    assert!((40 / MOST..=40).contains(&app.connections()), "{}", app.connections());
    go.add_permits(100);
    assert_eq!(victim.answer().text(), "hello");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what was looked at too late says nothing")]
fn r_6_what_is_given_up_still_counts_for_a_moment_and_then_makes_room() {
    const MOST: u32 = 10;
    let (told, came) = channel();
    let app = App2::with(Builder::new(), move |call| {
        let told = told.clone();
        async move {
            let _ = told.send(());
            std::future::pending::<()>().await;
            drop(call);
        }
    });
    let limits = format!("requests_per_address = {MOST}\nuncounted = []");
    let plan = Stage::plan().rule("/open/**", "public").set("limits", &limits);
    let stage = Stage::on(plan.set("upstream", &app.toml()));
    let mut client = Bare::greets(&stage, 65_535);
    client.sends(&burst(&stage, 1, MOST + 1, |head, _| head));
    (0..=MOST).for_each(|_| seen(&came));
    let begun = Instant::now();
    client.sends(&burst(&stage, 1, MOST + 1, |_, reset| reset));
    client.asks(101, "/open/x");
    client.asks(103, "/open/x");
    let late = || begun.elapsed() > Duration::from_millis(500);
    assert!(late() || client.hears(103) == End::Reset(REFUSED_STREAM), "the app may still work on it");
    drop(client);
    eventually("there is room", || {
        let mut client = Bare::greets(&stage, 65_535);
        client.asks(1, "/open/x");
        client.asks(3, "/open/x");
        came.recv_timeout(Duration::from_millis(50)).is_ok()
            && came.recv_timeout(Duration::from_millis(50)).is_ok()
    });
}

#[test]
fn an_answer_without_a_body_that_ends_by_a_frame_of_its_own_is_not_given_up() {
    let app = frames(|_, stream, (kind, _, of, _)| {
        // `:status: 200`, to be continued, and then nothing.
        let answer = [frame(HEADERS, 4, of, &[0x88]), frame(0, 1, of, b"")].concat();
        kind != HEADERS || stream.write_all(&answer).is_ok()
    });
    let stage = by_frames(app);
    let mut raw = stage.connect();
    for _ in 0..120 {
        raw.send(stage.strange("HEAD /open/x HTTP/1.1", ""));
        assert_eq!(raw.try_answer(true).expect("an answer").status, 200);
    }
    assert_eq!(stage.site.upstream.connections(), 1);
}

#[test]
fn a_call_of_grpc_is_given_up_at_once_unless_many_are() {
    /// How many are few.
    const FEW: usize = 8;
    let (told, came) = channel();
    let app = frames(move |_, _, (kind, _, of, _)| {
        if [HEADERS, RST_STREAM].contains(&kind) {
            let _ = told.send((kind, of));
        }
        true
    });
    let stage = by_frames(app);
    let mut client = Bare::greets(&stage, 65_535);
    client.asks(1, "/open/plain");
    assert_eq!(seen(&came), (HEADERS, 1));
    for number in 1..=12 {
        // `content-type`, a literal that is not indexed (RFC 7541 §6.2.2).
        let of_grpc = [&[0x0f, 0x10, 16], &b"application/grpc"[..]].concat();
        let block = [get(stage.host(), "/open/call"), of_grpc].concat();
        client.sends(&frame(HEADERS, 5, 2 * number + 1, &block));
        assert_eq!(seen(&came), (HEADERS, 2 * number + 1));
    }
    for number in 0..=12 {
        client.resets(2 * number + 1, CANCEL);
    }
    let heard: Vec<_> = (0..=12).map(|_| seen(&came)).collect();
    // It was given up first, and waits.
    assert_eq!(heard.iter().position(|&reset| reset == (RST_STREAM, 1)), Some(FEW), "{heard:?}");
}

#[test]
fn what_breaks_the_rules_is_given_up_at_once() {
    let (told, came) = channel();
    let app = frames(move |_, stream, (kind, _, of, _)| {
        if [HEADERS, RST_STREAM].contains(&kind) {
            let _ = told.send((kind, of));
        }
        // More interim answers than there may be, or none: `:status: 103`.
        let hints = if of == 3 { frame(HEADERS, 4, of, b"\x08\x03103").repeat(9) } else { Vec::new() };
        kind != HEADERS || stream.write_all(&hints).is_ok()
    });
    let stage = by_frames(app);
    let mut client = Bare::greets(&stage, 65_535);
    client.asks(1, "/open/x");
    assert_eq!(seen(&came), (HEADERS, 1));
    client.resets(1, CANCEL);
    client.is_read();
    client.asks(3, "/open/hints");
    let heard: Vec<_> = (0..3).map(|_| seen(&came)).collect();
    assert_eq!(heard, [(HEADERS, 3), (RST_STREAM, 3), (RST_STREAM, 1)]);
}

#[test]
fn an_answer_that_comes_as_its_session_ends_costs_nobody_the_connection() {
    let ((told, came), (go, may_go)) = (channel(), channel::<()>());
    let may_go = Mutex::new(may_go);
    let app = frames(move |_, stream, (kind, _, of, _)| {
        if kind != HEADERS {
            return true;
        }
        let _ = told.send(of);
        if of != 1 {
            return stream.write_all(&answered(of)).is_ok();
        }
        let _ = may_go.lock().expect("no panic").recv_timeout(PATIENCE);
        // Trailer fields follow when nobody waits for them any more: `x: y`, without compression (RFC 7541 §6.2.2).
        let begun = stream.write_all(&frame(HEADERS, 4, of, &[0x88])).is_ok();
        thread::sleep(Duration::from_millis(300));
        begun && stream.write_all(&frame(HEADERS, 5, of, b"\x00\x01x\x01y")).is_ok()
    });
    let stage = by_frames(app);
    let mut client = stage.connect();
    client.send(stage.signed("GET /x HTTP/1.1", ""));
    assert_eq!(came.recv_timeout(PATIENCE), Ok(1));
    // From then on it is looked whether its session has ended.
    thread::sleep(Duration::from_millis(1200));
    stage.sign_out();
    go.send(()).expect("the app waits");
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(stage.ask(stage.strange("GET /open/x HTTP/1.1", "")).status, 200);
    assert_eq!(stage.site.upstream.connections(), 1);
}
