//! Where a person is sent afterwards: every way off the site, through every door (RD-1 to RD-9, REDIR-1 to
//! REDIR-9).

use serde_json::json;

use super::{credentials, roomy, rows, set_cookie};
use crate::support::database::on_both_databases;
use crate::support::site::{PASSWORD, Site};

/// `ORIGIN` stands for the site's own, `HOST` for its host and port.
const OFF_SITE: &[&str] = &[
    "?x",
    "#x",
    "evil.com",
    ".evil.com",
    "@evil.com",
    "%2f%2fevil.com",
    "//evil.com",
    "///evil.com",
    "////evil.com",
    "//HOST",
    "//evil\u{3002}com",
    "/\\evil.com",
    "\\\\evil.com",
    "\\/evil.com",
    "/\\/evil.com",
    "/./\\evil.com",
    "/./../../\\evil.com",
    "/\t/evil.com",
    "/\n/evil.com",
    "/\r\n/evil.com",
    "\t//evil.com",
    " //evil.com",
    "\u{b}//evil.com",
    "/\t/\t\\evil.com",
    "/ /evil.com",
    "/\u{0}/evil.com",
    "/\u{7f}/evil.com",
    "/\u{85}/evil.com",
    "/\u{2028}/evil",
    "/\u{a0}/evil",
    "/\u{feff}/evil",
    "/\u{3002}/evil",
    "/%2f%2fevil.com",
    "/%2fevil.com",
    "/%5cevil.com",
    "/%5C%5Cevil.com",
    "/%252f%252fevil.com",
    "/%25252f%25252fevil.com",
    "/%255cevil.com",
    "/%25%32%66%25%32%66evil.com",
    "/%2%66evil.com",
    "/%09/evil.com",
    "/%0a/evil.com",
    "/%0d%0aSet-Cookie:a=b",
    "/%00/evil.com",
    "/%0a%0d//evil.com",
    "/..//evil.com",
    "/.//evil.com",
    "/a/..//evil.com",
    "/%2e%2e//evil.com",
    "/x/%2e%2e//evil.com",
    "/.%2e//evil.com",
    "/%252e%252e//evil.com",
    "/x/%252e%252e//evil.com",
    "/%2E//evil.com",
    "http:evil.com",
    "http:/evil.com",
    "http:///evil.com",
    "https:evil.com",
    "https:/evil.com",
    "https:\\\\evil.com",
    "http://evil.com",
    "https://evil.com/",
    "HTTP://EVIL.COM",
    "ORIGIN@evil.com",
    "ORIGIN:80@evil.com",
    "http://evil.com\\@HOST",
    "http://evil.com#@HOST",
    "http://evil.com?HOST",
    "http://HOST@evil.com",
    "ORIGIN\\@evil.com",
    "ORIGIN.evil.com",
    "ORIGIN%40evil.com",
    "http://evil.com%00.HOST",
    "http://127.0.0.1:1",
    "https://HOST",
    "ORIGIN.",
    "ORIGIN0",
    "http://user@HOST/",
    "http://user:word@HOST/",
    "ORIGIN//evil.com",
    "ORIGIN/%2f%2fevil.com",
    "ORIGIN/..//evil.com",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\nscript:alert(1)",
    "\u{1}javascript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "blob:ORIGIN/x",
    "filesystem:ORIGIN/x",
    "view-source:ORIGIN",
    "mailto:a@b",
    "/auth",
    "/auth/",
    "/auth/sign-out",
    "/auth/sign-in?callback_url=//evil.com",
    "/x/../auth/sign-out",
    "ORIGIN/auth/callback/github",
    "/auth?x",
];

const ON_SITE: &[&str] = &[
    "/",
    "/dash",
    "/dash?tab=1&x=2#part",
    "/a?next=//evil.com",
    "/a#//evil",
    "/foo//evil.com",
    "/@evil.com",
    "/;@evil.com",
    "/a%20b",
    "/authors",
    "/%C3%A4",
    "/100%25",
    "/a?x=%2f%2f&y=%0a",
];

