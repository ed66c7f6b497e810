//! Which HTTP the app is spoken to: by ALPN, and for a `WebSocket`.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::Builder;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Frame;
use hyper::ext::Protocol;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::support::app2::{App2, Call};
use crate::support::h2::{H2, answered, frame, frames, read_frame};
use crate::support::raw::Raw;
use crate::support::site::Plan;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok, switch};

/// An app's end of TLS, and the authority that vouches for it.
pub(super) fn server_config() -> (ServerConfig, String) {
    let directory = crate::tls::certificates();
    let chain = CertificateDer::pem_file_iter(directory.join("app.pem"))
        .expect("a file")
        .collect::<Result<Vec<_>, _>>()
        .expect("certificates");
    let key = PrivateKeyDer::from_pem_file(directory.join("app.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate");
    (config, directory.join("second.pem").display().to_string())
}

/// An end of TLS that agrees to these protocols, and the authority that vouches for it.
fn tls(protocols: &[&[u8]]) -> (TlsAcceptor, String) {
    let (mut config, authority) = server_config();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), authority)
}

fn encrypted(address: std::net::SocketAddr, authority: &str, protocol: &str) -> Plan {
    let lines = format!("url = \"https://{address}\"\nca_file = \"{authority}\"\nprotocol = \"{protocol}\"");
    Stage::plan().set("upstream", &lines)
}

#[test]
fn an_app_that_agrees_to_http_2_is_spoken_to_by_it() {
    for protocol in ["h2", "auto"] {
        let (acceptor, authority) = tls(&[b"h2", b"http/1.1"]);
        let app = App2::encrypted(acceptor, |call| async move { call.say("hello") });
        let stage = Stage::on(encrypted(app.address, &authority, protocol));
        for _ in 0..3 {
            assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).text(), "hello");
        }
        assert_eq!((app.arrived().len(), app.connections()), (3, 1));
        assert!(app.arrived()[0].uri.starts_with("https://"), "{protocol}");
    }
}

/// An app behind TLS that agrees to HTTP/1.1 only, and how many connections were made.
fn old(authority_of: &[&[u8]]) -> (std::net::SocketAddr, String, Arc<AtomicUsize>, tokio::runtime::Runtime) {
    let (acceptor, authority) = tls(authority_of);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("an address");
    let connections = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&connections);
    runtime.spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let acceptor = acceptor.clone();
            tokio::runtime::Handle::current().spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut unread = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    unread.extend_from_slice(&buffer[..count]);
                    if unread.ends_with(b"\r\n\r\n") {
                        unread.clear();
                        let _ = stream.write_all(ok("hello").as_bytes()).await;
                        let _ = stream.flush().await;
                    }
                }
            });
        }
    });
    (address, authority, connections, runtime)
}

#[test]
fn an_app_that_chooses_http_1_is_spoken_to_by_that_and_not_asked_each_time() {
    for protocols in [&[&b"http/1.1"[..]][..], &[]] {
        let (address, authority, connections, runtime) = old(protocols);
        let stage = Stage::on(encrypted(address, &authority, "auto"));
        for _ in 0..5 {
            assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).text(), "hello");
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1, "the connection of the choice is used");
        let strict = Stage::on(encrypted(address, &authority, "h2"));
        assert_eq!(strict.ask(strict.signed("GET /x HTTP/1.1", "")).status, 502);
        runtime.shutdown_background();
    }
}

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n";

/// An app that takes `WebSocket`s by RFC 8441 and says everything back.
fn echo() -> App2 {
    let mut builder = Builder::new();
    builder.enable_connect_protocol();
    App2::with(builder, |mut call: Call| async move {
        assert_eq!(call.head.method, Method::CONNECT);
        assert_eq!(
            call.head.extensions.get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str),
            Some("websocket")
        );
        if call.head.uri.path() == "/closed" {
            let head = Response::builder().status(403).body(()).expect("a response");
            let _ = call.reply.send_response(head, true);
            return;
        }
        let mut head = Response::builder().header("sec-websocket-protocol", "chat");
        if call.head.uri.path() == "/measured" {
            head = head.header("content-length", "4");
        }
        let head = head.body(()).expect("a response");
        let mut body = call.reply.send_response(head, false).expect("the stream is open");
        while let Some(Ok(data)) = call.body.data().await {
            let _ = call.body.flow_control().release_capacity(data.len());
            if body.send_data(data, false).is_err() {
                return;
            }
        }
        let _ = body.send_data(Bytes::new(), true);
    })
}

