//! Personal access tokens: made by their owner in a browser, good for the app and for nothing that changes the
//! account.

use std::cell::RefCell;
use std::time::Duration;

use serde_json::{Value, json};

use super::{access_of, bear, opens, parts, plan};
use crate::flow::mailed::{logged, refused};
use crate::flow::rows;
use crate::jobs::eventually;
use crate::support::database::on_both_databases;
use crate::support::journal;
use crate::support::raw::Response;
use crate::support::site::{PASSWORD, Site};
use crate::support::visitor::Visitor;

mod ends;
mod limits;

const TABLE: &str = "sidegate_personal_token";
const DAY: Duration = Duration::from_hours(24);

/// A new token as it is told to its owner.
fn made(visitor: &mut Visitor, wish: &Value) -> Value {
    let response = visitor.post("/auth/personal-tokens", wish);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("cache-control"), Some("no-store"));
    response.json()
}

/// A new token without limits.
fn token(visitor: &mut Visitor) -> String {
    text(&made(visitor, &json!({ "name": "backup" })), "token")
}

fn text(shape: &Value, field: &str) -> String {
    shape[field].as_str().unwrap_or_else(|| panic!("{field} of {shape}")).to_owned()
}

fn ask(site: &Site, method: &str, path: &str, token: &str, body: &Value) -> Response {
    let bearer = format!("Bearer {token}");
    site.stranger().ask(method, path).header("Authorization", &bearer).json(body).send()
}

