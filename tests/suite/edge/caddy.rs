//! Caddy in front of us, asking with the documented configuration, and as a proxy.

use std::net::SocketAddr;

use crate::edge::{Asking, documented_for};
use crate::support::program::Program;
use crate::support::raw::Raw;
use crate::support::stage::Stage;

/// The documented configuration with these addresses, without TLS.
fn asking(at: SocketAddr, site: SocketAddr, app: SocketAddr) -> Program {
    let text = documented_for("<b>Caddy</b>", "caddyfile", site, app)
        .replace("app.example {", &format!("http://{at} {{"));
    Program::caddy(at, &text)
}

fn start() -> Asking {
    Asking::start(|plan| plan, asking)
}

#[test]
fn caddy_lets_through_who_may_pass_and_tells_the_app_who_it_is() {
    start().lets_through("HTTP/1.1");
}

#[test]
fn caddy_passes_refusals_on_as_they_are() {
    assert_eq!(start().refuses_as_we_do().code(), "UNAUTHORIZED");
}

#[test]
fn fa_2_fa_4_hdr_1_hdr_2_nothing_that_a_client_writes_changes_what_caddy_asks() {
    let asking = start();
    let lies = "X-Forwarded-Uri: /public/x\r\nX-Forwarded-Method: OPTIONS\r\nX-Forwarded-For: 6.6.6.6\r\n\
                X-Original-URI: /public/x\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: https\r\n";
    let paths =
        ["/auth/verify/caddy", "/auth/verify/envoy/public/x", "/auth/./verify/nginx", "/auth/%76erify/caddy"];
    asking.believes_no_client(lies, &paths);
    asking.refuses_claimed_identities(&["X-User-Id", "X_User_Id", "x.user_id", "X-USER_ID"]);
}

#[test]
fn path_10_no_path_climbs_past_caddy_and_us() {
    start().withstands_climbing();
}

#[test]
fn caddy_passes_a_renewed_cookie_on() {
    start().passes_a_renewed_cookie_on();
}

#[test]
fn caddy_passes_both_signed_cookies_on_and_shows_them_to_no_page() {
    let asking = Asking::start(|plan| plan.set("session", "cookie = \"jwt\""), asking);
    asking.passes_both_signed_cookies_on(&[
        ("/app", 200),
        ("/missing", 404),
        ("/admin/x", 403),
        ("/maybe/x", 200),
    ]);
}

#[test]
fn caddy_passes_bodies_on_and_asks_without_them() {
    start().passes_bodies_on();
}

#[test]
fn handshakes_are_judged_through_caddy() {
    start().judges_handshakes();
}

#[test]
fn fa_3_caddy_lets_nobody_pass_without_us() {
    start().denies_without_us(503, &[502]);
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
