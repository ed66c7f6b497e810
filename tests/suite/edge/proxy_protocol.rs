//! The PROXY protocol on the public listener: who may begin a connection with it, and what it changes.

use std::net::{IpAddr, Ipv4Addr};

use crate::support::raw::{Raw, Response};
use crate::support::site::{Plan, Site};
use crate::support::stage::Stage;
use crate::tls;

/// A header of version 2 with addresses of IPv4 and this much else behind them.
fn version_2(client: [u8; 4], more: u16) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend((12 + more).to_be_bytes());
    header.extend(client);
    header.extend([10, 0, 0, 1, 0x12, 0x67, 0, 80]);
    // What looks like the end of a header and the begin of a request.
    header.extend(b"\r\n\r\nGET /x HTTP/1.1\r\n".iter().cycle().take(usize::from(more)));
    header
}

/// Loopback is a proxy that must say who it speaks for.
fn plan() -> Plan {
    Stage::plan()
        .set("listen", "proxy_protocol = \"required\"")
        .set("proxies", "trusted = [\"127.0.0.1\", \"198.51.100.7\"]")
        .rule("/open/**", "public")
}

fn begun_with(site: &Site, header: &[u8]) -> Raw {
    let mut raw = Raw::connect(site.address);
    raw.send(header);
    raw
}

