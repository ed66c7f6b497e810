//! What trusted proxies say of who stood before them, in either header, and what reaches the app of it.

use crate::support::site::{Plan, Site};
use crate::support::stage::Stage;

/// Loopback and 10.0.0.0/8 are proxies.
fn plan(header: &str) -> Plan {
    Stage::plan()
        .set("proxies", &format!("trusted = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\nheader = \"{header}\""))
        .set("limits", "attempts_per_address = 1")
        .rule("/open/**", "public")
}

/// The `X-Forwarded-For` of a request with these fields, as the app sees it.
fn told(site: &Site, fields: &str) -> String {
    let host = site.origin.trim_start_matches("http://");
    let request = format!("GET /open/x HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
    let response = crate::support::raw::ask(site.address, request);
    assert_eq!(response.status, 200, "{}", response.text());
    let arrived = site.upstream.last();
    assert_eq!(arrived.all("forwarded").len(), 0, "there is one chain, not two");
    arrived.header("x-forwarded-for").expect("it is always told").to_owned()
}

/// Whether two attempts to sign in with these fields share a budget of one.
fn share_a_budget(site: &Site, first: &str, second: &str) -> bool {
    let attempt = |fields: &str| {
        let host = site.origin.trim_start_matches("http://");
        let body = r#"{"email":"a@b.example","password":"not the right one"}"#;
        let request = format!(
            "POST /auth/sign-in/email HTTP/1.1\r\nHost: {host}\r\nOrigin: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{fields}\r\n{body}",
            site.origin,
            body.len()
        );
        crate::support::raw::ask(site.address, request).status
    };
    assert_eq!(attempt(first), 401, "{first}");
    attempt(second) == 429
}

#[test]
fn i_06_the_chain_goes_on_to_the_app_with_our_peer_at_its_end() {
    let site = plan("x-forwarded-for").start();
    assert_eq!(told(&site, ""), "127.0.0.1");
    assert_eq!(told(&site, "X-Forwarded-For: 192.0.2.1, 10.0.0.2\r\n"), "192.0.2.1, 10.0.0.2, 127.0.0.1");
    assert_eq!(told(&site, "Forwarded: for=6.6.6.6\r\n"), "127.0.0.1");
    let site = plan("forwarded").start();
    assert_eq!(told(&site, ""), "127.0.0.1");
    assert_eq!(
        told(&site, "Forwarded: for=6.6.6.6, for=192.0.2.1;proto=https, for=10.0.0.2\r\n"),
        "192.0.2.1, 127.0.0.1"
    );
    assert_eq!(told(&site, "Forwarded: for=\"[2001:db8::1]:4711\"\r\n"), "2001:db8::1, 127.0.0.1");
    assert_eq!(told(&site, "Forwarded: for=unknown\r\nX-Forwarded-For: 6.6.6.6\r\n"), "127.0.0.1");
}

#[test]
fn rl_3_a_client_behind_a_proxy_cannot_leave_its_budget_by_what_it_writes_itself() {
    let site = plan("x-forwarded-for").start();
    let x = |lie: &str, client: &str| format!("X-Forwarded-For: {lie}{client}\r\n");
    assert!(share_a_budget(&site, &x("", "192.0.2.1"), &x("6.6.6.6, ", "192.0.2.1")));
    assert!(!share_a_budget(&site, &x("", "192.0.2.2"), &x("192.0.2.2, ", "192.0.2.3")));
    let other = "Forwarded: for=6.6.6.6\r\n";
    assert!(share_a_budget(&site, &x("", "192.0.2.4"), &format!("{}{other}", x("", "192.0.2.4"))));
    let site = plan("forwarded").start();
    let rfc = |lie: &str, client: &str| format!("Forwarded: {lie}for={client}\r\n");
    assert!(share_a_budget(&site, &rfc("", "192.0.2.1"), &rfc("for=6.6.6.6, ", "192.0.2.1")));
    assert!(share_a_budget(&site, &rfc("", "192.0.2.2"), &rfc("for=\"6.6.6.6, ", "192.0.2.2")));
    assert!(!share_a_budget(&site, &rfc("", "192.0.2.3"), &rfc("", "192.0.2.4")));
    let other = "X-Forwarded-For: 6.6.6.6\r\n";
    assert!(share_a_budget(&site, &rfc("", "192.0.2.5"), &format!("{}{other}", rfc("", "192.0.2.5"))));
}

#[test]
fn i_06_a_thousand_entries_and_garbage_do_no_harm() {
    let site = plan("x-forwarded-for").start();
    let many = "6.6.6.6, ".repeat(1000);
    assert!(told(&site, &format!("X-Forwarded-For: {many}192.0.2.1\r\n")).ends_with("192.0.2.1, 127.0.0.1"));
    for garbage in [",,,,", "\"", "[", "[[[", ":::::", "1.1.1.1.1", ";", "=", "%00", "unknown, _x"] {
        assert_eq!(told(&site, &format!("X-Forwarded-For: {garbage}\r\n")), format!("{garbage}, 127.0.0.1"));
    }
    let site = plan("forwarded").start();
    let many = "for=6.6.6.6, ".repeat(1000);
    assert_eq!(told(&site, &format!("Forwarded: {many}for=192.0.2.1\r\n")), "192.0.2.1, 127.0.0.1");
    for garbage in [",,,,", "\"", "for=\"", "for=[", "for", ";", "=", "\\", "\"\\", "for=\"\\"] {
        assert_eq!(told(&site, &format!("Forwarded: {garbage}\r\n")), "127.0.0.1", "{garbage}");
    }
}