#[test]
fn rfc_8441_a_websocket_is_a_stream_where_the_app_offers_that() {
    let app = echo();
    let stage = Stage::on(Stage::plan().set("upstream", &app.toml()));
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /socket?room=1 HTTP/1.1", HANDSHAKE));
    let response = raw.head().expect("an answer");
    assert_eq!((response.status, response.header("upgrade")), (101, Some("websocket")));
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(response.header("sec-websocket-protocol"), Some("chat"));
    let large: Vec<u8> = (0..3_000_000_u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let mut writer = raw.try_clone();
    std::thread::scope(|scope| {
        scope.spawn(|| writer.send(&large));
        assert!(raw.exactly(large.len()).expect("the echo") == large);
    });
    let arrived = app.only();
    assert!(arrived.uri.ends_with("/socket?room=1") && arrived.all("x-user-id") == [stage.me.as_str()]);
    assert!(arrived.all("sec-websocket-key").is_empty() && arrived.all("sec-websocket-version") == ["13"]);

    let mut client = H2::connect(stage.site.address);
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("{}/socket", stage.site.origin))
        .header("cookie", &stage.cookie)
        .header("sec-websocket-version", "13")
        .body(Full::default())
        .expect("a request");
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let response = client.begin(request).expect("an answer");
    assert_eq!(response.status(), 200);
    client.block_on(async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut tunnel = hyper_util::rt::TokioIo::new(hyper::upgrade::on(response).await.expect("a tunnel"));
        tunnel.write_all(b"there").await.expect("sent");
        let mut echoed = [0; 5];
        tunnel.read_exact(&mut echoed).await.expect("the echo");
        assert_eq!(&echoed, b"there");
    });
    // Both share the connection, and both end with the session.
    assert_eq!(app.connections(), 1);
    assert_eq!(stage.ask(stage.signed("GET /closed HTTP/1.1", HANDSHAKE)).status, 403);
    let origin = format!("Origin: {}\r\nContent-Length: 0\r\n", stage.site.origin);
    assert_eq!(stage.ask(stage.signed("POST /auth/sign-out HTTP/1.1", &origin)).status, 200);
    assert!(raw.is_closed());
}

/// An app that speaks HTTP/2 without RFC 8441, and HTTP/1.1, as the client begins.
fn both_kinds() -> Upstream {
    Upstream::listening(|mut stream| {
        let mut start = [0; 4];
        while stream.peek(&mut start).is_ok_and(|count| (1..4).contains(&count)) {}
        if &start == b"PRI " {
            let mut preface = [0; 24];
            let _ = stream.read_exact(&mut preface);
            let _ = stream.write_all(&frame(4, 0, 0, b""));
            while let Some((kind, flags, id, payload)) = read_frame(&mut stream) {
                let _ = match (kind, flags) {
                    (4, 0) => stream.write_all(&frame(4, 1, 0, b"")),
                    (6, 0) => stream.write_all(&frame(6, 1, 0, &payload)),
                    (1, _) => stream.write_all(&answered(id)),
                    _ => Ok(()),
                };
            }
            return;
        }
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
            head.push(byte[0]);
        }
        let _ = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
        while let Ok(1..) = stream.read(&mut byte) {
            let _ = stream.write_all(&byte);
        }
    })
}

#[test]
fn a_websocket_goes_by_http_1_where_the_app_offers_none_by_http_2() {
    let stage = Stage::on(Stage::plan().upstream(both_kinds()).set("upstream", "protocol = \"h2c\""));
    assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 200);
    let mut raw: Raw = stage.connect();
    raw.send(stage.signed("GET /socket HTTP/1.1", HANDSHAKE));
    let response = raw.head().expect("an answer");
    assert_eq!((response.status, response.header("upgrade")), (101, Some("websocket")));
    raw.send("ping");
    assert_eq!(raw.exactly(4).expect("the echo"), b"ping");
}

#[test]
fn rfc_9110_8_6_what_leaves_http_has_no_length_that_a_client_could_count_by() {
    let app = echo();
    let plans = [
        Stage::plan().set("upstream", &app.toml()),
        Stage::plan().upstream(Upstream::with(|arrived, stream| {
            let measured = switch(arrived).replace("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\n");
            let _ = stream.write_all(measured.as_bytes());
            let mut bytes = [0; 4];
            let _ = stream.read_exact(&mut bytes).and_then(|()| stream.write_all(&bytes));
        })),
    ];
    for plan in plans {
        let stage = Stage::on(plan);
        let mut raw = stage.connect();
        raw.send(stage.signed("GET /measured HTTP/1.1", HANDSHAKE));
        let response = raw.head().expect("an answer");
        assert_eq!((response.status, response.header("content-length")), (101, None));
        raw.send("ping");
        assert_eq!(raw.exactly(4).expect("the echo"), b"ping");
    }
}

/// A request whose body follows.
fn post(stage: &Stage) -> Request<()> {
    Request::post(format!("{}/x", stage.site.origin))
        .header("cookie", &stage.cookie)
        .body(())
        .expect("a request")
}

#[test]
fn u_7_an_answer_that_comes_before_the_body_ends_the_upload() {
    let app = App2::with(Builder::new(), |call| async move { call.say("no need") });
    let stage = Stage::on(Stage::plan().set("upstream", &app.toml()));
    let mut client = H2::connect(stage.site.address);
    for _ in 0..3 {
        let (pieces, answer) = client.stream(post(&stage));
        // The answer may have come already.
        let _ = pieces.send(Frame::data(Bytes::from_static(b"abc")));
        let body = client.block_on(async { answer.await.expect("an answer").into_body().collect().await });
        assert_eq!(body.expect("a body").to_bytes(), "no need");
    }
    assert_eq!(app.connections(), 1);
}

#[test]
fn f_22_an_app_that_switches_protocols_by_http_2_is_502() {
    let app = frames(|_, stream, (kind, _, of, _)| {
        if kind == 1 {
            // `:status: 101` without an index (RFC 7541 §6.2.2).
            let _ = stream.write_all(&[frame(1, 4, of, b"\x08\x03101"), answered(of)].concat());
        }
        true
    });
    let lines = format!("url = \"http://{}\"\nprotocol = \"h2c\"", app.address);
    let stage = Stage::on(Stage::plan().set("upstream", &lines));
    assert_eq!(stage.connect().send(stage.signed("GET /x HTTP/1.1", "")).head().expect("a head").status, 502);
}
