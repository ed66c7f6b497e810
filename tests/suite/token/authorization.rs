//! When `Authorization` reaches the app, and when it is taken out of the request (`docs/programs.md`).

use std::time::Duration;

use serde_json::json;
use sidegate::secret::{Purpose, RootSecret};

use super::{Stolen, access_of, bear, joined, member, parts, plan};
use crate::support::database::{Database, on_both_databases};
use crate::support::site::Site;
use crate::support::visitor::Visitor;

/// What the app was sent as `Authorization` of the latest request, which must have been let through.
fn arrived(site: &Site, status: u16) -> Option<String> {
    assert_eq!(status, 200);
    site.upstream.last().header("authorization").map(str::to_owned)
}

/// The same where nobody is asked for, and beside the cookie of somebody who is signed in.
fn passed(site: &Site, ada: &mut Visitor, value: &str) -> [Option<String>; 2] {
    [shows(site, &mut site.stranger(), "/open/x", value), shows(site, ada, "/app", value)]
}

fn shows(site: &Site, visitor: &mut Visitor, path: &str, value: &str) -> Option<String> {
    arrived(site, visitor.ask("GET", path).header("Authorization", value).send().status)
}

fn open(database: Database) -> Site {
    plan(database).rule("/open/**", "public").rule("/maybe/**", "optional").start()
}

on_both_databases! {
    fn what_was_issued_here_is_cut_whatever_it_opens(database) {
        let site = open(database);
        let (mut ada, _, access) = member(&site);
        let made = ada.post("/auth/personal-tokens", &json!({ "name": "x" })).json();
        let personal = made["token"].as_str().expect("a token").to_owned();
        let (mut other, _) = site.signed_in("ada@example.com");
        let session = other.cookies["sidegate"].clone();
        let of_other = access_of(&site, &other);
        let mut forged = access.clone();
        forged.replace_range(access.len() - 20..access.len() - 4, "AAAAAAAAAAAAAAAA");
        let ours = [&session, &personal, &access, &of_other, &forged];
        for token in ours {
            assert_eq!(passed(&site, &mut ada, &format!("Bearer {token}")), [None, None], "{token}");
        }
        assert_eq!(other.post("/auth/sign-out", &json!({})).status, 200);
        assert_eq!(ada.post("/auth/revoke-personal-token", &json!({ "id": made["id"] })).status, 200);
        for token in [&session, &personal, &of_other] {
            // Memory hears that it is.
            assert_eq!(bear(&site, "/app", token).status, 401);
            for scheme in ["Bearer ", "bEARER  "] {
                assert_eq!(passed(&site, &mut ada, &format!("{scheme}{token}")), [None, None], "{token} is over");
            }
        }
        site.pass(Duration::from_mins(16));
        assert_eq!(passed(&site, &mut ada, &format!("Bearer {access}")), [None, None], "it has expired");
    }

    fn whatever_else_stands_there_is_the_apps_and_opens_nothing(database) {
        let site = open(database);
        let (mut ada, id, access) = member(&site);
        let elsewhere = RootSecret::new(vec![1; 32]).expect("long enough");
        let session = elsewhere.key(Purpose::SessionTag).issue().reveal();
        let stolen = Stolen::from(&site);
        let sign = |header, claims| {
            joined(header, claims, |message| stolen.pair.sign(message).expect("a signature").to_vec())
        };
        let (header, claims) = parts(&access);
        let kind = json!({ "typ": "JWT", "alg": "EdDSA", "kid": header["kid"] });
        let key = json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "another" });
        let bearers = [
            session.clone(), format!("sgp_{session}"), "app-token".to_owned(), sign(&kind, &claims), sign(&key, &claims),
        ];
        let all = bearers.map(|token| format!("Bearer {token}"));
        for value in all.iter().map(String::as_str).chain(["Basic YTpi", "Token x", "Bearer"]) {
            let whole = Some(value.to_owned());
            for _ in 0..2 {
                assert_eq!(passed(&site, &mut ada, value), [whole.clone(), whole.clone()]);
                assert_eq!(site.upstream.last().header("x-user-id"), Some(&*id));
                assert_eq!(shows(&site, &mut site.stranger(), "/maybe/x", value), whole);
                assert_eq!(site.upstream.last().header("x-user-id"), None);
                // Now keys are looked for again.
                site.pass(Duration::from_secs(11));
            }
            let denied = site.stranger().ask("GET", "/app").header("Authorization", value).send();
            assert_eq!(denied.status, 401);
        }
    }
}

#[test]
fn a_token_under_a_key_that_is_not_known_yet_is_cut_once_it_has_proved_good() {
    let database = Database::postgres();
    let other = database.shared();
    let start = |database| {
        let plan = plan(database).rule("/open/**", "public").rule("/maybe/**", "optional");
        plan.public("http://127.0.0.1:8080").start()
    };
    let (one, two) = (start(database), start(other));
    let (ada, id, _) = member(&one);
    let rotated = one.block_on(one.app.tokens.rotate(one.clock.now(), true));
    assert!(rotated.unwrap_or_else(|fault| panic!("{fault}")).is_some());
    let token = access_of(&one, &ada);
    let value = format!("Bearer {token}");
    let whole = Some(value.clone());
    let at_two = |path: &str| shows(&two, &mut two.stranger(), path, &value);
    assert_eq!(at_two("/open/x"), whole, "nobody is asked");
    let (mut beside, _) = two.signed_in("ada@example.com");
    assert_eq!(shows(&two, &mut beside, "/app", &value), whole, "the cookie says who it is");
    assert_eq!(at_two("/maybe/x"), whole, "the keys were read a moment ago");
    assert_eq!(bear(&two, "/app", &token).status, 401);
    two.pass(Duration::from_secs(11));
    assert_eq!(at_two("/maybe/x"), None);
    assert_eq!(two.upstream.last().header("x-user-id"), Some(&*id));
    assert_eq!(at_two("/open/x"), None, "the key is known by now");
}
