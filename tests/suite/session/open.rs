//! What is open when a session ends, however it ends and whatever it is: tunnels, streams of events, downloads.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::json;

use crate::flow::{holder, opens, roomy, token};
use crate::jobs::eventually;
use crate::ops::stop::going_away;
use crate::session::replicas;
use crate::support::database::{Database, on_both_databases};
use crate::support::h2::H2;
use crate::support::raw::{PATIENCE, Raw};
use crate::support::site::{PASSWORD, Site};
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, switch};
use crate::support::visitor::Visitor;

const EVENT: &str = "7\r\ndata: 1\r\n";

/// An app that says a `WebSocket` back, and whose stream of events begins and never ends.
fn app() -> Upstream {
    Upstream::with(|arrived, stream| {
        if arrived.header("upgrade").is_some() {
            let _ = stream.write_all(switch(arrived).as_bytes());
        } else if arrived.line.contains("/events") {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = stream.write_all(format!("{head}{EVENT}").as_bytes());
        } else {
            let _ = stream.write_all(crate::support::upstream::ok("hello").as_bytes());
            return;
        }
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let _ = stream.write_all(&buffer[..count]);
        }
        let _ = stream.shutdown(Shutdown::Both);
    })
}

/// A tunnel and a stream of events of one session.
struct Open {
    socket: Raw,
    events: Raw,
}

impl Open {
    fn of(site: &Site, held: &str) -> Self {
        let mut visitor = holder(site, held);
        let (mut socket, mut events) = (Raw::connect(site.address), Raw::connect(site.address));
        let handshake = visitor
            .ask("GET", "/socket")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(socket.send(handshake.bytes()).head().expect("an answer").status, 101);
        let asked = visitor.ask("GET", "/events").bytes();
        assert_eq!(events.send(asked).head().expect("an answer").status, 200);
        assert_eq!(events.exactly(EVENT.len()).expect("an event"), EVENT.as_bytes());
        let mut this = Self { socket, events };
        this.goes_on();
        this
    }

    /// Checks that the tunnel is open.
    fn goes_on(&mut self) {
        // A whole frame, so that the end can be told behind it.
        self.socket.send(b"\x81\x05still");
        assert_eq!(self.socket.exactly(7).expect("the echo"), b"\x81\x05still");
    }

