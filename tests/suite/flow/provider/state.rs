//! The state of a flow: whose it is, how often it works, and that every way of losing it ends well (OA-3, OA-4,
//! OA-14, OA-15).

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::super::{opens, roomy, rows, token};
use super::{flow_cookies, logged, me, returns, rows_of_flows, sent_back, site, with};
use crate::jobs::eventually;
use crate::support::database::on_both_databases;
use crate::support::provider::{Endpoint, Lie, Provider};
use crate::support::raw::Response;

/// Whether this is the page that leads to sign in once more and on to `/notes`.
fn leads_on(response: &Response, origin: &str) -> bool {
    let query: String = url::form_urlencoded::byte_serialize(format!("{origin}/notes").as_bytes()).collect();
    response.text().contains(&format!("href=\"/auth/sign-in?callback_url={query}\""))
}

on_both_databases! {
    fn oa_4_flows_in_two_tabs_do_not_disturb_each_other(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let mut browser = site.stranger();
        let first = sent_back(&mut browser, &provider);
        let second = sent_back(&mut browser, &provider);
        assert_eq!(flow_cookies(&browser).len(), 2);
        for callback in [second, first] {
            let back = browser.arrive(&callback);
            assert_eq!(back.header("location"), Some(&*format!("{}/notes", site.origin)));
        }
        assert_eq!((flow_cookies(&browser).len(), rows(&site, "session")), (0, 1), "one browser, one session");
    }

    fn oa_4_a_browser_has_five_flows_at_most_and_the_oldest_is_forgotten(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let mut browser = site.stranger();
        let mut callbacks = Vec::new();
        for _ in 0..7 {
            callbacks.push(sent_back(&mut browser, &provider));
            site.pass(Duration::from_secs(1));
        }
        assert_eq!(flow_cookies(&browser).len(), 5);
        for (i, callback) in callbacks.iter().enumerate() {
            let back = browser.arrive(callback);
            // Once signed in, a forgotten flow still signs nobody in.
            assert_eq!(back.status, if i < 2 { 400 } else { 303 }, "{i}");
        }
    }

    fn oa_14_the_back_button_ends_where_the_sign_in_did_and_does_nothing(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let mut browser = site.stranger();
        let callback = sent_back(&mut browser, &provider);
        assert_eq!(browser.arrive(&callback).status, 303);
        let session = token(&browser);
        let again = browser.arrive(&callback);
        assert_eq!((again.status, again.header("location")), (303, Some(&*format!("{}/notes", site.origin))));
        assert_eq!((token(&browser), rows(&site, "session")), (session, 1));
        assert_eq!(provider.asked(Endpoint::Token).len(), 1, "OA-7: the code is not sent again");
        assert_eq!(browser.post("/auth/sign-out", &json!({})).status, 200);
        let later = browser.arrive(&callback);
        assert_eq!(later.status, 400);
        assert!(leads_on(&later, &site.origin), "{}", later.text());
        assert_eq!(rows(&site, "session"), 0);
    }

    fn oa_14_a_double_click_signs_in_once(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let mut browser = site.stranger();
        let callback = sent_back(&mut browser, &provider);
        let target = callback.strip_prefix(&site.origin).expect("ours");
        let request = browser.ask("GET", target).navigating().bytes();
        let address = site.address;
        let clicks: Vec<_> = (0..6)
            .map(|_| {
                let request = request.clone();
                thread::spawn(move || crate::support::raw::ask(address, request).status)
            })
            .collect();
        let mut statuses: Vec<u16> = clicks.into_iter().map(|click| click.join().expect("no panic")).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [303, 400, 400, 400, 400, 400]);
        assert_eq!((rows(&site, "session"), rows(&site, "user")), (1, 1));
        assert_eq!(provider.asked(Endpoint::Token).len(), 1);
    }

    fn oa_15_and_oidc_9_a_callback_of_another_browser_signs_nobody_in(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let mut attacker = site.stranger();
        let callback = sent_back(&mut attacker, &provider);
        let mut victim = site.stranger();
        let refused = victim.arrive(&callback);
        assert_eq!((refused.status, refused.all("set-cookie").len()), (400, 0));
        assert!(leads_on(&refused, &site.origin), "{}", refused.text());
        // Not with a flow of their own either, nor with its cookie under the other name.
        sent_back(&mut victim, &provider);
        let own = victim.cookies[&flow_cookies(&victim)[0]].clone();
        let name = flow_cookies(&attacker).pop().expect("a cookie");
        victim.cookies.insert(name, own);
        assert_eq!(victim.arrive(&callback).status, 400);
        assert_eq!((rows(&site, "session"), rows(&site, "user")), (0, 0));
        assert_eq!(logged(&site, "login"), ["STATE_MISMATCH", "STATE_MISMATCH"]);
        assert!(provider.asked(Endpoint::Token).is_empty());
        // A member is not dropped into the attacker's account.
        let (mut member, _) = site.member("bob@example.com");
        let held = token(&member);
        assert_eq!(member.arrive(&callback).status, 400);
        assert!(token(&member) == held && opens(&site, &held));
        // And whoever began it can still end it.
        assert_eq!(attacker.arrive(&callback).status, 303);
    }

    fn oa_3_a_state_made_for_one_provider_is_refused_at_another(database) {
        let provider = Provider::start();
        let site = with(database, &provider, &provider.toml("second", ""));
        let mut browser = site.stranger();
        let callback = sent_back(&mut browser, &provider);
        let mixed = browser.arrive(&callback.replace("/callback/corp", "/callback/second"));
        assert_eq!(mixed.status, 400);
        assert!(leads_on(&mixed, &site.origin));
        assert!(provider.asked(Endpoint::Token).is_empty());
        assert_eq!(browser.arrive(&callback).status, 303, "and is not used up by it");
    }

    fn a_flow_that_took_too_long_leads_back_to_its_beginning(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let mut browser = site.stranger();
        let callback = sent_back(&mut browser, &provider);
        site.pass(Duration::from_mins(10));
        let late = browser.arrive(&callback);
        assert_eq!(late.status, 400);
        assert!(leads_on(&late, &site.origin), "{}", late.text());
        assert!(provider.asked(Endpoint::Token).is_empty());
        site.pass(Duration::from_hours(24));
        let _jobs = sidegate::jobs::Jobs::start(&site.app);
        eventually("old flows are deleted", || rows_of_flows(&site) == 0);
        let gone = browser.arrive(&callback);
        assert_eq!(gone.status, 400);
        assert!(gone.text().contains("href=\"/auth/sign-in\""), "{}", gone.text());
        assert_eq!(rows(&site, "session"), 0);
    }

    fn a_state_that_nobody_gave_out_is_refused_without_a_question_to_the_provider(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let mut browser = site.stranger();
        let callback = sent_back(&mut browser, &provider);
        let state = provider.last(Endpoint::Authorize).parameters["state"].clone();
        let mut other = state.clone().into_bytes();
        other[20] = if other[20] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).expect("ASCII");
        for bad in ["", "~odd~", &other, &"A".repeat(54), &format!("{state}A")] {
            let response = browser.arrive(&callback.replace(&state, bad));
            assert_eq!(response.status, 400, "{bad}");
            assert!(bad.is_empty() || !response.text().contains(bad), "not echoed: {bad}");
        }
        for query in ["", "?", "?&&&", "?code=x"] {
            assert_eq!(browser.navigate(&format!("/auth/callback/corp{query}")).status, 400, "{query}");
        }
        let empty = browser.navigate(&format!("/auth/callback/corp?state={state}"));
        assert_eq!(empty.status, 400, "neither code nor error");
        assert!(provider.asked(Endpoint::Token).is_empty());
        assert_eq!(browser.arrive(&callback).status, 303, "nothing was used up by all that");
    }

    fn oidc_3_a_parameter_that_comes_twice_is_refused(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let mut browser = site.stranger();
        for name in ["code", "state", "iss", "error"] {
            let callback = sent_back(&mut browser, &provider);
            let both = format!("{callback}&{name}=another&{name}=another");
            assert_eq!(browser.arrive(&both).status, 400, "{name}");
        }
        assert!(provider.asked(Endpoint::Token).is_empty());
        provider.lies(Lie::CallbackAlso("state", "another".to_owned()));
        let callback = sent_back(&mut browser, &provider);
        assert_eq!(browser.arrive(&callback).status, 400);
    }

    fn oa_6_who_says_no_at_the_provider_is_told_so_and_nothing_of_its_text_is_shown(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        provider.lies(Lie::Denies("access_denied", "<b>an evil text</b>"));
        let mut browser = site.stranger();
        let page = returns(&mut browser, &provider);
        assert_eq!((page.status, page.text().contains("evil")), (403, false), "{}", page.text());
        assert!(leads_on(&page, &site.origin));
        assert_eq!(flow_cookies(&browser), [""; 0]);
        let away = browser.post("/auth/sign-in/social",
            &json!({ "provider": "corp", "callbackURL": "/notes", "errorCallbackURL": "/oh?x=1" }));
        let callback = provider.authorize(away.json()["url"].as_str().expect("a URL"));
        let back = browser.arrive(&callback);
        assert_eq!(back.header("location"), Some(&*format!("{}/oh?x=1&error=access_denied", site.origin)));
        assert_eq!(logged(&site, "login"), ["ACCESS_DENIED", "ACCESS_DENIED"]);
        // An error that nobody knows, from somebody else: RFC 9207 §2.4.
        provider.repents();
        provider.lies(Lie::Denies("evil%20error", "x")).lies(Lie::Callback("iss", "https://evil.example".to_owned()));
        let page = returns(&mut browser, &provider);
        assert_eq!((page.status, page.text().contains("evil")), (400, false));
        assert_eq!(logged(&site, "login")[2], "ISSUER_MISMATCH");
        assert_eq!(browser.get("/auth/me").status, 401);
    }

    fn redir_10_what_went_wrong_at_a_provider_is_told_here_and_sends_nobody_elsewhere(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let mut browser = site.stranger();
        let evil = "https%3A%2F%2Fevil.example%2F";
        let targets = ["callbackURL", "errorCallbackURL", "callback_url", "error_uri", "redirect_uri", "redirect_to"]
            .map(|name| format!("&{name}={evil}")).concat();
        // In a flow of this browser, in one that nobody has begun, and without one.
        provider.lies(Lie::Denies("access_denied", "x"));
        let denied = sent_back(&mut browser, &provider);
        let state = provider.last(Endpoint::Authorize).parameters["state"].clone();
        let invented = denied.replace(&state, &"A".repeat(state.len()));
        let bare = format!("{}/auth/callback/corp?error=access_denied", site.origin);
        for (callback, status) in [(&invented, 400), (&bare, 400), (&denied, 403), (&denied, 400)] {
            let page = browser.arrive(&format!("{callback}{targets}"));
            assert_eq!((page.status, page.header("location")), (status, None), "{callback}");
            assert!(!page.text().contains("evil"), "{}", page.text());
        }
        // A target for errors is looked at before anybody is sent away.
        for place in ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"] {
            let begun = browser.post("/auth/sign-in/social", &json!({ "provider": "corp", "errorCallbackURL": place }));
            assert_eq!((begun.status, &*begun.code()), (403, "INVALID_CALLBACK_URL"), "{place}");
        }
        assert!(provider.asked(Endpoint::Token).is_empty());
    }

    fn what_the_provider_says_wrong_signs_nobody_in_and_uses_the_flow_up(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let mut browser = site.stranger();
        provider.lies(Lie::Claim("nonce", json!("another")));
        let callback = sent_back(&mut browser, &provider);
        assert_eq!(browser.arrive(&callback).status, 502);
        provider.repents();
        assert_eq!(browser.arrive(&callback).status, 400, "OA-7");
        provider.lies(Lie::Callback("code", "another".to_owned()));
        let page = returns(&mut browser, &provider);
        assert_eq!(page.status, 400);
        assert!(leads_on(&page, &site.origin));
        assert_eq!((rows(&site, "session"), rows(&site, "user")), (0, 0));
        assert_eq!(logged(&site, "login"), ["INVALID_CODE", "UNABLE_TO_GET_USER_INFO"]);
    }

    fn the_earlier_session_of_the_browser_ends_with_the_new_sign_in(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let (mut browser, _) = site.member("bob@example.com");
        let held = token(&browser);
        assert_eq!(returns(&mut browser, &provider).status, 303);
        assert_eq!(me(&mut browser)["email"], json!("ada@example.com"));
        assert!(!opens(&site, &held));
    }

    fn starts_and_callbacks_spend_the_budget_of_their_address(database) {
        let provider = Provider::start();
        let site = roomy(database).set("limits", "attempts_per_address = 4")
            .toml(&provider.toml("corp", "trust_email = true")).start();
        provider.follow(&site.clock);
        let mut browser = site.stranger();
        let callback = sent_back(&mut browser, &provider);
        assert_eq!(browser.arrive(&callback).status, 303);
        browser.sent_to("corp", "");
        assert_eq!(browser.arrive(&callback).status, 303, "the back button");
        for response in [browser.navigate("/auth/sign-in/corp"), browser.arrive(&callback)] {
            assert_eq!(response.status, 429);
            assert!(response.header("retry-after").is_some());
        }
        let json = browser.post("/auth/sign-in/social", &json!({ "provider": "corp" }));
        assert_eq!((json.status, &*json.code()), (429, "TOO_MANY_REQUESTS"));
    }
}
