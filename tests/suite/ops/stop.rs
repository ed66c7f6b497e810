//! Going down in order: unready first, then no more connections, then the end of what has none of its own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::Program;
use crate::jobs::eventually;
use crate::support::raw::Raw;
use crate::support::stage::Stage;
use crate::support::upstream::Upstream;

const HANDSHAKE: &str = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The close frame that says that the server goes away, and why (RFC 6455 §5.5.1).
pub(crate) fn going_away(why: &str) -> Vec<u8> {
    [&[0x88, u8::try_from(why.len() + 2).expect("short"), 0x03, 0xe9], why.as_bytes()].concat()
}

/// An app that switches, sends these bytes, and waits for the end.
fn switching(bytes: &'static [u8]) -> Upstream {
    Upstream::with(move |_, stream| {
        let _ = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
        let _ = stream.write_all(bytes);
        let _ = stream.read(&mut [0]);
    })
}

fn open(stage: &Stage) -> Raw {
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /socket HTTP/1.1", HANDSHAKE));
    assert_eq!(raw.head().expect("an answer").status, 101);
    raw
}

#[test]
fn readiness_fails_first_and_for_the_grace_everything_is_served() {
    let app = Upstream::hello();
    let open = "[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n";
    let mut program = Program::start(app.address, &format!("[limits]\ngrace = \"4s\"\n{open}"));
    assert_eq!(program.told("/readyz").status, 200);
    program.signal("-TERM");
    eventually("it is not ready any more", || program.told("/readyz").status == 503);
    // A new connection is still taken.
    assert_eq!(program.visitor().get("/open/x").text(), "hello");
    assert_eq!(program.told("/healthz").status, 200);
    assert_eq!(program.exit_code(), Some(0));
    assert!(TcpStream::connect(program.address).is_err());
    let lines = program.lines().join("\n");
    let at = |text: &str| lines.find(text).unwrap_or_else(|| panic!("{text} in {lines}"));
    assert!(at("going down") < at("stopping"));
}

#[test]
fn a_second_signal_during_the_grace_ends_at_once() {
    let app = Upstream::hello();
    let mut program = Program::start(app.address, "[limits]\ngrace = \"60s\"\n");
    program.signal("-TERM");
    eventually("it is not ready any more", || program.told("/readyz").status == 503);
    program.signal("-TERM");
    assert_eq!(program.exit_code(), Some(1));
}

#[test]
fn a_websocket_that_is_cut_at_the_end_of_the_drain_time_is_told_so_between_two_frames() {
    // A text frame, whole.
    let plan = Stage::plan().set("limits", "drain = \"300ms\"").upstream(switching(b"\x81\x05hello"));
    let mut stage = Stage::on(plan);
    let mut raw = open(&stage);
    assert_eq!(raw.exactly(7).expect("the frame"), b"\x81\x05hello");
    let server = stage.site.take_server();
    let stopped = thread::spawn(move || server.stop());
    assert_eq!(raw.rest().expect("an orderly end"), going_away("going down"));
    drop(raw);
    stopped.join().expect("no panic");
}

#[test]
fn within_a_frame_nothing_can_be_told() {
    // Five bytes of seven.
    let plan = Stage::plan().set("limits", "drain = \"300ms\"").upstream(switching(b"\x81\x07hello"));
    let mut stage = Stage::on(plan);
    let mut raw = open(&stage);
    assert_eq!(raw.exactly(7).expect("what came of the frame"), b"\x81\x07hello");
    stage.site.stop();
    assert!(raw.is_closed(), "nothing more comes");
}

#[test]
fn a_client_that_does_not_listen_to_its_end_holds_nobody_up() {
    let plan = Stage::plan().set("limits", "drain = \"100ms\"").upstream(switching(b""));
    let mut stage = Stage::on(plan);
    let _silent = open(&stage);
    let server = stage.site.take_server();
    let stopped = thread::spawn(move || server.stop());
    for _ in 0..500 {
        if stopped.is_finished() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("it waits for a client that does not close");
}
