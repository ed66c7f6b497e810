//! TLS handshakes that come in pieces, say more than they may, or begin anew.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};

use crate::support::database::Database;
use crate::support::raw::PATIENCE;
use crate::support::site::Site;
use crate::tls::certificates;

fn site() -> Site {
    let file = |name: &str| certificates().join(name).display().to_string();
    let lines = format!("certificate = \"{}\"\nkey = \"{}\"", file("app.pem"), file("app.key"));
    let plan = Site::on(Database::sqlite()).https().set("tls", &lines);
    plan.set("limits", "head_timeout = \"10s\"").rule("/open/**", "public").start()
}

fn config() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(certificates().join("second.pem")).expect("a certificate");
    roots.add(authority).expect("an authority");
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), "127.0.0.1".try_into().expect("a name")).expect("a client")
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_nodelay(true).expect("no delay");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream
}

/// What is answered to one request, which is the last one.
fn asks(site: &Site, client: &mut ClientConnection, stream: &mut TcpStream) -> String {
    let mut tls = rustls::Stream::new(client, stream);
    let host = site.origin.trim_start_matches("https://");
    let request = format!("GET /open/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    tls.write_all(request.as_bytes()).expect("the handshake is done, and it is sent");
    let mut answer = Vec::new();
    tls.read_to_end(&mut answer).expect("an orderly end");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The same handshake message in records that hold no more than `most` bytes of it (RFC 8446 §5.1).
fn in_records(record: &[u8], most: usize) -> Vec<u8> {
    let (head, message) = record.split_at(5);
    let piece = |piece: &[u8]| {
        let length = u16::try_from(piece.len()).expect("short").to_be_bytes();
        [&head[..3], &length, piece].concat()
    };
    message.chunks(most).flat_map(piece).collect()
}

#[test]
fn r_12_a_hello_in_pieces_is_read() {
    let (site, config) = (site(), Arc::new(config()));
    for (records, writes) in [(1 << 14, 1), (50, 1 << 14), (50, 7)] {
        let (mut client, mut stream) = (client(&config), connect(site.address));
        let mut hello = Vec::new();
        client.write_tls(&mut hello).expect("a ClientHello");
        for piece in in_records(&hello, records).chunks(writes) {
            stream.write_all(piece).expect("it is taken");
        }
        let answer = asks(&site, &mut client, &mut stream);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    }
}

#[test]
fn r_12_whoever_comes_back_may_say_nothing_early() {
    let site = site();
    let mut config = config();
    config.enable_early_data = true;
    let config = Arc::new(config);
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let (mut client, mut stream) = (client(&config), connect(site.address));
        // Its ticket would say how much, and that a request may come twice (RFC 8446 §8).
        assert!(client.early_data().is_none());
        assert!(asks(&site, &mut client, &mut stream).starts_with("HTTP/1.1 200"));
        assert_eq!(client.handshake_kind(), Some(kind));
    }
}

#[test]
fn r_12_a_handshake_does_not_begin_anew() {
    let site = site();
    let mut client = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-connect", &site.address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    let mut out = BufReader::new(client.stdout.take().expect("a pipe"));
    let mut said = String::new();
    while !said.contains("Verify return code") {
        assert!(out.read_line(&mut said).expect("text") > 0, "no handshake: {said}");
    }
    // Asks for a renegotiation (RFC 5246 §7.4.1.1); the pipe stays open until the connection has ended.
    let mut orders = client.stdin.take().expect("a pipe");
    orders.write_all(b"R\n").expect("it listens");
    let mut errors = String::new();
    client.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("text");
    drop(orders);
    let _ = client.wait();
    let (_, then) = errors.split_once("RENEGOTIATING").expect("it was asked for");
    assert!(then.contains(":error:") && !then.contains("verify return"), "{errors}");
}
