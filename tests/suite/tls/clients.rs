//! Connections that were let in by a certificate, when others are let in.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{file, text};
use crate::support::frame::block;
use crate::support::h2;
use crate::support::raw::PATIENCE;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, switch};

/// A connection of the client that the second of our issuers knows.
async fn connects(address: SocketAddr, speaks: &[u8]) -> TlsStream<TcpStream> {
    let chain = |name: &str| CertificateDer::from_pem_file(file(name)).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(chain("second.pem")).expect("an issuer");
    let key = PrivateKeyDer::from_pem_file(file("client.key")).expect("a key");
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![chain("client.pem")], key)
            .expect("they fit");
    config.alpn_protocols = vec![speaks.to_vec()];
    let stream = TcpStream::connect(address).await.expect("it listens");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("it is let in")
}

const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

/// The type and the stream of the next frame.
async fn next(stream: &mut TlsStream<TcpStream>) -> (u8, u32) {
    let mut head = [0; 9];
    timeout(PATIENCE, stream.read_exact(&mut head)).await.expect("in time").expect("it is open");
    let [a, b, c, kind, _, of @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut payload).await.expect("all of it");
    (kind, u32::from_be_bytes(of))
}

/// Who lets clients in: a file that can become another one.
struct Authority(TempDir);

impl Authority {
    /// The issuer of our client.
    fn new() -> Self {
        let authority = Self(tempfile::tempdir().expect("a directory"));
        authority.is("second.pem");
        authority
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("clients.pem")
    }

    fn is(&self, name: &str) {
        std::fs::copy(file(name), self.file()).expect("copied");
    }

    /// `[tls]`, where clients have to show a certificate.
    fn section(&self) -> String {
        format!(
            "certificate = \"{}\"\nkey = \"{}\"\nclient_ca = \"{}\"\nclient_required = true",
            text("app.pem"),
            text("app.key"),
            self.file().display()
        )
    }
}

#[test]
fn websockets_stay_when_others_are_let_in() {
    let app = Upstream::with(|arrived, stream| {
        let _ = stream.write_all(switch(arrived).as_bytes());
        let mut byte = [0];
        while stream.read(&mut byte).is_ok_and(|read| read == 1) && stream.write_all(&byte).is_ok() {}
    });
    let authority = Authority::new();
    let plan = Stage::plan().https().set("tls", &authority.section()).rule("/open/**", "public");
    let mut site = plan.upstream(app).start();
    let server = site.take_server();
    let host = site.origin.trim_start_matches("https://").to_owned();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut first = connects(site.address, b"http/1.1").await;
        let handshake = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let request = format!("GET /open/x HTTP/1.1\r\nHost: {host}\r\n{handshake}\r\n");
        first.write_all(request.as_bytes()).await.expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, first.read_u8()).await.expect("in time").expect("a head"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        // RFC 8441 §4, with an ordinary request on the same connection.
        let mut second = connects(site.address, b"h2").await;
        let connect = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":authority", &*host),
            (":path", "/open/x"),
            ("sec-websocket-version", "13"),
        ];
        second
            .write_all(&[h2::preface(), h2::frame(1, 4, 1, &block(&connect))].concat())
            .await
            .expect("sent");
        while next(&mut second).await != (1, 1) {}
        authority.is("first.pem");
        server.apply(server.prepare(&site.app).expect("the files are good"));
        while next(&mut second).await.0 != GOAWAY {}
        for _ in 0..3 {
            first.write_all(b"x").await.expect("sent");
            assert_eq!(timeout(PATIENCE, first.read_u8()).await.expect("in time").expect("it stays"), b'x');
            second.write_all(&h2::frame(0, 0, 1, b"x")).await.expect("sent");
            let said = loop {
                if let (kind, 1) = next(&mut second).await {
                    break kind;
                }
            };
            assert_eq!(said, DATA, "it stays");
        }
    });
    server.stop();
}

#[test]
fn connections_of_clients_end_when_others_are_let_in() {
    let authority = Authority::new();
    let mut site = Stage::plan().https().set("tls", &authority.section()).start();
    let server = site.take_server();
    let host = site.origin.trim_start_matches("https://").to_owned();
    let reload = || server.apply(server.prepare(&site.app).expect("the files are good"));
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut old = connects(site.address, b"http/1.1").await;
        let request = format!("GET /auth/ok HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let (mut sender, connection) =
            ::h2::client::handshake(connects(site.address, b"h2").await).await.expect("HTTP/2");
        let mut connection = tokio::runtime::Handle::current().spawn(connection);
        // One that changes nothing, and one that does.
        for _ in 0..2 {
            old.write_all(request.as_bytes()).await.expect("sent");
            let mut head = [0; 12];
            old.read_exact(&mut head).await.expect("an answer");
            assert_eq!(&head, b"HTTP/1.1 200");
            while !old.read_u8().await.expect("the rest").eq(&b'}') {}
            let asked = http::Request::get(format!("https://{host}/auth/ok")).body(()).expect("a request");
            let (answer, _) = sender.send_request(asked, true).expect("it is open");
            assert_eq!(answer.await.expect("an answer").status(), 200);
            reload();
            assert!(!connection.is_finished());
        }
        // It neither answers a ping nor leaves.
        let mut stubborn = connects(site.address, b"h2").await;
        let asks = |number| h2::frame(1, 5, number, &h2::get(&host, "/auth/ok"));
        stubborn.write_all(&[h2::preface(), asks(1)].concat()).await.expect("sent");
        while next(&mut stubborn).await != (1, 1) {}
        authority.is("first.pem");
        reload();
        while next(&mut stubborn).await.0 != GOAWAY {}
        stubborn.write_all(&asks(3)).await.expect("sent");
        let refused = loop {
            if let (kind, 3) = next(&mut stubborn).await {
                break kind == RST_STREAM;
            }
        };
        assert!(refused);
        let ended = timeout(PATIENCE, old.read(&mut [0; 1])).await.expect("it is ended");
        assert!(matches!(ended, Ok(0) | Err(_)));
        let _ = timeout(PATIENCE, &mut connection).await.expect("it is ended").expect("no panic");
    });
    server.stop();
}
