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
    let stage = &asking.stage;
    let lies = "X-Forwarded-Uri: /public/x\r\nX-Forwarded-Method: OPTIONS\r\nX-Forwarded-For: 6.6.6.6\r\n\
                X-Original-URI: /public/x\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: https\r\n";
    let paths =
        ["/auth/verify/caddy", "/auth/verify/envoy/public/x", "/auth/./verify/nginx", "/auth/%76erify/caddy"];
    asking.believes_no_client(lies, &paths);
    for name in ["X-User-Id", "X_User_Id", "x.user_id", "X-USER_ID"] {
        for path in ["/app", "/public/x", "/maybe/x"] {
            let line = format!("GET {path} HTTP/1.1");
            assert_eq!(
                stage.ask(stage.signed(&line, &format!("{name}: admin\r\n"))).status,
                403,
                "{name} {path}"
            );
            let stranger = stage.ask(stage.strange(&line, &format!("{name}: admin\r\n"))).status;
            assert_eq!(stranger, 403, "{name} {path}");
        }
    }
    assert!(asking.app.arrived().is_empty());
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
    let site = &asking.stage.site;
    let (mut ada, id) = site.member("second@example.org");
    assert_eq!(ada.get("/app").status, 200);
    for (path, status) in [("/app", 200), ("/missing", 404), ("/admin/x", 403), ("/maybe/x", 200)] {
        site.pass(std::time::Duration::from_mins(5));
        let renewed = ada.get(path);
        assert_eq!(renewed.status, status, "{path}");
        if status != 403 {
            assert_eq!(asking.app.last().header("x-user-id"), Some(id.as_str()), "{path}");
        }
        let lines = renewed.all("set-cookie");
        let given: Vec<_> = lines.iter().filter_map(|line| line.split('=').next()).collect();
        assert_eq!(given, ["sidegate", "sidegate-refresh"], "{path}");
        assert!(lines.iter().all(|line| line.contains("HttpOnly") && !line.contains(',')), "{lines:?}");
        assert!(renewed.headers.iter().all(|(name, _)| !name.contains("renewed")), "{:?}", renewed.headers);
    }
    assert!(ada.get("/app").all("set-cookie").is_empty());
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
