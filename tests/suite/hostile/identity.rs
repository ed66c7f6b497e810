//! Credentials that are broken, doubled, oversized or somebody's guess.

use std::time::Duration;

use crate::support::site::Site;
use crate::support::stage::Stage;

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The value of the session cookie.
fn token(stage: &Stage) -> String {
    let pair = stage.cookie.split("; ").find(|pair| pair.starts_with("sidegate="));
    pair.expect("a session").split_once('=').expect("a pair").1.to_owned()
}

fn with_cookies(stage: &Stage, fields: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", stage.host())
}

#[test]
fn hdr_10_i_7_and_ck_3_two_different_session_cookies_are_nobody() {
    let stage = Stage::new();
    let token = token(&stage);
    for fields in [
        format!("Cookie: sidegate={token}; sidegate=other\r\n"),
        format!("Cookie: sidegate=other; a=b; sidegate={token}\r\n"),
        format!("Cookie: sidegate={token}\r\nCookie: sidegate=other\r\n"),
        format!("Cookie: sidegate=\r\nCookie: sidegate={token}\r\n"),
    ] {
        stage.denies(with_cookies(&stage, &fields), &[401]);
    }
    for fields in [
        format!("Cookie: a=1\r\nCookie: sidegate={token}\r\n"),
        format!("Cookie: sidegate={token}; sidegate={token}\r\n"),
        format!("Cookie: a=1;sidegate={token} ; b=2\r\n"),
    ] {
        assert_eq!(stage.arrives(with_cookies(&stage, &fields)).header("x-user-id"), Some(stage.me.as_str()));
    }
}

#[test]
fn i_7_look_alikes_of_our_cookie_open_nothing() {
    let stage = Stage::new();
    let token = token(&stage);
    for name in
        ["Sidegate", "SIDEGATE", "sidegate ", "__Host-sidegate", "sidegate-x", "=sidegate", "$sidegate", ""]
    {
        let name = if name == "sidegate " { "side gate" } else { name };
        stage.denies(with_cookies(&stage, &format!("Cookie: {name}={token}\r\n")), &[401]);
    }
    stage.denies(with_cookies(&stage, &format!("Cookie: sidegate=\"{token}\"\r\n")), &[401]);
    stage.denies(with_cookies(&stage, &format!("Cookie: sidegate={token}%20\r\n")), &[401]);
    stage.denies(with_cookies(&stage, &format!("X-Cookie: sidegate={token}\r\n")), &[401]);
}

#[test]
fn our_cookies_are_cut_out_of_what_is_forwarded() {
    let stage = Stage::new();
    let token = token(&stage);
    let cookies = format!("a=1; sidegate={token}; b=\"2;x; sidegate-device=d; __Host-sidegate=z");
    let fields = format!("Cookie: {cookies}\r\nCookie: __Secure-sidegate-x=1\r\nCookie: c=3\r\n");
    let arrived = stage.arrives(with_cookies(&stage, &fields));
    assert_eq!(arrived.header("cookie"), Some("a=1; b=\"2;x; c=3"));
    let arrived = stage.arrives(with_cookies(&stage, &format!("Cookie: sidegate={token}\r\n")));
    assert_eq!(arrived.header("cookie"), None);
}

#[test]
fn ck_6_a_cookie_bomb_is_refused_and_harms_nobody() {
    let stage = Stage::new();
    let bomb = format!("Cookie: sidegate={}; a={}\r\n", token(&stage), "x".repeat(60_000));
    stage.rejects(with_cookies(&stage, &bomb), &[431]);
    let crumbs: Vec<String> = (0..1000).map(|i| format!("c{i}=1")).collect();
    let fields = format!("Cookie: {}; sidegate={}\r\n", crumbs.join("; "), token(&stage));
    let arrived = stage.arrives(with_cookies(&stage, &fields));
    assert_eq!(arrived.header("cookie"), Some(crumbs.join("; ").as_str()));
}

