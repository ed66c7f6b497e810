//! Access tokens: what they say, what they open, and that they end with their session (TK-1, TK-2, TK-10).

use std::time::Duration;

use serde_json::json;
use sidegate::secret::Token;

use super::{Stolen, access_of, bear, joined, member, node_reads, opens, pair, parts, plan};
use crate::support::database::{Database, on_both_databases};
use crate::support::journal;
use crate::support::raw::ask;
use crate::support::site::Site;

on_both_databases! {
    fn tk_1_a_token_says_what_rfc_9068_asks_for_and_anyone_can_verify_it(database) {
        let site = plan(database).start();
        let (mut ada, id, token) = member(&site);
        let (header, claims) = parts(&token);
        assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("EdDSA")));
        assert_eq!(header.as_object().expect("a header").len(), 3);
        let now = site.clock.now().seconds();
        let session = ada.get("/auth/me").json()["session"]["id"].clone();
        let jti = claims["jti"].clone();
        assert_eq!(claims, json!({
            "iss": site.origin, "aud": site.origin, "sub": id, "client_id": "sidegate", "sid": session,
            "jti": jti, "iat": now, "exp": now + 900,
        }));
        assert_eq!(node_reads(&site, &token, &site.origin, &site.origin).expect("good"), claims);
        assert_ne!(parts(&access_of(&site, &ada)).1["jti"], jti, "each has its own name");
    }

    fn a_token_opens_what_its_session_opens_and_is_not_forwarded(database) {
        let site = plan(database).rule("/open/**", "public").start();
        let (mut ada, id, token) = member(&site);
        for _ in 0..3 {
            assert!(opens(&site, &token));
            let arrived = site.upstream.last();
            assert_eq!((arrived.header("x-user-id"), arrived.header("authorization")), (Some(&*id), None));
        }
        assert_eq!(bear(&site, "/auth/me", &token).json()["user"]["id"], id);
        assert_eq!(bear(&site, &format!("/api/{id}/x"), &token).status, 200);
        assert_eq!(bear(&site, "/api/other/x", &token).status, 403);
        let unseen = access_of(&site, &ada);
        assert_eq!(bear(&site, "/open/x", &unseen).status, 200);
        assert_eq!(site.upstream.last().header("authorization"), None, "where nobody is asked");
        let beside = format!("Bearer {}", access_of(&site, &ada));
        ada.ask("GET", "/app").header("Authorization", &beside).send();
        assert_eq!(site.upstream.last().header("authorization"), None, "beside a live cookie");
    }

    fn tk_2_a_token_is_good_for_fifteen_minutes(database) {
        let site = plan(database).start();
        let (ada, _, token) = member(&site);
        for _ in 0..14 {
            site.pass(Duration::from_mins(1));
            assert!(opens(&site, &token));
        }
        site.pass(Duration::from_secs(59));
        assert!(opens(&site, &token));
        site.pass(Duration::from_secs(1));
        assert!(!opens(&site, &token));
        assert!(opens(&site, &access_of(&site, &ada)));
    }

    fn tk_2_a_token_ends_at_once_with_its_session(database) {
        let site = plan(database).start();
        for (way, path) in ["/auth/sign-out", "/auth/revoke-sessions"].into_iter().enumerate() {
            let email = format!("ada{way}@example.com");
            let mut ada = site.member(&email).0;
            let (seen, unseen) = (access_of(&site, &ada), access_of(&site, &ada));
            assert!(opens(&site, &seen));
            assert_eq!(ada.post(path, &json!({})).status, 200);
            assert!(!opens(&site, &seen) && !opens(&site, &unseen), "{path}");
            assert!(!opens(&site, &seen), "again");
        }
        let mut ada = site.member("ada@example.com").0;
        let other = site.signed_in("ada@example.com").0;
        let (mine, theirs) = (access_of(&site, &ada), access_of(&site, &other));
        assert!(opens(&site, &mine) && opens(&site, &theirs));
        assert_eq!(ada.post("/auth/revoke-other-sessions", &json!({})).status, 200);
        assert!(opens(&site, &mine) && !opens(&site, &theirs));
    }

    fn a_token_signs_its_session_out(database) {
        let site = plan(database).start();
        let (mut ada, _, token) = member(&site);
        let out = site.stranger().ask("POST", "/auth/logout").header("Authorization", &format!("Bearer {token}"))
            .header("Content-Type", "application/json").body("{}").send();
        assert_eq!(out.status, 200);
        assert!(!opens(&site, &token));
        assert_eq!(ada.get("/auth/me").status, 401);
    }

    fn a_token_does_not_outlive_its_session(database) {
        let site = plan(database)
            .set("session", "absolute = \"5m\"\nidle = \"5m\"\nshort = \"5m\"\nrenew_every = \"4m\"").start();
        let (_, _, token) = member(&site);
        assert_eq!(parts(&token).1["exp"], site.clock.now().seconds() + 300);
        assert!(opens(&site, &token));
        site.pass(Duration::from_mins(5));
        assert!(!opens(&site, &token));
    }

    fn a_repeated_token_asks_the_store_as_often_as_a_cookie_does(database) {
        let site = plan(database).start();
        let (mut ada, _, token) = member(&site);
        assert!(opens(&site, &token) && ada.get("/app").status == 200);
        // Past the site, so that it does not hear of it.
        site.block_on(site.database.execute(r#"DELETE FROM "session""#));
        assert!(opens(&site, &token) && ada.get("/app").status == 200, "both from memory");
        site.pass(Duration::from_secs(29));
        assert!(opens(&site, &token) && ada.get("/app").status == 200);
        site.pass(Duration::from_secs(1));
        assert!(!opens(&site, &token) && ada.get("/app").status == 401);
    }

    fn use_of_a_token_keeps_the_session_alive(database) {
        let site = plan(database).start();
        let (mut ada, _, _) = member(&site);
        let held = Token::parse(ada.cookies["sidegate"].as_bytes()).expect("a token").hash();
        for _ in 0..9 {
            site.pass(Duration::from_hours(24));
            let session = site.block_on(site.app.sessions.fetch(held, site.clock.now())).expect("answers");
            let token = site.app.tokens.access(&session.expect("it lives"), site.clock.now());
            assert!(opens(&site, &token.unwrap_or_else(|fault| panic!("{fault}")).token));
        }
        assert_eq!(ada.get("/auth/me").status, 200);
    }

    fn tk_10_credentials_that_are_missing_wrong_or_doubled_are_told_apart(database) {
        let site = plan(database).rule("/open/**", "public").start();
        let (_, _, token) = member(&site);
        let none = site.stranger().get("/app");
        assert_eq!((none.status, none.header("www-authenticate")), (401, Some("Bearer")));
        assert!(!opens(&site, &token[..token.len() - 1]));
        for place in [format!("/app?access_token={token}"), format!("/app?token={token}")] {
            assert_eq!(site.stranger().get(&place).status, 401, "not in the query");
        }
        let host = site.origin.split("://").nth(1).expect("a host");
        for path in ["/app", "/open/x", "/auth/me"] {
            for other in ["Bearer x", "Basic eDp5", &format!("Bearer {token}")] {
                let twice = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
                                     Authorization: {other}\r\n\r\n");
                let response = ask(site.address, twice);
                assert_eq!((response.status, &*response.code()), (400, "INVALID_REQUEST"), "{path} {other}");
                assert_eq!(response.header("www-authenticate"), Some("Bearer error=\"invalid_request\""));
            }
        }
        assert!(site.upstream.arrived().is_empty());
    }

    fn the_apps_own_tokens_are_left_alone(database) {
        let site = plan(database).rule("/open/**", "public").rule("/maybe/**", "optional").start();
        let stolen = Stolen::from(&site);
        let own = joined(&json!({ "typ": "JWT", "alg": "HS256" }), &json!({ "sub": "x" }), |_| vec![7; 32]);
        let alike = joined(&json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "of-the-app" }),
            &json!({ "sub": "x" }), |message| stolen.pair.sign(message).expect("signs").to_vec());
        for own in [own, alike] {
            for path in ["/open/x", "/maybe/x"] {
                for _ in 0..2 {
                    site.pass(Duration::from_secs(11));
                    assert_eq!(bear(&site, path, &own).status, 200);
                    let arrived = site.upstream.last();
                    assert_eq!(arrived.header("authorization"), Some(&*format!("Bearer {own}")));
                    assert_eq!(arrived.header("x-user-id"), None);
                }
            }
            assert!(!opens(&site, &own));
        }
    }

    fn while_the_store_is_down_nobody_is_let_in_and_nobody_is_told_that_a_token_is_bad(database) {
        journal::announce("reading a session");
        let site = plan(database).rule("/open/**", "public").start();
        let (ada, _, seen) = member(&site);
        let unseen = access_of(&site, &ada);
        assert!(opens(&site, &seen));
        site.block_on(site.database.execute(r#"ALTER TABLE "session" RENAME TO "away""#));
        assert!(opens(&site, &seen), "from memory");
        site.pass(Duration::from_secs(30));
        for token in [&seen, &unseen] {
            let response = bear(&site, "/app", token);
            assert_eq!((response.status, &*response.code()), (503, "STORE_UNAVAILABLE"));
            assert_eq!(response.header("www-authenticate"), None);
            assert_eq!(bear(&site, "/open/x", token).status, 200);
        }
        site.block_on(site.database.execute(r#"ALTER TABLE "away" RENAME TO "session""#));
        assert!(opens(&site, &seen) && opens(&site, &unseen));
    }
}

#[test]
fn a_token_that_one_replica_gave_ends_on_the_other_when_its_session_ends() {
    let (one, two) = pair();
    let (mut ada, _) = one.member("ada@example.com");
    let token = access_of(&one, &ada);
    assert!(opens(&two, &token));
    assert_eq!(ada.post("/auth/sign-out", &json!({})).status, 200);
    assert!(!opens(&one, &token));
    crate::jobs::eventually("the other hears of it", || bear(&two, "/app", &token).status == 401);
}

#[test]
fn two_tokens_of_one_session_and_of_two_do_not_get_in_each_others_way() {
    let site = Site::on(Database::sqlite()).set("limits", "attempts_per_address = 1000").start();
    let people: Vec<_> = (0..20)
        .map(|number| {
            let (visitor, id) = site.member(&format!("a{number}@example.com"));
            let tokens = [access_of(&site, &visitor), access_of(&site, &visitor)];
            (id, tokens)
        })
        .collect();
    for _ in 0..2 {
        for (id, tokens) in &people {
            for token in tokens {
                assert!(opens(&site, token));
                assert_eq!(site.upstream.last().header("x-user-id"), Some(&**id));
            }
        }
    }
}
