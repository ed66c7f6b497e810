//! One's own account: the page, name and picture, and the sessions that its forms end.

use std::time::Duration;

use serde_json::{Value, json};

use super::{credentials, opens, roomy, rows, token};
use crate::support::database::on_both_databases;
use crate::support::raw::Response;
use crate::support::site::{PASSWORD, Site};
use crate::support::visitor::Visitor;

/// Markup that a page must show as text.
const EVIL: &str = "\"'><script>alert(1)</script>";

const PROVIDERS: &str = "
[[providers]]
kind = \"github\"
client_id = \"x\"
client_secret = \"y\"
[[providers]]
kind = \"gitlab\"
name = \"<b>Lab</b>\"
client_id = \"x\"
client_secret = \"y\"
";

/// Where an answer leads, below the origin.
fn leads(site: &Site, response: &Response) -> String {
    response.header("location").unwrap_or_default().trim_start_matches(&site.origin).to_owned()
}

fn user(visitor: &mut Visitor) -> Value {
    visitor.get("/auth/get-session").json()["user"].clone()
}

/// Lets a user sign in through a provider as well.
fn link(site: &Site, id: &str, user: &str, provider: &str) {
    let at = crate::support::database::START.iso();
    site.block_on(site.database.execute(&format!(
        r#"INSERT INTO "account" ("id", "accountId", "providerId", "userId", "createdAt", "updatedAt")
           VALUES ('{id}', '{id}', '{provider}', '{user}', '{at}', '{at}')"#
    )));
}

