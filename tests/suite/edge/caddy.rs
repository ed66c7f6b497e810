//! Caddy in front of us, asking with the documented configuration, and as a proxy.

use std::net::SocketAddr;

use crate::edge::asker::{FORWARDED_LIES, RENEWING, SPELLINGS};
use crate::edge::{Asker, Asking, asks, documented_for};
use crate::support::program::Program;
use crate::support::raw::Raw;
use crate::support::stage::Stage;

/// The documented configuration with these addresses, without TLS.
fn asking(at: SocketAddr, site: SocketAddr, app: SocketAddr) -> Program {
    let text = documented_for("<b>Caddy</b>", "caddyfile", site, app)
        .replace("app.example {", &format!("http://{at} {{"));
    Program::caddy(at, &text)
}

const ASKER: Asker = Asker {
    start: |more| Some(Asking::start(more, asking)),
    version: "HTTP/1.1",
    lies: FORWARDED_LIES,
    verifying: &[
        "/auth/verify/caddy",
        "/auth/verify/envoy/public/x",
        "/auth/./verify/nginx",
        "/auth/%76erify/caddy",
    ],
    claims: SPELLINGS,
    resolves: false,
    refusal: Some("UNAUTHORIZED"),
    renewing: RENEWING,
    without_us: (503, &[502]),
};

asks!(ASKER);

#[test]
fn handshakes_are_judged() {
    let Some(asking) = started(|plan| plan) else { return };
    asking.judges_handshakes();
}

#[test]
fn behind_caddy_the_client_is_who_caddy_says() {
    let at = crate::serve::free_port();
    let mut stage =
        Stage::on(Stage::plan().public(&format!("http://{at}")).set("proxies", "trusted = [\"127.0.0.1\"]"));
    let site = format!("http://{at} {{\n\treverse_proxy {}\n}}", stage.site.address);
    let _caddy = Program::caddy(at, &site);
    stage.site.address = at;
    let mut raw = Raw::connect_from("127.0.0.5".parse().expect("an address"), at);
    let request = stage.signed("GET /x HTTP/1.1", "X-Forwarded-For: 6.6.6.6\r\n");
    assert_eq!(raw.send(request).answer().status, 200);
    let arrived = stage.site.upstream.only();
    assert_eq!(arrived.header("x-forwarded-for"), Some("127.0.0.5, 127.0.0.1"));
    assert_eq!(arrived.header("x-user-id"), Some(stage.me.as_str()));
}
