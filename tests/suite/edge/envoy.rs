//! Envoy in front of us, asking by `ext_authz` with the documented configuration, and as a proxy.

use std::net::SocketAddr;

use crate::edge::{Asking, client_is_who_the_proxy_says, documented_for, grpc_passes};
use crate::support::program::Program;
use crate::support::site::Plan;

/// The documented configuration with these addresses, without TLS.
fn asking(at: SocketAddr, site: SocketAddr, app: SocketAddr) -> Option<Program> {
    let text = documented_for("<b>Envoy</b>", "yaml", site, app)
        .replace(
            "address: 0.0.0.0, port_value: 443",
            &format!("address: 127.0.0.1, port_value: {}", at.port()),
        )
        .replace("domains: [app.example]", &format!("domains: [\"{at}\"]"))
        .replace("port_value: 8080", &format!("port_value: {}", site.port()))
        .replace("port_value: 3000", &format!("port_value: {}", app.port()));
    let (before, tls) = text.split_once("        - transport_socket:\n").expect("TLS");
    let (_, after) = tls.split_once("          filters:").expect("the filters behind it");
    Program::envoy(at, &format!("{before}        - filters:{after}"))
}

fn start(more: fn(Plan) -> Plan) -> Option<Asking> {
    Asking::try_start(more, asking)
}

#[test]
fn envoy_lets_through_who_may_pass_and_tells_the_app_who_it_is() {
    let Some(asking) = start(|plan| plan) else { return };
    asking.lets_through("HTTP/1.1");
}

#[test]
fn envoy_passes_refusals_on_as_they_are() {
    let Some(asking) = start(|plan| plan) else { return };
    assert_eq!(asking.refuses_as_we_do().code(), "UNAUTHORIZED");
}

#[test]
fn fa_2_fa_4_hdr_1_hdr_2_nothing_that_a_client_writes_changes_what_envoy_asks() {
    let Some(asking) = start(|plan| plan) else { return };
    let lies = "X-Forwarded-Uri: /public/x\r\nX-Forwarded-Method: OPTIONS\r\nX-Forwarded-For: 6.6.6.6\r\n\
                X-Original-URI: /public/x\r\nX-Envoy-Original-Path: /public/x\r\nX-Forwarded-Host: evil.test\r\n\
                X-Forwarded-Proto: https\r\nX-Envoy-Internal: true\r\n";
    asking.believes_no_client(lies, VERIFYING);
    asking.refuses_claimed_identities(&["X-User-Id", "x.user-id", "X-USER-ID"]);
}

/// Where only the proxy asks.
const VERIFYING: &[&str] =
    &["/auth/verify/envoy", "/auth/verify/envoy/public/x", "/auth/./verify/nginx", "/auth/%76erify/caddy"];

#[test]
fn path_10_no_path_climbs_past_envoy_and_us() {
    let Some(asking) = start(|plan| plan) else { return };
    asking.withstands_climbing();
}

#[test]
fn envoy_passes_a_renewed_cookie_on() {
    let Some(asking) = start(|plan| plan) else { return };
    asking.passes_a_renewed_cookie_on();
}

#[test]
fn envoy_passes_both_signed_cookies_on_whatever_is_answered() {
    let Some(asking) = start(|plan| plan.set("session", "cookie = \"jwt\"")) else { return };
    asking.passes_both_signed_cookies_on(&[
        ("/app", 200),
        ("/missing", 404),
        ("/admin/x", 403),
        ("/maybe/x", 200),
    ]);
}

#[test]
fn envoy_passes_bodies_on_and_asks_without_them() {
    let Some(asking) = start(|plan| plan) else { return };
    asking.passes_bodies_on();
}

#[test]
fn handshakes_are_judged_through_envoy() {
    let Some(asking) = start(|plan| plan) else { return };
    asking.judges_handshakes();
}

#[test]
fn fa_3_envoy_lets_nobody_pass_without_us() {
    let Some(asking) = start(|plan| plan) else { return };
    asking.denies_without_us(403, &[403, 503]);
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
