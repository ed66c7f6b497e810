//! The end of a session whose cookie is a signed one, and what ends with it.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use serde_json::json;

use super::{ALMOST, LIFETIME, copy, gives_both, pair, signed, takes_both, with_only};
use crate::flow::{credentials, rows};
use crate::support::database::on_both_databases;
use crate::support::journal;
use crate::support::raw::Raw;
use crate::support::site::PASSWORD;
use crate::support::upstream::Upstream;

const HANDSHAKE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

on_both_databases! {
    fn a_good_cookie_is_worth_nothing_once_its_session_has_ended(database) {
        let site = signed(database).start();
        for (way, path) in ["/auth/sign-out", "/auth/logout", "/auth/revoke-sessions"].into_iter().enumerate() {
            let mut ada = site.member(&format!("ada{way}@example.com")).0;
            let (mut seen, mut unseen) = (copy(&site, &ada), copy(&site, &ada));
            assert_eq!(seen.get("/app").status, 200);
            let out = ada.post(path, &json!({}));
            assert_eq!(out.status, 200);
            for other in [&mut seen, &mut unseen] {
                let refused = other.get("/app");
                assert_eq!(refused.status, 401, "{path}");
                takes_both(&refused);
                assert_eq!(other.get("/auth/get-session").text(), "null");
            }
        }
        let mut ada = site.member("ada@example.com").0;
        let mut other = site.signed_in("ada@example.com").0;
        assert_eq!((ada.get("/app").status, other.get("/app").status), (200, 200));
        assert_eq!(ada.post("/auth/revoke-other-sessions", &json!({})).status, 200);
        assert_eq!((ada.get("/app").status, other.get("/app").status), (200, 401));
    }

    fn signing_out_takes_both_cookies_back_also_with_an_expired_one(database) {
        let site = signed(database).start();
        let mut ada = site.member("ada@example.com").0;
        let sessions = rows(&site, "session");
        site.pass(LIFETIME);
        let before = copy(&site, &ada);
        let out = ada.post("/auth/sign-out", &json!({}));
        assert_eq!(out.status, 200);
        takes_both(&out);
        assert_eq!(rows(&site, "session"), sessions - 1);
        assert_eq!(copy(&site, &before).get("/app").status, 401);
    }

    fn signing_in_again_ends_what_the_browser_brought(database) {
        let site = signed(database).start();
        let mut ada = site.member("ada@example.com").0;
        for expired in [false, true] {
            if expired {
                site.pass(LIFETIME);
            }
            let (sessions, before) = (rows(&site, "session"), copy(&site, &ada));
            let again = ada.post("/auth/login", &credentials("ada@example.com"));
            assert_eq!(again.status, 200);
            let given = again.all("set-cookie").into_iter().filter(|line| line.starts_with("sidegate=")).count();
            assert_eq!((given, rows(&site, "session")), (1, sessions));
            assert_eq!((ada.get("/app").status, copy(&site, &before).get("/app").status), (200, 401));
        }
    }

    fn a_changed_password_leaves_earlier_cookies_worth_nothing(database) {
        let site = signed(database).start();
        let mut ada = site.member("ada@example.com").0;
        let before = copy(&site, &ada);
        let change = json!({ "currentPassword": PASSWORD, "newPassword": "another long and private phrase" });
        let changed = ada.post("/auth/change-password", &change);
        assert_eq!(changed.status, 200, "{}", changed.text());
        gives_both(&changed);
        for names in [&["sidegate"][..], &["sidegate-refresh"], &["sidegate", "sidegate-refresh"]] {
            assert_eq!(with_only(&site, &before, names).get("/app").status, 401, "{names:?}");
        }
        assert_eq!(ada.get("/app").status, 200);
        site.pass(LIFETIME);
        gives_both(&ada.get("/app"));
        assert_eq!(ada.get("/auth/me").status, 200);
    }

    fn a_session_that_ended_before_a_restart_is_refused_after_it_although_the_cookie_is_good(database) {
        let address = "http://127.0.0.1:8080";
        let (other, plan) = (database.shared(), |database| signed(database).public(address));
        let mut one = plan(database).start();
        let mut ada = one.member("ada@example.com").0;
        let (gone, mut bob) = (copy(&one, &ada), one.member("bob@example.com").0);
        assert_eq!(ada.post("/auth/sign-out", &json!({})).status, 200);
        one.stop();
        let two = plan(other).start();
        two.pass(Duration::from_secs(1));
        let refused = copy(&two, &gone).get("/app");
        assert_eq!(refused.status, 401);
        takes_both(&refused);
        for _ in 0..2 {
            assert_eq!(copy(&two, &bob).get("/app").status, 200, "whoever is in stays in");
        }
        two.pass(LIFETIME);
        bob = copy(&two, &bob);
        gives_both(&bob.get("/app"));
    }

    fn a_websocket_is_opened_with_an_expired_cookie_and_ends_with_the_session(database) {
        let upstream = Upstream::with(|arrived, stream| {
            if arrived.header("upgrade").is_none() {
                let _ = stream.write_all(crate::support::upstream::ok("hello").as_bytes());
                return;
            }
            let _ = stream.write_all(crate::support::upstream::switch(arrived).as_bytes());
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let _ = stream.write_all(&buffer[..count]);
            }
        });
        let site = signed(database).upstream(upstream).start();
        let (mut ada, id) = site.member("ada@example.com");
        site.pass(LIFETIME);
        let mut raw = Raw::connect(site.address);
        let ask = HANDSHAKE.iter().fold(ada.ask("GET", "/socket"), |ask, (name, value)| ask.header(name, value));
        raw.send(ask.bytes());
        let head = raw.head().expect("an answer");
        assert_eq!(head.status, 101);
        gives_both(&head);
        assert_eq!(site.upstream.last().header("x-user-id"), Some(&*id));
        raw.send("hello");
        assert_eq!(raw.exactly(5).expect("the echo"), b"hello");
        let ask = HANDSHAKE.iter().fold(ada.ask("GET", "/socket"), |ask, (name, value)| ask.header(name, value));
        let foreign = Raw::connect(site.address).send(ask.header("Origin", "https://evil.test").bytes()).answer();
        assert_eq!(foreign.status, 403, "CSWSH");
        assert_eq!(ada.post("/auth/sign-out", &json!({})).status, 200);
        assert!(raw.is_closed(), "it ends with the session");
    }
}

