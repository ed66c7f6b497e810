//! Tunnels, `WebSocket` and others: opened only by both sides, carried byte for byte, ended with the session.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::ops::stop::going_away;
use crate::support::raw::{PATIENCE, Raw};
use crate::support::stage::Stage;
use crate::support::upstream::Upstream;

const HANDSHAKE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n";
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

/// An app that switches, says `greeting`, and then says everything back.
fn echo(greeting: &'static [u8]) -> Upstream {
    Upstream::with(move |_, stream| {
        let _ = stream.write_all(&[SWITCH, greeting].concat());
        let mut buffer = vec![0; 65_536];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let _ = stream.write_all(&buffer[..count]);
        }
        let _ = stream.shutdown(Shutdown::Both);
    })
}

fn open(stage: &Stage) -> Raw {
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /socket HTTP/1.1", HANDSHAKE));
    assert_eq!(raw.head().expect("an answer").status, 101);
    raw
}

#[test]
fn a_websocket_is_opened_with_everything_that_belongs_to_it() {
    let stage = Stage::on(Stage::plan().upstream(echo(b"welcome")));
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /socket?room=1 HTTP/1.1", HANDSHAKE));
    let response = raw.head().expect("an answer");
    assert_eq!((response.status, response.header("upgrade")), (101, Some("websocket")));
    assert_eq!(response.header("connection"), Some("upgrade"));
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(response.header("sec-websocket-protocol"), Some("chat"));
    assert_eq!(raw.exactly(7).expect("what came behind the 101"), b"welcome");
    let arrived = stage.site.upstream.only();
    assert_eq!(arrived.line, "GET /socket?room=1 HTTP/1.1");
    assert_eq!(
        (arrived.header("connection"), arrived.header("upgrade")),
        (Some("upgrade"), Some("websocket"))
    );
    assert_eq!(arrived.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(arrived.header("x-user-id"), Some(stage.me.as_str()));
    assert_eq!(arrived.header("cookie"), None);
}

#[test]
fn u_12_bytes_pass_both_ways_unchanged() {
    let stage = Stage::on(Stage::plan().upstream(echo(b"")));
    let mut raw = open(&stage);
    for message in [&b"hello"[..], b"\r\n\r\n", b"GET /a#b HTTP/1.1\nX: y\r\n\r\n", b"\x00\xff\x81\x05"] {
        raw.send(message);
        assert_eq!(raw.exactly(message.len()).expect("the echo"), message);
    }
    let large: Vec<u8> = (0..4_000_000_u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let mut writer = raw.try_clone();
    std::thread::scope(|scope| {
        scope.spawn(|| writer.send(&large));
        assert!(raw.exactly(large.len()).expect("the echo") == large);
    });
}

#[test]
fn u_12_an_app_that_has_not_read_the_handshake_opens_no_websocket() {
    let good = String::from_utf8_lossy(SWITCH).into_owned();
    let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    for wrong in [
        good.replace(accept, ""),
        good.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "dGhlIHNhbXBsZSBub25jZQ=="),
        good.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        good.replace(accept, &accept.repeat(2)),
        good.replace("Connection: Upgrade\r\n", ""),
        good.replace("Connection: Upgrade", "Connection: keep-alive"),
    ] {
        assert_ne!(wrong, good);
        let stage = Stage::on(Stage::plan().upstream(Upstream::answering(wrong.clone())));
        let response = stage.ask(stage.signed("GET /socket HTTP/1.1", HANDSHAKE));
        assert_eq!((response.status, response.code().as_str()), (502, "UPSTREAM_INVALID"), "{wrong}");
        assert!(stage.site.is_well());
    }
}

#[test]
fn u_12_each_side_can_end_its_own_direction() {
    let stage = Stage::on(Stage::plan().upstream(Upstream::with(|_, stream| {
        let _ = stream.write_all(SWITCH);
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let _ = stream.write_all(format!("{} bytes", all.len()).as_bytes());
        let _ = stream.shutdown(Shutdown::Both);
    })));
    let mut raw = open(&stage);
    raw.send("hello").end();
    assert_eq!(raw.rest().expect("the rest"), b"5 bytes");
}

#[test]
fn u_12_an_app_that_has_said_all_still_hears() {
    let (told, heard) = channel();
    let stage = Stage::on(Stage::plan().upstream(Upstream::with(move |_, stream| {
        let _ = stream.write_all(&[SWITCH, b"all"].concat());
        let _ = stream.shutdown(Shutdown::Write);
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let _ = told.send(all);
    })));
    let mut raw = open(&stage);
    assert_eq!(raw.rest().expect("the end of what the app says"), b"all");
    let large = vec![b'x'; 3_000_000];
    assert!(raw.try_send(&large), "our side is open");
    raw.end();
    assert!(heard.recv_timeout(PATIENCE).expect("it hears the end too") == large);
}

#[test]
fn smug_1_bytes_sent_before_the_switch_wait_for_it() {
    let (told, heard) = channel();
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let upstream = Upstream::with(move |_, stream| {
        let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
        let mut early = [0; 100];
        let _ = told.send(stream.read(&mut early).unwrap_or(0));
        let _ = may_go.lock().expect("no panic").recv_timeout(PATIENCE);
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = stream.write_all(SWITCH);
        let mut late = [0; 5];
        let _ = stream.read_exact(&mut late);
        let _ = stream.write_all(&late);
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    raw.send(format!("{}early", stage.signed("GET /socket HTTP/1.1", HANDSHAKE)));
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(0), "nothing may come before the 101");
    go.send(()).expect("the app waits");
    assert_eq!(raw.head().expect("an answer").status, 101);
    assert_eq!(raw.exactly(5).expect("the echo"), b"early");
}

#[test]
fn a_refused_handshake_stays_http() {
    let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    let stage = Stage::on(Stage::plan().upstream(Upstream::answering(answer)));
    let mut raw = stage.connect();
    for _ in 0..2 {
        let response = raw.send(stage.signed("GET /socket HTTP/1.1", HANDSHAKE)).answer();
        assert_eq!((response.status, response.text().as_str()), (403, "no"));
    }
    assert_eq!(stage.site.upstream.connections(), 1);
}

#[test]
fn a_stranger_hears_401_before_the_handshake_and_never_a_redirect() {
    let stage = Stage::on(Stage::plan().upstream(echo(b"")));
    for fields in
        ["", "Sec-Fetch-Mode: websocket\r\n", "Accept: text/html\r\n", "Sec-Fetch-Mode: navigate\r\n"]
    {
        let response =
            stage.denies(stage.strange("GET /socket HTTP/1.1", &format!("{HANDSHAKE}{fields}")), &[401]);
        assert_eq!((response.code().as_str(), response.header("location")), ("UNAUTHORIZED", None));
        assert!(response.json()["login_url"].is_string());
    }
}

fn sign_out(stage: &Stage) {
    let fields = format!("Origin: {}\r\nContent-Length: 0\r\n", stage.site.origin);
    assert_eq!(stage.ask(stage.signed("POST /auth/sign-out HTTP/1.1", &fields)).status, 200);
}

#[test]
fn signing_out_cuts_the_tunnels_of_that_session_and_no_others() {
    let stage = Stage::on(Stage::plan().rule("/open/**", "public").upstream(echo(b"")));
    let mut first = open(&stage);
    let mut second = open(&stage);
    let mut public = stage.connect();
    public.send(stage.strange("GET /open/socket HTTP/1.1", HANDSHAKE));
    assert_eq!(public.head().expect("an answer").status, 101);
    let (other, _) = stage.site.member("other@example.org");
    let cookies: Vec<String> = other.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut others = stage.connect();
    let line =
        format!("GET /socket HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n", stage.host(), cookies.join("; "));
    others.send(format!("{line}{HANDSHAKE}\r\n"));
    assert_eq!(others.head().expect("an answer").status, 101);

    sign_out(&stage);
    for raw in [&mut first, &mut second] {
        assert_eq!(raw.rest().expect("an orderly end"), going_away("the session has ended"));
    }
    for raw in [&mut public, &mut others] {
        raw.send("still here");
        assert_eq!(raw.exactly(10).expect("the echo"), b"still here");
    }
}

#[test]
fn a_tunnel_whose_session_ends_while_the_app_makes_up_its_mind_does_not_stay_open() {
    let (asked, was_asked): (Sender<()>, _) = channel();
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let upstream = Upstream::with(move |_, stream| {
        let _ = asked.send(());
        let _ = may_go.lock().expect("no panic").recv_timeout(PATIENCE);
        let _ = stream.write_all(SWITCH);
        let mut byte = [0];
        let _ = stream.read(&mut byte);
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /socket HTTP/1.1", HANDSHAKE));
    was_asked.recv_timeout(PATIENCE).expect("the app was asked");
    sign_out(&stage);
    go.send(()).expect("the app waits");
    let _ = raw.head();
    assert!(raw.rest().is_ok_and(|rest| rest.is_empty() || rest == going_away("the session has ended")));
}

#[test]
fn a_silent_tunnel_is_closed_and_one_that_is_used_is_not() {
    let plan = Stage::plan().set("limits", "tunnel_idle = \"2s\"").upstream(echo(b""));
    let stage = Stage::on(plan);
    let mut used = open(&stage);
    let mut silent = open(&stage);
    for _ in 0..12 {
        used.send("ping");
        assert_eq!(used.exactly(4).expect("the echo"), b"ping");
        std::thread::sleep(Duration::from_millis(250));
    }
    assert_eq!(silent.rest().expect("an orderly end"), going_away("silent for too long"));
    used.send("ping");
    assert_eq!(used.exactly(4).expect("the echo"), b"ping");
}