    /// Checks that both end, and how, when `look` is called now and then.
    fn ends(self, how: &str, mut look: impl FnMut()) {
        let Self { mut socket, mut events } = self;
        let socket = thread::spawn(move || socket.rest());
        let events = thread::spawn(move || events.rest());
        eventually(how, || {
            look();
            socket.is_finished() && events.is_finished()
        });
        let said = socket.join().expect("no panic").expect("an orderly end");
        assert_eq!(said, going_away("the session has ended"), "{how}");
        match events.join().expect("no panic") {
            Ok(rest) => assert!(rest.is_empty(), "{how}: cut, not ended"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{how}"),
        }
    }
}

/// What another process does to the database of this site.
fn behind(site: &Site, sql: &str) {
    site.block_on(site.database.execute(sql));
}

on_both_databases! {
    fn lif_10_however_a_session_ends_its_tunnel_and_its_stream_end(database) {
        let mut site = roomy(database).upstream(app()).start();
        site.end_jobs();
        let others = token(&site.member("bob@example.com").0);
        let mut others_line = Open::of(&site, &others);
        site.sign_up("ada@example.com");
        let sign_in = || site.signed_in("ada@example.com").0;
        // What our own endpoints end is cut at once, by nobody's look.
        let by_endpoint = |how: &str, end: &dyn Fn(&mut Visitor)| {
            let (mut ada, other) = (sign_in(), sign_in());
            let open = Open::of(&site, &token(&other));
            end(&mut ada);
            open.ends(how, || {});
            assert!(!opens(&site, &token(&other)), "{how}");
        };
        by_endpoint("all are revoked", &|ada| {
            assert_eq!(ada.post("/auth/revoke-sessions", &json!({})).status, 200);
        });
        by_endpoint("the others are revoked", &|ada| {
            assert_eq!(ada.post("/auth/revoke-other-sessions", &json!({})).status, 200);
        });
        by_endpoint("the password changes", &|ada| {
            let body = json!({ "currentPassword": PASSWORD, "newPassword": PASSWORD, "revokeOtherSessions": true });
            let response = ada.post("/auth/change-password", &body);
            assert_eq!(response.status, 200, "{}", response.text());
        });
        // What is ended past us is seen when open connections are held against the store.
        let look = || site.block_on(site.app.sessions.cut_ended(site.clock.now())).expect("the store answers");
        let past_us = |how: &str, sql: &str| {
            let open = Open::of(&site, &token(&sign_in()));
            behind(&site, sql);
            open.ends(how, look);
        };
        let ada = r#"(SELECT "id" FROM "user" WHERE "email" = 'ada@example.com')"#;
        past_us("its row is deleted", &format!(r#"DELETE FROM "session" WHERE "userId" = {ada}"#));
        past_us("its user is disabled", &format!(
            r#"INSERT INTO "sidegate_disabled_user" ("userId", "at") SELECT {ada}, "createdAt" FROM "user" WHERE "id" = {ada}"#
        ));
        others_line.goes_on();
        site.pass(Duration::from_hours(24 * 8));
        others_line.ends("it expires", look);
    }
}

#[test]
fn lif_10_what_is_open_at_one_replica_ends_with_a_session_that_the_other_ended() {
    let (mut one, two) = replicas::pair_before(app);
    let (mut ada, _) = one.member("ada@example.com");
    let open = Open::of(&two, &token(&ada));
    assert_eq!(ada.post("/auth/sign-out", &json!({})).status, 200);
    // The other one hears of it, and looks at nothing.
    open.ends("a replica ends it", || {});
    one.stop();
}

fn sign_out(stage: &Stage) {
    let fields = format!("Origin: {}\r\nContent-Length: 0\r\n", stage.site.origin);
    assert_eq!(stage.ask(stage.signed("POST /auth/sign-out HTTP/1.1", &fields)).status, 200);
}

#[test]
fn lif_10_a_stream_of_events_by_http_2_is_reset_and_the_connection_stays() {
    let stage = Stage::on(Site::on(Database::sqlite()).rule("/open/**", "public").upstream(app()));
    let mut client = H2::connect(stage.site.address);
    let request = |path: &str| {
        let request = Request::get(format!("{}{path}", stage.site.origin)).header("cookie", &stage.cookie);
        request.body(Full::<Bytes>::default()).expect("a request")
    };
    let mut events = client.begin(request("/events")).expect("an answer").into_body();
    let piece = client.block_on(events.frame()).expect("an event").expect("an event");
    assert_eq!(piece.into_data().expect("data"), "data: 1");
    sign_out(&stage);
    let error =
        client.block_on(events.frame()).expect("it does not end well").expect_err("nothing more comes");
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    assert!(cause.is_some_and(|cause| cause.is_reset() && cause.is_remote()), "{error:?}");
    assert_eq!(client.ask(request("/x")).status, 401, "the session is over");
    assert_eq!(client.ask(request("/open/x")).status, 200, "the connection is not");
}

#[test]
fn lif_10_a_download_that_flows_is_cut() {
    // Never silent for as long as anybody would wait.
    let upstream = Upstream::with(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n");
        for _ in 0..10_000 {
            thread::sleep(Duration::from_millis(5));
            if stream.write_all(&[b'x'; 16_384]).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut client = H2::connect(stage.site.address);
    let request = Request::get(format!("{}/x", stage.site.origin)).header("cookie", &stage.cookie);
    let request = request.body(Full::<Bytes>::default()).expect("a request");
    let mut body = client.begin(request).expect("an answer").into_body();
    let mut stream = TcpStream::connect(stage.site.address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(stage.signed("GET /x HTTP/1.1", "").as_bytes()).expect("it is sent");
    stream.read_exact(&mut vec![0; 100_000]).expect("it flows");
    sign_out(&stage);
    let by_http_1 = thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        loop {
            match stream.read(&mut buffer) {
                Ok(1..) => {}
                ended => return ended,
            }
        }
    });
    eventually("both are cut", || {
        let by_http_2 = client.block_on(body.frame());
        by_http_2.is_none_or(|piece| piece.is_err()) && by_http_1.is_finished()
    });
    match by_http_1.join().expect("no panic") {
        Ok(rest) => assert_eq!(rest, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}
