//! What a token is limited to: paths and reading.

use serde_json::json;

use super::{ask, made, text};
use crate::flow::mailed::refused;
use crate::support::database::on_both_databases;
use crate::support::raw::ask as raw;
use crate::support::site::Site;
use crate::token::{bear, plan};

/// Checks that a request with this token is told that the token does not go that far.
fn beyond(site: &Site, method: &str, path: &str, token: &str) {
    let response = ask(site, method, path, token, &json!({}));
    refused(&response, 403, "INSUFFICIENT_SCOPE");
    assert_eq!(response.header("www-authenticate"), Some("Bearer error=\"insufficient_scope\""));
}

on_both_databases! {
    fn a_token_for_some_paths_opens_these_alone(database) {
        let site = plan(database).rule("/open/**", "public").rule("/maybe/**", "optional").start();
        let (mut ada, id) = site.member("ada@example.com");
        let wish = json!({ "name": "x", "paths": ["/api/{user_id}/tasks/**", "/docs/*"] });
        let token = text(&made(&mut ada, &wish), "token");
        let tasks = format!("/api/{id}/tasks");
        for path in [&tasks, &format!("{tasks}/1/done"), "/docs/x", "/open/x"] {
            for _ in 0..2 {
                assert_eq!(bear(&site, path, &token).status, 200, "{path}");
            }
        }
        assert_eq!(ask(&site, "DELETE", &format!("{tasks}/1"), &token, &json!({})).status, 200);
        let before = site.upstream.arrived().len();
        for path in ["/", "/app", "/docs", "/docs/x/y", "/Docs/x", "/maybe/x", &format!("/api/{id}/notes"),
                     &format!("/api/{id}/tasks2"), &format!("/api/{id}")] {
            beyond(&site, "GET", path, &token);
        }
        assert_eq!(site.upstream.arrived().len(), before);
        assert_eq!(ada.get("/app").status, 200, "the limit is the token's, not the person's");
    }

    fn a_path_that_can_be_read_as_another_one_is_within_the_limit_only_if_both_are(database) {
        let site = plan(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let wish = json!({ "name": "x", "paths": ["/docs/**"] });
        let token = text(&made(&mut ada, &wish), "token");
        for path in ["/docs/../app", "/docs/%2e%2e/app", "/docs/..%2fapp", "/docs/%252e%252e/app", "/docs/..;/app",
                     "/docs/x%2fy/..%5c..%5capp", "/docs\\..\\app", "//docs/x/../../app"] {
            let status = bear(&site, path, &token).status;
            assert!(matches!(status, 400 | 403), "{path}: {status}");
        }
        assert!(site.upstream.arrived().is_empty());
        assert_eq!(bear(&site, "/docs/a%20b/./c", &token).status, 200);
    }

    fn a_token_for_reading_reads(database) {
        let site = plan(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let wish = json!({ "name": "x", "readOnly": true });
        let token = text(&made(&mut ada, &wish), "token");
        for method in ["GET", "HEAD"] {
            let bearer = format!("Bearer {token}");
            assert_eq!(site.stranger().ask(method, "/app").header("Authorization", &bearer).send().status, 200);
        }
        let before = site.upstream.arrived().len();
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "delete", "get"] {
            beyond(&site, method, "/app", &token);
        }
        let host = site.origin.split("://").nth(1).expect("a host");
        let handshake = format!(
            "GET /socket HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        refused(&raw(site.address, handshake), 403, "INSUFFICIENT_SCOPE");
        assert_eq!(site.upstream.arrived().len(), before);
    }

    fn both_limits_hold_together(database) {
        let site = plan(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let wish = json!({ "name": "x", "readOnly": true, "paths": ["/docs/**"] });
        let token = text(&made(&mut ada, &wish), "token");
        assert_eq!(bear(&site, "/docs/x", &token).status, 200);
        beyond(&site, "POST", "/docs/x", &token);
        beyond(&site, "GET", "/app", &token);
        assert_eq!(bear(&site, "/auth/me", &token).status, 200);
    }

    fn a_limit_that_cannot_be_read_is_not_taken_for_none(database) {
        crate::support::journal::announce("personal_token.paths");
        let site = plan(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let wish = json!({ "name": "x", "paths": ["/docs/**"] });
        let token = text(&made(&mut ada, &wish), "token");
        for broken in ["", "docs", "/docs/**  /x"] {
            let sql = format!(r#"UPDATE "sidegate_personal_token" SET "paths" = '{broken}'"#);
            site.block_on(site.database.execute(&sql));
            assert_eq!(bear(&site, "/docs/x", &token).status, 503, "{broken:?}");
        }
        assert!(site.upstream.arrived().is_empty());
    }
}
