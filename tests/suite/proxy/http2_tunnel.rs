//! WebSockets in a stream of HTTP/2 (RFC 8441): how long they live, and how they end.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::h2::H2;
use crate::support::site::Plan;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, switch};

/// An app that switches to a `WebSocket`, greets, and echoes what it is sent.
fn echo() -> Plan {
    let upstream = Upstream::with(|arrived, stream| {
        let _ = stream.write_all(&[switch(arrived).as_bytes(), b"\x81\x02hi"].concat());
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let _ = stream.write_all(&buffer[..count]);
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
    });
    Stage::plan().upstream(upstream)
}

/// The handshake of a `WebSocket` of the person's.
fn handshake(stage: &Stage, path: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("{}{path}", stage.site.origin))
        .header("cookie", &stage.cookie)
        .header("sec-websocket-version", "13")
        .body(Full::default())
        .expect("a request");
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    request
}

/// A `WebSocket` of the person's, after the app's greeting.
fn opened(stage: &Stage, client: &mut H2) -> TokioIo<Upgraded> {
    let response = client.begin(handshake(stage, "/socket")).expect("an answer");
    assert_eq!(response.status(), 200);
    client.block_on(async {
        let mut socket = TokioIo::new(hyper::upgrade::on(response).await.expect("a tunnel"));
        let mut greeting = [0; 4];
        socket.read_exact(&mut greeting).await.expect("the greeting");
        assert_eq!(&greeting, b"\x81\x02hi");
        socket
    })
}

/// What comes until the end.
fn last_words(client: &H2, socket: &mut TokioIo<Upgraded>) -> Vec<u8> {
    client.block_on(async {
        let mut words = Vec::new();
        // That it ends is what counts, not how.
        let _ = socket.read_to_end(&mut words).await;
        words
    })
}

/// A final frame of the server's that closes, with this code and text (RFC 6455 §5.5.1).
fn close(code: u16, why: &str) -> Vec<u8> {
    let length = u8::try_from(2 + why.len()).expect("short");
    [&[0x88, length], &code.to_be_bytes()[..], why.as_bytes()].concat()
}

#[test]
fn one_that_is_in_use_is_no_idle_connection_and_one_that_has_ended_is() {
    let stage = Stage::on(echo().set("limits", "keep_alive = \"300ms\""));
    let mut client = H2::connect(stage.site.address);
    let mut socket = opened(&stage, &mut client);
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(150));
        client.block_on(async {
            socket.write_all(b"there").await.expect("sent");
            let mut echoed = [0; 5];
            socket.read_exact(&mut echoed).await.expect("the echo");
        });
    }
    drop(socket);
    crate::jobs::eventually("the connection ends", || !client.is_open());
}

#[test]
fn u_10_going_down_closes_it_with_1001() {
    let mut stage = Stage::on(echo().set("limits", "drain = \"500ms\""));
    let mut client = H2::connect(stage.site.address);
    let mut socket = opened(&stage, &mut client);
    let server = stage.site.take_server();
    let stopped = thread::spawn(move || server.stop());
    assert_eq!(last_words(&client, &mut socket), close(1001, "going down"));
    drop((socket, client));
    stopped.join().expect("it stops");
}

#[test]
fn lif_10_the_end_of_its_session_closes_it_with_1001() {
    let stage = Stage::on(echo());
    let mut client = H2::connect(stage.site.address);
    let mut socket = opened(&stage, &mut client);
    let mut second = opened(&stage, &mut client);
    client.block_on(async {
        second.write_all(b"\x81\x05the").await.expect("sent");
        let mut echoed = [0; 5];
        second.read_exact(&mut echoed).await.expect("the echo");
    });
    let out = stage.signed("POST /auth/sign-out HTTP/1.1", "Sec-Fetch-Site: none\r\nContent-Length: 0\r\n");
    assert_eq!(stage.ask(out).status, 200);
    assert_eq!(last_words(&client, &mut socket), close(1001, "the session has ended"));
    // Where the app has not ended a frame, nothing of ours can stand.
    assert_eq!(last_words(&client, &mut second), b"");
    assert!(client.is_open(), "the connection goes on");
}

#[test]
fn rfc_9110_9_3_6_no_success_but_the_switch_opens_one() {
    // Whoever hears of success reads what follows as frames (RFC 6455 §4.1).
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\x01\x02hi\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let stage = Stage::on(Stage::plan().upstream(Upstream::answering(answer)));
        let mut client = H2::connect(stage.site.address);
        assert_eq!(client.begin(handshake(&stage, "/socket")).expect("an answer").status(), 502, "{answer}");
    }
    let stage = Stage::on(echo());
    let mut client = H2::connect(stage.site.address);
    for path in ["/auth/ok", "/auth/sign-out", "/auth/get-session"] {
        assert_eq!(client.begin(handshake(&stage, path)).expect("an answer").status(), 501, "{path}");
    }
    let closed = Stage::on(echo().set("upstream", "upgrades = []"));
    let mut none = H2::connect(closed.site.address);
    assert_eq!(none.begin(handshake(&closed, "/socket")).expect("an answer").status(), 501);
    // Nor does a refusal that calls of gRPC are told with 200.
    let mut refused = handshake(&stage, "/api/another/socket");
    refused.headers_mut().insert("content-type", "application/grpc".parse().expect("a value"));
    assert_eq!(client.begin(refused).expect("an answer").status(), 403);
    let mut unknown = handshake(&stage, "/socket");
    unknown.extensions_mut().insert(Protocol::from_static("foo"));
    unknown.headers_mut().insert("content-type", "application/grpc".parse().expect("a value"));
    assert_eq!(client.begin(unknown).expect("an answer").status(), 501);
    assert_eq!(
        client.begin(handshake(&stage, "/socket")).expect("an answer").status(),
        200,
        "the switch does"
    );
}
