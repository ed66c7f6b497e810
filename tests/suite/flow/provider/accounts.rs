//! The ways in which somebody signs in: seen, and taken away as long as one is left (LK-9).

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::{holder, opens, rows, token};
use super::{logged, signed_in, site, verified, with};
use crate::support::database::on_both_databases;
use crate::support::provider::{Persona, Provider};
use crate::support::visitor::Visitor;

fn accounts(visitor: &mut Visitor) -> Vec<Value> {
    let response = visitor.get("/auth/list-accounts");
    assert_eq!(response.status, 200, "{}", response.text());
    response.json().as_array().expect("a list").clone()
}

fn unlink(visitor: &mut Visitor, body: &Value) -> (u16, String) {
    let response = visitor.post("/auth/unlink-account", body);
    let code = if response.status == 200 { response.text() } else { response.code() };
    (response.status, code)
}

on_both_databases! {
    fn the_ways_in_are_listed_as_better_auth_lists_them(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        assert_eq!(site.stranger().get("/auth/list-accounts").status, 401);
        verified(&site, "ada@example.com");
        site.pass(Duration::from_secs(1));
        let (mut ada, id) = signed_in(&site, &provider, Persona::ada());
        let listed = accounts(&mut ada);
        assert_eq!((&listed[0]["providerId"], &listed[0]["accountId"]), (&json!("credential"), &json!(id)));
        assert_eq!((&listed[1]["providerId"], &listed[1]["accountId"]), (&json!("corp"), &json!(Persona::ada().subject)));
        assert_eq!((&listed[1]["userId"], &listed[0]["scopes"]), (&json!(id), &json!([])));
        assert!(listed[1]["scopes"].as_array().expect("a list").contains(&json!("openid")), "{}", listed[1]);
        assert!(listed.iter().all(|account| account["createdAt"].is_string() && account["id"].is_string()));
        assert!(!listed.iter().any(|account| account.get("password").is_some()));
    }

    fn lk_9_what_was_opened_by_a_way_in_ends_with_it_but_for_the_session_that_asks(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        verified(&site, "ada@example.com");
        let (by_password, _) = site.signed_in("ada@example.com");
        let (other, _) = signed_in(&site, &provider, Persona::ada());
        let (mut ada, _) = signed_in(&site, &provider, Persona::ada());
        let (kept, ends) = ([token(&by_password), token(&ada)], token(&other));
        assert!(opens(&site, &ends), "it is in memory");
        assert_eq!(unlink(&mut ada, &json!({ "providerId": "corp" })).0, 200);
        assert!(!opens(&site, &ends) && kept.iter().all(|token| opens(&site, token)));
    }

    fn lk_9_one_of_two_ways_in_goes_and_the_last_one_stays(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        verified(&site, "ada@example.com");
        let (mut ada, _) = signed_in(&site, &provider, Persona::ada());
        let listed = accounts(&mut ada);
        let row = |provider: &str| {
            let account = listed.iter().find(|account| account["providerId"] == json!(provider));
            account.expect("is there")["id"].clone()
        };
        let (mut bob, _) = site.member("bob@example.com");
        assert_eq!(unlink(&mut bob, &json!({ "accountId": row("corp") })), (400, "ACCOUNT_NOT_FOUND".to_owned()));
        for body in [json!({ "accountId": "none" }), json!({ "providerId": "none" }),
                     json!({ "providerId": "corp", "accountId": "another" })] {
            assert_eq!(unlink(&mut ada, &body), (400, "ACCOUNT_NOT_FOUND".to_owned()), "{body}");
        }
        assert_eq!(unlink(&mut ada, &json!({})), (400, "VALIDATION_ERROR".to_owned()));
        assert_eq!(unlink(&mut ada, &json!({ "accountId": row("credential") })).0, 200);
        assert_eq!(unlink(&mut ada, &json!({ "accountId": row("corp") })), (400, "FAILED_TO_UNLINK_LAST_ACCOUNT".to_owned()));
        assert_eq!(unlink(&mut ada, &json!({ "providerId": "corp" })).1, "FAILED_TO_UNLINK_LAST_ACCOUNT");
        assert_eq!(accounts(&mut ada).len(), 1);
        assert_eq!(logged(&site, "unlink"), ["", "FAILED_TO_UNLINK_LAST_ACCOUNT", "FAILED_TO_UNLINK_LAST_ACCOUNT"]);
    }

    fn lk_9_a_provider_that_is_configured_no_more_is_no_way_in(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let (mut ada, id) = signed_in(&site, &provider, Persona::ada());
        let at = "2026-01-01T00:00:00.000Z";
        site.block_on(site.database.execute(&format!(
            r#"INSERT INTO "account" ("id", "accountId", "providerId", "userId", "createdAt", "updatedAt")
               VALUES ('x', '1', 'gone', '{id}', '{at}', '{at}')"#
        )));
        assert_eq!(unlink(&mut ada, &json!({ "providerId": "corp" })).1, "FAILED_TO_UNLINK_LAST_ACCOUNT");
        assert_eq!(unlink(&mut ada, &json!({ "providerId": "gone" })).0, 200);
    }

    fn lk_9_two_at_once_cannot_take_the_last_two_ways_in(database) {
        let provider = Provider::start();
        let site = with(database, &provider, &provider.toml("second", "trust_email = true"));
        for _ in 0..3 {
            let (mut ada, _) = signed_in(&site, &provider, Persona::ada());
            assert_eq!(ada.walk("/auth/sign-in/second").response.status, 200);
            assert_eq!(rows(&site, "account"), 2);
            let held = token(&ada);
            let both: Vec<_> = ["corp", "second"].into_iter()
                .map(|name| {
                    let mut ada = holder(&site, &held);
                    thread::spawn(move || unlink(&mut ada, &json!({ "providerId": name })).0)
                })
                .collect();
            let mut statuses: Vec<u16> = both.into_iter().map(|one| one.join().expect("no panic")).collect();
            statuses.sort_unstable();
            assert_eq!((statuses, rows(&site, "account")), (vec![200, 400], 1));
        }
    }

    fn a_way_in_goes_only_after_a_recent_sign_in(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        verified(&site, "ada@example.com");
        let (mut ada, _) = signed_in(&site, &provider, Persona::ada());
        site.pass(Duration::from_hours(24));
        assert_eq!(unlink(&mut ada, &json!({ "providerId": "corp" })), (403, "SESSION_NOT_FRESH".to_owned()));
        assert_eq!(site.stranger().post("/auth/unlink-account", &json!({ "providerId": "corp" })).status, 401);
        assert_eq!(rows(&site, "account"), 2);
    }
}