fn request(site: &Site, path: &str, fields: &str) -> String {
    let host = site.origin.split("://").nth(1).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

/// The `X-Forwarded-For` that reaches the app when a connection begins like this.
fn told(site: &Site, header: &[u8], fields: &str) -> String {
    let mut raw = begun_with(site, header);
    let response = raw.send(request(site, "/open/x", fields)).answer();
    assert_eq!(response.status, 200, "{}", response.text());
    site.upstream.last().header("x-forwarded-for").expect("it is always told").to_owned()
}

#[test]
fn the_client_that_a_header_of_either_version_names_is_the_peer() {
    let site = plan().start();
    assert_eq!(told(&site, b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n", ""), "192.0.2.1");
    assert_eq!(told(&site, b"PROXY TCP6 2001:db8::1 ::1 4711 80\r\n", ""), "2001:db8::1");
    assert_eq!(told(&site, b"PROXY TCP6 ::ffff:192.0.2.9 ::1 4711 80\r\n", ""), "192.0.2.9");
    for more in [0, 1, 255, 4096, 65_523] {
        assert_eq!(told(&site, &version_2([192, 0, 2, 2], more), ""), "192.0.2.2", "{more} bytes more");
    }
    // Requests that follow on the same connection come from there too.
    let mut raw = begun_with(&site, b"PROXY TCP4 192.0.2.3 10.0.0.1 4711 80\r\n");
    for _ in 0..3 {
        assert_eq!(raw.send(request(&site, "/open/x", "")).answer().status, 200);
        assert_eq!(site.upstream.last().header("x-forwarded-for"), Some("192.0.2.3"));
    }
}

#[test]
fn i_06_the_client_that_was_named_is_believed_no_more_than_any_other() {
    let site = plan().start();
    let lie = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n";
    assert_eq!(told(&site, b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n", lie), "192.0.2.1");
    // A proxy before the proxy, which is trusted itself.
    assert_eq!(told(&site, b"PROXY TCP4 198.51.100.7 10.0.0.1 4711 80\r\n", lie), "6.6.6.6, 198.51.100.7");
}

#[test]
fn i_06_a_proxy_that_speaks_for_nobody_is_not_believed_either() {
    let site = plan().start();
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0".as_slice();
    let unspecified = b"\r\n\r\n\0\r\nQUIT\n\x21\x00\0\0".as_slice();
    for header in [b"PROXY UNKNOWN\r\n".as_slice(), b"PROXY UNKNOWN 6.6.6.6 x\r\n", local, unspecified] {
        assert_eq!(told(&site, header, "X-Forwarded-For: 6.6.6.6\r\n"), "127.0.0.1");
    }
}

#[test]
fn a_connection_that_begins_otherwise_is_closed_unanswered() {
    let site = plan().set("limits", "head_timeout = \"500ms\"").start();
    let good = request(&site, "/open/x", "");
    for start in [
        "",
        "PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 4711 99999\r\n",
        "PROXY TCP5 192.0.2.1 10.0.0.1 4711 80\r\n",
        "PROXY TCP4 localhost 10.0.0.1 4711 80\r\n",
        " PROXY UNKNOWN\r\n",
        "\r\nPROXY UNKNOWN\r\n",
        "\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\0",
    ] {
        let mut raw = begun_with(&site, start.as_bytes());
        raw.send(&good);
        assert!(raw.is_closed(), "{start:?}");
    }
    // One header is one header: the second is a request, and none that is understood.
    let mut twice = begun_with(&site, b"PROXY UNKNOWN\r\nPROXY TCP4 6.6.6.6 6.6.6.6 1 1\r\n");
    assert_eq!(twice.send(&good).answer().status, 400);
    assert_eq!(site.upstream.arrived().len(), 0);
    // What does not come is waited for no longer than a head.
    for start in ["", "PROXY TCP4 192.0", "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c1234"] {
        assert!(begun_with(&site, start.as_bytes()).is_closed(), "{start:?}");
    }
}

#[test]
fn a_peer_that_is_not_trusted_may_name_nobody() {
    let site = plan().start();
    let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let ask = |header: &str| {
        let mut raw = Raw::connect_from(other, site.address);
        raw.send(header).send(request(&site, "/open/x", "X-Forwarded-For: 6.6.6.6\r\n"));
        raw
    };
    assert!(ask("PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n").is_closed());
    assert!(ask("").is_closed());
    // As the health check begins.
    assert_eq!(ask("PROXY UNKNOWN\r\n").answer().status, 200);
    assert_eq!(site.upstream.only().header("x-forwarded-for"), Some("127.0.0.2"));
}

#[test]
fn without_the_setting_such_a_header_is_no_request() {
    let site = Stage::plan().set("proxies", "trusted = [\"127.0.0.1\"]").rule("/open/**", "public").start();
    for header in [b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n".to_vec(), version_2([192, 0, 2, 1], 0)] {
        let mut raw = begun_with(&site, &header);
        let refused = raw.send(request(&site, "/open/x", "")).answer();
        assert_eq!(refused.status, 400);
    }
    assert_eq!(site.upstream.arrived().len(), 0);
}

#[test]
fn rl_3_budgets_are_those_of_the_client_that_was_named() {
    let site = plan().set("limits", "attempts_per_address = 2").start();
    let attempt = |client: &str| -> Response {
        let body = r#"{"email":"a@b.example","password":"not the right one"}"#;
        let host = site.origin.trim_start_matches("http://");
        let header = format!("PROXY TCP4 {client} 10.0.0.1 4711 80\r\n");
        let head = format!(
            "POST /auth/sign-in/email HTTP/1.1\r\nHost: {host}\r\nOrigin: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            site.origin,
            body.len()
        );
        begun_with(&site, header.as_bytes()).send(head).answer()
    };
    let statuses: Vec<u16> =
        ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"].map(|c| attempt(c).status).into();
    assert_eq!(statuses, [401, 401, 429, 401]);
}

#[test]
fn the_header_comes_before_tls() {
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    let certificates = tls::certificates();
    let files = format!("certificate = \"{0}/first.pem\"\nkey = \"{0}/first.key\"", certificates.display());
    let site = plan().https().set("tls", &files).start();
    // curl speaks version 1, for its own address.
    let output = Command::new("curl")
        .args(["-sk", "--max-time", "20", "--haproxy-protocol", "-w", "%{http_code}"])
        .arg(format!("{}/open/x", site.origin))
        .output()
        .expect("curl is installed");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello200");
    assert_eq!(site.upstream.only().header("x-forwarded-for"), Some("127.0.0.1"));
    // TLS first is no header.
    let mut openssl = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &site.address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed");
    let _ = openssl.stdin.take().expect("a pipe").write_all(request(&site, "/open/x", "").as_bytes());
    let mut said = String::new();
    let _ = openssl.stdout.take().expect("a pipe").read_to_string(&mut said);
    let _ = openssl.wait();
    assert_eq!(said, "");
}