on_both_databases! {
    fn a_token_opens_the_app_as_its_owner_and_is_not_forwarded(database) {
        let site = plan(database).rule("/open/**", "public").rule("/maybe/**", "optional").start();
        let (mut ada, id) = site.member("ada@example.com");
        let token = token(&mut ada);
        assert!(token.starts_with("sgp_") && token.len() == 58, "{token}");
        for path in ["/app", "/maybe/x", "/app", &format!("/api/{id}/x")] {
            assert_eq!(bear(&site, path, &token).status, 200, "{path}");
            let arrived = site.upstream.last();
            assert_eq!((arrived.header("x-user-id"), arrived.header("authorization")), (Some(&*id), None));
        }
        assert_eq!(ask(&site, "POST", "/app", &token, &json!({})).status, 200);
        assert_eq!(bear(&site, "/open/x", &token).status, 200);
        assert_eq!(site.upstream.last().header("authorization"), None, "where nobody is asked");
        ada.ask("GET", "/app").header("Authorization", &format!("Bearer {token}")).send();
        assert_eq!(site.upstream.last().header("authorization"), None, "beside a cookie");
    }

    fn the_owner_rule_holds_for_tokens(database) {
        let site = plan(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let (_, bob) = site.member("bob@example.com");
        let token = token(&mut ada);
        for _ in 0..2 {
            refused(&bear(&site, &format!("/api/{bob}/x"), &token), 403, "FORBIDDEN");
        }
        let paths = json!({ "name": "theirs", "paths": ["/api/*/x", "/api/{user_id}/x"] });
        let wide = text(&made(&mut ada, &paths), "token");
        refused(&bear(&site, &format!("/api/{bob}/x"), &wide), 403, "FORBIDDEN");
        assert!(site.upstream.arrived().is_empty());
    }

    fn a_token_is_told_once_and_kept_as_a_hash(database) {
        let site = plan(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let wish = json!({ "name": " laptop ", "expiresIn": 3600, "paths": ["/docs/**"], "readOnly": true });
        let told = made(&mut ada, &wish);
        let secret = text(&told, "token");
        let at = |seconds| site.clock.now().plus(Duration::from_secs(seconds)).iso();
        let mut known = json!({
            "id": told["id"], "name": "laptop", "prefix": "sgp_", "lastFour": secret[54..],
            "paths": ["/docs/**"], "readOnly": true,
            "createdAt": at(0), "expiresAt": at(3600), "lastUsedAt": null,
        });
        assert_eq!(ada.get("/auth/personal-tokens").json(), json!([known]));
        known["token"] = json!(secret);
        assert_eq!(told, known);
        let dump = site.block_on(site.database.dump());
        assert!(dump.contains(&text(&told, "id")) && !dump.contains(&secret[4..]));
        assert_eq!(site.member("bob@example.com").0.get("/auth/personal-tokens").json(), json!([]));
        assert_eq!(logged(&site, "token-create"), ["ok - known"]);
    }

    fn a_token_is_good_for_ninety_days_or_as_long_as_was_said(database) {
        let site = plan(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let (long, short) = (token(&mut ada), made(&mut ada, &json!({ "name": "x", "expiresIn": 60 })));
        let short = text(&short, "token");
        site.pass(Duration::from_secs(59));
        assert!(opens(&site, &long) && opens(&site, &short));
        site.pass(Duration::from_secs(1));
        assert!(opens(&site, &long) && !opens(&site, &short));
        site.pass(Duration::from_secs(90 * 86_400 - 61));
        assert!(opens(&site, &long));
        site.pass(Duration::from_secs(1));
        assert!(!opens(&site, &long));
    }

    fn a_wish_that_cannot_be_granted_is_refused_whole(database) {
        let site = plan(database).set("tokens", "personal_max_lifetime = \"30d\"").start();
        let (mut ada, _) = site.member("ada@example.com");
        for wish in [
            json!({}),
            json!({ "name": " " }),
            json!({ "name": "x".repeat(129) }),
            json!({ "name": "x\ny" }),
            json!({ "name": "x", "expiresIn": 59 }),
            json!({ "name": "x", "expiresIn": 30 * 86_400 + 1 }),
            json!({ "name": "x", "expiresIn": u64::MAX }),
            json!({ "name": "x", "expiresIn": "60" }),
            json!({ "name": "x", "paths": [] }),
            json!({ "name": "x", "paths": ["docs"] }),
            json!({ "name": "x", "paths": ["/docs", "/*.png"] }),
            json!({ "name": "x", "paths": ["/a /b"] }),
            json!({ "name": "x", "paths": vec!["/docs"; 21] }),
            json!({ "name": "x", "paths": [format!("/{}", "x".repeat(256))] }),
            json!({ "name": "x", "readonly": true }),
            json!({ "name": "x", "methods": ["GET"] }),
        ] {
            refused(&ada.post("/auth/personal-tokens", &wish), 400, "VALIDATION_ERROR");
        }
        assert_eq!(rows(&site, TABLE), 0);
        let told = made(&mut ada, &json!({ "name": "x" }));
        assert_eq!(told["expiresAt"], site.clock.now().plus(DAY * 30).iso());
    }

    fn nobody_has_more_than_fifty(database) {
        let site = plan(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let short = json!({ "name": "x", "expiresIn": 3600 });
        for _ in 0..50 {
            made(&mut ada, &short);
        }
        site.pass(Duration::from_mins(2));
        refused(&ada.post("/auth/personal-tokens", &short), 400, "TOO_MANY_PERSONAL_TOKENS");
        token(&mut site.member("bob@example.com").0);
        site.pass(Duration::from_hours(1));
        token(&mut ada);
    }

    fn only_who_signed_in_of_late_in_a_browser_makes_one(database) {
        let site = plan(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let wish = json!({ "name": "x" });
        let personal = token(&mut ada);
        for other in [personal, access_of(&site, &ada), ada.cookies["sidegate"].clone()] {
            let response = ask(&site, "POST", "/auth/personal-tokens", &other, &wish);
            refused(&response, 403, "INSUFFICIENT_SCOPE");
        }
        assert_eq!(site.stranger().post("/auth/personal-tokens", &wish).status, 401);
        let foreign = ada.ask("POST", "/auth/personal-tokens").header("Sec-Fetch-Site", "cross-site").json(&wish).send();
        refused(&foreign, 403, "INVALID_ORIGIN");
        site.pass(DAY);
        refused(&ada.post("/auth/personal-tokens", &wish), 403, "SESSION_NOT_FRESH");
        assert_eq!(rows(&site, TABLE), 1);
    }

    fn a_token_reads_who_it_is_and_does_nothing_else_with_the_account(database) {
        let site = plan(database).start();
        let (mut ada, id) = site.member("ada@example.com");
        let token = token(&mut ada);
        for path in ["/auth/me", "/auth/get-session"] {
            assert_eq!(bear(&site, path, &token).json()["user"]["id"], id, "{path}");
        }
        assert_eq!(bear(&site, "/auth/ok", &token).status, 200);
        for (method, path) in [
            ("POST", "/auth/personal-tokens"),
            ("GET", "/auth/personal-tokens"),
            ("POST", "/auth/revoke-personal-token"),
            ("POST", "/auth/change-password"),
            ("POST", "/auth/change-email"),
            ("POST", "/auth/update-user"),
            ("POST", "/auth/delete-user"),
            ("POST", "/auth/link-social"),
            ("GET", "/auth/list-accounts"),
            ("POST", "/auth/unlink-account"),
            ("GET", "/auth/list-sessions"),
            ("POST", "/auth/revoke-sessions"),
            ("POST", "/auth/revoke-other-sessions"),
            ("POST", "/auth/sign-out"),
            ("POST", "/auth/sign-in/email"),
            ("GET", "/auth/account"),
        ] {
            let body = json!({
                "name": "x", "currentPassword": PASSWORD, "newPassword": "quite another phrase",
                "email": "ada@example.com", "password": PASSWORD, "newEmail": "b@example.com",
            });
            let response = ask(&site, method, path, &token, &body);
            refused(&response, 403, "INSUFFICIENT_SCOPE");
            assert_eq!(response.header("www-authenticate"), Some("Bearer error=\"insufficient_scope\""));
            assert!(response.all("set-cookie").is_empty());
        }
        assert_eq!(ada.get("/auth/me").json()["user"]["name"], "Someone");
        assert!(opens(&site, &token));
    }

    fn what_was_not_issued_here_is_not_asked_of_the_store_and_stays_the_apps(database) {
        journal::announce("reading a personal access token");
        let site = plan(database).rule("/open/**", "public").start();
        let (mut ada, _) = site.member("ada@example.com");
        let token = token(&mut ada);
        site.block_on(site.database.execute(&format!(r#"ALTER TABLE "{TABLE}" RENAME TO "away""#)));
        assert_eq!(bear(&site, "/app", &token).status, 503, "this one is asked for");
        let mut bytes = token.clone().into_bytes();
        bytes[20] = if bytes[20] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).expect("text");
        let session = format!("sgp_{}", ada.cookies["sidegate"]);
        for wrong in [&forged, &session, "sgp_", "sgp_x", &token[..57], &format!("{token}A")] {
            assert!(!opens(&site, wrong));
            assert_eq!(bear(&site, "/open/x", wrong).status, 200);
            assert_eq!(site.upstream.last().header("authorization"), Some(&*format!("Bearer {wrong}")));
        }
        site.block_on(site.database.execute(&format!(r#"ALTER TABLE "away" RENAME TO "{TABLE}""#)));
        assert!(opens(&site, &token));
    }

    fn a_token_is_no_session_whatever_it_is_called(database) {
        let site = plan(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let token = token(&mut ada);
        assert!(opens(&site, &token));
        for value in [&token, &token[4..]] {
            assert!(!crate::flow::opens(&site, value), "as a cookie");
        }
        assert!(!opens(&site, &token[4..]), "without its beginning");
        let refresh = site.stranger().post("/auth/refresh", &json!({ "refresh_token": token }));
        assert_eq!(refresh.status, 400);
    }

    fn a_repeated_token_is_known_from_memory(database) {
        let site = plan(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let token = token(&mut ada);
        assert!(opens(&site, &token));
        // Past the site, so that it does not hear of it.
        site.block_on(site.database.execute(&format!(r#"DELETE FROM "{TABLE}""#)));
        site.pass(Duration::from_secs(29));
        assert!(opens(&site, &token));
        site.pass(Duration::from_secs(1));
        assert!(!opens(&site, &token));
    }

    fn its_last_use_is_noted_once_an_hour(database) {
        let site = plan(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let token = token(&mut ada);
        let ada = RefCell::new(ada);
        let used = || ada.borrow_mut().get("/auth/personal-tokens").json()[0]["lastUsedAt"].clone();
        assert_eq!(used(), Value::Null);
        let first = site.clock.now().iso();
        for _ in 0..3 {
            assert!(opens(&site, &token));
            eventually("the use is noted", || used() == first);
            site.pass(Duration::from_mins(19));
        }
        site.pass(Duration::from_mins(3));
        assert!(opens(&site, &token));
        let later = site.clock.now().iso();
        eventually("the use is noted again", || used() == later);
    }

    fn the_assertion_says_whose_it_is_and_names_the_token(database) {
        let site = plan(database).set("identity", "assertion_header = \"x-proof\"").start();
        let (mut ada, id) = site.member("ada@example.com");
        let told = made(&mut ada, &json!({ "name": "x" }));
        assert!(opens(&site, &text(&told, "token")));
        let (_, claims) = parts(site.upstream.last().header("x-proof").expect("an assertion"));
        assert_eq!((&claims["sub"], &claims["sid"]), (&json!(id), &told["id"]));
    }
}
