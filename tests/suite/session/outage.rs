//! A store that does not answer: nobody is let through, nobody is signed out (LIF-12).

use std::time::Duration;

use serde_json::json;

use crate::flow::{credentials, holder, opens, roomy, token};
use crate::support::database::on_both_databases;
use crate::support::journal;
use crate::support::site::Site;

/// What must hold while the store is down and the cache is of no more help.
fn holds(site: &Site, held: &str) {
    let mut ada = holder(site, held);
    let arrived = site.upstream.arrived().len();
    for (method, path) in [
        ("GET", "/app"),
        ("GET", "/auth/get-session"),
        ("GET", "/auth/me"),
        ("GET", "/auth/sign-in"),
        ("POST", "/auth/sign-out"),
        ("POST", "/auth/revoke-sessions"),
        ("GET", "/auth/list-sessions"),
        ("GET", "/maybe/x"),
    ] {
        let response = ada.ask(method, path).header("Origin", &site.origin).send();
        assert_eq!((response.status, &*response.code()), (503, "STORE_UNAVAILABLE"), "{method} {path}");
        assert!(response.all("set-cookie").is_empty(), "{method} {path}: never signed out");
        assert!(response.header("retry-after").is_some() && response.header("www-authenticate").is_none());
    }
    let page = ada.navigate("/app");
    assert_eq!((page.status, page.header("location")), (503, None));
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert!(page.all("set-cookie").is_empty());
    let bearer = site.stranger().ask("GET", "/app").header("Authorization", &format!("Bearer {held}")).send();
    assert_eq!(bearer.status, 503);
    assert_eq!(site.upstream.arrived().len(), arrived, "nothing was let through");
    let login = site.stranger().post("/auth/login", &credentials("ada@example.com"));
    assert_eq!((login.status, &*login.code(), login.all("set-cookie").len()), (503, "STORE_UNAVAILABLE", 0));
    let up = json!({ "name": "B", "email": "bob@example.com", "password": crate::support::site::PASSWORD });
    assert_eq!(site.stranger().post("/auth/signup", &up).status, 503);

    // What needs nobody goes on.
    assert_eq!(holder(site, held).get("/open/x").status, 200);
    assert_eq!(site.upstream.last().header("x-user-id"), None);
    assert_eq!(site.stranger().get("/open/x").status, 200);
    assert_eq!(site.stranger().get("/maybe/x").status, 200, "a stranger stays one");
    assert_eq!(holder(site, held).get("/auth/ok").json(), json!({ "ok": true }));
    let invented = holder(site, &"A".repeat(54)).get("/app");
    assert_eq!(invented.status, 401, "D4: an invented token needs no store");
    assert_eq!(site.stranger().navigate("/auth/sign-in").status, 200);
}

on_both_databases! {
    fn lif_12_tables_that_are_gone_are_503_and_back_again_all_is_well(database) {
        for doing in ["reading a session", "reading a credential", "adding a user", "ending a session"] {
            journal::announce(doing);
        }
        let site = roomy(database).rule("/open/**", "public").rule("/maybe/**", "optional").start();
        let held = token(&site.member("ada@example.com").0);
        assert!(opens(&site, &held));
        let rename = |from: &str, to: &str| {
            site.block_on(site.database.execute(&format!(r#"ALTER TABLE "{from}" RENAME TO "{to}""#)));
        };
        rename("session", "session_away");
        rename("user", "user_away");
        assert!(opens(&site, &held), "memory carries on for the cache age");
        site.pass(Duration::from_secs(30));
        holds(&site, &held);
        rename("session_away", "session");
        rename("user_away", "user");
        assert!(opens(&site, &held), "and the session is still there");
        assert_eq!(holder(&site, &held).get("/auth/me").json()["user"]["email"], "ada@example.com");
    }

    fn lif_12_a_store_without_connections_is_503(database) {
        for doing in ["reading a session", "reading a credential", "beginning a transaction"] {
            journal::announce(doing);
        }
        let site = roomy(database).rule("/open/**", "public").rule("/maybe/**", "optional").start();
        let held = token(&site.member("ada@example.com").0);
        assert!(opens(&site, &held));
        site.block_on(site.app.store.close());
        assert!(opens(&site, &held), "memory carries on for the cache age");
        let out = holder(&site, &held).post("/auth/sign-out", &json!({}));
        assert_eq!((out.status, out.all("set-cookie").len()), (503, 0), "a sign-out that was not written did not happen");
        assert!(opens(&site, &held));
        site.pass(Duration::from_secs(30));
        holds(&site, &held);
    }

    fn a_store_that_fails_costs_nobody_the_budget_of_failed_sign_ins(database) {
        journal::announce("reading a credential");
        let site = roomy(database).set("limits", "attempts_per_address = 10000\nattempts_per_account = 2").start();
        site.sign_up("ada@example.com");
        site.block_on(site.database.execute(r#"ALTER TABLE "account" RENAME TO "account_away""#));
        for _ in 0..5 {
            assert_eq!(site.stranger().post("/auth/login", &credentials("ada@example.com")).status, 503);
        }
        site.block_on(site.database.execute(r#"ALTER TABLE "account_away" RENAME TO "account""#));
        site.signed_in("ada@example.com");
    }
}
