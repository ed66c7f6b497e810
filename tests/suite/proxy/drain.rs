//! Going down: running requests finish, idle connections end, and nothing outlives the drain time.

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::support::bare::{Bare, End};
use crate::support::raw::PATIENCE;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

/// An app that says when it was asked and answers when it may.
fn waiting() -> (Upstream, Receiver<()>, Sender<()>) {
    let (asked, was_asked) = channel();
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let upstream = Upstream::with(move |_, stream| {
        let _ = asked.send(());
        let _ = may_go.lock().expect("no panic").recv_timeout(PATIENCE);
        let _ = stream.write_all(ok("at last").as_bytes());
    });
    (upstream, was_asked, go)
}

#[test]
fn u_10_a_running_request_finishes_idle_connections_end_and_new_ones_are_refused() {
    let (upstream, was_asked, go) = waiting();
    let mut stage = Stage::on(Stage::plan().upstream(upstream));
    let mut idle = stage.connect();
    assert_eq!(idle.send(stage.strange("GET /auth/ok HTTP/1.1", "")).answer().status, 200);
    let mut fresh = stage.connect();
    let mut running = stage.connect();
    running.send(stage.signed("GET /x HTTP/1.1", ""));
    was_asked.recv_timeout(PATIENCE).expect("the app was asked");

    let server = stage.site.take_server();
    let stopped = thread::spawn(move || server.stop());
    assert!(idle.is_closed() && fresh.is_closed());
    let refused = (0..500).any(|_| {
        thread::sleep(Duration::from_millis(10));
        std::net::TcpStream::connect(stage.site.address).is_err()
    });
    assert!(refused, "nobody listens any more");
    assert!(!stopped.is_finished(), "a request is running");
    go.send(()).expect("the app waits");
    let response = running.answer();
    assert_eq!((response.text().as_str(), response.header("connection")), ("at last", Some("close")));
    assert!(running.is_closed());
    stopped.join().expect("no panic");
}

#[test]
fn u_10_what_is_not_done_in_the_drain_time_is_cut() {
    let (upstream, was_asked, _go) = waiting();
    let mut stage = Stage::on(Stage::plan().set("limits", "drain = \"200ms\"").upstream(upstream));
    let mut running = stage.connect();
    running.send(stage.signed("GET /x HTTP/1.1", ""));
    was_asked.recv_timeout(PATIENCE).expect("the app was asked");
    stage.site.stop();
    assert!(running.is_closed());
}

#[test]
fn u_10_tunnels_have_the_drain_time_too() {
    let upstream = Upstream::with(|_, stream| {
        let _ = stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        let mut byte = [0];
        while std::io::Read::read(stream, &mut byte).is_ok_and(|count| count > 0) {
            let _ = stream.write_all(&byte);
        }
    });
    let mut stage = Stage::on(
        Stage::plan()
            .set("limits", "drain = \"4s\"")
            .set("upstream", "upgrades = [\"x\"]")
            .upstream(upstream),
    );
    let mut idle = stage.connect();
    assert_eq!(idle.send(stage.strange("GET /auth/ok HTTP/1.1", "")).answer().status, 200);
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /x HTTP/1.1", "Connection: upgrade\r\nUpgrade: x\r\n"));
    assert_eq!(raw.head().expect("an answer").status, 101);
    let server = stage.site.take_server();
    let stopped = thread::spawn(move || server.stop());
    assert!(idle.is_closed(), "it is going down");
    raw.send("x");
    assert_eq!(raw.exactly(1).expect("the echo"), b"x");
    stopped.join().expect("no panic");
    assert!(raw.is_closed());
}

/// An app that answers at once, but at `/open/slow` only when it may.
fn waiting_where_slow() -> (Upstream, Receiver<()>, Sender<()>) {
    let (asked, was_asked) = channel();
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let upstream = Upstream::with(move |arrived, stream| {
        if arrived.line.contains("slow") {
            let _ = asked.send(());
            let _ = may_go.lock().expect("no panic").recv_timeout(PATIENCE);
        }
        let _ = stream.write_all(ok("at last").as_bytes());
    });
    (upstream, was_asked, go)
}

#[test]
fn rfc_9113_6_8_after_as_many_requests_as_were_chosen_a_connection_of_http_2_ends_in_order() {
    let (upstream, was_asked, go) = waiting_where_slow();
    let plan = Stage::plan().set("limits", "requests_per_connection = 3").rule("/open/**", "public");
    let stage = Stage::on(plan.upstream(upstream));
    let mut client = Bare::greets(&stage, 65_535);
    client.asks(1, "/open/slow");
    was_asked.recv_timeout(PATIENCE).expect("the app was asked");
    for stream in [3, 5] {
        client.asks(stream, "/open/x");
        assert_eq!(client.hears(stream), End::Whole(7));
    }
    go.send(()).expect("the app waits");
    assert_eq!(client.hears(1), End::Whole(7), "what was under way ends");
    assert!(client.is_ended(), "and the connection with it");
    // First that there is an end, then where it is (RFC 9113 §6.8); no error.
    assert_eq!(client.goodbyes, [(i32::MAX.cast_unsigned(), 0), (5, 0)]);
    let mut client = Bare::greets(&stage, 65_535);
    client.asks(1, "/open/x");
    assert_eq!(client.hears(1), End::Whole(7), "another connection is as good");
    assert!(client.goodbyes.is_empty());
}

#[test]
fn rfc_9113_6_8_who_does_not_answer_that_it_was_told_to_go_is_not_served_for_ever() {
    let (upstream, was_asked, go) = waiting_where_slow();
    let plan = Stage::plan().set("limits", "requests_per_connection = 2").rule("/open/**", "public");
    let stage = Stage::on(plan.upstream(upstream));
    let mut client = Bare::greets(&stage, 65_535).deaf();
    client.asks(1, "/open/slow");
    was_asked.recv_timeout(PATIENCE).expect("the app was asked");
    let mut asks = (3..).step_by(2).map(|stream| {
        thread::sleep(Duration::from_millis(50));
        client.asks(stream, "/open/x");
        (stream, client.hears(stream))
    });
    assert_eq!(asks.next(), Some((3, End::Whole(7))));
    assert_eq!(asks.next(), Some((5, End::Whole(7))), "it may not have heard of it yet");
    let (last, end) = asks.take(400).find(|(_, end)| *end != End::Whole(7)).expect("an end of it");
    assert_eq!(end, End::Reset(7), "refused unseen");
    go.send(()).expect("the app waits");
    assert_eq!(client.hears(1), End::Whole(7), "what was under way ends");
    assert!(client.is_ended(), "and the connection with it");
    assert_eq!(client.goodbyes, [(i32::MAX.cast_unsigned(), 0), (last, 0)]);
}

#[test]
fn u_10_who_does_not_answer_that_it_was_told_to_go_holds_nobody_up() {
    let plan = Stage::plan().set("limits", "drain = \"10m\"").rule("/open/**", "public");
    let mut stage = Stage::on(plan);
    let mut client = Bare::greets(&stage, 65_535).deaf();
    client.asks(1, "/open/x");
    assert_eq!(client.hears(1), End::Whole("hello".len()));
    let server = stage.site.take_server();
    let stopped = thread::spawn(move || server.stop());
    assert!(client.is_ended());
    assert_eq!(client.goodbyes, [(i32::MAX.cast_unsigned(), 0), (1, 0)]);
    stopped.join().expect("no panic");
}
