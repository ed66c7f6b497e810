//! What another site can make a browser do here: nothing (CS-1 to CS-14).

use serde_json::json;

use super::{credentials, opens, roomy, rows, token};
use crate::support::database::on_both_databases;
use crate::support::raw::{Response, ask};
use crate::support::site::{PASSWORD, Site};

/// `POST /auth/sign-out` with these fields and a session; whether it went through.
fn goes_through(site: &Site, headers: &[(&str, &str)]) -> bool {
    let (mut ada, _) = site.signed_in("ada@example.com");
    let old = token(&ada);
    let mut ask = ada.ask("POST", "/auth/sign-out");
    for (name, value) in headers {
        ask = ask.header(name, value);
    }
    let response = ask.body("{}").send();
    match response.status {
        200 => {
            assert!(!opens(site, &old));
            true
        }
        403 => {
            assert_eq!(response.code(), "INVALID_ORIGIN");
            assert!(response.all("set-cookie").is_empty() && opens(site, &old));
            false
        }
        other => panic!("{other}: {}", response.text()),
    }
}

fn says_nothing_to_other_sites(response: &Response) {
    let cors: Vec<_> =
        response.headers.iter().filter(|(name, _)| name.starts_with("access-control-")).collect();
    assert!(cors.is_empty(), "{cors:?}");
}

