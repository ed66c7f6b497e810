//! Several places to connect to, and sockets in the file system among them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

use crate::serve::{command, free_port, run, serve};
use crate::support::raw::{Raw, ask, many_files};
use crate::support::site::Site;
use crate::support::stage::Stage;
use crate::support::upstream::Upstream;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn request(site: &Site, fields: &str) -> String {
    let host = site.origin.trim_start_matches("http://");
    format!("GET /open/x HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

/// A site that also listens at this socket.
fn at(socket: &Path, more: &str) -> Site {
    Stage::plan()
        .set("listen", &format!("more = [\"unix:{}\"]\n{more}", socket.display()))
        .rule("/open/**", "public")
        .start()
}

#[test]
fn every_address_and_socket_answers() {
    let directory = directory();
    let socket = directory.path().join("site.sock");
    let (second, third) = (free_port(), SocketAddr::from((Ipv4Addr::new(127, 0, 0, 3), 0)));
    let more = format!("more = [\"{second}\", \"{third}\", \"unix:{}\"]\nworkers = 2", socket.display());
    let mut site = Stage::plan().set("listen", &more).rule("/open/**", "public").start();
    for _ in 0..5 {
        assert_eq!(ask(site.address, request(&site, "")).status, 200);
        assert_eq!(ask(second, request(&site, "")).status, 200);
        assert_eq!(Raw::connect_to_file(&socket).send(request(&site, "")).answer().status, 200);
    }
    site.stop();
    assert!(!socket.exists(), "it is gone with the server");
    assert!(std::net::TcpStream::connect(second).is_err());
}

#[test]
fn a_peer_at_a_socket_counts_as_a_trusted_proxy() {
    let directory = directory();
    let socket = directory.path().join("site.sock");
    let site = at(&socket, "");
    let told = |fields: &str| {
        assert_eq!(Raw::connect_to_file(&socket).send(request(&site, fields)).answer().status, 200);
        site.upstream.last().header("x-forwarded-for").expect("it is always told").to_owned()
    };
    assert_eq!(told(""), "127.0.0.1");
    assert_eq!(told("X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n"), "6.6.6.6, 192.0.2.1, 127.0.0.1");
    // Not so who comes by TCP.
    assert_eq!(ask(site.address, request(&site, "X-Forwarded-For: 6.6.6.6\r\n")).status, 200);
    assert_eq!(site.upstream.last().header("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn requests_follow_each_other_on_a_socket_as_anywhere() {
    let directory = directory();
    let socket = directory.path().join("site.sock");
    let site = at(&socket, "");
    let mut raw = Raw::connect_to_file(&socket);
    for _ in 0..10 {
        assert_eq!(raw.send(request(&site, "")).answer().text(), "hello");
    }
    assert_eq!(raw.send("GET /x HTTP/1.1\r\nX: \0\r\n\r\n").answer().status, 400);
    assert!(raw.is_closed());
}

#[test]
fn the_mode_of_a_socket_is_as_configured_from_the_first_moment() {
    let directory = directory();
    let socket = directory.path().join("site.sock");
    for (setting, mode) in [("", 0o660), ("socket_mode = \"0600\"", 0o600), ("socket_mode = \"666\"", 0o666)]
    {
        let mut site = at(&socket, setting);
        let there = fs::symlink_metadata(&socket).expect("it is there");
        assert!(there.file_type().is_socket());
        assert_eq!(there.permissions().mode() & 0o7777, mode, "{setting}");
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1, "nothing else is left");
        site.stop();
    }
}

#[test]
fn what_a_dead_process_left_is_replaced_and_nothing_else_is() {
    let (home, app) = (directory(), Upstream::hello());
    let socket = home.path().join("site.sock");
    let place = format!("unix:{}", socket.display());
    fs::write(
        home.path().join("sidegate.toml"),
        format!(
            "[listen]\naddress = \"{place}\"\n[public]\nurl = \"http://localhost:8080\"\n\
             [upstream]\nurl = \"http://{}\"\n[store]\nurl = \"sqlite:sidegate.db\"\n",
            app.address
        ),
    )
    .expect("a file");
    let arguments = ["--config", "sidegate.toml"];
    let refused = |what: &str| {
        let output = run(home.path(), &["serve", "--config", "sidegate.toml"]);
        assert_eq!(output.status.code(), Some(1), "{what}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("cannot listen") && said.contains(what) && said.contains(&place), "{said}");
    };
    fs::write(&socket, "precious").expect("a file");
    refused("no socket");
    assert_eq!(fs::read_to_string(&socket).expect("it is still there"), "precious");
    fs::remove_file(&socket).expect("ours");
    let live = UnixListener::bind(&socket).expect("a socket");
    refused("somebody listens there");
    assert!(socket.exists());
    // It has so much to do that nobody is let in any more.
    many_files();
    let many: Vec<_> = (0..5000).map_while(|_| crowd_in(&socket)).collect();
    assert!(many.len() < 5000);
    refused("somebody listens there");
    drop((live, many));
    // The file is still there, and nobody behind it.
    let anywhere = free_port();
    let program = serve(home.path(), anywhere, &arguments);
    let request = "GET /auth/ok HTTP/1.1\r\nHost: localhost:8080\r\n\r\n";
    assert_eq!(Raw::connect_to_file(&socket).send(request).answer().status, 200);
    let health = command(home.path(), &["healthcheck", "--config", "sidegate.toml"]).output();
    assert!(health.expect("it runs").status.success());
    refused("somebody listens there");
    program.signal("-TERM");
    assert_eq!(program.exit_code(), Some(0));
    assert!(!socket.exists());
}

/// A connection, unless it would have to be waited for.
fn crowd_in(socket: &Path) -> Option<Socket> {
    let client = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    client.set_nonblocking(true).expect("it can be");
    client.connect(&SockAddr::unix(socket).expect("a path")).is_ok().then_some(client)
}

#[test]
fn what_a_dead_process_of_the_same_number_left_half_made_is_in_nobodys_way() {
    let home = directory();
    let socket = home.path().join("site.sock");
    let half_made = home.path().join(format!("site.sock.{}", std::process::id()));
    drop(UnixListener::bind(&half_made).expect("a socket"));
    assert!(half_made.exists());
    let site = at(&socket, "");
    assert_eq!(Raw::connect_to_file(&socket).send(request(&site, "")).answer().status, 200);
}

#[test]
fn the_health_check_passes_where_the_proxy_protocol_is_required() {
    let (home, app, address) = (directory(), Upstream::hello(), free_port());
    fs::write(
        home.path().join("sidegate.toml"),
        format!(
            "[listen]\naddress = \"{address}\"\nproxy_protocol = \"required\"\n[proxies]\ntrusted = [\"10.0.0.1\"]\n\
             [upstream]\nurl = \"http://{}\"\n",
            app.address
        ),
    )
    .expect("a file");
    let _program = serve(home.path(), address, &["--config", "sidegate.toml"]);
    let health = run(home.path(), &["healthcheck", "--config", "sidegate.toml"]);
    assert!(health.status.success(), "{health:?}");
    assert!(Raw::connect(address).send("GET /auth/ok HTTP/1.1\r\nHost: x\r\n\r\n").is_closed());
}