#[test]
fn a_session_that_one_replica_ended_is_soon_refused_by_the_other_although_the_cookie_is_good() {
    let (one, two) = pair();
    let mut ada = one.member("ada@example.com").0;
    let held = copy(&two, &ada);
    assert_eq!(copy(&two, &held).get("/app").status, 200);
    assert_eq!(ada.post("/auth/sign-out", &json!({})).status, 200);
    // However slow the machine: it is told long before so many answers.
    let told = (0..5_000).any(|_| copy(&two, &held).get("/app").status == 401);
    assert!(told, "it never hears of it");
    assert_eq!(copy(&two, &held).get("/app").status, 401);
}

#[test]
fn a_replica_that_is_not_told_refuses_it_after_the_lifetime_at_the_latest() {
    let (one, two) = pair();
    let mut ada = one.member("ada@example.com").0;
    let held = copy(&two, &ada);
    assert_eq!(copy(&two, &held).get("/app").status, 200);
    // Past both, so that nobody tells.
    one.block_on(one.database.execute(r#"DELETE FROM "session""#));
    two.pass(ALMOST);
    assert_eq!(copy(&two, &held).get("/app").status, 200);
    two.pass(Duration::from_secs(1));
    assert_eq!(copy(&two, &held).get("/app").status, 401);
    one.pass(LIFETIME);
    assert_eq!(ada.get("/app").status, 401);
}

#[test]
fn what_a_replica_did_not_hear_of_while_it_could_not_listen_it_asks_for_afterwards() {
    journal::announce("listening for ended sessions");
    let (one, two) = pair();
    let mut ada = one.member("ada@example.com").0;
    let (held, bob) = (copy(&two, &ada), one.member("bob@example.com").0);
    assert_eq!(copy(&two, &held).get("/app").status, 200);
    two.pass(Duration::from_secs(1));
    // Past both, so that nobody tells; then all connections break, and are made again.
    one.block_on(one.database.execute(
        r#"DELETE FROM "session" WHERE "userId" IN
        (SELECT "id" FROM "user" WHERE "email" = 'ada@example.com')"#,
    ));
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    one.block_on(one.database.execute(end));
    let refused = (0..5_000).any(|_| copy(&two, &held).get("/app").status == 401);
    assert!(refused, "it never asks");
    assert_eq!(copy(&two, &bob).get("/app").status, 200);
    assert_eq!(ada.get("/auth/me").status, 401);
}
