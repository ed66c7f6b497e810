//! nginx in front of us: as a proxy, and asking by `auth_request` with the documented configuration.

use std::net::SocketAddr;

use crate::edge::{Asking, documented_for};
use crate::support::program::Program;
use crate::support::raw::Raw;
use crate::support::stage::Stage;

/// The documented configuration with these addresses, without TLS.
fn asking(at: SocketAddr, site: SocketAddr, app: SocketAddr) -> Program {
    let text = documented_for("<b>nginx</b>", "nginx", site, app);
    let plain: Vec<&str> = text.lines().filter(|line| !line.contains("ssl_certificate")).collect();
    let text = plain
        .join("\n")
        .replace("listen 443 ssl;", &format!("listen {at};"))
        .replace("server_name app.example;", "server_name 127.0.0.1;");
    Program::nginx(at, &text)
}

fn start() -> Asking {
    Asking::start(|plan| plan, asking)
}

#[test]
fn auth_request_lets_through_who_may_pass_and_tells_the_app_who_it_is() {
    // Unless told otherwise.
    start().lets_through("HTTP/1.0");
}

#[test]
fn auth_request_leads_people_to_the_sign_in_page_and_tells_programs_401() {
    assert_eq!(start().refuses_as_we_do().header("location"), None);
}

#[test]
fn fa_2_fa_4_hdr_1_nothing_that_a_client_writes_changes_what_nginx_asks() {
    let asking = start();
    let stage = &asking.stage;
    let lies = "X-Original-URI: /public/x\r\nX-Original-Method: OPTIONS\r\nX-Forwarded-For: 6.6.6.6\r\n\
                X-Forwarded-Uri: /public/x\r\nX-Original-URI: /public/x\r\n";
    let paths =
        ["/auth/verify/nginx", "/auth/verify/envoy/public/x", "/auth/verify/caddy", "/auth/./verify/nginx"];
    asking.believes_no_client(lies, &paths);
    for (name, path) in [("X-User-Id", "/app"), ("X-User-Id", "/public/x"), ("x-user-id", "/maybe/x")] {
        let response =
            stage.ask(stage.signed(&format!("GET {path} HTTP/1.1"), &format!("{name}: admin\r\n")));
        assert_eq!(response.status, 403, "{name} {path}");
    }
    assert!(asking.app.arrived().is_empty());
}

#[test]
fn path_10_no_path_climbs_past_nginx_and_us() {
    start().withstands_climbing();
}

#[test]
fn auth_request_passes_a_renewed_cookie_on() {
    start().passes_a_renewed_cookie_on();
}

#[test]
fn auth_request_passes_both_signed_cookies_on_whatever_the_app_answers() {
    let asking = Asking::start(|plan| plan.set("session", "cookie = \"jwt\""), asking);
    asking.passes_both_signed_cookies_on(&[("/app", 200), ("/missing", 404), ("/maybe/x", 200)]);
}

#[test]
fn auth_request_passes_bodies_on_and_asks_without_them() {
    start().passes_bodies_on();
}

#[test]
fn fa_3_nginx_lets_nobody_pass_without_us() {
    start().denies_without_us(403, &[500, 502]);
}

#[test]
fn behind_nginx_the_client_is_who_nginx_says_and_nothing_else_of_a_request_changes() {
    let at = crate::serve::free_port();
    let mut stage = Stage::on(
        Stage::plan()
            .public(&format!("http://{at}"))
            .set("proxies", "trusted = [\"127.0.0.1\"]")
            .rule("/open/**", "public"),
    );
    // As the documentation says it.
    let server = format!(
        "server {{ listen {at}; location / {{ proxy_pass http://{}; proxy_set_header Host $http_host; \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}",
        stage.site.address
    );
    let _nginx = Program::nginx(at, &server);
    stage.site.address = at;
    let mut raw = Raw::connect_from("127.0.0.5".parse().expect("an address"), at);
    let fields = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=7.7.7.7\r\nContent-Length: 5\r\n";
    let request = stage.signed("POST /x;y/a%2Fb?c HTTP/1.1", fields) + "hello";
    assert_eq!(raw.send(request).answer().status, 200);
    let arrived = stage.site.upstream.only();
    assert_eq!(arrived.line, "POST /x;y/a%2Fb?c HTTP/1.1");
    assert_eq!(arrived.header("x-forwarded-for"), Some("6.6.6.6, 127.0.0.5, 127.0.0.1"));
    assert_eq!(arrived.header("x-user-id"), Some(stage.me.as_str()));
    assert_eq!(arrived.body, b"hello");
}

#[test]
fn nothing_that_nginx_asks_by_reaches_the_app_as_a_client_wrote_it_nor_under_another_host() {
    let asking = start();
    let stage = &asking.stage;
    let lies = "X-Original-URI: /admin\r\nX-Original-Method: DELETE\r\n";
    assert_eq!(stage.ask(stage.signed("GET /app HTTP/1.1", lies)).status, 200);
    let arrived = asking.app.only();
    assert_eq!((arrived.header("x-original-uri"), arrived.header("x-original-method")), (None, None));
    let elsewhere = stage.signed("GET /public/x HTTP/1.1", "").replace(stage.host(), "evil.example");
    assert_eq!(stage.ask(elsewhere).status, 403);
    let lie = "X-Rewrite-URL: /admin\r\n";
    assert_eq!(stage.ask(stage.signed("GET /public/x HTTP/1.1", lie)).status, 403);
    assert_eq!(asking.app.arrived().len(), 1);
}
