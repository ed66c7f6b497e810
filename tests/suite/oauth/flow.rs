//! The way to the provider and back: whose it is, how often it can be gone, and where it ends.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use serde_json::json;
use url::Url;

use super::{Stand, known_to_app, plan, signed_in};
use crate::support::database::on_both_databases;
use crate::support::provider::{Endpoint, Kind, Provider};
use crate::support::visitor::Visitor;

/// The target of a URL of this site.
fn target<'u>(stand: &Stand, url: &'u str) -> &'u str {
    url.strip_prefix(&stand.site.origin).expect("it leads here")
}

/// Cookies of flows that a browser has.
fn flows(visitor: &Visitor) -> usize {
    visitor.cookies.keys().filter(|name| name.contains("-flow-")).count()
}

fn parameter(url: &str, name: &str) -> String {
    let url = Url::parse(url).expect("a URL");
    url.query_pairs()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

on_both_databases! {
    fn oa_1_oa_2_oa_3_and_oidc_6_every_flow_has_secrets_of_its_own(database) {
        let stand = Stand::new(database);
        let mut seen = HashSet::new();
        for _ in 0..4 {
            // In one browser, at one moment of the site's clock.
            stand.callback(&mut stand.site.stranger());
            let asked = stand.provider.last(Endpoint::Authorize).parameters;
            for name in ["state", "nonce", "code_challenge"] {
                // 256 bits in base64url are 43 characters.
                assert!(asked[name].len() >= 43, "{name} is short: {}", asked[name]);
                assert!(seen.insert(asked[name].clone()), "{name} was there before");
            }
        }
        assert_eq!(stand.provider.complaints(), [""; 0]);
    }

    fn oa_3_and_oidc_9_a_callback_that_was_begun_in_another_browser_signs_nobody_in(database) {
        let stand = Stand::new(database);
        let mut attacker = stand.site.stranger();
        let callback = stand.callback(&mut attacker);
        let mut victim = stand.site.stranger();
        let response = victim.get(target(&stand, &callback));
        assert_eq!((response.status, response.code().as_str()), (400, "STATE_MISMATCH"));
        // Nor with cookies of a flow of their own.
        stand.callback(&mut victim);
        assert_eq!(flows(&victim), 1);
        assert_eq!(victim.arrive(&callback).status, 400);
        assert!(!signed_in(&victim));
        assert_eq!((stand.rows(), stand.asked(Endpoint::Token)), ([0; 3], 0));
    }

    fn oa_3_a_state_that_was_invented_is_no_state(database) {
        let stand = Stand::new(database);
        let mut visitor = stand.site.stranger();
        let callback = stand.callback(&mut visitor);
        let state = parameter(&callback, "state");
        let changed = format!("{}{}", &state[..state.len() - 1], if state.ends_with('A') { 'E' } else { 'A' });
        for wrong in [changed.as_str(), "", "guessed", &"A".repeat(54), &"A".repeat(4000)] {
            let response = visitor.get(target(&stand, &callback.replace(&state, wrong)));
            assert_eq!((response.status, response.code().as_str()), (400, "STATE_NOT_FOUND"), "{wrong}");
        }
        // None of that used the flow up.
        assert_eq!(visitor.arrive(&callback).status, 303);
        assert!(signed_in(&visitor));
    }

    fn oa_4_two_tabs_do_not_disturb_each_other(database) {
        let stand = Stand::new(database);
        let mut visitor = stand.site.stranger();
        let first = stand.provider.authorize(&visitor.sent_to("corp", "?callback_url=/first"));
        let second = stand.provider.authorize(&visitor.sent_to("corp", "?callback_url=/second"));
        assert_eq!(flows(&visitor), 2);
        for (callback, place) in [(second, "/second"), (first, "/first")] {
            let response = visitor.arrive(&callback);
            assert_eq!(response.header("location"), Some(format!("{}{place}", stand.site.origin).as_str()));
        }
        assert_eq!(flows(&visitor), 0, "their cookies are gone");
    }

    fn oa_4_a_browser_keeps_a_few_flows_and_forgets_the_oldest(database) {
        let stand = Stand::new(database);
        let mut visitor = stand.site.stranger();
        let mut callbacks = Vec::new();
        for _ in 0..9 {
            stand.site.pass(Duration::from_secs(1));
            callbacks.push(stand.callback(&mut visitor));
        }
        assert!(flows(&visitor) <= 5, "{}", flows(&visitor));
        assert_eq!(visitor.arrive(&callbacks[0]).status, 400);
        assert_eq!(visitor.arrive(&callbacks[8]).status, 303);
    }

    fn oa_4_a_flow_lasts_for_minutes_and_not_for_hours(database) {
        let stand = Stand::new(database);
        let mut visitor = stand.site.stranger();
        let slow = stand.callback(&mut visitor);
        stand.site.pass(Duration::from_mins(8));
        assert_eq!(visitor.arrive(&slow).status, 303);
        let mut visitor = stand.site.stranger();
        let late = stand.callback(&mut visitor);
        stand.site.pass(Duration::from_mins(61));
        let response = visitor.get(target(&stand, &late));
        assert_eq!((response.status, response.code().as_str()), (400, "STATE_NOT_FOUND"));
        assert!(!signed_in(&visitor));
    }

    fn oa_3_oa_5_and_oidc_7_the_answer_of_one_provider_is_not_taken_for_that_of_another(database) {
        // Without `iss`, so that nothing but our own state can tell.
        let (honest, evil) = (Provider::playing(Kind::GitLab), Provider::playing(Kind::GitLab));
        let text = format!("{}{}", honest.toml("honest", ""), evil.toml("evil", ""));
        let site = plan(database).toml(&text).start();
        let mut visitor = site.stranger();
        let callback = honest.authorize(&visitor.sent_to("honest", ""));
        let crossed = callback.replace("/callback/honest", "/callback/evil");
        assert_ne!(crossed, callback);
        let response = visitor.get(crossed.strip_prefix(&site.origin).expect("it leads here"));
        assert_eq!((response.status, response.code().as_str()), (400, "STATE_MISMATCH"));
        assert!(evil.asked(Endpoint::Token).is_empty(), "the code was given to another");
        assert!(!signed_in(&visitor));
    }

    fn oa_7_and_oa_14_a_finished_callback_does_nothing_when_it_comes_again(database) {
        let stand = Stand::new(database);
        let mut visitor = stand.site.stranger();
        let callback = stand.provider.authorize(&visitor.sent_to("corp", "?callback_url=/wanted"));
        assert_eq!(visitor.arrive(&callback).status, 303);
        let before = (stand.rows(), stand.asked(Endpoint::Token));
        let again = visitor.arrive(&callback);
        let wanted = format!("{}/wanted", stand.site.origin);
        assert_eq!((again.status, again.header("location")), (303, Some(wanted.as_str())));
        // Whoever found it in a history and is not signed in is told, and is not signed in after it.
        let mut other = stand.site.stranger();
        let response = other.get(target(&stand, &callback));
        assert_eq!((response.status, response.code().as_str()), (400, "STATE_ALREADY_USED"));
        assert!(!signed_in(&other));
        assert_eq!((stand.rows(), stand.asked(Endpoint::Token)), before);
    }

    fn oa_7_of_many_callbacks_at_once_one_exchanges_the_code(database) {
        let stand = Stand::new(database);
        let mut visitor = stand.site.stranger();
        let callback = stand.callback(&mut visitor);
        let cookies = visitor.cookies.clone();
        let entered: usize = thread::scope(|scope| {
            let tries: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let mut tab = stand.site.stranger();
                        tab.cookies.clone_from(&cookies);
                        tab.arrive(&callback);
                        usize::from(signed_in(&tab))
                    })
                })
                .collect();
            tries.into_iter().map(|tab| tab.join().expect("no panic")).sum()
        });
        assert_eq!((entered, stand.asked(Endpoint::Token)), (1, 1));
        assert_eq!(stand.rows(), [1, 1, 1]);
    }

    fn oa_13_the_callback_leaves_neither_code_nor_state_behind(database) {
        let stand = Stand::new(database);
        let mut visitor = stand.site.stranger();
        let callback = stand.callback(&mut visitor);
        let response = visitor.arrive(&callback);
        assert_eq!(response.status, 303);
        let location = response.header("location").expect("a location");
        let (code, state) = (parameter(&callback, "code"), parameter(&callback, "state"));
        assert!(!location.contains(&code) && !location.contains(&state));
        assert!(response.header("cache-control").is_some_and(|value| value.contains("no-store")));
        // Nor does the page that is shown when something went wrong.
        let mut other = stand.site.stranger();
        let page = other.arrive(&stand.callback(&mut stand.site.stranger()));
        assert_eq!(page.status, 400);
        assert!(!page.text().contains("code-") && !page.text().contains("http://evil"), "{}", page.text());
        assert!(page.header("referrer-policy").is_some());
    }

    fn oa_15_a_link_that_leads_to_the_callback_signs_nobody_in(database) {
        let stand = Stand::new(database);
        let mut attacker = stand.site.stranger();
        let callback = stand.callback(&mut attacker);
        for cookie in [None, Some("1.guessed"), Some(""), Some(".")] {
            let mut victim = stand.site.stranger();
            if let Some(value) = cookie {
                for name in attacker.cookies.keys() {
                    victim.cookies.insert(name.clone(), value.to_owned());
                }
            }
            assert_eq!(victim.arrive(&callback).status, 400, "{cookie:?}");
            assert!(!signed_in(&victim));
        }
    }

    fn a_session_of_before_ends_when_somebody_signs_in_at_a_provider(database) {
        let stand = Stand::new(database);
        let (mut visitor, _) = stand.site.member("old@example.com");
        let old = visitor.cookies["sidegate"].clone();
        let callback = stand.callback(&mut visitor);
        assert_eq!(visitor.arrive(&callback).status, 303);
        assert_ne!(visitor.cookies["sidegate"], old, "S-4: a new token");
        let mut holder = stand.site.stranger();
        holder.cookies.insert("sidegate".to_owned(), old);
        assert_eq!(holder.get("/app").status, 401);
    }

    fn the_flow_works_from_a_form_that_the_provider_posts(database) {
        let stand = Stand::new(database);
        let mut visitor = stand.site.stranger();
        let callback = Url::parse(&stand.callback(&mut visitor)).expect("a URL");
        let pairs: Vec<(String, String)> = callback.query_pairs().into_owned().collect();
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        // From another site, so without cookies.
        let response = stand.site.stranger().ask("POST", "/auth/callback/corp").navigating()
            .header("Sec-Fetch-Site", "cross-site")
            .header("Origin", &stand.provider.origin)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body)
            .send();
        assert_eq!(response.status, 303, "{}", response.text());
        assert!(response.all("set-cookie").is_empty());
        let location = response.header("location").expect("a location").to_owned();
        assert_eq!(visitor.arrive(&location).status, 303);
        assert!(signed_in(&visitor));
    }

    fn a_front_end_of_ones_own_receives_the_callback_and_hands_it_in(database) {
        let stand = Stand::new(database);
        let page = format!("{}/app/callback", stand.site.origin);
        stand.provider.register(&[&page]);
        let mut visitor = stand.site.stranger();
        let url = visitor.get(&format!("/auth/get-oauth-url/corp?redirect_uri={page}")).json();
        let callback = stand.provider.authorize(url["oAuthUrl"].as_str().expect("a URL"));
        assert!(callback.starts_with(&page), "{callback}");
        let given = json!({
            "code": parameter(&callback, "code"),
            "state": parameter(&callback, "state"),
            "iss": parameter(&callback, "iss"),
        });
        let mut other = stand.site.stranger();
        assert_eq!(other.post("/auth/signin/corp", &given).code(), "STATE_MISMATCH");
        let response = visitor.post("/auth/signin/corp", &given);
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.json()["user"]["email"], json!("ada@example.com"));
        assert_eq!(known_to_app(&stand, &mut visitor), response.json()["user"]["id"].as_str().expect("text"));
        assert_eq!(visitor.post("/auth/signin/corp", &given).status, 400, "once");
    }

    fn better_auths_clients_get_a_url_to_go_to(database) {
        let stand = Stand::new(database);
        let mut visitor = stand.site.stranger();
        let body = json!({ "provider": "corp", "callbackURL": "/app" });
        let response = visitor.post("/auth/sign-in/social", &body);
        assert_eq!((response.status, &response.json()["redirect"]), (200, &json!(true)));
        let url = response.json()["url"].as_str().expect("a URL").to_owned();
        let callback = stand.provider.authorize(&url);
        let response = visitor.arrive(&callback);
        assert_eq!(response.header("location"), Some(format!("{}/app", stand.site.origin).as_str()));
        let unknown = visitor.post("/auth/sign-in/social", &json!({ "provider": "nobody" }));
        assert_eq!((unknown.status, unknown.code().as_str()), (404, "PROVIDER_NOT_FOUND"));
    }

    fn nobody_is_led_off_the_site_by_a_sign_in(database) {
        let stand = Stand::new(database);
        for place in ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"] {
            let encoded: String = url::form_urlencoded::byte_serialize(place.as_bytes()).collect();
            let mut visitor = stand.site.stranger();
            let begun = visitor.navigate(&format!("/auth/sign-in/corp?callback_url={encoded}"));
            // Refused at once, or forgotten on the way.
            if let Some(location) = begun.header("location").filter(|_| begun.status == 303) {
                let response = visitor.arrive(&stand.provider.authorize(location));
                let location = response.header("location").expect("a location");
                assert!(location.starts_with(&format!("{}/", stand.site.origin)), "{place}: {location}");
                assert!(!location.contains("evil"), "{place}: {location}");
            }
        }
    }
}
