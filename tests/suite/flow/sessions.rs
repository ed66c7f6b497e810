//! Seeing and ending one's own sessions, and the log of it all (LIF-7, LG-1, LG-4).

use std::time::Duration;

use serde_json::{Value, json};

use super::{credentials, opens, roomy, rows, token};
use crate::support::database::on_both_databases;
use crate::support::journal;
use crate::support::site::{PASSWORD, Site};

/// The auth log in order: action, outcome, error, whose, address, agent.
fn log(site: &Site) -> Vec<String> {
    site.block_on(site.database.texts(
        r#"SELECT "action" || CASE WHEN "success" THEN ' ok' ELSE ' failed' END || ' ' || COALESCE("error", '-')
           || ' ' || CASE WHEN "userId" IS NULL THEN 'nobody' ELSE 'known' END
           || ' ' || COALESCE("address", '-') || ' ' || COALESCE("userAgent", '-')
           FROM "sidegate_auth_log" ORDER BY "at", "id""#,
    ))
}

fn sessions_of(visitor: &mut crate::support::visitor::Visitor) -> Vec<String> {
    let list = visitor.get("/auth/list-sessions").json();
    list.as_array()
        .expect("a list")
        .iter()
        .map(|s| s["token"].as_str().expect("a handle").to_owned())
        .collect()
}