on_both_databases! {
    fn cs_2_and_3_the_browsers_word_counts_first_then_origin_then_only_json_without_cookies(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        let own = &*site.origin.clone();
        let by_name = own.replace("127.0.0.1", "localhost");
        let json = ("Content-Type", "application/json");
        for (expected, headers) in [
            (true, vec![("Sec-Fetch-Site", "same-origin")]),
            (true, vec![("Sec-Fetch-Site", "none")]),
            (false, vec![("Sec-Fetch-Site", "cross-site"), ("Origin", own)]),
            (false, vec![("Sec-Fetch-Site", "same-site"), ("Origin", own), json]),
            (false, vec![("Sec-Fetch-Site", "")]),
            (false, vec![("Sec-Fetch-Site", "Same-Origin")]),
            (true, vec![("Sec-Fetch-Site", "same-origin"), ("Origin", "null")]),
            (true, vec![("Origin", own)]),
            (false, vec![("Origin", "null"), json]),
            (false, vec![("Origin", "https://evil.com"), json]),
            (false, vec![("Origin", &by_name)]),
            (false, vec![("Origin", &format!("{own}.evil.com"))]),
            (false, vec![("Origin", &format!("{own}/"))]),
            (false, vec![("Referer", own), ("Content-Type", "text/plain")]),
            (false, vec![json]),
            (false, vec![("Content-Type", "application/x-www-form-urlencoded")]),
            (false, vec![]),
        ] {
            assert_eq!(goes_through(&site, &headers), expected, "{headers:?}");
        }
    }

    fn cs_3_the_expected_origin_is_the_configured_one_whatever_host_says(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        let host = format!("localhost:{}", site.address.port());
        let body = credentials("ada@example.com").to_string();
        let request = |origin: &str| {
            let head = "Content-Type: application/json\r\nConnection: close";
            format!("POST /auth/login HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        assert_eq!(ask(site.address, request(&format!("http://{host}"))).status, 403);
        assert_eq!(ask(site.address, request(&site.origin)).status, 200);
    }

    fn cs_5_and_11_no_other_site_signs_anybody_in_up_or_out(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        let sign_in = "email=ada%40example.com&password=a+long+and+private+phrase";
        let sign_up = format!("name=B&{}", sign_in.replace("ada", "bob"));
        for (at, body) in [("sign-in", sign_in), ("sign-up", &sign_up), ("sign-out", "")] {
            for said in [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.com"), ("Origin", "null"), ("X-Old", "browser")] {
                let response = site.stranger().ask("POST", &format!("/auth/{at}")).navigating()
                    .header("Content-Type", "application/x-www-form-urlencoded").header(said.0, said.1)
                    .body(body).send();
                assert_eq!(response.status, 403, "{at} {said:?}");
                assert!(response.all("set-cookie").is_empty(), "{at} {said:?}");
            }
        }
        for at in ["sign-in/email", "login"] {
            let foreign = site.stranger().ask("POST", &format!("/auth/{at}")).header("Content-Type", "application/json")
                .header("Origin", "https://evil.com").body(credentials("ada@example.com").to_string()).send();
            assert_eq!((foreign.status, &*foreign.code()), (403, "INVALID_ORIGIN"));
            let smuggled = site.stranger().ask("POST", &format!("/auth/{at}")).header("Content-Type", "text/plain")
                .body(credentials("ada@example.com").to_string()).send();
            assert_eq!(smuggled.status, 403, "no form can send it, but text/plain it can");
        }
        assert_eq!((rows(&site, "session"), rows(&site, "user")), (0, 1));
    }

    fn a_program_without_browser_or_cookies_signs_in_with_json(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        let response = site.stranger().ask("POST", "/auth/login").header("Content-Type", "application/json")
            .body(credentials("ada@example.com").to_string()).send();
        assert_eq!(response.status, 200, "{}", response.text());
    }

    fn cs_1_and_11_a_get_changes_nothing(database) {
        let site = roomy(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let old = token(&ada);
        for path in ["sign-out", "logout", "sign-out?callback_url=/x", "revoke-sessions", "revoke-other-sessions",
                     "revoke-session?token=x", "sign-in?email=ada@example.com&password=x"] {
            let response = ada.navigate(&format!("/auth/{path}"));
            assert!(response.all("set-cookie").is_empty(), "{path}");
        }
        assert!(opens(&site, &old));
        assert_eq!(rows(&site, "session"), 1);
    }

    fn cs_9_no_other_site_is_told_anything(database) {
        let site = roomy(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        for (method, path) in [("GET", "get-session"), ("GET", "me"), ("GET", "list-sessions"), ("OPTIONS", "login"),
                               ("OPTIONS", "get-session"), ("GET", "ok"), ("GET", "sign-in"), ("GET", "none")] {
            let response = ada.ask(method, &format!("/auth/{path}")).header("Origin", "https://evil.com")
                .header("Access-Control-Request-Method", "POST").send();
            says_nothing_to_other_sites(&response);
        }
    }

    fn cs_10_and_ses_12_every_answer_of_ours_is_hardened_and_kept_by_no_cache(database) {
        let site = roomy(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let mut stranger = site.stranger();
        let mut seen = Vec::new();
        for path in ["sign-in", "sign-up", "sign-out", "get-session", "me", "list-sessions", "ok", "none", "login"] {
            for visitor in [&mut ada, &mut stranger] {
                seen.push(visitor.navigate(&format!("/auth/{path}")));
                seen.push(visitor.get(&format!("/auth/{path}")));
            }
        }
        for path in ["sign-in", "sign-up", "sign-out", "sign-in/email", "signup", "login", "revoke-session", "revoke-sessions"] {
            let fields = [("name", "A"), ("email", "ada@example.com"), ("password", PASSWORD), ("token", "x")];
            seen.push(stranger.submit(&format!("/auth/{path}"), &fields));
            seen.push(ada.post(&format!("/auth/{path}"), &json!({ "token": "x", "email": "e", "password": "p" })));
        }
        seen.push(stranger.navigate("/app"));
        seen.push(stranger.get("/app"));
        for response in seen {
            assert_eq!(response.header("cache-control"), Some("no-store"), "{response:?}");
            assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(response.header("referrer-policy"), Some("no-referrer"));
            assert_eq!(response.header("strict-transport-security"), None, "not on plain http");
            for name in ["server", "x-powered-by", "via"] {
                assert_eq!(response.header(name), None, "SE-9");
            }
            if response.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
                let policy = response.header("content-security-policy").expect("a policy");
                for part in ["default-src 'none'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
                    assert!(policy.contains(part), "{policy}");
                }
                assert!(!policy.contains("unsafe"), "{policy}");
                assert_eq!(response.header("cross-origin-opener-policy"), Some("same-origin"));
            }
        }
    }

    fn cs_12_a_form_with_a_password_is_followed_by_a_get(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        let fields = [("name", "Ada"), ("email", "ada@example.com"), ("password", PASSWORD)];
        for path in ["sign-up", "sign-in", "sign-out"] {
            assert_eq!(site.stranger().submit(&format!("/auth/{path}"), &fields).status, 303, "{path}");
        }
    }
}
