//! Connections that were let in by a certificate, when others are let in.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{file, text};
use crate::support::database::Database;
use crate::support::h2;
use crate::support::raw::PATIENCE;
use crate::support::site::Site;

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

#[test]
fn connections_of_clients_end_when_others_are_let_in() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = directory.path().join("clients.pem");
    let says = |name: &str| std::fs::copy(file(name), &authority).expect("copied");
    says("second.pem");
    let section = format!(
        "certificate = \"{}\"\nkey = \"{}\"\nclient_ca = \"{}\"\nclient_required = true",
        text("app.pem"),
        text("app.key"),
        authority.display()
    );
    let mut site = Site::on(Database::sqlite()).https().set("tls", &section).start();
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
        says("first.pem");
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