fn off_site(site: &Site) -> Vec<String> {
    let host = site.origin.trim_start_matches("http://");
    let mut all: Vec<String> =
        OFF_SITE.iter().map(|text| text.replace("ORIGIN", &site.origin).replace("HOST", host)).collect();
    all.push(format!("/{}", "a".repeat(2048)));
    all
}

on_both_databases! {
    fn rd_1_to_9_no_way_off_the_site_leads_there_from_the_sign_in_form(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        for bad in off_site(&site) {
            let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("callback_url", &bad)];
            let response = site.stranger().submit("/auth/sign-in", &fields);
            assert_eq!(response.status, 303, "{bad:?}");
            assert_eq!(response.header("location"), Some(&*format!("{}/", site.origin)), "{bad:?}");
            assert!(set_cookie(&response, "sidegate").is_some(), "the sign-in itself was fine: {bad:?}");
        }
        for good in ON_SITE {
            let whole = format!("{}{good}", site.origin);
            for given in [*good, &whole] {
                let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("callback_url", given)];
                let response = site.stranger().submit("/auth/sign-in", &fields);
                assert_eq!(response.header("location"), Some(&*whole), "RD-3: absolute, with our own origin");
            }
        }
    }

    fn redir_7_and_8_no_way_off_the_site_leads_there_from_signing_out_or_up(database) {
        let site = roomy(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        for bad in off_site(&site) {
            let out = site.stranger().submit("/auth/sign-out", &[("callback_url", &bad)]);
            let signed_out = format!("{}/auth/sign-in?notice=signed-out", site.origin);
            assert_eq!((out.status, out.header("location")), (303, Some(&*signed_out)), "{bad:?}");
            let up = [("name", "B"), ("email", "bob@example.com"), ("password", PASSWORD), ("callback_url", &bad)];
            let up = site.stranger().submit("/auth/sign-up", &up);
            let signed_up = format!("{}/auth/sign-in?notice=signed-up", site.origin);
            assert_eq!((up.status, up.header("location")), (303, Some(&*signed_up)), "{bad:?}");
        }
        for good in ON_SITE {
            let out = ada.submit("/auth/sign-out", &[("callback_url", good)]);
            assert_eq!(out.header("location"), Some(&*format!("{}{good}", site.origin)));
        }
    }

    fn rd_9_json_is_told_that_the_target_is_wrong_before_anything_is_done(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        for bad in off_site(&site) {
            for (at, key) in [("sign-in/email", "callbackURL"), ("login", "callback_url"),
                              ("sign-up/email", "callbackURL"), ("signup", "callback_url")] {
                let mut body = credentials("ada@example.com");
                body["name"] = json!("Ada");
                body[key] = json!(bad);
                let response = site.stranger().post(&format!("/auth/{at}"), &body);
                assert_eq!((response.status, &*response.code()), (403, "INVALID_CALLBACK_URL"), "{at} {bad:?}");
                assert!(!response.text().contains("evil"), "not echoed: {bad:?}");
                assert!(response.all("set-cookie").is_empty());
            }
        }
        for wrong in [json!(["/a"]), json!({ "x": "/a" }), json!(1), json!(true)] {
            let mut body = credentials("ada@example.com");
            body["callbackURL"] = wrong;
            let response = site.stranger().post("/auth/sign-in/email", &body);
            assert_eq!((response.status, &*response.code()), (400, "VALIDATION_ERROR"));
        }
        assert_eq!(rows(&site, "session"), 0);
        for good in ON_SITE {
            let mut body = credentials("ada@example.com");
            body["callbackURL"] = json!(good);
            let response = site.stranger().post("/auth/sign-in/email", &body);
            assert_eq!(response.json()["url"], format!("{}{good}", site.origin));
        }
    }

    fn no_page_links_to_or_echoes_a_target_that_leads_off_the_site(database) {
        // REDIR-8: the way back on the sign-out page is a link.
        let site = roomy(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let mut stranger = site.stranger();
        for bad in off_site(&site).iter().filter(|bad| bad.contains("evil")) {
            let query: String = url::form_urlencoded::byte_serialize(bad.as_bytes()).collect();
            for page in ["sign-in", "sign-up", "sign-out"] {
                let at = format!("/auth/{page}?callback_url={query}");
                for visitor in [&mut ada, &mut stranger] {
                    let response = visitor.navigate(&at);
                    assert!(matches!(response.status, 200 | 302), "{at}");
                    let location = response.header("location").unwrap_or_default();
                    assert!(!response.text().contains("evil") && !location.contains("evil"), "{at}");
                }
            }
            let again = stranger.submit("/auth/sign-in", &[("email", "x"), ("callback_url", bad)]);
            assert!(again.status == 422 && !again.text().contains("evil"), "{bad:?}");
            let again = stranger.submit("/auth/sign-up", &[("email", "x"), ("callback_url", bad)]);
            assert!(again.status == 422 && !again.text().contains("evil"), "{bad:?}");
        }
        let page = ada.navigate("/auth/sign-out?callback_url=/notes").text();
        assert!(page.contains(&format!("href=\"{}/notes\"", site.origin)), "{page}");
    }

    fn a_target_that_is_given_twice_is_refused_and_brackets_are_another_name(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        let (name, word) = (("email", "ada@example.com"), ("password", PASSWORD));
        let twice = [name, word, ("callback_url", "/a"), ("callback_url", "//evil.com")];
        assert_eq!(site.stranger().submit("/auth/sign-in", &twice).status, 400);
        assert_eq!(site.stranger().navigate("/auth/sign-in?callback_url=/a&callback_url=/a").status, 400);
        for key in ["callback_url[]", "callback_url[x]", "callback_url%5B%5D"] {
            let response = site.stranger().submit("/auth/sign-in", &[name, word, (key, "//evil.com")]);
            assert_eq!(response.header("location"), Some(&*format!("{}/", site.origin)));
        }
    }

    fn who_was_sent_away_to_sign_in_comes_back_to_where_they_wanted_to_go(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        let mut ada = site.stranger();
        let sent = ada.navigate("/notes?tab=1&x=%C3%A4");
        assert_eq!(sent.status, 302);
        let to = sent.header("location").expect("a location").to_owned();
        let path = to.strip_prefix(&site.origin).expect("our origin").to_owned();
        assert_eq!(path, "/auth/sign-in?callback_url=%2Fnotes%3Ftab%3D1%26x%3D%25C3%25A4");
        let wanted = format!("{}/notes?tab=1&x=%C3%A4", site.origin);
        let page = ada.navigate(&path).text();
        assert!(page.contains(&format!("value=\"{}\"", wanted.replace('&', "&#38;"))), "{page}");
        let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("callback_url", &*wanted)];
        assert_eq!(ada.submit("/auth/sign-in", &fields).header("location"), Some(&*wanted));
        assert_eq!(ada.navigate("/notes?tab=1&x=%C3%A4").status, 200);
        assert_eq!(site.upstream.only().line, "GET /notes?tab=1&x=%C3%A4 HTTP/1.1");
    }

    fn redir_6_and_9_neither_host_headers_nor_referers_nor_tokens_get_into_a_redirect(database) {
        let site = roomy(database).start();
        let (ada, _) = site.member("ada@example.com");
        let secret = crate::flow::token(&ada);
        for referer in ["javascript:alert(1)", "https://evil.com/x", "//evil.com"] {
            let sent = site.stranger().ask("POST", "/form").navigating().header("Referer", referer)
                .header("X-Forwarded-Host", "evil.com").header("X-Forwarded-Proto", "https")
                .header("Forwarded", "host=evil.com").send();
            assert_eq!(sent.status, 303);
            assert_eq!(sent.header("location"), Some(&*format!("{}/auth/sign-in", site.origin)));
        }
        let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("callback_url", "/x")];
        let response = site.stranger().submit("/auth/sign-in", &fields);
        let location = response.header("location").expect("a location");
        let token = set_cookie(&response, "sidegate").expect("a cookie").split(['=', ';']).nth(1).expect("a value");
        assert!(!location.contains(token) && !location.contains(&secret));
    }
}