on_both_databases! {
    fn all_own_sessions_are_listed_and_nobody_elses(database) {
        let site = roomy(database).start();
        let (mut ada, id) = site.member("ada@example.com");
        site.pass(Duration::from_secs(1));
        let (phone, _) = site.signed_in("ada@example.com");
        let (mut bob, _) = site.member("bob@example.com");
        let list = ada.get("/auth/list-sessions").json();
        assert_eq!(list.as_array().map(Vec::len), Some(2));
        assert!(list[0]["createdAt"].as_str() > list[1]["createdAt"].as_str(), "newest first");
        assert!(list.as_array().expect("a list").iter().all(|session| session["userId"] == id));
        assert_eq!(sessions_of(&mut bob).len(), 1);
        for (visitor, name) in [(&ada, "ada"), (&phone, "phone"), (&bob, "bob")] {
            assert!(!list.to_string().contains(&token(visitor)), "SES-8: {name}");
        }
    }

    fn a_list_of_sessions_needs_a_recent_sign_in(database) {
        let site = roomy(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        site.pass(Duration::from_secs(86_399));
        assert_eq!(ada.get("/auth/list-sessions").status, 200);
        site.pass(Duration::from_secs(1));
        let refused = ada.get("/auth/list-sessions");
        assert_eq!((refused.status, &*refused.code()), (403, "SESSION_NOT_FRESH"));
        assert_eq!(ada.get("/auth/me").status, 200);
    }

    fn one_session_is_ended_by_its_handle_and_at_once(database) {
        let site = roomy(database).set("listen", "workers = 2").start();
        let (mut ada, _) = site.member("ada@example.com");
        let (phone, _) = site.signed_in("ada@example.com");
        let phone = token(&phone);
        let own = ada.get("/auth/get-session").json()["session"]["token"].clone();
        let other = sessions_of(&mut ada).into_iter().find(|handle| json!(handle) != own).expect("two sessions");
        for _ in 0..20 {
            assert!(opens(&site, &phone), "on every worker, from memory");
        }
        let done = ada.post("/auth/revoke-session", &json!({ "token": other }));
        assert_eq!((done.status, done.json()), (200, json!({ "status": true })));
        for _ in 0..20 {
            assert!(!opens(&site, &phone), "LIF-4: on the very next request");
        }
        assert!(opens(&site, &token(&ada)));
        assert_eq!(sessions_of(&mut ada).len(), 1);
    }

    fn nobody_ends_the_session_of_another_nor_learns_of_it(database) {
        let site = roomy(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let (mut bob, _) = site.member("bob@example.com");
        let handle = sessions_of(&mut ada).remove(0);
        let secret = token(&ada);
        for guess in [&*handle, "unknown", "", &secret, &"x".repeat(1000), "a' OR 1=1", "\0"] {
            let done = bob.post("/auth/revoke-session", &json!({ "token": guess }));
            assert_eq!((done.status, done.json()), (200, json!({ "status": true })), "{guess}");
        }
        assert!(opens(&site, &secret));
        bob.post("/auth/revoke-sessions", &json!({}));
        assert!(opens(&site, &secret));
    }

    fn all_others_or_all_sessions_are_ended_at_once(database) {
        let site = roomy(database).set("listen", "workers = 2").start();
        let (mut ada, _) = site.member("ada@example.com");
        let others: Vec<String> = (0..3).map(|_| token(&site.signed_in("ada@example.com").0)).collect();
        let (bob, _) = site.member("bob@example.com");
        assert!((0..10).all(|_| others.iter().all(|token| opens(&site, token))));
        assert_eq!(ada.post("/auth/revoke-other-sessions", &json!({})).json(), json!({ "status": true }));
        assert!((0..10).all(|_| !others.iter().any(|token| opens(&site, token))));
        assert!(opens(&site, &token(&ada)) && opens(&site, &token(&bob)));
        let own = token(&ada);
        let again = token(&site.signed_in("ada@example.com").0);
        assert_eq!(ada.post("/auth/revoke-sessions", &json!({})).json(), json!({ "status": true }));
        assert!(!opens(&site, &own) && !opens(&site, &again) && opens(&site, &token(&bob)));
        assert_eq!(rows(&site, "session"), 1);
    }

    fn lg_1_everything_is_logged_with_who_where_by_what_and_how_it_ended(database) {
        let site = roomy(database).start();
        let mut ada = site.stranger();
        ada.headers.push(("User-Agent".to_owned(), "Test/1".to_owned()));
        let step = |ada: &mut crate::support::visitor::Visitor, path: &str, body: &Value| {
            site.pass(Duration::from_secs(1));
            ada.post(&format!("/auth/{path}"), body)
        };
        let up = json!({ "name": "Ada", "email": "ada@example.com", "password": PASSWORD });
        step(&mut ada, "sign-up/email", &up);
        step(&mut ada, "signup", &up);
        step(&mut ada, "login", &json!({ "email": "ada@example.com", "password": "another phrase" }));
        step(&mut ada, "login", &json!({ "email": "nobody@example.com", "password": "another phrase" }));
        step(&mut ada, "sign-in/email", &credentials("ada@example.com"));
        step(&mut ada, "revoke-session", &json!({ "token": "unknown" }));
        step(&mut ada, "revoke-other-sessions", &json!({}));
        step(&mut ada, "sign-out", &json!({}));
        step(&mut ada, "sign-out", &json!({}));
        step(&mut ada, "login", &credentials("ada@example.com"));
        let handle = sessions_of(&mut ada).remove(0);
        step(&mut ada, "revoke-session", &json!({ "token": handle }));
        assert_eq!(log(&site), [
            "signup ok - known 127.0.0.1 Test/1",
            "signup failed USER_ALREADY_EXISTS nobody 127.0.0.1 Test/1",
            "login failed INVALID_EMAIL_OR_PASSWORD known 127.0.0.1 Test/1",
            "login failed INVALID_EMAIL_OR_PASSWORD nobody 127.0.0.1 Test/1",
            "login ok - known 127.0.0.1 Test/1",
            "revoke failed SESSION_NOT_FOUND known 127.0.0.1 Test/1",
            "revoke ok - known 127.0.0.1 Test/1",
            "logout ok - known 127.0.0.1 Test/1",
            "login ok - known 127.0.0.1 Test/1",
            "revoke ok - known 127.0.0.1 Test/1",
        ]);
    }

    fn lg_1_forms_are_logged_too_and_a_long_agent_is_cut(database) {
        let site = roomy(database).start();
        let agent = "A".repeat(1000);
        let mut ada = site.stranger();
        ada.headers.push(("User-Agent".to_owned(), agent.clone()));
        let fields = [("name", "Ada"), ("email", "ada@example.com"), ("password", PASSWORD)];
        for at in ["sign-up", "sign-in", "sign-out"] {
            site.pass(Duration::from_secs(1));
            ada.submit(&format!("/auth/{at}"), &fields);
        }
        let cut = &agent[..256];
        let expected = ["signup", "login", "logout"].map(|action| format!("{action} ok - known 127.0.0.1 {cut}"));
        assert_eq!(log(&site), expected);
    }

    fn lg_4_what_cannot_be_logged_does_not_happen(database) {
        journal::announce("writing the log of sign-ins");
        let site = roomy(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let (phone, _) = site.signed_in("ada@example.com");
        let handles = sessions_of(&mut ada);
        let held = token(&ada);
        site.block_on(site.database.execute(r#"DROP TABLE "sidegate_auth_log""#));
        let up = json!({ "name": "Bob", "email": "bob@example.com", "password": PASSWORD });
        let mut stranger = site.stranger();
        for (path, body) in [("signup", up), ("login", credentials("ada@example.com"))] {
            let response = stranger.post(&format!("/auth/{path}"), &body);
            assert_eq!((response.status, &*response.code()), (503, "STORE_UNAVAILABLE"), "{path}");
            assert!(response.all("set-cookie").is_empty(), "{path}");
        }
        for (path, body) in [("sign-out", json!({})), ("revoke-sessions", json!({})), ("revoke-other-sessions", json!({})),
                             ("revoke-session", json!({ "token": handles[0] }))] {
            let response = ada.post(&format!("/auth/{path}"), &body);
            assert_eq!((response.status, &*response.code()), (503, "STORE_UNAVAILABLE"), "{path}");
            assert!(response.all("set-cookie").is_empty(), "{path}: nobody was signed out");
        }
        assert_eq!((rows(&site, "user"), rows(&site, "session")), (1, 2));
        assert!(opens(&site, &held) && opens(&site, &token(&phone)));
    }
}
