//! The forms as a browser without scripts sends them, and what comes back.

use super::{opens, roomy, set_cookie, token};
use crate::support::database::on_both_databases;
use crate::support::site::PASSWORD;

on_both_databases! {
    fn a_person_signs_up_in_and_out_with_forms_alone(database) {
        let site = roomy(database).start();
        let mut ada = site.stranger();
        assert_eq!(ada.navigate("/auth/sign-up").status, 200);
        let up = ada.submit("/auth/sign-up", &[
            ("name", "Ada"), ("email", "ada@example.com"), ("password", PASSWORD), ("callback_url", "/notes")]);
        assert_eq!(up.status, 303);
        let to = up.header("location").expect("a location").trim_start_matches(&site.origin).to_owned();
        assert_eq!(to, "/auth/sign-in?callback_url=%2Fnotes&notice=signed-up");
        let page = ada.navigate(&to);
        assert!(page.text().contains("role=\"status\"") && page.text().contains("/notes"), "{}", page.text());
        let within = ada.submit("/auth/sign-in", &[
            ("email", "ada@example.com"), ("password", PASSWORD), ("remember", "on"), ("callback_url", "/notes")]);
        assert_eq!(within.header("location"), Some(&*format!("{}/notes", site.origin)));
        assert_eq!(ada.navigate("/notes").text(), "hello");
        let old = token(&ada);
        for page in ["sign-in", "sign-up", "sign-out"] {
            let shown = ada.navigate(&format!("/auth/{page}"));
            assert!(shown.text().contains("ada@example.com"), "who is signed in is told so: {page}");
            assert!(shown.text().contains("action=\"/auth/sign-out\""), "LIF-9: {page}");
        }
        let out = ada.submit("/auth/sign-out", &[]);
        assert_eq!(out.status, 303);
        assert!(set_cookie(&out, "sidegate").is_some_and(|line| line.contains("Max-Age=0")));
        assert!(!opens(&site, &old));
        let to = out.header("location").expect("a location").trim_start_matches(&site.origin).to_owned();
        assert!(ada.navigate(&to).text().contains("role=\"status\""));
        assert_eq!(ada.navigate("/notes").status, 302);
        assert_eq!(ada.navigate("/auth/sign-out").status, 302, "nothing to sign out of");
    }

    fn a_wrong_password_shows_the_form_again_with_the_address_and_without_the_password(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        let mut ada = site.stranger();
        let page = ada.submit("/auth/sign-in", &[
            ("email", "ada@example.com"), ("password", "another phrase"), ("callback_url", "/notes")]);
        assert_eq!(page.status, 422);
        let text = page.text();
        assert!(text.contains("role=\"alert\"") && text.contains("value=\"ada@example.com\""), "{text}");
        assert!(text.contains("/notes\"") && !text.contains("another phrase") && !text.contains(" checked"), "{text}");
        assert!(page.all("set-cookie").is_empty());
    }

    fn what_is_missing_is_named_and_markup_in_fields_is_text(database) {
        let site = roomy(database).start();
        let mut stranger = site.stranger();
        let page = stranger.submit("/auth/sign-in", &[]);
        assert_eq!(page.status, 422);
        assert!(page.text().contains("#email") && page.text().contains("#password"));
        let evil = "\"><script>alert(1)</script>";
        for (at, fields) in [
            ("sign-in", vec![("email", evil), ("password", "x"), ("callback_url", evil)]),
            ("sign-up", vec![("name", evil), ("email", evil), ("password", "x"), ("callback_url", evil)]),
        ] {
            let page = stranger.submit(&format!("/auth/{at}"), &fields);
            assert_eq!(page.status, 422);
            assert!(!page.text().contains("<script"), "{}", page.text());
        }
        let long = "n".repeat(129);
        for name in ["", "a\0b", "a\r\nb", &long] {
            let fields = [("name", name), ("email", "ada@example.com"), ("password", PASSWORD)];
            assert_eq!(stranger.submit("/auth/sign-up", &fields).status, 422, "{name:?}");
        }
    }

    fn forms_take_forms_only_and_each_field_once(database) {
        let site = roomy(database).start();
        for at in ["sign-in", "sign-up"] {
            for kind in ["text/plain", "application/json", "multipart/form-data; boundary=x"] {
                let response = site.stranger().ask("POST", &format!("/auth/{at}")).header("Content-Type", kind)
                    .header("Origin", &site.origin).body("email=a").send();
                assert_eq!((response.status, &*response.code()), (415, "UNSUPPORTED_MEDIA_TYPE"), "{at} {kind}");
            }
            let twice = site.stranger().submit(&format!("/auth/{at}"), &[("email", "a"), ("email", "b")]);
            assert_eq!(twice.status, 400);
            let fields: Vec<(String, String)> = (0..65).map(|n| (format!("f{n}"), "x".to_owned())).collect();
            let fields: Vec<(&str, &str)> = fields.iter().map(|(a, b)| (&**a, &**b)).collect();
            assert_eq!(site.stranger().submit(&format!("/auth/{at}"), &fields).status, 400);
            let big = "x".repeat(70_000);
            let large = site.stranger().ask("POST", &format!("/auth/{at}"))
                .header("Content-Type", "application/x-www-form-urlencoded")
                .header("Origin", &site.origin).body(&big.as_bytes()[..65_537]).send();
            assert_eq!(large.status, 413);
        }
    }

    fn without_remember_me_the_cookie_ends_with_the_browser_and_with_it_stays(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("remember", "on")];
        let kept = site.stranger().submit("/auth/sign-in", &fields);
        assert!(set_cookie(&kept, "sidegate").is_some_and(|line| line.contains("Max-Age=604800")));
        let short = site.stranger().submit("/auth/sign-in", &fields[..2]);
        let line = set_cookie(&short, "sidegate").expect("a cookie");
        assert!(!line.contains("Max-Age") && !line.contains("Expires"), "{line}");
    }

    fn a_page_comes_in_the_visitors_language_and_pw_6_fields_say_what_they_are(database) {
        let site = roomy(database).start();
        let german = site.stranger().ask("GET", "/auth/sign-in").navigating().header("Accept-Language", "de-AT").send();
        assert_eq!(german.header("content-language"), Some("de"));
        let page = site.stranger().navigate("/auth/sign-in").text();
        assert!(page.contains("autocomplete=\"current-password\"") && page.contains("autocomplete=\"username\""));
        assert!(site.stranger().navigate("/auth/sign-up").text().contains("autocomplete=\"new-password\""));
    }
}
