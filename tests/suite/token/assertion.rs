//! The identity in a signed token, for an app that does not believe a header because it is there (PX-3).

use std::time::Duration;

use serde_json::json;

use super::{access_of, node_reads, opens, parts, plan};
use crate::support::database::{Database, on_both_databases};
use crate::support::site::Site;
use crate::support::stage::Stage;
use crate::support::visitor::Visitor;

const HEADER: &str = "x-sidegate-assertion";
const ON: &str = "assertion_header = \"x-sidegate-assertion\"";

/// What the app is sent with a request of this visitor.
fn sent(site: &Site, visitor: &mut Visitor) -> String {
    assert_eq!(visitor.get("/app").status, 200);
    site.upstream.last().header(HEADER).expect("an assertion").to_owned()
}

on_both_databases! {
    fn px_3_the_app_can_verify_who_is_asking_with_the_published_keys_alone(database) {
        let site = plan(database).set("identity", ON).start();
        let (mut ada, id) = site.member("ada@example.com");
        let token = sent(&site, &mut ada);
        let app = format!("http://{}", site.upstream.address);
        let claims = node_reads(&site, &token, &site.origin, &app).unwrap_or_else(|error| panic!("{error}"));
        let now = site.clock.now().seconds();
        let session = ada.get("/auth/me").json()["session"]["id"].clone();
        assert_eq!(claims, json!({
            "iss": site.origin, "aud": app, "sub": id, "iat": now, "exp": now + 300, "sid": session,
            "email": "ada@example.com", "email_verified": false, "name": "Someone",
        }));
        assert_eq!(parts(&token).0["typ"], "JWT");
    }
}

#[test]
fn es256_can_be_verified_as_well() {
    let site =
        Site::on(Database::sqlite()).set("identity", ON).set("tokens", "algorithm = \"ES256\"").start();
    let (mut ada, id) = site.member("ada@example.com");
    let token = sent(&site, &mut ada);
    let app = format!("http://{}", site.upstream.address);
    assert_eq!(node_reads(&site, &token, &site.origin, &app).expect("good")["sub"], id);
    assert_eq!(parts(&token).0["alg"], "ES256");
    assert!(opens(&site, &access_of(&site, &ada)));
}

#[test]
fn the_verifier_of_these_tests_refuses_what_is_not_good() {
    let site = Site::on(Database::sqlite()).set("identity", ON).start();
    let token = sent(&site, &mut site.member("ada@example.com").0);
    let app = format!("http://{}", site.upstream.address);
    let mut flipped = token.clone().into_bytes();
    let middle = token.rfind('.').expect("a signature") + 20;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).expect("text");
    assert!(node_reads(&site, &flipped, &site.origin, &app).expect_err("no").contains("signature"));
    assert!(node_reads(&site, &token, "http://other", &app).is_err());
    assert!(node_reads(&site, &token, &site.origin, &site.origin).is_err());
    site.pass(Duration::from_mins(5));
    assert!(node_reads(&site, &token, &site.origin, &app).expect_err("no").contains("good now"));
}

#[test]
fn one_is_used_again_and_always_has_half_its_life_left() {
    let site =
        Site::on(Database::sqlite()).set("identity", &format!("{ON}\nassertion_lifetime = \"1m\"")).start();
    let mut ada = site.member("ada@example.com").0;
    let first = sent(&site, &mut ada);
    let mut seen = vec![first.clone()];
    assert_eq!(sent(&site, &mut ada), first, "it is not made for every request");
    for _ in 0..20 {
        site.pass(Duration::from_secs(7));
        let token = sent(&site, &mut ada);
        let left = parts(&token).1["exp"].as_i64().expect("a time") - site.clock.now().seconds();
        assert!((30..=60).contains(&left), "{left}");
        if !seen.contains(&token) {
            seen.push(token);
        }
    }
    assert!(seen.len() > 2 && seen.len() < 10, "{}", seen.len());
}