#[test]
fn sess_3_and_px_7_malformed_credentials_are_401_and_nothing_else() {
    let stage = Stage::new();
    let token = token(&stage);
    let mut flipped = token.clone();
    let last = if flipped.pop() == Some('A') { 'B' } else { 'A' };
    flipped.push(last);
    for value in ["", "x", "%00", "\u{e9}", "a=b=c", &token[1..], &format!("{token}x"), &flipped] {
        stage.denies(with_cookies(&stage, &format!("Cookie: sidegate={value}\r\n")), &[401]);
        let response =
            stage.denies(with_cookies(&stage, &format!("Authorization: Bearer {value}\r\n")), &[401]);
        let challenge = response.header("www-authenticate").expect("a challenge");
        assert!(challenge.starts_with("Bearer"), "{challenge}");
        assert_eq!(response.header("location"), None);
    }
    for value in ["Bearer", "bearer\t", "Basic eDp5", "Basic \u{0e9}", "\"", "Bearer  "] {
        stage.denies(with_cookies(&stage, &format!("Authorization: {value}\r\n")), &[401]);
    }
}

#[test]
fn a_bearer_token_of_ours_opens_and_is_not_forwarded_while_the_apps_own_is() {
    let stage = Stage::on(Stage::plan().rule("/open/**", "public"));
    let fields = format!("Authorization: Bearer {}\r\n", token(&stage));
    let arrived = stage.arrives(with_cookies(&stage, &fields));
    assert_eq!(arrived.header("x-user-id"), Some(stage.me.as_str()));
    assert_eq!(arrived.header("authorization"), None);
    let arrived =
        stage.arrives(stage.strange("GET /open/x HTTP/1.1", "Authorization: Bearer of-the-app\r\n"));
    assert_eq!(arrived.header("authorization"), Some("Bearer of-the-app"));
    let arrived = stage.arrives(stage.signed("GET /x HTTP/1.1", "Authorization: Basic eDp5\r\n"));
    assert_eq!(arrived.header("authorization"), Some("Basic eDp5"));
}

#[test]
fn sess_5_no_user_agent_opens_anything() {
    let stage = Stage::new();
    for agent in ["GoogleHC/1.0", "kube-probe/1.30", "ELB-HealthChecker/2.0", "sidegate"] {
        stage.denies(with_cookies(&stage, &format!("User-Agent: {agent}\r\n")), &[401]);
    }
    for path in ["/healthz", "/readyz", "/metrics", "/ping", "/ready"] {
        stage.denies(stage.strange(&format!("GET {path} HTTP/1.1"), ""), &[401]);
    }
}

#[test]
fn sess_12_a_refused_request_opens_no_connection_to_the_app() {
    let site = Site::start();
    for method in ["GET", "POST", "DELETE", "OPTIONS", "PROPFIND"] {
        assert_eq!(site.stranger().ask(method, "/x").body("abc").send().status, 401, "{method}");
    }
    assert_eq!(site.upstream.connections(), 0);
}

#[test]
fn sess_2_a_copied_cookie_is_worth_nothing_after_signing_out() {
    let stage = Stage::new();
    let request = stage.signed("GET /x HTTP/1.1", "");
    stage.arrives(&request);
    let fields = format!("Origin: {}\r\nContent-Length: 0\r\n", stage.site.origin);
    assert_eq!(stage.ask(stage.signed("POST /auth/sign-out HTTP/1.1", &fields)).status, 200);
    stage.denies(&request, &[401]);
    stage.site.pass(Duration::from_mins(1));
    stage.denies(&request, &[401]);
}

#[test]
fn cs_8_a_websocket_handshake_of_another_site_is_refused_although_the_cookie_came_along() {
    let stage = Stage::new();
    for foreign in [
        "Origin: https://evil.test\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Origin: http://127.0.0.1:1\r\n",
    ] {
        let response =
            stage.denies(stage.signed("GET /ws HTTP/1.1", &format!("{HANDSHAKE}{foreign}")), &[403]);
        assert_eq!(response.code(), "INVALID_ORIGIN", "{foreign}");
    }
    let own = format!("{HANDSHAKE}Origin: {}\r\n", stage.site.origin);
    assert_eq!(stage.arrives(stage.signed("GET /ws HTTP/1.1", &own)).header("upgrade"), Some("websocket"));
}

#[test]
fn i_8_the_injected_id_is_what_the_owner_path_takes() {
    let stage = Stage::new();
    assert!(
        stage.me.len() <= 64 && stage.me.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    );
    let line = format!("GET /api/{}/x HTTP/1.1", stage.me);
    assert_eq!(stage.arrives(stage.signed(&line, "")).line, line);
}
