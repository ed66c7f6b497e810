//! What is open while the configuration is read again: nothing of it is refused, cut or begun anew, and the next
//! request is one of now.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use super::{Program, rule};
use crate::jobs::eventually;
use crate::ops::number;
use crate::support::h2::{H2, answered, frame, frames, read_frame};
use crate::support::raw::{PATIENCE, Raw};
use crate::support::upstream::{Upstream, switch};

fn get(program: &Program, path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", program.address)
}

/// Serves under this access from now on, whatever worker is asked.
fn reload_as(program: &Program, app: &Upstream, access: &str, status: u16) {
    program.configure(app.address, &rule(access));
    assert!(program.reload().contains("was read again"));
    let asked = || (0..20).all(|_| program.visitor().get("/a/x").status == status);
    eventually("it counts at every worker", asked);
}

#[test]
fn u_11_no_connection_is_refused_or_cut_while_the_configuration_is_read_again_and_again() {
    let app = Upstream::hello();
    let program = Program::start(app.address, &rule("public"));
    let (done, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // Each with a connection of its own.
                    let request = get(&program, "/a/x", "Connection: close\r\n");
                    let answer = Raw::connect(program.address).send(request).try_answer(false);
                    assert_eq!(answer.expect("it is taken and answered").text(), "hello");
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..20 {
            assert!(program.reload().contains("was read again"));
            let before = made.load(Ordering::Relaxed);
            eventually("connections are made", || made.load(Ordering::Relaxed) > before + 20);
        }
        done.store(true, Ordering::Relaxed);
    });
    let text = program.told("/metrics").text();
    assert_eq!(number(&text, "sidegate_config_reloads_total{outcome=\"applied\"}"), 20, "{text}");
}

#[test]
fn u_11_the_next_request_on_an_open_connection_is_judged_by_the_rules_of_now() {
    let app = Upstream::hello();
    let program = Program::start(app.address, &rule("public"));
    // One that has been used, one on which nothing was said so far, and one of HTTP/2.
    let (mut used, mut unused) = (Raw::connect(program.address), Raw::connect(program.address));
    let mut h2 = H2::connect(program.address);
    let url = format!("http://{}/a/x", program.address);
    let mut streamed = || {
        let request = Request::get(&url).body(Full::<Bytes>::default()).expect("a request");
        h2.ask(request).status
    };
    assert_eq!(used.send(get(&program, "/a/x", "")).answer().status, 200);
    assert_eq!(streamed(), 200);
    for (access, status) in [("deny", 403), ("public", 200), ("required", 401), ("public", 200)] {
        reload_as(&program, &app, access, status);
        assert_eq!(used.send(get(&program, "/a/x", "")).answer().status, status, "{access}");
        assert_eq!(streamed(), status, "{access}");
    }
    assert_eq!(unused.send(get(&program, "/a/x", "")).answer().status, 200);
    assert!(h2.is_open(), "none was cut");
}

/// A program before an app that speaks HTTP/2, which is told that the app is elsewhere now after somebody has asked.
fn leave(old: SocketAddr, app: &Upstream, ask: impl FnOnce(&Program) -> Raw) -> (Program, Raw) {
    let program = Program::start(old, &rule("public"));
    program.edit("[password]", "protocol = \"h2c\"\n[password]");
    assert!(program.reload().contains("was read again"));
    let asking = ask(&program);
    program.configure(app.address, &rule("public"));
    assert!(program.reload().contains("was read again"));
    eventually("the app has moved", || (0..20).all(|_| program.visitor().get("/a/x").text() == "hello"));
    (program, asking)
}

#[test]
fn a_connection_by_http_2_to_where_the_app_was_ends_with_its_last_request() {
    let (told, events) = channel();
    let old = frames(move |_, stream, (kind, _, id, _)| {
        let _ = told.send((kind, id, stream.try_clone().expect("a socket")));
        true
    });
    let app = Upstream::hello();
    let mut begun = None;
    let (program, mut asking) = leave(old.address, &app, |program| {
        let mut raw = Raw::connect(program.address);
        raw.send(get(program, "/a/slow", ""));
        begun = std::iter::from_fn(|| events.recv_timeout(PATIENCE).ok()).find(|(kind, ..)| *kind == 1);
        raw
    });
    let (_, id, mut stream) = begun.expect("it has begun");
    stream.write_all(&answered(id)).expect("it is still there");
    assert_eq!(asking.answer().status, 200);
    let goodbye = std::iter::from_fn(|| events.recv_timeout(PATIENCE).ok()).find(|(kind, ..)| *kind == 7);
    assert!(goodbye.is_some(), "the connection has ended");
    assert_eq!(asking.send(get(&program, "/a/x", "")).answer().text(), "hello");
    assert_eq!(old.connections(), 1);
}

