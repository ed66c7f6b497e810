//! Signed session cookies (`session.cookie = "jwt"`): read without the store, exchanged within the request that
//! finds them expired, ended with their session.

use std::time::Duration;

use serde_json::{Value, json};

use super::{parts, plan};
use crate::flow::set_cookie;
use crate::support::database::{Database, on_both_databases};
use crate::support::journal;
use crate::support::raw::Response;
use crate::support::site::{Plan, Site};
use crate::support::visitor::Visitor;

mod end;
mod forged;
mod race;
mod switch;

const LIFETIME: Duration = Duration::from_mins(5);
/// A second less: the cookie is still good.
const ALMOST: Duration = Duration::from_secs(299);

fn signed(database: Database) -> Plan {
    plan(database)
        .set("session", "cookie = \"jwt\"")
        .set("identity", "email = \"x-email\"\nname = \"x-name\"")
}

/// Two processes with one secret, one public origin and one PostgreSQL database.
fn pair() -> (Site, Site) {
    let database = Database::postgres();
    let other = database.shared();
    let start = |database| signed(database).public("http://127.0.0.1:8080").start();
    (start(database), start(other))
}

/// The same browser at another replica, or its cookies in other hands.
fn copy(site: &Site, of: &Visitor) -> Visitor {
    let mut copy = site.stranger();
    copy.cookies.clone_from(&of.cookies);
    copy
}

/// Somebody with only some of these cookies.
fn with_only(site: &Site, of: &Visitor, names: &[&str]) -> Visitor {
    let mut copy = copy(site, of);
    copy.cookies.retain(|name, _| names.contains(&name.as_str()));
    copy
}

/// Both cookies were given anew, and nothing else.
fn gives_both(response: &Response) {
    assert_eq!(response.all("set-cookie").len(), 2, "{:?}", response.all("set-cookie"));
    for name in ["sidegate", "sidegate-refresh"] {
        assert!(set_cookie(response, name).is_some_and(|line| !line.contains("Max-Age=0")), "{name}");
    }
    assert_eq!(response.header("cache-control"), Some("no-store"));
}

/// Both cookies were taken back.
fn takes_both(response: &Response) {
    for name in ["sidegate", "sidegate-refresh"] {
        let lines: Vec<_> = response
            .all("set-cookie")
            .into_iter()
            .filter(|line| line.starts_with(&format!("{name}=")))
            .collect();
        assert!(lines.len() == 1 && lines[0].contains("Max-Age=0"), "{name}: {lines:?}");
    }
}

/// How often refresh cookies were exchanged, by family.
fn generations(site: &Site) -> Vec<String> {
    site.block_on(
        site.database.texts(
            r#"SELECT CAST("generation" AS text) FROM "sidegate_refresh_family" ORDER BY "createdAt""#,
        ),
    )
}

