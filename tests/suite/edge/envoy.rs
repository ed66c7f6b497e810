//! Envoy in front of us, asking by `ext_authz` with the documented configuration, and as a proxy.

use std::net::SocketAddr;

use crate::edge::asker::RENEWING;
use crate::edge::{Asker, Asking, asks, client_is_who_the_proxy_says, documented_for, grpc_passes};
use crate::support::program::Program;

/// The documented configuration with these addresses, without TLS.
fn asking(at: SocketAddr, site: SocketAddr, app: SocketAddr) -> Option<Program> {
    let text = documented_for("<b>Envoy</b>", "yaml", site, app)
        .replace(
            "address: 0.0.0.0, port_value: 443",
            &format!("address: 127.0.0.1, port_value: {}", at.port()),
        )
        .replace("domains: [app.example]", &format!("domains: [\"{at}\"]"))
        .replace("port_value: 8080", &format!("port_value: {}", site.port()))
        .replace("port_value: 3000", &format!("port_value: {}", app.port()))
        .replace("__Host-", "");
    let (before, tls) = text.split_once("        - transport_socket:\n").expect("TLS");
    let (_, after) = tls.split_once("          filters:").expect("the filters behind it");
    Program::envoy(at, &format!("{before}        - filters:{after}"))
}

const ASKER: Asker = Asker {
    start: |more| Asking::try_start(more, asking),
    version: "HTTP/1.1",
    lies: "X-Forwarded-Uri: /public/x\r\nX-Forwarded-Method: OPTIONS\r\nX-Forwarded-For: 6.6.6.6\r\n\
        X-Original-URI: /public/x\r\nX-Envoy-Original-Path: /public/x\r\nX-Forwarded-Host: evil.test\r\n\
        X-Forwarded-Proto: https\r\nX-Envoy-Internal: true\r\n",
    verifying: &[
        "/auth/verify/envoy",
        "/auth/verify/envoy/public/x",
        "/auth/./verify/nginx",
        "/auth/%76erify/caddy",
    ],
    claims: &["X-User-Id", "x.user-id", "X-USER-ID"],
    resolves: false,
    refusal: Some("UNAUTHORIZED"),
    renewing: RENEWING,
    without_us: (403, &[403, 503]),
};

asks!(ASKER);

#[test]
fn handshakes_are_judged() {
    let Some(asking) = started(|plan| plan) else { return };
    asking.judges_handshakes();
}

/// In front of a site, which it speaks this version of HTTP to.
fn in_front(version: &str, at: SocketAddr, site: SocketAddr) -> Option<Program> {
    let text = include_str!("envoy.yaml")
        .replace("AT", &at.port().to_string())
        .replace("SITE", &site.port().to_string())
        .replace("VERSION", version);
    Program::envoy(at, &text)
}

#[test]
fn behind_envoy_the_client_is_who_envoy_says() {
    let said = client_is_who_the_proxy_says(|at, site| in_front("http_protocol_options: {}", at, site));
    assert!(said.is_none_or(|said| said == "6.6.6.6,127.0.0.5, 127.0.0.1"));
}

/// As the documentation says it.
const BY_HTTP_2: &str = "http2_protocol_options: { max_concurrent_streams: 100 }";

#[test]
fn calls_of_grpc_pass_envoy_and_us() {
    grpc_passes("envoy", |at, site| in_front(BY_HTTP_2, at, site));
}
