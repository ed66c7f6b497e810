//! A provider tells that somebody signed out there (OpenID Connect Back-Channel Logout): what is believed, and
//! what it ends.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Stand, grace};
use crate::support::database::on_both_databases;
use crate::support::provider::{Alg, Answer, CLIENT, Endpoint, Lie, Persona};
use crate::support::raw::Response;
use crate::support::visitor::Visitor;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Seconds since 1970 by the clock of the tests.
const NOW: i64 = 1_767_323_045;

/// The provider posts these fields.
fn posts(stand: &Stand, fields: &[(&str, &str)]) -> Response {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let mut provider = stand.site.stranger();
    let ask = provider.ask("POST", "/auth/back-channel-logout/corp");
    ask.header("Content-Type", "application/x-www-form-urlencoded").body(body).send()
}

fn tells(stand: &Stand, token: &str) -> Response {
    posts(stand, &[("logout_token", token)])
}

/// A token for Ada's sessions, with these defects.
fn token(stand: &Stand, lies: &[Lie]) -> String {
    stand.provider.logout_token(Some(&Persona::ada().subject), None, lies)
}

fn is_in(visitor: &mut Visitor) -> bool {
    visitor.get("/app").status == 200
}

fn taken(response: &Response) {
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.header("cache-control").is_some_and(|value| value.contains("no-store")), "LO-4");
}

/// None of these tokens is taken, and Ada stays.
fn refused(stand: &Stand, lies: &[Lie]) {
    let mut ada = stand.enters();
    for lie in lies {
        let response = tells(stand, &token(stand, std::slice::from_ref(lie)));
        assert_eq!(response.status, 400, "LO-4: {lie:?}: {}", response.text());
        assert_eq!(response.json()["error"], json!("invalid_request"), "{lie:?}");
        assert!(response.header("cache-control").is_some_and(|value| value.contains("no-store")), "{lie:?}");
        assert!(is_in(&mut ada), "{lie:?}");
    }
    taken(&tells(stand, &token(stand, &[])));
    assert!(!is_in(&mut ada));
}

fn claims(name: &'static str, values: &[Value]) -> Vec<Lie> {
    values.iter().map(|value| Lie::Claim(name, value.clone())).collect()
}

