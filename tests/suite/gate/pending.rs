//! Who owes the code of a sign-in: a stranger everywhere, who is led to the page that takes it (PEN-1, PEN-2).

use crate::flow::pending::{ada_at_home, pending, watchful};
use crate::support::database::on_both_databases;

on_both_databases! {
    fn pen_1_nothing_reaches_the_app_in_the_name_of_who_owes_a_code(database) {
        let site = watchful(database).rule("/open/**", "public").rule("/maybe/**", "optional").rule("/no/**", "deny").start();
        let (_, id) = ada_at_home(&site);
        let mut other = pending(&site);
        let own = format!("/api/{id}/items");
        for path in ["/", "/app", &own, "/api/x"] {
            for method in ["GET", "POST", "DELETE"] {
                let answer = other.ask(method, path).header("Origin", &site.origin).body("").send();
                assert_eq!((answer.status, &*answer.code()), (401, "NEEDS_SIGN_IN_VERIFICATION"), "{method} {path}");
                let url = answer.json()["verify_url"].as_str().expect("where to go").to_owned();
                assert_eq!(url, format!("{}/auth/verify-signin", site.origin));
                assert!(answer.json()["login_url"].is_null() && answer.header("location").is_none());
            }
            let page = other.navigate(path);
            assert_eq!((page.status, page.header("location")), (302, Some(&*url_of(&site.origin))), "{path}");
            assert_eq!(page.header("cache-control"), Some("no-store"), "{path}");
        }
        let posted = other.submit("/save", &[("a", "b")]);
        assert_eq!((posted.status, posted.header("location")), (303, Some(&*url_of(&site.origin))));
        assert_eq!(other.get("/no/x").status, 403);
        let call = other.ask("POST", "/svc/Call").header("Content-Type", "application/grpc").body("").send();
        assert_eq!((call.status, call.header("grpc-status")), (200, Some("16")));
        let socket = other.ask("GET", "/ws").header("Upgrade", "websocket").header("Connection", "Upgrade")
            .header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Origin", &site.origin).send();
        assert_eq!(socket.status, 401);
        assert_eq!((site.upstream.arrived().len(), site.upstream.connections()), (0, 0), "PEN-1");
        for path in ["/open/x", "/maybe/x"] {
            assert_eq!(other.get(path).status, 200, "{path}");
            let arrived = site.upstream.last();
            assert!(arrived.header("x-user-id").is_none() && arrived.header("cookie").is_none(), "{arrived:?}");
        }
    }

    fn pen_1_no_account_data_is_told(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        let mut other = pending(&site);
        assert_eq!(other.get("/auth/get-session").text(), "null");
        for path in ["me", "list-sessions"] {
            let answer = other.get(&format!("/auth/{path}"));
            assert_eq!((answer.status, &*answer.code()), (401, "NEEDS_SIGN_IN_VERIFICATION"), "{path}");
        }
        for path in ["revoke-session", "revoke-sessions", "revoke-other-sessions"] {
            let answer = other.post(&format!("/auth/{path}"), &serde_json::json!({ "token": "x" }));
            assert_eq!((answer.status, &*answer.code()), (401, "NEEDS_SIGN_IN_VERIFICATION"), "{path}");
        }
        assert_eq!(crate::flow::rows(&site, "session"), 1);
    }

    fn a_store_that_is_down_is_no_reason_to_take_anybody_for_a_stranger(database) {
        let site = watchful(database).rule("/open/**", "public").start();
        ada_at_home(&site);
        let mut other = pending(&site);
        crate::support::journal::announce("pending sign-in");
        site.block_on(site.app.store.close());
        assert_eq!(other.get("/app").status, 503);
        assert_eq!(other.get("/open/x").status, 200);
        assert_eq!(other.get("/auth/ok").status, 200);
    }
}

fn url_of(origin: &str) -> String {
    format!("{origin}/auth/verify-signin")
}
