//! HAProxy in front of us: by the PROXY protocol in both versions, and by `X-Forwarded-For` and `Forwarded`.

use std::net::SocketAddr;

use crate::support::program::Program;
use crate::support::raw::Raw;
use crate::support::site::Plan;
use crate::support::stage::Stage;

/// A site behind an HAProxy with this backend.
fn behind(plan: Plan, mode: &str, server: &str) -> (Program, Stage) {
    let at: SocketAddr = crate::serve::free_port();
    let mut stage = Stage::on(plan.public(&format!("http://{at}")).rule("/open/**", "public"));
    let sections = format!(
        "frontend in\n    bind {at}\n    mode {mode}\n    default_backend out\nbackend out\n    mode {mode}\n    {}",
        server.replace("SITE", &stage.site.address.to_string())
    );
    let program = Program::haproxy(at, &sections);
    stage.site.address = at;
    (program, stage)
}

fn from(stage: &Stage, client: &str, fields: &str) -> Option<String> {
    let mut raw = Raw::connect_from(client.parse().expect("an address"), stage.site.address);
    let response = raw.send(stage.strange("GET /open/x HTTP/1.1", fields)).answer();
    assert_eq!(response.status, 200, "{}", response.text());
    stage.site.upstream.last().header("x-forwarded-for").map(str::to_owned)
}

/// Asks for the PROXY protocol. The person of the stage signs up before HAProxy is there, so by hand.
fn proxied() -> Plan {
    Stage::plan()
        .set("listen", "proxy_protocol = \"required\"")
        .set("proxies", "trusted = [\"127.0.0.1\"]")
        .rule("/open/**", "public")
}

#[test]
fn haproxy_tells_of_its_clients_by_the_proxy_protocol_in_either_version() {
    for option in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority",
        // Its checks begin with LOCAL.
        "send-proxy-v2 check-send-proxy check inter 100ms",
        "send-proxy check-send-proxy check inter 100ms",
    ] {
        let at = crate::serve::free_port();
        let site = proxied().public(&format!("http://{at}")).start();
        let sections = format!(
            "frontend in\n    bind {at}\n    mode tcp\n    default_backend out\nbackend out\n    mode tcp\n    \
             server site {} {option}",
            site.address
        );
        let _haproxy = Program::haproxy(at, &sections);
        for client in ["127.0.0.5", "127.0.0.6", "127.0.0.5"] {
            let mut raw = Raw::connect_from(client.parse().expect("an address"), at);
            for _ in 0..2 {
                let request =
                    format!("GET /open/x HTTP/1.1\r\nHost: {at}\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n");
                assert_eq!(raw.send(request).answer().status, 200, "{option}");
                assert_eq!(site.upstream.last().header("x-forwarded-for"), Some(client), "{option}");
            }
        }
    }
}

#[test]
fn behind_haproxy_the_client_is_who_haproxy_says() {
    let trusted = "trusted = [\"127.0.0.1\"]";
    let (_haproxy, stage) =
        behind(Stage::plan().set("proxies", trusted), "http", "option forwardfor\n    server site SITE");
    assert_eq!(from(&stage, "127.0.0.5", "").as_deref(), Some("127.0.0.5, 127.0.0.1"));
    // HAProxy adds a line of its own.
    let lied = from(&stage, "127.0.0.5", "X-Forwarded-For: 6.6.6.6\r\n");
    assert_eq!(lied.as_deref(), Some("6.6.6.6, 127.0.0.5, 127.0.0.1"));
    let rfc = format!("{trusted}\nheader = \"forwarded\"");
    let (_haproxy, stage) = behind(
        Stage::plan().set("proxies", &rfc),
        "http",
        "http-request add-header Forwarded for=%[src];proto=http\n    server site SITE",
    );
    assert_eq!(from(&stage, "127.0.0.5", "").as_deref(), Some("127.0.0.5, 127.0.0.1"));
    let lied = from(&stage, "127.0.0.5", "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=\"6.6.6.6\r\n");
    assert_eq!(lied.as_deref(), Some("127.0.0.5, 127.0.0.1"));
}