on_both_databases! {
    fn lo_4_a_logout_of_a_person_ends_all_their_sessions_from_there_and_no_others(database) {
        let stand = Stand::new(database);
        let (mut phone, mut desk) = (stand.enters(), stand.enters());
        stand.provider.is_visited_by(grace());
        let mut grace = stand.enters();
        let (mut local, _) = stand.site.member("local@example.com");
        taken(&tells(&stand, &token(&stand, &[])));
        assert!(!is_in(&mut phone) && !is_in(&mut desk));
        assert!(is_in(&mut grace) && is_in(&mut local));
    }

    fn lo_4_and_lo_5_a_logout_of_one_session_ends_that_one(database) {
        let stand = Stand::new(database);
        let mut phone = stand.enters();
        let sid = stand.provider.sid();
        let mut desk = stand.enters();
        taken(&tells(&stand, &stand.provider.logout_token(None, Some(&sid), &[])));
        assert!(!is_in(&mut phone) && is_in(&mut desk));
        // Both said: the session of that person.
        let sid = stand.provider.sid();
        taken(&tells(&stand, &stand.provider.logout_token(Some("somebody-else"), Some(&sid), &[])));
        assert!(is_in(&mut desk), "it is not the session of that person");
        taken(&tells(&stand, &stand.provider.logout_token(Some(&Persona::ada().subject), Some(&sid), &[])));
        assert!(!is_in(&mut desk));
    }

    fn lo_4_a_logout_of_nobody_we_know_is_fine(database) {
        let stand = Stand::new(database);
        taken(&tells(&stand, &stand.provider.logout_token(Some("nobody"), Some("nothing"), &[])));
    }

    fn oidc_4_a_logout_token_is_taken_once(database) {
        let stand = Stand::new(database);
        let token = token(&stand, &[]);
        taken(&tells(&stand, &token));
        let mut ada = stand.enters();
        assert_eq!(tells(&stand, &token).status, 400);
        assert!(is_in(&mut ada));
        stand.site.pass(Duration::from_mins(10));
        assert_eq!(tells(&stand, &token).status, 400, "expired by now");
    }

    fn oidc_4_a_logout_token_without_name_or_times_is_refused(database) {
        let stand = Stand::new(database);
        let mut lies = vec![Lie::NoClaim("jti"), Lie::NoClaim("iat"), Lie::NoClaim("exp")];
        lies.extend(claims("jti", &[json!(""), json!(5), json!(null), json!("x".repeat(300))]));
        lies.extend(claims("exp", &[json!(NOW - 3600), json!(1e300), json!(format!("{}", NOW + 60)), json!(null)]));
        lies.extend(claims("iat", &[json!(NOW + 3600), json!(4_102_444_800_u64), json!(NOW - 30 * 86_400), json!("x")]));
        refused(&stand, &lies);
    }

    fn oidc_4_a_logout_token_with_a_nonce_is_refused(database) {
        let stand = Stand::new(database);
        refused(&stand, &claims("nonce", &[json!("x"), json!(""), json!(null)]));
    }

    fn lo_3_a_logout_token_must_be_one(database) {
        let stand = Stand::new(database);
        let mut lies = claims("events", &[
            json!({}),
            json!(null),
            json!([EVENT]),
            json!(EVENT),
            json!({ EVENT: true }),
            json!({ EVENT: null }),
            json!({ EVENT: [] }),
            json!({ "http://schemas.openid.net/event/other": {} }),
        ]);
        lies.push(Lie::NoClaim("events"));
        lies.extend(["at+jwt", "id+jwt", "x"].map(|typ| Lie::Header("typ", json!(typ))));
        refused(&stand, &lies);
    }

    fn lo_3_a_logout_token_names_somebody(database) {
        let stand = Stand::new(database);
        let mut lies = vec![Lie::NoClaim("sub")];
        lies.extend(claims("sub", &[json!(null), json!(""), json!(5), json!([Persona::ada().subject])]));
        refused(&stand, &lies);
    }

    fn lo_3_a_logout_token_is_signed_by_the_provider_for_us(database) {
        let stand = Stand::new(database);
        let mut lies = vec![
            Lie::Tampered,
            Lie::ForeignKey,
            Lie::UnknownKey,
            Lie::Alg(Alg::None),
            Lie::Alg(Alg::Hs256PublicKey),
            Lie::Alg(Alg::Hs256Secret),
            Lie::Header("crit", json!(["exp"])),
            Lie::Header("jku", json!("http://127.0.0.1:9/")),
            Lie::Text("a.b.c".to_owned()),
            Lie::Text(String::new()),
            Lie::NoClaim("iss"),
            Lie::NoClaim("aud"),
            Lie::Repeats("sub", json!("somebody-else")),
        ];
        lies.extend(claims("iss", &[json!("https://evil.example"), json!(null)]));
        lies.extend(claims("aud", &[json!("another"), json!([CLIENT, "another"]), json!([]), json!(null)]));
        refused(&stand, &lies);
    }

    fn lo_3_an_id_token_is_no_logout_token(database) {
        let stand = Stand::new(database);
        let mut ada = stand.enters();
        let id_token = stand.provider.id_token(&Persona::ada(), None, &[]);
        assert_eq!(tells(&stand, &id_token).status, 400);
        assert!(is_in(&mut ada));
    }

    fn lo_3_and_oidc_3_one_form_field_is_taken_and_nothing_else(database) {
        let stand = Stand::new(database);
        let mut ada = stand.enters();
        let good = token(&stand, &[]);
        for fields in [&[][..], &[("token", good.as_str())], &[("logout_token", good.as_str()), ("logout_token", "x")]] {
            assert_eq!(posts(&stand, fields).status, 400);
        }
        let mut provider = stand.site.stranger();
        let target = format!("/auth/back-channel-logout/corp?logout_token={good}");
        assert_eq!(provider.ask("POST", &target).header("Content-Length", "0").send().status, 400);
        assert_eq!(provider.get(&target).status, 405);
        let as_json = provider.ask("POST", "/auth/back-channel-logout/corp")
            .header("Content-Type", "application/json")
            .body(json!({ "logout_token": good }).to_string())
            .send();
        assert!((400..=415).contains(&as_json.status), "{}", as_json.status);
        let as_text = provider.ask("POST", "/auth/back-channel-logout/corp")
            .header("Content-Type", "text/plain")
            .body(format!("logout_token={good}"))
            .send();
        assert!((400..=415).contains(&as_text.status), "{}", as_text.status);
        assert!(is_in(&mut ada));
        taken(&tells(&stand, &good));
        assert!(!is_in(&mut ada));
    }

    fn lo_3_a_provider_whose_keys_cannot_be_had_may_try_again(database) {
        let stand = Stand::new(database);
        stand.provider.lies(Lie::Answers(Endpoint::Keys, Answer::Hangup));
        let token = token(&stand, &[]);
        let response = tells(&stand, &token);
        assert!(response.status >= 500, "{}", response.status);
        stand.provider.repents();
        stand.site.pass(Duration::from_secs(30));
        taken(&tells(&stand, &token));
    }

    fn lo_1_and_lo_2_signing_out_here_leads_to_the_provider_and_back(database) {
        let stand = Stand::new(database);
        let mut ada = stand.enters();
        let token = stand.provider.last(Endpoint::Token);
        assert!(token.parameters.contains_key("code"));
        let page = ada.submit("/auth/sign-out", &[]);
        assert!(!is_in(&mut ada), "LO-1: here first");
        let to = page.header("refresh").and_then(|value| value.strip_prefix("0; url=")).expect("a way on");
        let back = stand.provider.authorize(to);
        let asked = stand.provider.last(Endpoint::EndSession).parameters;
        assert_eq!(asked["id_token_hint"].split('.').count(), 3);
        assert_eq!(asked["client_id"], CLIENT);
        assert!(asked["state"].len() >= 22);
        assert_eq!(asked["post_logout_redirect_uri"], format!("{}/auth/sign-in", stand.site.origin));
        assert_eq!(ada.arrive(&back).status, 200, "{back}");
        assert_eq!(stand.provider.complaints(), [""; 0]);
    }

    fn lo_1_who_signs_out_does_not_wait_for_a_provider_that_is_slow(database) {
        let stand = Stand::new(database);
        let mut ada = stand.enters();
        stand.site.pass(Duration::from_hours(3));
        stand.provider.lies(Lie::Answers(Endpoint::Discovery, Answer::Hangup));
        let asked = stand.asked(Endpoint::Discovery);
        let page = ada.submit("/auth/sign-out", &[]);
        assert!(page.header("refresh").is_some_and(|to| to.contains("/end_session")), "{}", page.text());
        assert_eq!(stand.asked(Endpoint::Discovery), asked, "it is not asked where it was last");
        assert!(!is_in(&mut ada));
    }

    fn lo_6_providers_without_a_place_to_sign_out_are_not_asked(database) {
        let stand = Stand::of(database, crate::support::provider::Kind::GitLab, "");
        let mut ada = stand.enters();
        assert_eq!(ada.submit("/auth/sign-out", &[]).status, 303);
        assert!(!is_in(&mut ada));
    }
}
