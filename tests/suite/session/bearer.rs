//! The session token in `Authorization: Bearer` (RFC 6750), and the app's own use of that field (SESS-4).

use serde_json::json;

use crate::flow::{opens, roomy, token};
use crate::support::database::on_both_databases;
use crate::support::raw::Response;
use crate::support::site::Site;

fn bear(site: &Site, path: &str, authorization: &str) -> Response {
    site.stranger().ask("GET", path).header("Authorization", authorization).send()
}

on_both_databases! {
    fn a_token_opens_the_app_as_a_bearer_and_is_not_forwarded(database) {
        let site = roomy(database).start();
        let (ada, id) = site.member("ada@example.com");
        let held = token(&ada);
        for scheme in ["Bearer ", "bearer ", "BEARER ", "Bearer  ", "bearer\t", "Bearer \t "] {
            let response = bear(&site, "/app", &format!("{scheme}{held}"));
            assert_eq!(response.status, 200, "{scheme:?}");
            let arrived = site.upstream.last();
            assert_eq!(arrived.header("x-user-id"), Some(&*id));
            assert_eq!(arrived.header("authorization"), None);
        }
        assert_eq!(bear(&site, "/auth/me", &format!("Bearer {held}")).json()["user"]["id"], id);
        assert_eq!(bear(&site, &format!("/api/{id}/x"), &format!("Bearer {held}")).status, 200);
        assert_eq!(bear(&site, "/api/other/x", &format!("Bearer {held}")).status, 403);
    }

    fn a_token_of_ours_never_reaches_the_app_whatever_else_the_request_carries(database) {
        let site = roomy(database).rule("/open/**", "public").start();
        let (mut ada, _) = site.member("ada@example.com");
        let bearer = format!("Bearer {}", token(&site.signed_in("ada@example.com").0));
        assert_eq!(ada.ask("GET", "/app").header("Authorization", &bearer).send().status, 200);
        assert_eq!(site.upstream.last().header("authorization"), None, "beside a live cookie");
        assert_eq!(bear(&site, "/open/x", &bearer).status, 200);
        assert_eq!(site.upstream.last().header("authorization"), None, "where nobody is asked");
        ada.post("/auth/revoke-other-sessions", &json!({}));
        assert_eq!(bear(&site, "/open/x", &bearer).status, 200);
        assert_eq!(site.upstream.last().header("authorization"), None, "when it opens nothing any more");
    }

    fn a_bearer_signs_out_with_json_and_without_cookies(database) {
        let site = roomy(database).start();
        let held = token(&site.member("ada@example.com").0);
        let out = site.stranger().ask("POST", "/auth/sign-out").header("Authorization", &format!("Bearer {held}"))
            .header("Content-Type", "application/json").body("{}").send();
        assert_eq!(out.json(), json!({ "success": true }));
        assert!(!opens(&site, &held));
        assert_eq!(bear(&site, "/app", &format!("Bearer {held}")).status, 401);
    }

    fn a_wrong_bearer_is_told_so_as_rfc_6750_says(database) {
        let site = roomy(database).start();
        let (ada, _) = site.member("ada@example.com");
        let held = token(&ada);
        for wrong in ["x", "", &"A".repeat(54), &held[1..], &format!("{held}A"), "eyJhbGciOiJub25lIn0.e30.",
                      &format!("{held}, {held}"), &format!("\"{held}\"")] {
            for path in ["/app", "/auth/me"] {
                let response = bear(&site, path, &format!("Bearer {wrong}"));
                assert_eq!(response.status, 401, "{path} {wrong:?}");
                if !wrong.is_empty() {
                    assert_eq!(response.code(), "INVALID_TOKEN", "{path} {wrong:?}");
                    assert_eq!(response.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
                }
                assert!(response.all("set-cookie").is_empty());
            }
        }
        assert!(site.upstream.arrived().is_empty());
        assert_eq!(bear(&site, "/auth/get-session", "Bearer x").text(), "null");
        for other in [format!("Basic {held}"), format!("Token {held}"), format!("Bearer{held}"), held.clone()] {
            let response = bear(&site, "/app", &other);
            assert_eq!((response.status, &*response.code()), (401, "UNAUTHORIZED"), "{other}");
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
        }
    }

    fn the_apps_own_authorization_is_left_alone_where_no_session_is_needed(database) {
        let site = roomy(database).rule("/open/**", "public").rule("/maybe/**", "optional").start();
        for path in ["/open/x", "/maybe/x"] {
            for own in ["Bearer app-token", "Basic YTpi", "Token x", "Bearer"] {
                assert_eq!(bear(&site, path, own).status, 200);
                let arrived = site.upstream.last();
                assert_eq!(arrived.header("authorization"), Some(own), "{path}");
                assert_eq!(arrived.header("x-user-id"), None);
            }
        }
        let (mut ada, id) = site.member("ada@example.com");
        let held = token(&ada);
        assert_eq!(bear(&site, "/maybe/x", &format!("Bearer {held}")).status, 200);
        let arrived = site.upstream.last();
        assert_eq!((arrived.header("authorization"), arrived.header("x-user-id")), (None, Some(&*id)));
        assert_eq!(bear(&site, "/open/x", &format!("Bearer {held}")).status, 200);
        assert_eq!(site.upstream.last().header("authorization"), None, "a live token is not for the app");
        ada.ask("GET", "/app").header("Authorization", "Basic YTpi").send();
        let arrived = site.upstream.last();
        assert_eq!((arrived.header("authorization"), arrived.header("x-user-id")), (Some("Basic YTpi"), Some(&*id)));
    }

    fn a_cookie_that_is_no_good_is_not_made_up_for_by_a_bearer(database) {
        let site = roomy(database).start();
        let held = token(&site.member("ada@example.com").0);
        let response = site.stranger().ask("GET", "/app").header("Cookie", "sidegate=x")
            .header("Authorization", &format!("Bearer {held}")).send();
        assert_eq!(response.status, 401, "two credentials that disagree");
    }
}
