//! One client's request by HTTP/2 ends no other's, whatever the client does and however the app sends.

use std::io::Write as _;
use std::sync::Mutex;

use crate::jobs::eventually;
use crate::support::app2::App2;
use crate::support::bare::{Bare, End};
use crate::support::h2::{answered, frame, frames};
use crate::support::stage::Stage;
use crate::support::upstream::Upstream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;

fn before(app: Upstream) -> Stage {
    Stage::on(Stage::plan().rule("/open/**", "public").upstream(app).set("upstream", "protocol = \"h2c\""))
}

/// As many pieces of one byte as the app may send ahead where many share the connection.
const PIECES: usize = 30_000;

/// `:status: 200`, to be continued.
fn begun(stream: u32) -> Vec<u8> {
    frame(HEADERS, 4, stream, &[0x88])
}

/// The request that must not be lost: the first of the connection, and none that could be sent again.
fn asked(stage: &Stage) -> crate::support::raw::Raw {
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /x HTTP/1.1", "Content-Length: 2\r\n")).send("hi");
    while stage.site.upstream.connections() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    raw
}

#[test]
fn dos_3_a_client_that_does_not_read_small_pieces_ends_nobody_elses_request() {
    let app = frames(|_, stream, (kind, _, of, _)| {
        if kind != HEADERS || of == 1 {
            return true;
        }
        let pieces = frame(DATA, 0, of, b"x").repeat(PIECES);
        stream.write_all(&[begun(of), pieces, answered(1)].concat()).is_ok()
    });
    let stage = before(app);
    let mut waiting = asked(&stage);
    let mut client = Bare::greets(&stage, 0);
    client.asks(1, "/open/x");
    assert_eq!(waiting.answer().status, 200);
    assert_eq!(stage.site.upstream.connections(), 1);
    // Nor does another that reads late lose anything of it.
    let app = frames(|_, stream, (kind, _, of, _)| {
        let pieces = [frame(DATA, 0, of, b"x").repeat(PIECES), frame(DATA, END_STREAM, of, b"y")].concat();
        kind != HEADERS || stream.write_all(&[begun(of), pieces].concat()).is_ok()
    });
    let stage = before(app);
    let mut client = Bare::greets(&stage, 0);
    client.asks(1, "/open/x");
    std::thread::sleep(std::time::Duration::from_millis(300));
    client.opens(1, 100_000);
    assert_eq!(client.hears(1), End::Whole(PIECES + 1));
}

#[test]
fn dos_3_downloads_that_are_given_up_end_nobody_elses_request() {
    const MANY: usize = 98;
    let resets = Mutex::new(Vec::new());
    let app = frames(move |_, stream, (kind, _, of, _)| match kind {
        HEADERS if of > 1 => stream.write_all(&[begun(of), frame(DATA, 0, of, b"x")].concat()).is_ok(),
        RST_STREAM => {
            let mut resets = resets.lock().expect("no panic");
            resets.push(of);
            if resets.len() < MANY {
                return true;
            }
            // What was on its way of all of them.
            let late = resets.iter().flat_map(|of| frame(DATA, 0, *of, &[b'x'; 300]).repeat(20));
            let late: Vec<u8> = late.collect();
            stream.write_all(&[late, answered(1)].concat()).is_ok()
        }
        _ => true,
    });
    let stage = before(app);
    let mut waiting = asked(&stage);
    let mut client = Bare::greets(&stage, 65_535);
    let streams = (0..u32::try_from(MANY).expect("few")).map(|number| 2 * number + 1);
    for stream in streams.clone() {
        client.asks(stream, "/open/x");
        assert!(client.is_answered(stream));
    }
    // At once: on a connection on which much was given up there begins nothing more.
    streams.for_each(|stream| client.resets(stream, 8));
    assert_eq!(waiting.answer().status, 200);
    assert_eq!(stage.site.upstream.connections(), 1);
}

#[test]
fn an_app_may_send_frames_that_carry_nothing() {
    let app = frames(|_, stream, (kind, _, of, _)| {
        let last = frame(DATA, END_STREAM, of, b"hello");
        let pieces = [begun(of), frame(DATA, 0, of, b"").repeat(300), last].concat();
        kind != HEADERS || stream.write_all(&pieces).is_ok()
    });
    let stage = before(app);
    for _ in 0..5 {
        assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).text(), "hello");
    }
    assert_eq!(stage.site.upstream.connections(), 1);
}

#[test]
fn dos_3_a_body_in_tiny_chunks_ends_nobody_elses_request() {
    let (go, may_go) = tokio::sync::watch::channel(false);
    // It reads late, as an app does that is busy.
    let app = App2::with(h2::server::Builder::new(), move |call| {
        let mut may_go = may_go.clone();
        async move {
            let _ = may_go.wait_for(|go| *go).await;
            call.say("hello");
        }
    });
    let stage = Stage::on(Stage::plan().set("upstream", &app.toml()));
    let mut waiting = stage.connect();
    waiting.send(stage.signed("POST /x HTTP/1.1", "Content-Length: 2\r\n")).send("hi");
    eventually("it is asked", || app.arrived().len() == 1);
    let mut raw = stage.connect();
    let head = stage.signed("POST /y HTTP/1.1", "Transfer-Encoding: chunked\r\n");
    raw.send(head + &"1\r\nx\r\n".repeat(20_000) + "0\r\n\r\n");
    eventually("the chunks follow", || app.arrived().len() == 2);
    std::thread::sleep(std::time::Duration::from_millis(300));
    go.send(true).expect("it waits");
    assert_eq!((waiting.answer().status, raw.answer().status, app.connections()), (200, 200, 1));
}
