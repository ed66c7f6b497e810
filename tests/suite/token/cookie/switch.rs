//! A browser that comes with the cookie of the other kind, after the configuration was changed.

use std::collections::HashSet;
use std::time::Duration;

use sidegate::secret::TokenHash;
use sidegate::session::Opening;

use super::{LIFETIME, copy, generations, gives_both, signed, takes_both};
use crate::support::database::{Database, on_both_databases};
use crate::support::site::Site;
use crate::support::visitor::Visitor;
use crate::token::plan;

/// Somebody whose browser got an opaque cookie, as from a site with the other configuration.
fn from_before(site: &Site) -> (Visitor, String) {
    let id = site.member("ada@example.com").1;
    let now = site.clock.now();
    let keys = site.block_on(site.database.texts(r#"SELECT "token" FROM "session""#));
    let key = TokenHash::from_column(&keys[0]).expect("a hash");
    let token = site.block_on(async {
        let session = site.app.sessions.fetch(key, now).await.ok().flatten().expect("it lives");
        let mut tx = site.app.store.begin().await.expect("it begins");
        let opening = Opening { now, remember: true, address: "127.0.0.1".to_owned(), agent: None };
        let opened = site.app.sessions.open(&mut tx, &session.user, opening).await.expect("it opens");
        assert!(tx.commit().await.is_ok());
        opened.token
    });
    site.block_on(site.database.execute(r#"DELETE FROM "sidegate_refresh_family""#));
    (crate::flow::holder(site, &token.reveal()), id)
}

on_both_databases! {
    fn an_opaque_cookie_is_exchanged_once_for_signed_ones_of_the_same_session(database) {
        let signed = signed(database).start();
        let (ada, id) = from_before(&signed);
        let mut now = copy(&signed, &ada);
        let response = now.get("/app");
        assert_eq!((response.status, signed.upstream.last().header("x-user-id")), (200, Some(&*id)));
        gives_both(&response);
        assert_eq!(generations(&signed), ["1"]);
        assert!(now.get("/app").all("set-cookie").is_empty());
        signed.pass(LIFETIME);
        gives_both(&now.get("/app"));
        let replay = copy(&signed, &ada).get("/app");
        assert_eq!(replay.status, 401, "whoever still has it did not get it");
        takes_both(&replay);
        assert_eq!(now.get("/app").status, 401);
    }

    fn of_many_requests_with_an_opaque_cookie_nobody_is_signed_out(database) {
        let signed = signed(database).start();
        let ada = from_before(&signed).0;
        let mut browsers: Vec<Visitor> = (0..50).map(|_| copy(&signed, &ada)).collect();
        std::thread::scope(|scope| {
            for browser in &mut browsers {
                scope.spawn(move || {
                    let response = browser.get("/app");
                    assert_eq!(response.status, 200, "{}", response.text());
                    gives_both(&response);
                });
            }
        });
        let next: HashSet<&String> = browsers.iter().map(|browser| &browser.cookies["sidegate-refresh"]).collect();
        assert_eq!((next.len(), generations(&signed)), (1, vec!["1".to_owned()]));
        signed.pass(Duration::from_secs(30));
        assert_eq!(copy(&signed, &ada).get("/app").status, 200, "within the grace");
    }

    fn an_opaque_cookie_of_a_session_that_is_over_is_taken_back(database) {
        let signed = signed(database).start();
        let held = from_before(&signed).0;
        let mut other = signed.signed_in("ada@example.com").0;
        assert_eq!(other.post("/auth/revoke-sessions", &serde_json::json!({})).status, 200);
        let over = copy(&signed, &held).get("/app");
        assert_eq!(over.status, 401);
        takes_both(&over);
    }
}

#[test]
fn a_signed_cookie_means_nothing_where_cookies_are_opaque_and_is_taken_back() {
    let database = Database::postgres();
    let other = database.shared();
    let opaque = plan(database).public("http://127.0.0.1:8080").start();
    let signed = signed(other).public("http://127.0.0.1:8080").start();
    let ada = signed.member("ada@example.com").0;
    let refused = copy(&opaque, &ada).get("/app");
    assert_eq!(refused.status, 401);
    let mut taken = refused.all("set-cookie").into_iter().filter(|line| line.starts_with("sidegate=;"));
    assert!(taken.next().is_some_and(|line| line.contains("Max-Age=0")));
    let mut again = copy(&opaque, &ada);
    assert_eq!(again.post("/auth/login", &crate::flow::credentials("ada@example.com")).status, 200);
    assert_eq!(again.get("/app").status, 200, "whatever else the browser still has");
}
