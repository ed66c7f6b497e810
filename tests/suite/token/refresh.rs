//! Refresh tokens: used once, raced for without harm, ended with their session (TK-3 to TK-9, TK-11, TK-13).

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::{bear, opens, pair, parts, plan};
use crate::flow::{credentials, rows};
use crate::support::database::{Database, on_both_databases};
use crate::support::journal;
use crate::support::raw::Response;
use crate::support::site::Site;

/// A sign-in by which a program gets a pair.
pub(super) fn sign_in(site: &Site, path: &str, email: &str) -> Value {
    let mut body = credentials(email);
    body["delivery"] = json!("bearer");
    let response = site.stranger().post(path, &body);
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.all("set-cookie").is_empty(), "a program gets no cookie");
    assert_eq!(response.header("cache-control"), Some("no-store"), "TK-11");
    assert_eq!(response.header("content-type"), Some("application/json"));
    response.json()
}

/// A program with a new account and its first pair.
pub(super) fn program(site: &Site) -> Value {
    site.sign_up("ada@example.com");
    sign_in(site, "/auth/login", "ada@example.com")
}

pub(super) fn text<'v>(pair: &'v Value, name: &str) -> &'v str {
    pair[name].as_str().expect("text")
}

/// As a program asks: no origin, no cookies.
fn ask(site: &Site, path: &str, kind: &str, body: &str) -> Response {
    site.stranger().ask("POST", path).header("Content-Type", kind).body(body).send()
}

pub(super) fn exchange(site: &Site, token: &str) -> Response {
    ask(site, "/auth/refresh", "application/json", &json!({ "refresh_token": token }).to_string())
}

pub(super) fn exchanged(site: &Site, token: &str) -> Value {
    let response = exchange(site, token);
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.all("set-cookie").is_empty() && response.header("cache-control") == Some("no-store"));
    response.json()
}

/// Refused as RFC 6749 §5.2 says, and not in a way that reads as "signed out" (TK-8).
fn refused(site: &Site, token: &str) {
    let response = exchange(site, token);
    assert_eq!((response.status, &*response.code()), (400, "INVALID_GRANT"), "{}", response.text());
    assert_eq!(response.json()["error"], "invalid_grant");
    assert!(response.all("set-cookie").is_empty());
}