#[test]
fn a_connection_to_where_the_app_was_that_nobody_waits_for_any_more_ends() {
    let (told, ended) = channel();
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    // It greets nobody until it may, then answers whatever is asked of a connection.
    let old = Upstream::listening(move |mut stream| {
        let _ = may_go.lock().expect("no panic").recv_timeout(PATIENCE);
        let _ = stream.write_all(&frame(4, 0, 0, b""));
        let mut preface = [0; 24];
        let _ = stream.read_exact(&mut preface);
        while let Some((kind, flags, _, payload)) = read_frame(&mut stream) {
            let answer = match (kind, flags) {
                (4, 0) => frame(4, 1, 0, b""),
                (6, 0) => frame(6, 1, 0, &payload),
                _ => continue,
            };
            let _ = stream.write_all(&answer);
        }
        let _ = told.send(());
    });
    let app = Upstream::hello();
    let (program, asking) = leave(old.address, &app, |program| {
        let mut raw = Raw::connect(program.address);
        raw.send(get(program, "/a/x", ""));
        eventually("a connection is being made", || old.connections() == 1);
        raw
    });
    drop(asking);
    eventually("its end was noticed", || {
        number(&program.told("/metrics").text(), "sidegate_connections_open") == 0
    });
    go.send(()).expect("it waits");
    ended.recv_timeout(PATIENCE).expect("nobody keeps the connection");
}

#[test]
fn u_11_an_upload_an_answer_and_a_tunnel_that_are_under_way_come_to_their_own_end() {
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let app = Upstream::with(move |arrived, stream| {
        if arrived.header("upgrade").is_some() {
            let _ = stream.write_all(switch(arrived).as_bytes());
            let mut byte = [0];
            while stream.read(&mut byte).is_ok_and(|read| read == 1) && stream.write_all(&byte).is_ok() {}
        } else if arrived.line.starts_with("GET /a/slow ") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
            let _ = may_go.lock().expect("no panic").recv_timeout(PATIENCE);
            let _ = stream.write_all(b" then");
        } else {
            let length = arrived.body.len().to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{length}", length.len());
            let _ = stream.write_all(head.as_bytes());
        }
    });
    let program = Program::start(app.address, &rule("public"));
    let mut tunnel = Raw::connect(program.address);
    let handshake = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    tunnel.send(get(&program, "/a/socket", handshake));
    assert_eq!(tunnel.head().expect("an answer").status, 101);
    let mut answer = Raw::connect(program.address);
    answer.send(get(&program, "/a/slow", ""));
    assert_eq!(answer.head().expect("a head").status, 200);
    assert_eq!(answer.exactly(5).expect("a part"), b"first");
    let mut upload = Raw::connect(program.address);
    let head = format!("POST /a/x HTTP/1.1\r\nHost: {}\r\nContent-Length: 8\r\n\r\nhalf", program.address);
    upload.send(head);
    eventually("all three have begun", || app.connections() == 3);
    reload_as(&program, &app, "deny", 403);
    tunnel.send("x");
    assert_eq!(tunnel.exactly(1).expect("it comes back"), b"x");
    go.send(()).expect("the app waits");
    assert_eq!(answer.exactly(5).expect("the rest"), b" then");
    assert_eq!(upload.send("half").answer().text(), "8");
    for raw in [&mut answer, &mut upload] {
        assert_eq!(raw.send(get(&program, "/a/x", "")).answer().status, 403, "the next one is of now");
    }
}

#[test]
fn u_11_who_waits_for_a_place_waits_on_under_the_configuration_of_now() {
    let app = Upstream::hello();
    let limits = |most| format!("connections = {most}\nhead_timeout = \"60s\"");
    let program = Program::start(app.address, &format!("[limits]\n{}\n{}", limits(3), rule("public")));
    let request = get(&program, "/a/x", "");
    let begins = |_| {
        let mut raw = Raw::connect(program.address);
        raw.send(&request[..20]);
        raw
    };
    let reload = |from, to| {
        program.edit(&limits(from), &limits(to));
        assert!(program.reload().contains("was read again"));
    };
    let _busy: Vec<Raw> = (0..3).map(begins).collect();
    let served = (0..5).any(|_| {
        eventually("there is no place", || {
            number(&program.told("/metrics").text(), "sidegate_connections_open") == 3
        });
        // Nobody is kept waiting for a while after somebody was in vain.
        thread::sleep(Duration::from_millis(1300));
        let mut waits = Raw::connect(program.address);
        waits.send(&request);
        // Taken, and not served.
        thread::sleep(Duration::from_millis(100));
        reload(3, 30);
        // It may have been refused before, if that took long.
        let served = waits.try_answer(false).is_ok_and(|answer| answer.text() == "hello");
        reload(30, 3);
        served
    });
    assert!(served, "whoever waits is let fall by a reload");
}
