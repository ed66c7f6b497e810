//! Handshakes that do not go on, and those that wait for them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;

use super::{curl, plan};
use crate::support::site::Site;

/// A connection on which as much of a `ClientHello` was sent as `much` says.
fn half_open(site: &Site, much: usize) -> TcpStream {
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "127.0.0.1".try_into().expect("a name");
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a ClientHello");
    let mut stream = TcpStream::connect(site.address).expect("it listens");
    stream.write_all(&hello[..much.min(hello.len())]).expect("it is sent");
    stream
}

#[test]
fn r_12_handshakes_that_do_not_go_on_make_room_and_take_neither_connections_nor_those_that_run() {
    let limits = "handshakes = 40\nconnections = 60\nhead_timeout = \"10m\"";
    let site = plan("").set("limits", limits).start();
    // Silent, in the middle of their first message, and owing the last one.
    let stuck: Vec<TcpStream> =
        [0, 1, 100, 10_000].iter().cycle().take(120).map(|&much| half_open(&site, much)).collect();
    assert_eq!(curl(&site, &[], "/open/x"), "2 200", "one that goes on");
    let mut ended = 0;
    for mut stream in &stuck {
        stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a time-out");
        ended += usize::from(!matches!(
            stream.read_to_end(&mut Vec::new()),
            Err(error) if error.kind() == ErrorKind::WouldBlock
        ));
    }
    assert!((80..=120).contains(&ended), "{ended} of 120 made room");
}

#[test]
fn handshakes_are_left_alone_where_there_is_room_for_them() {
    let site = plan("").set("limits", "handshakes = 20\nhead_timeout = \"10m\"").start();
    let stuck: Vec<TcpStream> = (0..19).map(|_| half_open(&site, 1)).collect();
    thread::sleep(Duration::from_millis(1500));
    for _ in 0..20 {
        assert_eq!(curl(&site, &[], "/open/x"), "2 200");
    }
    for mut stream in &stuck {
        stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a time-out");
        let error = stream.read(&mut [0]).expect_err("nothing is said");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn r_12_who_never_says_whom_they_speak_for_makes_room_as_well() {
    let site = plan("")
        .set("listen", "proxy_protocol = \"required\"")
        .set("proxies", "trusted = [\"127.0.0.1\"]")
        .set("limits", "handshakes = 2\nhead_timeout = \"10m\"")
        .start();
    let _silent: Vec<TcpStream> = (0..4).map(|_| half_open(&site, 0)).collect();
    assert_eq!(curl(&site, &["--haproxy-protocol"], "/open/x"), "2 200");
}

#[test]
fn u_11_who_waits_for_a_handshake_is_not_dropped_by_a_reload() {
    let mut site = plan("").set("limits", "handshakes = 1\nhead_timeout = \"10m\"").start();
    let server = site.take_server();
    let _silent = half_open(&site, 0);
    thread::scope(|scope| {
        // Accepted, and waiting until the one before had its time.
        let waiting = scope.spawn(|| curl(&site, &[], "/open/x"));
        thread::sleep(Duration::from_millis(400));
        server.apply(server.prepare(&site.app).expect("the files are good"));
        assert_eq!(waiting.join().expect("no panic"), "2 200");
    });
    server.stop();
}
