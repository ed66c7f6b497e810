//! Signing out at both sides: we tell the provider by way of the browser, the provider tells us directly (LO-1 to
//! LO-5).

use std::collections::BTreeMap;

use serde_json::json;
use url::Url;

use super::super::{opens, rows, token};
use super::{logged, signed_in, site, verified};
use crate::support::database::on_both_databases;
use crate::support::provider::{Answer, Endpoint, Lie, Persona, Provider};
use crate::support::raw::Response;
use crate::support::site::Site;

/// What the provider's own server is answered.
fn posts(site: &Site, logout_token: &str) -> Response {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("logout_token", logout_token)
        .finish();
    site.stranger()
        .ask("POST", "/auth/back-channel-logout/corp")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
}

/// A URL without its query, and the query.
fn taken_apart(url: &str) -> (String, BTreeMap<String, String>) {
    let url = Url::parse(url).expect("a URL");
    (url[..url::Position::AfterPath].to_owned(), url.query_pairs().into_owned().collect())
}

on_both_databases! {
    fn lo_2_who_signs_out_here_is_led_to_sign_out_at_the_provider(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let (mut ada, _) = signed_in(&site, &provider, Persona::ada());
        let held = token(&ada);
        let out = ada.post("/auth/sign-out", &json!({})).json();
        assert_eq!((&out["success"], &out["redirect"]), (&json!(true), &json!(true)));
        assert!(!opens(&site, &held));
        let (at, query) = taken_apart(out["url"].as_str().expect("a URL"));
        assert_eq!(at, provider.url(Endpoint::EndSession));
        assert_eq!(query["post_logout_redirect_uri"], format!("{}/auth/sign-in", site.origin));
        assert_eq!((&*query["client_id"], query["id_token_hint"].split('.').count()), ("sidegate", 3));
        let back = ada.navigate(&format!("/auth/sign-in?state={}", query["state"]));
        assert!(back.text().contains("You are signed out."), "{}", back.text());
        let forged = ada.navigate(&format!("/auth/sign-in?state={}", "A".repeat(54)));
        assert!(!forged.text().contains("You are signed out."));
        let dump = site.block_on(site.database.dump());
        assert!(!dump.contains(&query["id_token_hint"]));
        let stay = signed_in(&site, &provider, Persona::ada()).0.post("/auth/sign-out", &json!({ "disableRedirect": true }));
        assert_eq!(stay.json()["redirect"], json!(false));
    }

    fn lo_2_the_form_leads_on_by_a_page_since_no_form_may_end_elsewhere(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let (mut ada, _) = signed_in(&site, &provider, Persona::ada());
        let held = token(&ada);
        let page = ada.submit("/auth/sign-out", &[]);
        assert_eq!(page.status, 200);
        let refresh = page.header("refresh").expect("leads on").to_owned();
        let (at, _) = taken_apart(refresh.strip_prefix("0; url=").expect("at once"));
        assert_eq!(at, provider.url(Endpoint::EndSession));
        assert!(page.text().contains(&format!("href=\"{at}?")), "and by hand: {}", page.text());
        assert!(!opens(&site, &held) && !ada.cookies.contains_key("sidegate"));
    }

    fn lo_1_the_session_here_ends_whatever_the_provider_does(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let (mut ada, _) = signed_in(&site, &provider, Persona::ada());
        provider.lies(Lie::Answers(Endpoint::Discovery, Answer::Hangup));
        site.pass(std::time::Duration::from_hours(20));
        let held = token(&ada);
        assert_eq!(ada.post("/auth/sign-out", &json!({})).json()["success"], json!(true));
        assert!(!opens(&site, &held));
    }

    fn who_signed_in_by_password_signs_out_as_before(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let (mut bob, _) = site.member("bob@example.com");
        assert_eq!(bob.post("/auth/sign-out", &json!({})).json(), json!({ "success": true }));
        let (mut bob, _) = site.signed_in("bob@example.com");
        assert_eq!(bob.submit("/auth/sign-out", &[]).status, 303);
    }

    fn lo_4_a_logout_token_ends_one_session_by_its_sid_at_once(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let (first, _) = signed_in(&site, &provider, Persona::ada());
        let sid = provider.sid();
        let (second, _) = signed_in(&site, &provider, Persona::ada());
        assert!(opens(&site, &token(&first)) && opens(&site, &token(&second)));
        let answer = posts(&site, &provider.logout_token(None, Some(&sid), &[]));
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{}", answer.text());
        assert!(!opens(&site, &token(&first)) && opens(&site, &token(&second)));
        assert_eq!(logged(&site, "provider_logout"), [""]);
    }

    fn lo_4_a_logout_token_without_a_sid_ends_all_sessions_that_came_from_there(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        verified(&site, "ada@example.com");
        let (by_password, _) = site.signed_in("ada@example.com");
        let ours: Vec<_> = (0..2).map(|_| signed_in(&site, &provider, Persona::ada()).0).collect();
        let (bob, _) = signed_in(&site, &provider, Persona::new("2", "bob@example.com"));
        let answer = posts(&site, &provider.logout_token(Some(&Persona::ada().subject), None, &[]));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(ours.iter().all(|ada| !opens(&site, &token(ada))));
        assert!(opens(&site, &token(&by_password)) && opens(&site, &token(&bob)));
    }

    fn lo_3_a_logout_token_works_once_and_only_if_it_is_one(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let (_, _) = signed_in(&site, &provider, Persona::ada());
        let subject = Persona::ada().subject;
        let forged = [
            Lie::ForeignKey, Lie::Tampered, Lie::Claim("iss", json!("https://evil.example")),
            Lie::Claim("aud", json!("another")), Lie::Claim("nonce", json!("x")), Lie::NoClaim("jti"),
            Lie::NoClaim("iat"), Lie::NoClaim("events"), Lie::Claim("events", json!({})), Lie::Claim("exp", json!(1)),
        ];
        for lie in forged {
            let answer = posts(&site, &provider.logout_token(Some(&subject), None, std::slice::from_ref(&lie)));
            assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{lie:?}");
        }
        let nobody = posts(&site, &provider.logout_token(None, None, &[]));
        assert_eq!(nobody.status, 400, "neither sub nor sid");
        let id_token = provider.id_token(&Persona::ada(), None, &[]);
        assert_eq!(posts(&site, &id_token).status, 400, "an ID token is none");
        assert_eq!(rows(&site, "session"), 1);
        let good = provider.logout_token(Some(&subject), None, &[]);
        assert_eq!((posts(&site, &good).status, rows(&site, "session")), (200, 0));
        signed_in(&site, &provider, Persona::ada());
        assert_eq!((posts(&site, &good).status, rows(&site, "session")), (400, 1), "OIDC-4: not twice");
    }

    fn what_is_no_form_with_one_logout_token_is_refused(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let ask = |kind: &str, body: &str| {
            site.stranger().ask("POST", "/auth/back-channel-logout/corp").header("Content-Type", kind).body(body).send()
        };
        let form = "application/x-www-form-urlencoded";
        for (kind, body) in [(form, ""), (form, "logout_token="), (form, "logout_token=x"), (form, "x=y"),
                             (form, "logout_token=x&logout_token=y"), ("application/json", "{}")] {
            let answer = ask(kind, body);
            assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{kind} {body}");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
        let unknown = site.stranger().ask("POST", "/auth/back-channel-logout/none").header("Content-Type", form)
            .body("logout_token=x").send();
        assert_eq!(unknown.status, 404);
    }
}
