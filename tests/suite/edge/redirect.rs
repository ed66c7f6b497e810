//! Plain http is answered with the way to https and nothing else; and what browsers are told of https.

use crate::support::raw::{Raw, Response, ask};
use crate::support::site::{Plan, Site};
use crate::support::stage::Stage;
use crate::support::upstream::Upstream;
use crate::tls;

fn plan() -> Plan {
    Stage::plan().public("https://app.example").set("listen", "redirect_http = \"127.0.0.1:0\"")
}

fn at(site: &Site, line: &str, host: &str) -> Response {
    ask(site.redirect(), format!("{line}\r\nHost: {host}\r\n\r\n"))
}

#[test]
fn a_request_for_our_name_is_led_to_the_same_place_by_https() {
    let site = plan().start();
    for (line, location) in [
        ("GET / HTTP/1.1", "https://app.example/"),
        ("GET /a/b?c=d&e=//f HTTP/1.1", "https://app.example/a/b?c=d&e=//f"),
        ("GET //evil.test/x HTTP/1.1", "https://app.example//evil.test/x"),
        ("GET /a%2fb/..;/c HTTP/1.1", "https://app.example/a%2fb/..;/c"),
        ("POST /auth/sign-in HTTP/1.1", "https://app.example/auth/sign-in"),
        ("GET /auth/ok HTTP/1.0", "https://app.example/auth/ok"),
    ] {
        for host in ["app.example", "APP.example", "app.example:80", "app.example:8080"] {
            let response = at(&site, line, host);
            assert_eq!(
                (response.status, response.header("location")),
                (308, Some(location)),
                "{line} at {host}"
            );
            assert_eq!(response.header("connection"), Some("close"));
            // It would mean nothing here (RFC 6797 §7.2).
            assert_eq!(response.header("strict-transport-security"), None);
            assert!(response.body.is_empty());
        }
    }
    assert_eq!(site.upstream.connections(), 0);
}

#[test]
fn nothing_else_is_answered_there() {
    let site = plan().set("limits", "head_timeout = \"300ms\"\ntarget = \"1KiB\"").start();
    for host in ["evil.test", "app.example.evil.test", "xapp.example", "127.0.0.1", "localhost"] {
        let response = at(&site, "GET / HTTP/1.1", host);
        assert_eq!((response.status, response.header("location")), (421, None), "{host}");
    }
    for (line, host) in [
        ("GET / HTTP/1.1", ""),
        ("GET / HTTP/1.1", "a@app.example"),
        ("GET / HTTP/1.1", "app.example:x"),
        ("GET / HTTP/1.1", "app.example\r\nHost: app.example"),
        ("GET / HTTP/1.1", "app.example\r\nX y"),
        ("GET http://app.example/ HTTP/1.1", "app.example"),
        ("GET * HTTP/1.1", "app.example"),
        ("CONNECT app.example:443 HTTP/1.1", "app.example"),
        ("GET /a#b HTTP/1.1", "app.example"),
        ("GET /a\\b HTTP/1.1", "app.example"),
        ("GET /%zz HTTP/1.1", "app.example"),
        ("GET /%0d%0aX:y HTTP/1.1", "app.example"),
        ("GET /\u{e9} HTTP/1.1", "app.example"),
        ("GET / HTTP/2.0", "app.example"),
        ("GET /", "app.example"),
    ] {
        let response = at(&site, line, host);
        assert_eq!((response.status, response.header("location")), (400, None), "{line} at {host}");
    }
    let long = format!("GET /{} HTTP/1.1", "x".repeat(2000));
    assert_eq!(at(&site, &long, "app.example").status, 414);
    let fields = "X: y\r\n".repeat(200);
    assert_eq!(at(&site, "GET / HTTP/1.1", &format!("app.example\r\n{fields}x: y")).status, 431);
    let mut endless = Raw::connect(site.redirect());
    endless.send(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(40_000)));
    assert_eq!(endless.answer().status, 431);
    assert!(Raw::connect(site.redirect()).is_closed(), "silence is not waited for");
    assert!(Raw::connect(site.redirect()).send("GET / HT").is_closed());
    assert_eq!(site.upstream.connections(), 0);
}

#[test]
fn the_proxy_protocol_is_asked_for_there_too() {
    let site = plan()
        .set("listen", "proxy_protocol = \"required\"")
        .set("proxies", "trusted = [\"127.0.0.1\"]")
        .start();
    let request = "GET /x HTTP/1.1\r\nHost: app.example\r\n\r\n";
    assert!(Raw::connect(site.redirect()).send(request).is_closed());
    let with = format!("PROXY TCP4 192.0.2.1 10.0.0.1 1 80\r\n{request}");
    assert_eq!(ask(site.redirect(), with).status, 308);
}

/// What `curl` is told of https at this path.
fn hsts(site: &Site, path: &str) -> String {
    let output = std::process::Command::new("curl")
        .args(["-sk", "--max-time", "20", "-o", "/dev/null", "-w", "%header{strict-transport-security}"])
        .arg(format!("{}{path}", site.origin))
        .output()
        .expect("curl is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn encrypted(more: &str) -> Plan {
    let files = tls::certificates().display();
    let tls = format!("certificate = \"{files}/first.pem\"\nkey = \"{files}/first.key\"\n{more}");
    Stage::plan().https().set("tls", &tls).rule("/open/**", "public")
}

#[test]
fn where_tls_ends_here_browsers_are_told_to_come_by_https_with_every_answer() {
    let site = encrypted("").start();
    for path in ["/auth/ok", "/auth/sign-in", "/closed", "/open/x"] {
        assert_eq!(hsts(&site, path), "max-age=31536000", "{path}");
    }
    let site = encrypted("hsts = \"730d\"\nhsts_subdomains = true\nhsts_preload = true").start();
    for path in ["/auth/ok", "/open/x"] {
        assert_eq!(hsts(&site, path), "max-age=63072000; includeSubDomains; preload", "{path}");
    }
    let site = encrypted("hsts = \"0s\"").start();
    for path in ["/auth/ok", "/open/x"] {
        assert_eq!(hsts(&site, path), "", "{path}");
    }
    let app = Upstream::answering(
        "HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=5\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(hsts(&encrypted("").upstream(app).start(), "/open/x"), "max-age=5", "the app's own counts");
}

#[test]
fn where_a_proxy_ends_tls_only_our_own_answers_tell_of_https() {
    let site = Stage::plan().public("https://app.example").rule("/open/**", "public").start();
    let told = |path: &str| {
        let response = ask(site.address, format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n\r\n"));
        response.header("strict-transport-security").map(str::to_owned)
    };
    assert_eq!(told("/auth/ok").as_deref(), Some("max-age=31536000"));
    assert_eq!(told("/open/x"), None);
    let plain = Stage::new();
    let answer = plain.ask(plain.strange("GET /auth/ok HTTP/1.1", ""));
    assert_eq!(answer.header("strict-transport-security"), None);
}