on_both_databases! {
    fn a_stranger_is_led_to_sign_in_and_back_to_the_account(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        let mut ada = site.stranger();
        let asked = ada.navigate("/auth/account");
        assert_eq!((asked.status, &*leads(&site, &asked)), (302, "/auth/sign-in?callback_url=%2Fauth%2Faccount"));
        assert!(ada.navigate(&leads(&site, &asked)).text().contains("name=\"callback_url\""));
        let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("callback_url", "/auth/account")];
        let within = ada.submit("/auth/sign-in", &fields);
        assert_eq!((within.status, &*leads(&site, &within)), (303, "/auth/account"));
        let page = ada.navigate("/auth/account");
        assert_eq!(page.status, 200);
        assert!(page.text().contains("ada@example.com") && page.text().contains("This browser"), "{}", page.text());
        assert_eq!(page.header("cache-control"), Some("no-store"));

        let mut program = site.stranger();
        let refused = program.get("/auth/account");
        assert_eq!((refused.status, &*refused.code()), (401, "UNAUTHORIZED"));
        let refused = program.post("/auth/update-user", &json!({ "name": "Eve" }));
        assert_eq!((refused.status, &*refused.code()), (401, "UNAUTHORIZED"));
        let refused = ada.ask("POST", "/auth/update-user").header("Origin", "https://evil.test")
            .header("Content-Type", "application/x-www-form-urlencoded").body("name=Eve").send();
        assert_eq!((refused.status, &*refused.code()), (403, "INVALID_ORIGIN"));
        assert_eq!(user(&mut ada)["name"], "Someone");
    }

    fn a_new_name_and_picture_count_at_once_for_every_session(database) {
        let site = roomy(database).set("listen", "workers = 2").set("identity", "name = \"x-user-name\"").start();
        let (mut ada, _) = site.member("ada@example.com");
        let (mut phone, _) = site.signed_in("ada@example.com");
        let (mut bob, _) = site.member("bob@example.com");
        for _ in 0..10 {
            assert_eq!((&user(&mut ada)["name"], &user(&mut phone)["name"]), (&json!("Someone"), &json!("Someone")));
        }
        site.pass(Duration::from_secs(1));
        let image = "https://example.com/ada.png";
        let done = ada.post("/auth/update-user", &json!({ "name": "  Ada ", "image": image, "unknown": 1 }));
        assert_eq!((done.status, done.json()), (200, json!({ "status": true })));
        for _ in 0..10 {
            for visitor in [&mut ada, &mut phone] {
                let user = user(visitor);
                assert_eq!((&user["name"], &user["image"]), (&json!("Ada"), &json!(image)));
                assert!(user["updatedAt"].as_str() > user["createdAt"].as_str());
            }
        }
        ada.get("/app");
        assert_eq!(site.upstream.last().header("x-user-name"), Some("Ada"), "the app is told the new one");

        assert_eq!(ada.post("/auth/update-user", &json!({ "image": null })).status, 200);
        assert_eq!((&user(&mut ada)["name"], &user(&mut ada)["image"]), (&json!("Ada"), &Value::Null));
        assert_eq!(user(&mut bob)["name"], "Someone");
        let log = site.block_on(site.database.texts(
            r#"SELECT "action" FROM "sidegate_auth_log" WHERE "action" = 'update' AND "success" AND "userId" IS NOT NULL"#,
        ));
        assert_eq!(log.len(), 2, "LG-1");
    }

    fn what_cannot_be_a_name_or_picture_changes_nothing(database) {
        let site = roomy(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let before = user(&mut ada);
        let (long, far) = ("n".repeat(129), format!("https://example.com/{}", "x".repeat(2048)));
        for body in [
            json!({}),
            json!([]),
            json!({ "name": "" }),
            json!({ "name": " \t" }),
            json!({ "name": long }),
            json!({ "name": "a\0b" }),
            json!({ "name": "a\r\nb" }),
            json!({ "name": 7 }),
            json!({ "image": "javascript:alert(1)" }),
            json!({ "image": "http://example.com/x" }),
            json!({ "image": "https://example.com/\n" }),
            json!({ "image": far }),
            json!({ "name": "Ada", "image": "data:image/png,x" }),
        ] {
            let refused = ada.post("/auth/update-user", &body);
            assert_eq!((refused.status, &*refused.code()), (400, "VALIDATION_ERROR"), "{body}");
        }
        let refused = ada.post("/auth/update-user", &json!({ "name": "Ada", "email": "eve@example.com" }));
        assert_eq!((refused.status, &*refused.code()), (400, "EMAIL_CAN_NOT_BE_UPDATED"));
        let refused = ada.ask("POST", "/auth/update-user").header("Origin", &site.origin).body("name=x").send();
        assert_eq!((refused.status, &*refused.code()), (415, "UNSUPPORTED_MEDIA_TYPE"));
        assert_eq!(user(&mut ada), before);
        assert_eq!(ada.post("/auth/update-user", &json!({ "name": "ä".repeat(128) })).status, 200, "and this can");
    }

    fn the_form_for_the_name_leads_back_and_says_what_came_of_it(database) {
        let site = roomy(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let saved = ada.submit("/auth/update-user", &[("name", "Ada Lovelace")]);
        assert_eq!((saved.status, &*leads(&site, &saved)), (303, "/auth/account?notice=name-saved"));
        let page = ada.navigate("/auth/account?notice=name-saved").text();
        assert!(page.contains("role=\"status\"") && page.contains("value=\"Ada Lovelace\""), "{page}");
        let refused = ada.submit("/auth/update-user", &[("name", "")]);
        assert_eq!((refused.status, &*leads(&site, &refused)), (303, "/auth/account?problem=VALIDATION_ERROR"));
        assert!(ada.navigate(&leads(&site, &refused)).text().contains("role=\"alert\""));
        assert_eq!(user(&mut ada)["name"], "Ada Lovelace");
        for query in ["notice=%3Cscript%3E", "problem=%3Cscript%3E", "notice=", "x=y"] {
            let page = ada.navigate(&format!("/auth/account?{query}")).text();
            assert!(!page.contains("role=") && !page.contains("<script"), "{query}");
        }
    }

    fn markup_in_names_addresses_browsers_and_providers_is_text(database) {
        let site = roomy(database).toml(PROVIDERS).start();
        site.sign_up("ada@example.com");
        let mut ada = site.stranger();
        ada.headers.push(("User-Agent".to_owned(), EVIL.to_owned()));
        ada.post("/auth/sign-in/email", &credentials("ada@example.com"));
        assert_eq!(ada.post("/auth/update-user", &json!({ "name": EVIL })).status, 200);
        let id = user(&mut ada)["id"].as_str().expect("an id").to_owned();
        link(&site, "one", &id, "<script>gone</script>");
        let page = ada.navigate("/auth/account").text();
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        assert!(page.contains("&#60;b&#62;Lab") && page.contains("&#60;script&#62;gone"), "{page}");
        for page in ["sign-in", "sign-up"] {
            let page = site.stranger().navigate(&format!("/auth/{page}")).text();
            assert!(!page.contains("<b>") && page.contains("&#60;b&#62;Lab"), "{page}");
        }
    }

    fn sessions_are_ended_by_the_forms_of_the_page_and_only_ones_own(database) {
        let site = roomy(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let others: Vec<String> = (0..3).map(|_| token(&site.signed_in("ada@example.com").0)).collect();
        let (mut bob, _) = site.member("bob@example.com");
        let handles: Vec<String> = ada.get("/auth/list-sessions").json().as_array().expect("a list").iter()
            .map(|session| session["token"].as_str().expect("a handle").to_owned()).collect();
        let own = ada.get("/auth/get-session").json()["session"]["token"].as_str().expect("a handle").to_owned();
        let page = ada.navigate("/auth/account").text();
        for handle in handles.iter().filter(|handle| **handle != own) {
            assert!(page.contains(&format!("name=\"token\" value=\"{handle}\"")), "{page}");
        }
        assert!(!page.contains(&own) && !others.iter().any(|token| page.contains(token)), "SES-8");

        let other = handles.iter().find(|handle| **handle != own).expect("another");
        let done = bob.submit("/auth/revoke-session", &[("token", other)]);
        assert_eq!((done.status, rows(&site, "session")), (303, 5), "nobody learns of another's session");
        let done = ada.submit("/auth/revoke-session", &[("token", other)]);
        assert_eq!((done.status, &*leads(&site, &done)), (303, "/auth/account?notice=session-ended"));
        assert_eq!(others.iter().filter(|token| opens(&site, token)).count(), 2);
        let done = ada.submit("/auth/revoke-other-sessions", &[]);
        assert_eq!((done.status, &*leads(&site, &done)), (303, "/auth/account?notice=sessions-ended"));
        assert!(!others.iter().any(|token| opens(&site, token)));
        assert!(opens(&site, &token(&ada)) && opens(&site, &token(&bob)));
        let page = ada.navigate("/auth/account").text();
        assert!(!page.contains("revoke-session") && !page.contains("revoke-other-sessions"), "nothing left to end");
    }

    fn the_ways_in_are_shown_after_a_recent_sign_in_only_and_a_new_one_leads_back(database) {
        let site = roomy(database).toml(PROVIDERS).start();
        let (mut ada, id) = site.member("ada@example.com");
        link(&site, "one", &id, "github");
        site.pass(Duration::from_secs(86_399));
        let page = ada.navigate("/auth/account").text();
        assert!(page.contains("accountId\" value=\"one") && page.contains("This browser"), "{page}");
        site.pass(Duration::from_secs(1));
        let page = ada.navigate("/auth/account").text();
        for secret in ["accountId", "This browser", "change-password", "delete-user", "Signed in"] {
            assert!(!page.contains(secret), "{secret}");
        }
        assert!(page.contains("/auth/sign-in?callback_url=%2Fauth%2Faccount&#38;again=1"), "{page}");
        let page = ada.navigate("/auth/sign-in?callback_url=%2Fauth%2Faccount&again=1").text();
        assert!(page.contains("type=\"password\"") && page.contains("value=\"ada@example.com\""), "{page}");
        let old = token(&ada);
        let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("remember", "on"),
                      ("callback_url", "/auth/account")];
        assert_eq!(leads(&site, &ada.submit("/auth/sign-in", &fields)), "/auth/account");
        assert!(ada.navigate("/auth/account").text().contains("This browser"));
        assert!(!opens(&site, &old), "SES-1: the session that was proved anew is another");
        site.pass(Duration::from_hours(24));
        let refused = ada.ask("GET", "/auth/list-sessions").navigating().send();
        assert!(refused.text().contains("again=1"), "and no page that refuses is a dead end");
    }

    fn lk_9_the_last_way_in_has_no_button_that_takes_it_away(database) {
        let site = roomy(database).toml(PROVIDERS).start();
        let (mut ada, id) = site.member("ada@example.com");
        let shown = |ada: &mut Visitor, what: &str| ada.navigate("/auth/account").text().contains(what);
        link(&site, "one", &id, "github");
        assert!(shown(&mut ada, "value=\"one\"") && shown(&mut ada, "change-password"));
        assert!(shown(&mut ada, "name=\"provider\" value=\"gitlab\"") && !shown(&mut ada, "value=\"github\""));
        site.block_on(site.database.execute(r#"DELETE FROM "account" WHERE "providerId" = 'credential'"#));
        assert!(!shown(&mut ada, "value=\"one\"") && !shown(&mut ada, "change-password"));
        link(&site, "two", &id, "not-configured-any-more");
        assert!(!shown(&mut ada, "value=\"one\"") && shown(&mut ada, "value=\"two\""), "which is no way in");
        link(&site, "three", &id, "gitlab");
        assert!(shown(&mut ada, "value=\"one\"") && shown(&mut ada, "value=\"three\""));
    }

    fn a_provider_is_linked_and_unlinked_by_the_forms_of_the_page(database) {
        let site = roomy(database).toml(PROVIDERS).start();
        let (mut ada, id) = site.member("ada@example.com");
        let leaving = ada.submit("/auth/link-social", &[("provider", "github")]);
        let to = leaving.header("refresh").expect("the way on").trim_start_matches("0; url=").to_owned();
        assert_eq!(leaving.status, 200, "CSP: a form is answered by no redirect off the site");
        assert!(to.starts_with("https://github.com/login/oauth/authorize?"), "{to}");
        assert!(leaving.text().contains("href=\"https://github.com/"), "{}", leaving.text());
        assert!(!leaving.all("set-cookie").is_empty(), "OA-3: bound to the browser");
        assert_eq!(ada.submit("/auth/link-social", &[("provider", "nobody")]).status, 404);

        link(&site, "one", &id, "github");
        let done = ada.submit("/auth/unlink-account", &[("accountId", "one")]);
        assert_eq!((done.status, &*leads(&site, &done)), (303, "/auth/account?notice=method-unlinked"));
        let gone = ada.submit("/auth/unlink-account", &[("accountId", "one")]);
        assert_eq!(leads(&site, &gone), "/auth/account?problem=ACCOUNT_NOT_FOUND");
        site.block_on(site.database.execute(r#"DELETE FROM "account""#));
        link(&site, "two", &id, "github");
        let last = ada.submit("/auth/unlink-account", &[("accountId", "two")]);
        assert_eq!(leads(&site, &last), "/auth/account?problem=FAILED_TO_UNLINK_LAST_ACCOUNT", "LK-9");
        assert_eq!(rows(&site, "account"), 1);
        site.pass(Duration::from_hours(24));
        for (path, field) in [("link-social", ("provider", "gitlab")), ("unlink-account", ("accountId", "two"))] {
            let stale = ada.submit(&format!("/auth/{path}"), &[field]);
            assert_eq!(leads(&site, &stale), "/auth/account?problem=SESSION_NOT_FRESH", "LK-6: {path}");
        }
    }

    fn providers_are_links_on_both_pages_and_keep_the_way(database) {
        let site = roomy(database).toml(PROVIDERS).start();
        for page in ["sign-in", "sign-up"] {
            let page = site.stranger().navigate(&format!("/auth/{page}?callback_url=/notes")).text();
            for id in ["github", "gitlab"] {
                assert!(page.contains(&format!("href=\"/auth/sign-in/{id}?callback_url=http")), "{page}");
            }
            assert!(!page.contains("forgot-password"), "there is no mail here");
        }
    }
}
