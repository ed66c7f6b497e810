//! nginx in front of us: as a proxy, and asking by `auth_request` with the documented configuration.

use std::net::SocketAddr;

use crate::edge::{Asker, Asking, asks, documented_for};
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

/// It says 401 in its own words, speaks HTTP/1.0 to the app unless told otherwise, and drops names with a `_` or a `.`.
const ASKER: Asker = Asker {
    start: |more| Some(Asking::start(more, asking)),
    version: "HTTP/1.0",
    lies: "X-Original-URI: /public/x\r\nX-Original-Method: OPTIONS\r\nX-Forwarded-For: 6.6.6.6\r\n\
        X-Forwarded-Uri: /public/x\r\nX-Original-URI: /public/x\r\n",
    verifying: &[
        "/auth/verify/nginx",
        "/auth/verify/envoy/public/x",
        "/auth/verify/caddy",
        "/auth/./verify/nginx",
    ],
    claims: &["X-User-Id", "x-user-id"],
    resolves: false,
    refusal: None,
    renewing: &[("/app", 200), ("/missing", 404), ("/maybe/x", 200)],
    without_us: (403, &[500, 502]),
};

asks!(ASKER);

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
    let asking = Asking::start(|plan| plan, asking);
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
