//! The same by forms, as a browser without scripts sends them.

use std::time::Duration;

use super::{ADA, SAFARI, ada_at_home, another, browser, last_code, watchful};
use crate::flow::set_cookie;
use crate::support::database::on_both_databases;
use crate::support::letters::later;
use crate::support::site::{PASSWORD, Site};
use crate::support::visitor::Visitor;

/// Signs in by the form, on the way to a page.
fn sign_in(site: &Site) -> Visitor {
    let mut ada = browser(site, SAFARI);
    let fields = [("email", ADA), ("password", PASSWORD), ("callback_url", "/notes?tab=1")];
    let answer = ada.submit("/auth/sign-in", &fields);
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some(&*format!("{}/auth/verify-signin", site.origin)))
    );
    let cookie = set_cookie(&answer, "sidegate-pending").expect("a cookie");
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    ada
}

on_both_databases! {
    fn a_person_types_the_code_and_lands_where_they_wanted_to_go(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        let mut ada = sign_in(&site);
        let page = ada.navigate("/auth/verify-signin");
        assert_eq!(page.status, 200);
        let text = page.text();
        for part in ["name=\"code\"", "autocomplete=\"one-time-code\"", "inputmode=\"numeric\"", "/auth/verify-signin/resend", "/auth/verify-signin/cancel"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains(ADA), "PEN-1: no account data");
        for place in ["/notes", "/auth/sign-in", "/auth/sign-up", "/auth/me"] {
            let answer = ada.navigate(place);
            assert_eq!(answer.header("location"), Some(&*format!("{}/auth/verify-signin", site.origin)), "{place}");
        }
        for (typed, problem) in [("", "Enter the code"), ("1234", "not the code"), (&*another(&last_code(&site)), "not the code")] {
            let again = ada.submit("/auth/verify-signin", &[("code", typed)]);
            assert_eq!(again.status, 422, "{typed:?}");
            let text = again.text();
            assert!(text.contains("role=\"alert\"") && text.contains("aria-invalid=\"true\"") && text.contains(problem), "{text}");
            assert!(typed.len() < 5 || !text.contains(typed), "the code is not shown again");
        }
        later(&site, Duration::from_secs(1));
        let sent = ada.submit("/auth/verify-signin/resend", &[]);
        assert_eq!(sent.header("location"), Some(&*format!("{}/auth/verify-signin?notice=sent", site.origin)));
        assert!(ada.navigate("/auth/verify-signin?notice=sent").text().contains("role=\"status\""));
        let within = ada.submit("/auth/verify-signin", &[("code", &last_code(&site))]);
        assert_eq!((within.status, within.header("location")), (303, Some(&*format!("{}/notes?tab=1", site.origin))));
        assert!(!ada.cookies.contains_key("sidegate-pending"));
        assert_eq!(ada.navigate("/notes").text(), "hello");
        assert_eq!(ada.navigate("/auth/verify-signin").header("location"), Some(&*format!("{}/", site.origin)));
    }

    fn who_owes_no_code_is_led_to_the_sign_in_page(database) {
        let site = watchful(database).start();
        let mut stranger = browser(&site, SAFARI);
        let sign_in = format!("{}/auth/sign-in", site.origin);
        assert_eq!(stranger.navigate("/auth/verify-signin").header("location"), Some(&*sign_in));
        for at in ["verify-signin", "verify-signin/resend", "verify-signin/cancel"] {
            let answer = stranger.submit(&format!("/auth/{at}"), &[("code", "12345678")]);
            assert_eq!((answer.status, answer.header("location")), (303, Some(&*sign_in)), "{at}");
        }
    }

    fn a_page_of_another_site_types_no_code_and_sends_none(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        let mut ada = sign_in(&site);
        let code = last_code(&site);
        for at in ["verify-signin", "verify-signin/resend", "verify-signin/cancel"] {
            let answer = ada.ask("POST", &format!("/auth/{at}")).navigating()
                .header("Content-Type", "application/x-www-form-urlencoded")
                .header("Origin", "https://evil.test").header("Sec-Fetch-Site", "cross-site")
                .body(format!("code={}", code.replace(' ', "+"))).send();
            assert_eq!(answer.status, 403, "{at}");
        }
        assert_eq!(ada.submit("/auth/verify-signin", &[("code", &code)]).status, 303);
    }
}