#[test]
fn beside_a_signed_cookie_too_it_always_has_half_its_life_left() {
    let site = Site::on(Database::sqlite())
        .set("identity", &format!("{ON}\nassertion_lifetime = \"1m\""))
        .set("session", "cookie = \"jwt\"\njwt_lifetime = \"2m\"")
        .start();
    let mut ada = site.member("ada@example.com").0;
    let mut seen = std::collections::HashSet::new();
    // Over the end of two cookies, each of which is exchanged on the way.
    for _ in 0..40 {
        let token = sent(&site, &mut ada);
        let left = parts(&token).1["exp"].as_i64().expect("a time") - site.clock.now().seconds();
        assert!((30..=60).contains(&left), "{left}");
        seen.insert(token);
        site.pass(Duration::from_secs(7));
    }
    assert!(seen.len() < 15, "it is not made for every request: {}", seen.len());
}

#[test]
fn beside_a_signed_cookie_too_it_is_good_no_longer_than_the_session() {
    let site = Site::on(Database::sqlite())
        .set("identity", ON)
        .set(
            "session",
            "cookie = \"jwt\"\nabsolute = \"2m\"\nidle = \"2m\"\nshort = \"2m\"\nrenew_every = \"1m\"",
        )
        .start();
    let mut ada = site.member("ada@example.com").0;
    for passed in [0, 90] {
        site.pass(Duration::from_secs(passed));
        let left =
            parts(&sent(&site, &mut ada)).1["exp"].as_i64().expect("a time") - site.clock.now().seconds();
        assert_eq!(left, 120 - i64::try_from(passed).expect("small"));
    }
}

#[test]
fn it_is_good_no_longer_than_the_session() {
    let site = Site::on(Database::sqlite())
        .set("identity", ON)
        .set("session", "absolute = \"2m\"\nidle = \"2m\"\nshort = \"2m\"\nrenew_every = \"1m\"")
        .start();
    let token = sent(&site, &mut site.member("ada@example.com").0);
    assert_eq!(parts(&token).1["exp"], site.clock.now().seconds() + 120);
}

#[test]
fn it_goes_where_the_user_id_goes_and_nowhere_else() {
    let site = Site::on(Database::sqlite())
        .set("identity", ON)
        .rule("/open/**", "public")
        .rule("/maybe/**", "optional")
        .start();
    let mut ada = site.member("ada@example.com").0;
    assert_eq!(ada.get("/open/x").status, 200);
    assert_eq!(site.upstream.last().header(HEADER), None);
    assert_eq!(site.stranger().get("/maybe/x").status, 200);
    assert_eq!(site.upstream.last().header(HEADER), None);
    assert_eq!(ada.get("/maybe/x").status, 200);
    assert!(site.upstream.last().header(HEADER).is_some());
    let without = Site::start();
    assert_eq!(without.member("ada@example.com").0.get("/app").status, 200);
    assert_eq!(without.upstream.last().header(HEADER), None);
}

#[test]
fn px_1_nobody_else_can_send_one_in_any_spelling() {
    for (name, spellings) in [
        (HEADER, ["X-Sidegate-Assertion", "x_sidegate_assertion", "X-Sidegate.Assertion"]),
        ("my-proof", ["My-Proof", "MY_PROOF", "my.proof"]),
    ] {
        let on = format!("assertion_header = \"{name}\"");
        let stage = Stage::on(Stage::plan().set("identity", &on).rule("/open/**", "public"));
        for spelling in spellings {
            let fields = format!("{spelling}: forged\r\nConnection: {name}\r\n{spelling}: again\r\n");
            for request in
                [stage.signed("GET /x HTTP/1.1", &fields), stage.strange("GET /open/x HTTP/1.1", &fields)]
            {
                let arrived = stage.arrives(request);
                assert!(arrived.headers.iter().all(|(_, value)| value != "forged" && value != "again"));
            }
            let arrived = stage.arrives(stage.signed("GET /x HTTP/1.1", &fields));
            assert_eq!(arrived.all(name).len(), 1, "{spelling}");
            assert_eq!(arrived.headers.last().expect("fields").0, name, "the identity comes last");
        }
    }
}

#[test]
fn it_opens_nothing_here() {
    let site = Site::on(Database::sqlite()).set("identity", ON).start();
    let token = sent(&site, &mut site.member("ada@example.com").0);
    assert!(!opens(&site, &token), "an assertion is no access token");
}
