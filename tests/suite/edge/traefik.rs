//! Traefik in front of us, asking by `forwardAuth` with the documented configuration, and as a proxy.

use std::net::SocketAddr;

use crate::edge::{Asking, client_is_who_the_proxy_says, documented_for};
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

#[test]
fn traefik_lets_through_who_may_pass_and_tells_the_app_who_it_is() {
    let Some(asking) = start(|plan| plan) else { return };
    asking.lets_through("HTTP/1.1");
}

#[test]
fn traefik_passes_refusals_on_as_they_are() {
    let Some(asking) = start(|plan| plan) else { return };
    assert_eq!(asking.refuses_as_we_do().code(), "UNAUTHORIZED");
}

#[test]
fn fa_2_fa_4_hdr_1_hdr_2_nothing_that_a_client_writes_changes_what_traefik_asks() {
    let Some(asking) = start(|plan| plan) else { return };
    let lies = "X-Forwarded-Uri: /public/x\r\nX-Forwarded-Method: OPTIONS\r\nX-Forwarded-For: 6.6.6.6\r\n\
                X-Original-URI: /public/x\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: https\r\n";
    asking.believes_no_client(lies, VERIFYING);
    asking.refuses_claimed_identities(&["X-User-Id", "X_User_Id", "x.user_id", "X-USER_ID"]);
}

/// Where only the proxy asks.
const VERIFYING: &[&str] = &[
    "/auth/verify/traefik",
    "/auth/verify/envoy/public/x",
    "/auth/./verify/nginx",
    "/auth/%76erify/traefik",
];

#[test]
fn path_10_no_path_climbs_past_traefik_and_us() {
    let Some(asking) = start(|plan| plan) else { return };
    asking.withstands_climbing_resolved();
}

#[test]
fn traefik_passes_a_renewed_cookie_on() {
    let Some(asking) = start(|plan| plan) else { return };
    asking.passes_a_renewed_cookie_on();
}

#[test]
fn traefik_passes_both_signed_cookies_on_whatever_is_answered() {
    let Some(asking) = start(|plan| plan.set("session", "cookie = \"jwt\"")) else { return };
    asking.passes_both_signed_cookies_on(&[
        ("/app", 200),
        ("/missing", 404),
        ("/admin/x", 403),
        ("/maybe/x", 200),
    ]);
}

#[test]
fn traefik_passes_bodies_on_and_asks_without_them() {
    let Some(asking) = start(|plan| plan) else { return };
    asking.passes_bodies_on();
}

#[test]
fn handshakes_are_judged_through_traefik() {
    let Some(asking) = start(|plan| plan) else { return };
    asking.judges_handshakes();
}

#[test]
fn fa_3_traefik_lets_nobody_pass_without_us() {
    let Some(asking) = start(|plan| plan) else { return };
    asking.denies_without_us(503, &[500, 502]);
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
