//! Clients of HTTP/2 that take nothing of what they asked for (RFC 9113 §6.9, §10.5).

use std::future::poll_fn;
use std::io::Write as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use crate::support::app2::App2;
use crate::support::bare::{Bare, End};
use crate::support::raw::PATIENCE;
use crate::support::site::Plan;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

const CANCEL: u32 = 8;

fn plan() -> Plan {
    Stage::plan().set("limits", "body_idle = \"300ms\"").rule("/open/**", "public")
}

/// An app that answers without end, and says when it may not any more.
fn endless() -> (Upstream, Receiver<()>) {
    let (freed, was_freed): (Sender<()>, _) = channel();
    let upstream = Upstream::with(move |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n");
        while stream.write_all(&vec![b'x'; 1 << 16]).is_ok() {}
        let _ = freed.send(());
        let _ = stream.shutdown(std::net::Shutdown::Both);
    });
    (upstream, was_freed)
}

#[test]
fn dos_1_and_r_3_an_answer_for_which_no_window_is_opened_is_reset_and_the_app_is_free_again() {
    let (upstream, was_freed) = endless();
    let stage = Stage::on(plan().upstream(upstream));
    // No window, next to none, the usual one, and one that only that of the connection bounds.
    for window in [0, 1, 65_535, 1 << 30] {
        let mut client = Bare::greets(&stage, window);
        client.asks(1, "/open/x");
        assert_eq!(client.hears(1), End::Reset(CANCEL), "a window of {window}");
        was_freed.recv_timeout(PATIENCE).expect("the app is let go");
        // It is one stream that ends: who takes what is answered in the next one gets it.
        client.asks(3, "/auth/ok");
        client.opens(3, 1 << 16);
        assert!(matches!(client.hears(3), End::Whole(1..)));
    }
}

#[test]
fn dos_1_and_r_3_a_short_answer_is_waited_for_no_longer() {
    let stage = Stage::on(plan());
    for window in [0, 1] {
        let mut client = Bare::greets(&stage, window);
        for (stream, path) in [(1, "/open/x"), (3, "/auth/ok"), (5, "/closed")] {
            client.asks(stream, path);
            assert_eq!(client.hears(stream), End::Reset(CANCEL), "{path} with a window of {window}");
        }
    }
}

#[test]
fn dos_1_and_r_3_the_stream_of_an_app_that_speaks_http_2_is_free_again_too() {
    let (freed, was_freed) = channel();
    let app = App2::with(h2::server::Builder::new(), move |mut call| {
        let freed = freed.clone();
        async move {
            let mut body = call.begin("text/plain");
            let _ = body.send_data(Bytes::from(vec![b'x'; 10_000_000]), false);
            if poll_fn(|cx| body.poll_reset(cx)).await.is_ok() {
                let _ = freed.send(());
            }
        }
    });
    let stage = Stage::on(plan().set("upstream", &app.toml()));
    let mut client = Bare::greets(&stage, 65_535);
    client.asks(1, "/open/x");
    assert_eq!(client.hears(1), End::Reset(CANCEL));
    was_freed.recv_timeout(PATIENCE).expect("the app's stream is reset");
}

#[test]
fn r_3_who_takes_a_little_each_time_is_waited_for_and_so_is_an_app_that_pauses() {
    const SIZE: usize = 200_000;
    let upstream = Upstream::with(|arrived, stream| {
        if arrived.line.contains("large") {
            let _ = stream.write_all(ok(&"x".repeat(SIZE)).as_bytes());
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        for piece in ["xxx", "xx"] {
            thread::sleep(Duration::from_millis(2500));
            let _ = stream.write_all(piece.as_bytes());
        }
    });
    let stage = Stage::on(plan().set("limits", "body_idle = \"2s\"").upstream(upstream));
    let mut client = Bare::greets(&stage, 0);
    client.asks(1, "/open/large");
    for _ in 0..SIZE.div_ceil(16_384) {
        thread::sleep(Duration::from_millis(200));
        client.opens(1, 16_384);
    }
    assert_eq!(client.hears(1), End::Whole(SIZE));
    let mut client = Bare::greets(&stage, 65_535);
    client.asks(1, "/open/slow");
    assert_eq!(client.hears(1), End::Whole(5));
}

#[test]
fn a_connection_whose_requests_were_all_given_up_is_idle_and_ends_as_such() {
    let (asked, was_asked) = channel();
    let upstream = Upstream::with(move |_, _| {
        let _ = asked.send(());
        thread::sleep(PATIENCE);
    });
    let limits = "keep_alive = \"300ms\"";
    let stage = Stage::on(Stage::plan().set("limits", limits).rule("/open/**", "public").upstream(upstream));
    let mut client = Bare::greets(&stage, 65_535);
    client.asks(1, "/open/x");
    was_asked.recv_timeout(PATIENCE).expect("the app was asked");
    client.resets(1, CANCEL);
    assert_eq!(client.is_told_to_leave(), (1, 0), "which requests were looked at");
    assert!(client.is_ended());
}
