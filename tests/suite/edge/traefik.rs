//! Traefik in front of us, asking by `forwardAuth` with the documented configuration, and as a proxy.

use std::net::SocketAddr;

use crate::edge::asker::{FORWARDED_LIES, RENEWING, SPELLINGS};
use crate::edge::{Asker, Asking, asks, client_is_who_the_proxy_says, documented_for};
use crate::jobs::eventually;
use crate::support::program::Program;
use crate::support::raw::ask;
use crate::support::site::Plan;

/// The documented configuration with these addresses, without TLS, for which the names of cookies are others.
fn asking(at: SocketAddr, site: SocketAddr, app: SocketAddr) -> Option<Program> {
    let text = documented_for("<b>Traefik</b>", "yaml", site, app)
        .replace("app.example", "127.0.0.1")
        .replace("      tls: {}\n", "")
        .replace("__Host-", "");
    Program::traefik(at, &text)
}

fn start(more: fn(Plan) -> Plan) -> Option<Asking> {
    let asking = Asking::try_start(more, asking)?;
    // It listens before it knows where to send what comes.
    let stage = &asking.stage;
    eventually("Traefik has read its configuration", || {
        stage.ask(stage.strange("GET /auth/ok HTTP/1.1", "")).status == 200
    });
    Some(asking)
}

const ASKER: Asker = Asker {
    start,
    version: "HTTP/1.1",
    lies: FORWARDED_LIES,
    verifying: &[
        "/auth/verify/traefik",
        "/auth/verify/envoy/public/x",
        "/auth/./verify/nginx",
        "/auth/%76erify/traefik",
    ],
    claims: SPELLINGS,
    resolves: true,
    refusal: Some("UNAUTHORIZED"),
    renewing: RENEWING,
    without_us: (503, &[500, 502]),
};

asks!(ASKER);

#[test]
fn handshakes_are_judged() {
    let Some(asking) = started(|plan| plan) else { return };
    asking.judges_handshakes();
}

/// In front of a site, without a word about who asks.
fn in_front(at: SocketAddr, site: SocketAddr) -> Option<Program> {
    let text = format!(
        "http:\n  routers:\n    site: {{ rule: \"PathPrefix(`/`)\", service: site }}\n  services:\n    site:\n      \
         loadBalancer:\n        servers: [{{ url: \"http://{site}\" }}]\n"
    );
    let program = Program::traefik(at, &text);
    eventually("Traefik has read its configuration", || {
        program.is_none() || ask(at, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 421
    });
    program
}

#[test]
fn behind_traefik_the_client_is_who_traefik_says() {
    let said = client_is_who_the_proxy_says(in_front);
    assert!(said.is_none_or(|said| said == "127.0.0.5, 127.0.0.1"));
}