on_both_databases! {
    fn the_cookie_says_who_it_is_and_no_more_than_the_app_is_told(database) {
        let site = signed(database).start();
        let (mut ada, id) = site.member("ada@example.com");
        let (header, claims) = parts(&ada.cookies["sidegate"]);
        assert_eq!((&header["typ"], &header["alg"]), (&json!("sidegate-session+jwt"), &json!("EdDSA")));
        let now = site.clock.now().seconds();
        let session = ada.get("/auth/me").json()["session"]["id"].clone();
        let key = site.block_on(site.database.texts(r#"SELECT "token" FROM "session""#)).remove(0);
        assert_eq!(claims, json!({
            "iss": site.origin, "sub": id, "sid": session, "key": key, "iat": now, "exp": now + 300,
            "end": now + 7 * 86_400, "email": "ada@example.com", "email_verified": false, "name": "Someone",
        }));
        assert_eq!(ada.get("/app").status, 200);
        let arrived = site.upstream.last();
        let told = ["x-user-id", "x-email", "x-name", "cookie"].map(|name| arrived.header(name).map(str::to_owned));
        assert_eq!(told, [Some(id), Some("ada@example.com".into()), Some("Someone".into()), None]);
    }

    fn both_cookies_are_bound_to_the_host_and_to_their_lifetimes(database) {
        let site = signed(database).public("https://app.example").start();
        site.sign_up("ada@example.com");
        let mut body = crate::flow::credentials("ada@example.com");
        let response = site.stranger().post("/auth/login", &body);
        // A token says whole seconds.
        for (name, ages) in [("__Host-sidegate", 299..=300), ("__Host-sidegate-refresh", 604_800..=604_800)] {
            let line = set_cookie(&response, name).expect("it is set");
            let (age, others): (Vec<&str>, Vec<&str>) =
                line.split("; ").skip(1).partition(|part| part.starts_with("Max-Age="));
            assert!(age.len() == 1 && ages.contains(&age[0][8..].parse().expect("a number")), "{line}");
            for attribute in ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"] {
                assert!(others.len() == 4 && others.contains(&attribute), "{line}");
            }
        }
        body["remember"] = json!(false);
        let response = site.stranger().post("/auth/login", &body);
        for name in ["__Host-sidegate", "__Host-sidegate-refresh"] {
            assert!(set_cookie(&response, name).is_some_and(|line| !line.contains("Max-Age")), "ends with the browser");
        }
    }

    fn a_good_cookie_needs_no_store(database) {
        journal::announce("reading a refresh token");
        journal::announce("reading a session");
        let site = signed(database).rule("/open/**", "public").rule("/maybe/**", "optional").start();
        // Of cookies from before it listens a replica asks once; the other's clock may be a minute ahead.
        let listens = || site.app.sessions.cache.hears_of(site.clock.now().plus(Duration::from_mins(2)));
        crate::jobs::eventually("it listens", listens);
        site.pass(Duration::from_secs(61));
        let (mut ada, id) = site.member("ada@example.com");
        site.block_on(site.app.store.close());
        for path in ["/app", "/app", "/maybe/x", &format!("/api/{id}/x")] {
            let response = ada.get(path);
            assert_eq!((response.status, response.all("set-cookie").len()), (200, 0), "{path}");
            assert_eq!(site.upstream.last().header("x-user-id"), Some(&*id));
        }
        assert_eq!(ada.get("/api/other/x").status, 403);
        site.pass(ALMOST);
        assert_eq!(ada.get("/app").status, 200);
        site.pass(Duration::from_secs(1));
        for path in ["/app", "/maybe/x", "/auth/me", "/auth/get-session"] {
            let down = ada.get(path);
            assert_eq!((down.status, &*down.code()), (503, "STORE_UNAVAILABLE"), "{path}");
            assert!(down.all("set-cookie").is_empty(), "an outage signs nobody out");
        }
        assert_eq!(ada.get("/open/x").status, 200, "what is open to all waits for nothing");
    }

    fn an_outage_is_over_when_it_is_over(database) {
        journal::announce("reading a refresh token");
        let site = signed(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        site.pass(LIFETIME);
        site.block_on(site.database.execute(r#"ALTER TABLE "sidegate_refresh_family" RENAME TO "away""#));
        assert_eq!(ada.get("/app").status, 503);
        site.block_on(site.database.execute(r#"ALTER TABLE "away" RENAME TO "sidegate_refresh_family""#));
        let back = ada.get("/app");
        assert_eq!(back.status, 200);
        gives_both(&back);
    }

    fn an_expired_cookie_is_exchanged_within_the_request_which_is_forwarded_once(database) {
        let site = signed(database).start();
        let (mut ada, id) = site.member("ada@example.com");
        for round in 1..4 {
            site.pass(LIFETIME);
            let before = copy(&site, &ada);
            let response = ada.ask("POST", "/app").json(&json!({ "round": round })).send();
            assert_eq!(response.status, 200);
            gives_both(&response);
            assert_eq!(site.upstream.arrived().len(), round);
            let arrived = site.upstream.last();
            assert_eq!(arrived.body, json!({ "round": round }).to_string().into_bytes());
            assert_eq!((arrived.header("x-user-id"), arrived.header("cookie")), (Some(&*id), None));
            for name in ["sidegate", "sidegate-refresh"] {
                assert_ne!(before.cookies[name], ada.cookies[name]);
            }
        }
        assert!(ada.get("/app").all("set-cookie").is_empty(), "the new one is good");
        assert_eq!(generations(&site), ["3"]);
    }

    fn a_browser_that_dropped_the_expired_cookie_is_known_by_the_other(database) {
        let site = signed(database).start();
        let (ada, id) = site.member("ada@example.com");
        let mut ada = with_only(&site, &ada, &["sidegate-refresh"]);
        let response = ada.get("/app");
        assert_eq!((response.status, site.upstream.only().header("x-user-id")), (200, Some(&*id)));
        gives_both(&response);
        let mut alone = with_only(&site, &ada, &["sidegate"]);
        site.pass(LIFETIME);
        let response = alone.get("/app");
        assert_eq!(response.status, 401, "without it there is nothing to exchange");
        takes_both(&response);
    }

    fn every_answer_carries_the_new_cookies(database) {
        let site = signed(database).rule("/closed/**", "deny").rule("/maybe/**", "optional").rule("/open/**", "public").start();
        let (mut ada, _) = site.member("ada@example.com");
        for (method, path, status) in [
            ("GET", "/api/other/x", 403), ("GET", "/closed/x", 403), ("GET", "/maybe/x", 200), ("GET", "/auth/me", 200),
            ("GET", "/auth/get-session", 200), ("GET", "/auth/nothing", 404), ("GET", "/auth/list-sessions", 200),
            ("GET", "/auth/sign-in", 200), ("HEAD", "/app", 200),
        ] {
            site.pass(LIFETIME);
            let response = ada.ask(method, path).send();
            assert_eq!(response.status, status, "{path}");
            gives_both(&response);
        }
        site.pass(LIFETIME);
        let open = ada.get("/open/x");
        assert_eq!((open.status, open.all("set-cookie").len()), (200, 0), "where nobody is asked");
        assert_eq!(site.upstream.last().header("x-user-id"), None);
        let navigated = ada.navigate("/app");
        assert_eq!(navigated.status, 200);
        gives_both(&navigated);
    }

    fn our_own_endpoints_see_the_session_as_the_store_has_it(database) {
        let site = signed(database).start();
        let (mut ada, id) = site.member("ada@example.com");
        let me = ada.get("/auth/me").json();
        assert_eq!((&me["user"]["id"], &me["user"]["email"]), (&json!(id), &json!("ada@example.com")));
        assert_eq!(ada.get("/auth/list-sessions").json().as_array().map(Vec::len), Some(1));
        // Past the site, so that it does not hear of it.
        site.pass(Duration::from_secs(30));
        site.block_on(site.database.execute(r#"DELETE FROM "session""#));
        assert_eq!(ada.get("/auth/get-session").json(), Value::Null);
        assert_eq!(copy(&site, &ada).get("/app").status, 200, "the app is told what the cookie says");
        site.pass(LIFETIME);
        let over = ada.get("/app");
        assert_eq!(over.status, 401);
        takes_both(&over);
    }

    fn idle_and_absolute_limits_hold(database) {
        let site = signed(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let mut idle = site.signed_in("ada@example.com").0;
        for _ in 1..30 {
            site.pass(Duration::from_hours(24));
            assert_eq!(ada.get("/app").status, 200);
        }
        assert_eq!(idle.get("/app").status, 401);
        site.pass(Duration::from_mins(24 * 60 - 2));
        assert_eq!(ada.get("/app").status, 200);
        assert_eq!(parts(&ada.cookies["sidegate"]).1["exp"], site.clock.now().seconds() + 120);
        site.pass(Duration::from_mins(2));
        let over = ada.get("/app");
        assert_eq!(over.status, 401);
        takes_both(&over);
    }

    fn the_lifetime_is_what_was_configured(database) {
        let site = signed(database).set("session", "cookie = \"jwt\"\njwt_lifetime = \"15m\"").start();
        let (mut ada, _) = site.member("ada@example.com");
        site.pass(Duration::from_secs(15 * 60 - 1));
        assert!(ada.get("/app").all("set-cookie").is_empty());
        site.pass(Duration::from_secs(1));
        gives_both(&ada.get("/app"));
    }
}