on_both_databases! {
    fn tk_13_a_program_gets_a_pair_and_a_browser_gets_cookies_only(database) {
        let site = plan(database).start();
        site.sign_up("ada@example.com");
        for path in ["/auth/sign-in/email", "/auth/login"] {
            let pair = sign_in(&site, path, "ada@example.com");
            let members: HashSet<&str> = pair.as_object().expect("a pair").keys().map(String::as_str).collect();
            let all = ["access_token", "token_type", "expires_in", "refresh_token", "refresh_expires_in", "user"];
            assert_eq!(members, all.into());
            assert_eq!((&pair["token_type"], &pair["expires_in"]), (&json!("Bearer"), &json!(900)));
            assert_eq!(pair["refresh_expires_in"], 30 * 24 * 3600);
            assert_eq!(pair["user"]["email"], "ada@example.com");
            assert!(opens(&site, text(&pair, "access_token")));
            assert_eq!(parts(text(&pair, "access_token")).1["sub"], pair["user"]["id"]);
            let browser = site.stranger().post(path, &credentials("ada@example.com"));
            assert!(!browser.text().contains("refresh_token") && !browser.all("set-cookie").is_empty());
            let mut cookie = credentials("ada@example.com");
            cookie["delivery"] = json!("cookie");
            assert!(!site.stranger().post(path, &cookie).all("set-cookie").is_empty());
            for other in [json!("both"), json!(1), json!(null)] {
                cookie["delivery"] = other;
                assert_eq!(site.stranger().post(path, &cookie).status, 400);
            }
        }
    }

    fn tk_4_a_token_is_exchanged_for_its_successor_and_a_new_access_token(database) {
        let site = plan(database).start();
        let mut pair = program(&site);
        let session = parts(text(&pair, "access_token")).1["sid"].clone();
        let sessions = rows(&site, "session");
        let mut seen = HashSet::new();
        for _ in 0..5 {
            assert!(seen.insert(text(&pair, "refresh_token").to_owned()));
            site.pass(Duration::from_mins(15));
            assert!(!opens(&site, text(&pair, "access_token")));
            pair = exchanged(&site, text(&pair, "refresh_token"));
            assert!(opens(&site, text(&pair, "access_token")));
            assert_eq!(parts(text(&pair, "access_token")).1["sid"], session);
        }
        assert_eq!((rows(&site, "session"), rows(&site, "sidegate_refresh_family")), (sessions, 1));
    }

    fn both_spellings_of_the_request_are_understood_and_nothing_else(database) {
        let site = plan(database).start();
        let form = "application/x-www-form-urlencoded";
        let token = text(&program(&site), "refresh_token").to_owned();
        let full = ask(&site, "/auth/refresh", form, &format!("grant_type=refresh_token&refresh_token={token}&client_id=x"));
        assert_eq!(full.status, 200, "{}", full.text());
        let next = full.json();
        let short = ask(&site, "/auth/refresh", form, &format!("refresh_token={}", text(&next, "refresh_token")));
        assert_eq!(short.status, 200);
        for (kind, body) in [
            (form, "grant_type=password&refresh_token=x"), (form, ""), (form, "grant_type=refresh_token"),
            ("application/json", "{}"), ("application/json", r#"{"refresh_token":1}"#),
            ("application/json", r#"{"refresh_token":""}"#),
        ] {
            let response = ask(&site, "/auth/refresh", kind, body);
            assert_eq!((response.status, &*response.code()), (400, "VALIDATION_ERROR"), "{body}");
        }
        assert_eq!(ask(&site, "/auth/refresh", "application/json", "{").status, 400);
        assert_eq!(ask(&site, "/auth/refresh", "text/plain", "x").status, 415);
        assert_eq!(site.stranger().get(&format!("/auth/refresh?refresh_token={token}")).status, 405);
    }

    fn lg_1_an_exchange_is_in_the_log_of_sign_ins_once(database) {
        let site = plan(database).start();
        let first = program(&site);
        exchanged(&site, text(&first, "refresh_token"));
        exchanged(&site, text(&first, "refresh_token"));
        let lines = r#"SELECT "id" FROM "sidegate_auth_log" WHERE "action" = 'refresh' AND "success""#;
        assert_eq!(site.block_on(site.database.texts(lines)).len(), 1, "who comes late gets what was made");
    }

    fn tk_3_the_store_holds_no_token(database) {
        let site = plan(database).start();
        let pair = program(&site);
        let next = exchanged(&site, text(&pair, "refresh_token"));
        let dump = site.block_on(site.database.dump());
        for pair in [&pair, &next] {
            for name in ["refresh_token", "access_token"] {
                assert!(!dump.contains(text(pair, name)), "{name}");
                assert!(!journal::mentions(text(pair, name)));
            }
            assert!(!dump.contains(&text(pair, "refresh_token")[20..]));
        }
    }

    fn tk_7_within_the_grace_a_used_token_gives_the_same_successor(database) {
        let site = plan(database).start();
        let first = text(&program(&site), "refresh_token").to_owned();
        let next = text(&exchanged(&site, &first), "refresh_token").to_owned();
        for _ in 0..6 {
            site.pass(Duration::from_secs(5));
            let again = exchanged(&site, &first);
            assert_eq!(text(&again, "refresh_token"), next);
            assert!(opens(&site, text(&again, "access_token")));
        }
        assert_eq!(exchange(&site, &next).status, 200, "the successor is good");
    }

    fn tk_5_outside_the_grace_a_used_token_ends_the_family_and_its_session_and_is_logged(database) {
        let site = plan(database).start();
        let stolen = program(&site);
        let thief = exchanged(&site, text(&stolen, "refresh_token"));
        let thief = exchanged(&site, text(&thief, "refresh_token"));
        assert!(opens(&site, text(&thief, "access_token")));
        let sessions = rows(&site, "session");
        site.pass(Duration::from_secs(31));
        refused(&site, text(&stolen, "refresh_token"));
        assert!(!opens(&site, text(&thief, "access_token")) && !opens(&site, text(&stolen, "access_token")));
        refused(&site, text(&thief, "refresh_token"));
        refused(&site, text(&stolen, "refresh_token"));
        assert_eq!((rows(&site, "session"), rows(&site, "sidegate_refresh_family")), (sessions - 1, 0));
        let logged = site.block_on(site.database.texts(
            r#"SELECT "action" || ' ' || "error" FROM "sidegate_auth_log" WHERE "error" IS NOT NULL"#));
        assert_eq!(logged, ["revoke REFRESH_TOKEN_REUSED"]);
        assert!(journal::mentions("a refresh token was used a second time"));
        let again = sign_in(&site, "/auth/login", "ada@example.com");
        assert!(opens(&site, text(&again, "access_token")), "the account is not locked");
    }

    fn tk_7_after_the_grace_a_used_token_is_a_replay_although_its_successor_was_not_used(database) {
        let site = plan(database).start();
        let first = program(&site);
        let next = exchanged(&site, text(&first, "refresh_token"));
        site.pass(Duration::from_millis(30_001));
        refused(&site, text(&first, "refresh_token"));
        assert!(!opens(&site, text(&next, "access_token")));
        refused(&site, text(&next, "refresh_token"));
    }

    fn tk_7_once_the_successor_was_used_its_parent_is_a_replay_even_within_the_grace(database) {
        let site = plan(database).start();
        let first = program(&site);
        let second = exchanged(&site, text(&first, "refresh_token"));
        let third = exchanged(&site, text(&second, "refresh_token"));
        site.pass(Duration::from_secs(1));
        refused(&site, text(&first, "refresh_token"));
        assert!(!opens(&site, text(&third, "access_token")));
    }

    fn tk_5_any_earlier_token_of_the_family_is_known_for_a_replay(database) {
        let site = plan(database).start();
        let first = program(&site);
        let mut pair = first.clone();
        for _ in 0..20 {
            site.pass(Duration::from_mins(15));
            pair = exchanged(&site, text(&pair, "refresh_token"));
        }
        refused(&site, text(&first, "refresh_token"));
        assert!(!opens(&site, text(&pair, "access_token")));
    }

    fn without_a_grace_a_token_is_good_once(database) {
        let site = plan(database).set("tokens", "refresh_grace = \"0s\"").start();
        let first = program(&site);
        let next = exchanged(&site, text(&first, "refresh_token"));
        refused(&site, text(&first, "refresh_token"));
        assert!(!opens(&site, text(&next, "access_token")));
    }

    fn tk_6_use_does_not_lengthen_the_life_of_a_family(database) {
        let site = plan(database).start();
        let mut pair = program(&site);
        for day in 1..30 {
            site.pass(Duration::from_hours(24));
            pair = exchanged(&site, text(&pair, "refresh_token"));
            assert_eq!(pair["refresh_expires_in"], (30 - day) * 24 * 3600);
        }
        site.pass(Duration::from_hours(24) - Duration::from_mins(5));
        pair = exchanged(&site, text(&pair, "refresh_token"));
        assert_eq!((&pair["refresh_expires_in"], &pair["expires_in"]), (&json!(300), &json!(300)));
        site.pass(Duration::from_mins(5));
        refused(&site, text(&pair, "refresh_token"));
        assert!(!opens(&site, text(&pair, "access_token")));
    }

    fn a_program_that_is_away_for_too_long_signs_in_again(database) {
        let site = plan(database).start();
        let pair = program(&site);
        site.pass(Duration::from_hours(24 * 7));
        refused(&site, text(&pair, "refresh_token"));
        let mut short = credentials("ada@example.com");
        (short["delivery"], short["remember"]) = (json!("bearer"), json!(false));
        let pair = site.stranger().post("/auth/login", &short).json();
        assert_eq!(pair["refresh_expires_in"], 24 * 3600);
        site.pass(Duration::from_hours(23));
        let pair = exchanged(&site, text(&pair, "refresh_token"));
        site.pass(Duration::from_hours(1));
        refused(&site, text(&pair, "refresh_token"));
    }

    fn tk_4_of_fifty_that_exchange_one_token_together_nobody_is_signed_out_and_there_is_one_successor(database) {
        let site = plan(database).start();
        let first = text(&program(&site), "refresh_token").to_owned();
        race(&[&site], &first);
    }

    fn tk_9_no_token_stands_for_another(database) {
        let site = plan(database).start();
        let (ada, _) = site.member("ada@example.com");
        let pair = sign_in(&site, "/auth/login", "ada@example.com");
        refused(&site, text(&pair, "access_token"));
        refused(&site, &ada.cookies["sidegate"]);
        let refresh = text(&pair, "refresh_token");
        assert!(!opens(&site, refresh), "a refresh token is no access token");
        let mut thief = site.stranger();
        thief.cookies.insert("sidegate".to_owned(), refresh.to_owned());
        assert_eq!(thief.get("/app").status, 401, "nor a cookie");
        assert_eq!(exchange(&site, refresh).status, 200, "nothing of this has used it up");
    }

    fn an_invented_token_is_refused_without_the_store(database) {
        journal::announce("reading a refresh token");
        let site = plan(database).start();
        let pair = program(&site);
        let good = text(&pair, "refresh_token");
        let mut flipped = good.to_owned();
        let last = if flipped.pop() == Some('A') { 'Q' } else { 'A' };
        flipped.push(last);
        site.block_on(site.database.execute(
            r#"ALTER TABLE "sidegate_refresh_family" RENAME TO "away""#));
        for invented in ["x", &"A".repeat(54), &good[1..], &format!("{good}A"), &flipped, "eyJhbGciOiJub25lIn0.e30."] {
            refused(&site, invented);
        }
        let down = exchange(&site, good);
        assert_eq!((down.status, &*down.code()), (503, "STORE_UNAVAILABLE"), "and nobody is signed out by an outage");
        site.block_on(site.database.execute(
            r#"ALTER TABLE "away" RENAME TO "sidegate_refresh_family""#));
        assert_eq!(exchange(&site, good).status, 200);
    }

    fn rv_1_a_token_of_either_kind_is_revoked_and_the_answer_tells_nothing(database) {
        let site = plan(database).start();
        site.sign_up("ada@example.com");
        let form = "application/x-www-form-urlencoded";
        for (kind, name) in [("json", "refresh_token"), (form, "refresh_token"), ("json", "access_token"), (form, "access_token")] {
            let pair = sign_in(&site, "/auth/login", "ada@example.com");
            assert!(opens(&site, text(&pair, "access_token")));
            let revoke = |token: &str| match kind {
                "json" => ask(&site, "/auth/revoke", "application/json", &json!({ "token": token }).to_string()),
                form => ask(&site, "/auth/revoke", form, &format!("token={token}&token_type_hint={name}")),
            };
            let done = revoke(text(&pair, name));
            assert_eq!((done.status, done.json()), (200, json!({ "success": true })));
            assert!(!opens(&site, text(&pair, "access_token")), "{name}");
            refused(&site, text(&pair, "refresh_token"));
            for other in [text(&pair, name), "unknown", &"A".repeat(54)] {
                let again = revoke(other);
                assert_eq!((again.status, again.body), (200, done.body.clone()), "{other}");
            }
        }
        assert_eq!(ask(&site, "/auth/revoke", form, "").status, 400);
        let get = site.stranger().get("/auth/revoke?token=x");
        assert_eq!(get.status, 405, "RV-2");
    }

    fn signing_out_and_every_other_end_of_a_session_ends_both_tokens(database) {
        let site = plan(database).start();
        let out = program(&site);
        let bearer = format!("Bearer {}", text(&out, "access_token"));
        let response = site.stranger().ask("POST", "/auth/logout").header("Authorization", &bearer)
            .header("Content-Type", "application/json").body("{}").send();
        assert_eq!(response.status, 200);
        let revoked = sign_in(&site, "/auth/login", "ada@example.com");
        let (mut ada, _) = site.signed_in("ada@example.com");
        assert_eq!(ada.post("/auth/revoke-other-sessions", &json!({})).status, 200);
        for pair in [&out, &revoked] {
            assert!(!opens(&site, text(pair, "access_token")));
            refused(&site, text(pair, "refresh_token"));
        }
        assert_eq!(rows(&site, "sidegate_refresh_family"), 0);
    }

    fn a_session_that_ends_while_its_token_is_exchanged_stays_ended(database) {
        let site = plan(database).start();
        site.sign_up("ada@example.com");
        for _ in 0..10 {
            let pair = sign_in(&site, "/auth/login", "ada@example.com");
            let (refresh, access) = (text(&pair, "refresh_token"), text(&pair, "access_token"));
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        let status = exchange(&site, refresh).status;
                        assert!(matches!(status, 200 | 400), "{status}");
                    });
                }
                scope.spawn(|| {
                    let body = json!({ "token": access }).to_string();
                    assert_eq!(ask(&site, "/auth/revoke", "application/json", &body).status, 200);
                });
            });
            refused(&site, refresh);
            assert_eq!(bear(&site, "/app", access).status, 401);
        }
        assert_eq!(rows(&site, "sidegate_refresh_family"), 0);
    }
}

/// Fifty at once, spread over these sites.
fn race(sites: &[&Site], token: &str) {
    let pairs: Vec<Value> = std::thread::scope(|scope| {
        let ask = |number: usize| scope.spawn(move || exchanged(sites[number % sites.len()], token));
        let all: Vec<_> = (0..50).map(ask).collect();
        all.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let successors: HashSet<&str> = pairs.iter().map(|pair| text(pair, "refresh_token")).collect();
    assert_eq!(successors.len(), 1, "one successor");
    let generations =
        sites[0].database.texts(r#"SELECT CAST("generation" AS text) FROM "sidegate_refresh_family""#);
    assert_eq!(sites[0].block_on(generations), ["1"], "one exchange");
    for pair in &pairs {
        for site in sites {
            assert!(opens(site, text(pair, "access_token")));
        }
    }
    let next = exchanged(sites[0], text(&pairs[0], "refresh_token"));
    assert!(opens(sites[0], text(&next, "access_token")));
    assert_eq!(rows(sites[0], "sidegate_refresh_family"), 1);
}

#[test]
fn tk_4_of_fifty_that_exchange_one_token_at_two_replicas_nobody_is_signed_out() {
    let (one, two) = pair();
    let first = text(&program(&one), "refresh_token").to_owned();
    race(&[&one, &two], &first);
}

#[test]
fn with_another_root_secret_a_refresh_token_is_worth_nothing() {
    let database = Database::postgres();
    let other = database.shared();
    let one = plan(database).start();
    let two = crate::flow::roomy(other).secret("another secret that is long enough too").start();
    let pair = program(&one);
    refused(&two, text(&pair, "refresh_token"));
    assert_eq!(exchange(&one, text(&pair, "refresh_token")).status, 200);
}
