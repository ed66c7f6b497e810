//! The session cookie: how it is written, and which of those that come back is believed (SES-1 to SES-14,
//! CK-1 to CK-7).

use std::collections::HashSet;
use std::time::Duration;

use sidegate::secret::{Purpose, RootSecret};

use crate::flow::{credentials, holder, opens, roomy, rows, set_cookie, token};
use crate::support::database::on_both_databases;
use crate::support::raw::{Raw, Response, ask};
use crate::support::site::{PASSWORD, Site};
use crate::support::upstream::Upstream;

/// `GET /app` as a program asks, with these `Cookie` bytes and our own fields.
fn with_cookie(site: &Site, cookie: &[u8]) -> Response {
    let host = site.origin.split("://").nth(1).expect("a host");
    let mut request =
        format!("GET /app HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nCookie: ").into_bytes();
    request.extend_from_slice(cookie);
    request.extend_from_slice(b"\r\n\r\n");
    ask(site.address, request)
}

/// The attributes of a `Set-Cookie` line, in order of the alphabet.
fn attributes(line: &str) -> Vec<&str> {
    let mut all: Vec<&str> = line.split("; ").skip(1).collect();
    all.sort_unstable();
    all
}

fn max_age(line: &str) -> Option<u64> {
    line.split("; ").find_map(|part| part.strip_prefix("Max-Age=")?.parse().ok())
}

#[test]
fn ses_1_tokens_never_repeat_nor_begin_alike() {
    let key = RootSecret::new(vec![1; 32]).expect("long enough").key(Purpose::SessionTag);
    let starts: HashSet<Vec<u8>> =
        (0..200_000).map(|_| key.issue().reveal().into_bytes()[..16].to_vec()).collect();
    assert_eq!(starts.len(), 200_000, "not even the first 96 bits");
}

on_both_databases! {
    fn ses_6_to_11_on_https_both_cookies_are_bound_to_the_host(database) {
        let site = roomy(database).public("https://app.example").start();
        site.sign_up("ada@example.com");
        let response = site.stranger().post("/auth/login", &credentials("ada@example.com"));
        assert_eq!(response.all("set-cookie").len(), 2);
        let session = set_cookie(&response, "__Host-sidegate").expect("the session");
        assert_eq!(attributes(session), ["HttpOnly", "Max-Age=604800", "Path=/", "SameSite=Lax", "Secure"]);
        let device = set_cookie(&response, "__Host-sidegate-device").expect("the device");
        assert_eq!(attributes(device), ["HttpOnly", "Max-Age=34560000", "Path=/", "SameSite=Lax", "Secure"]);
        for line in [session, device] {
            assert!(line.len() < 4096 && max_age(line) <= Some(400 * 86_400), "{line}");
        }
        assert_eq!(response.header("strict-transport-security"), Some("max-age=31536000"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let value = session.split(['=', ';']).nth(1).expect("a value").to_owned();
        assert_eq!(with_cookie(&site, format!("__Host-sidegate={value}").as_bytes()).status, 200);
        // A site on plain http beside us could plant these.
        for name in ["sidegate", "__Secure-sidegate", "__host-sidegate", "__HOST-sidegate", "__Host-Sidegate"] {
            assert_eq!(with_cookie(&site, format!("{name}={value}").as_bytes()).status, 401, "CK-2 {name}");
        }
    }

    fn ses_7_to_9_on_loopback_http_the_cookies_have_no_prefix_and_are_otherwise_alike(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        let response = site.stranger().post("/auth/login", &credentials("ada@example.com"));
        let session = set_cookie(&response, "sidegate").expect("the session");
        assert_eq!(attributes(session), ["HttpOnly", "Max-Age=604800", "Path=/", "SameSite=Lax"]);
        let value = session.split(['=', ';']).nth(1).expect("a value");
        assert!(value.len() == 54 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "SES-14");
        assert_eq!(with_cookie(&site, format!("__Host-sidegate={value}").as_bytes()).status, 401);
    }

    fn ses_2_and_sess_1_a_sign_in_ends_the_browsers_earlier_session(database) {
        let site = roomy(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        site.sign_up("bob@example.com");
        for (at, email) in [("sign-in/email", "ada@example.com"), ("login", "bob@example.com")] {
            let old = token(&ada);
            assert!(opens(&site, &old));
            assert_eq!(ada.post(&format!("/auth/{at}"), &credentials(email)).status, 200);
            let new = token(&ada);
            assert!(new != old && !opens(&site, &old) && opens(&site, &new), "{at}");
        }
        let old = token(&ada);
        assert!(opens(&site, &old));
        ada.submit("/auth/sign-in", &[("email", "ada@example.com"), ("password", PASSWORD)]);
        assert!(!opens(&site, &old) && opens(&site, &token(&ada)));
        assert_eq!(rows(&site, "session"), 1);
    }

    fn ses_2_a_failed_sign_in_leaves_the_earlier_session_alone(database) {
        let site = roomy(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let old = token(&ada);
        let wrong = serde_json::json!({ "email": "ada@example.com", "password": "another phrase" });
        assert_eq!(ada.post("/auth/login", &wrong).status, 401);
        assert!(token(&ada) == old && opens(&site, &old));
    }

    fn ses_3_a_planted_value_is_never_adopted_and_one_that_lives_dies(database) {
        // Fixation: the attacker's own value in the victim's browser.
        let site = roomy(database).start();
        let (mallory, _) = site.member("mallory@example.com");
        site.sign_up("ada@example.com");
        let foreign = RootSecret::new(vec![9; 32]).expect("long enough").key(Purpose::SessionTag).issue().reveal();
        for planted in [token(&mallory), foreign, "A".repeat(54), "x".to_owned()] {
            let mut ada = holder(&site, &planted);
            assert_eq!(ada.post("/auth/login", &credentials("ada@example.com")).status, 200);
            assert_ne!(token(&ada), planted);
            assert!(!opens(&site, &planted), "{planted}");
            assert_eq!(ada.get("/auth/me").json()["user"]["email"], "ada@example.com");
        }
    }

    fn ses_4_and_sess_3_a_value_that_we_did_not_issue_is_nobody_and_is_taken_back(database) {
        let site = roomy(database).start();
        let (ada, _) = site.member("ada@example.com");
        let good = token(&ada);
        let foreign = RootSecret::new(vec![9; 32]).expect("long enough").key(Purpose::SessionTag).issue().reveal();
        let mut bad = vec![foreign, "A".repeat(54), String::from("x"), format!("{good}A"), format!("\"{good}\""),
            good[..53].to_owned(), good.to_lowercase(), format!("{good}="), format!("%{good}"), "0".repeat(5000),
            "{\"user\":\"admin\"}".to_owned(), "eyJhbGciOiJub25lIn0.e30.".to_owned()];
        for at in [0, 20, 42, 43, 50, 53] {
            let mut changed = good.clone();
            let other = if changed.as_bytes()[at] == b'A' { "B" } else { "A" };
            changed.replace_range(at..=at, other);
            bad.push(changed);
        }
        for value in bad {
            let response = with_cookie(&site, format!("sidegate={value}").as_bytes());
            assert_eq!((response.status, &*response.code()), (401, "UNAUTHORIZED"), "{value}");
            assert!(set_cookie(&response, "sidegate").is_some_and(|line| line.contains("Max-Age=0")), "{value}");
        }
        assert!(site.upstream.arrived().is_empty(), "SESS-12");
        assert!(opens(&site, &good));
    }

    fn ck_1_4_and_5_names_are_compared_as_bytes(database) {
        let site = roomy(database).public("https://app.example").start();
        site.sign_up("ada@example.com");
        let mut ada = site.stranger();
        ada.post("/auth/login", &credentials("ada@example.com"));
        let good = ada.cookies["__Host-sidegate"].clone();
        let evil = "B".repeat(54);
        for space in ["\u{2000}", "\u{a0}", "\u{b}", "\u{c}", "\u{85}", "\u{feff}"] {
            let line = format!("{space}__Host-sidegate={evil}; __Host-sidegate={good}");
            if !line.contains(['\u{b}', '\u{c}']) {
                assert_eq!(with_cookie(&site, line.as_bytes()).status, 200, "CK-1 {space:?}");
            }
            let alone = format!("{space}__Host-sidegate={good}");
            assert!(matches!(with_cookie(&site, alone.as_bytes()).status, 400 | 401), "CK-1 {space:?}");
        }
        for (line, status) in [
            (format!("={good}"), 401), (format!("=__Host-sidegate={good}"), 401), ("__Host-sidegate".to_owned(), 401),
            (format!("__Host-sidegate; __Host-sidegate={good}"), 200),
            (format!("=__Host-sidegate={evil}; __Host-sidegate={good}"), 200),
            (format!("$Version=1; __Host-sidegate=\"{good}\""), 401),
            (format!("$Version=1; $Path=/; __Host-sidegate={good}"), 200),
            (format!("a=1, __Host-sidegate={good}"), 401), (format!(";;; ;__Host-sidegate={good};"), 200),
            (format!("__Host-sidegate[]={good}"), 401), (format!("__Host%2dsidegate={good}"), 401),
        ] {
            assert_eq!(with_cookie(&site, line.as_bytes()).status, status, "{line}");
        }
        assert_eq!(with_cookie(&site, b"; ;;=;==; \xff\xfe=\x80").status, 401, "SESS-11");
    }

    fn ck_3_two_different_cookies_of_our_name_are_nobody_and_are_taken_back(database) {
        let site = roomy(database).start();
        let (ada, _) = site.member("ada@example.com");
        let (bob, _) = site.member("bob@example.com");
        let (ada, bob) = (token(&ada), token(&bob));
        assert!(opens(&site, &ada) && opens(&site, &bob));
        let forwarded = site.upstream.arrived().len();
        for line in [format!("sidegate={ada}; sidegate={bob}"), format!("sidegate={bob}; x=1; sidegate=y"),
                     format!("sidegate=; sidegate={ada}"), format!("sidegate={ada}\r\nCookie: sidegate={bob}")] {
            let response = with_cookie(&site, line.as_bytes());
            assert_eq!(response.status, 401, "{line}");
            assert!(set_cookie(&response, "sidegate").is_some_and(|line| line.contains("Max-Age=0")), "{line}");
        }
        assert_eq!(site.upstream.arrived().len(), forwarded);
        assert_eq!(with_cookie(&site, format!("sidegate={ada}; sidegate={ada}").as_bytes()).status, 200, "one, repeated");
        let mut twice = site.stranger();
        twice.headers.push(("Cookie".to_owned(), format!("sidegate={ada}; sidegate={bob}")));
        assert_eq!(twice.get("/auth/get-session").text(), "null");
        assert!(opens(&site, &ada) && opens(&site, &bob), "neither was ended by it");
    }

    fn ck_6_a_cookie_bomb_is_refused_and_nothing_of_it_is_forwarded(database) {
        let site = roomy(database).rule("/open/**", "public").start();
        let (ada, _) = site.member("ada@example.com");
        for path in ["/app", "/open/x", "/auth/me"] {
            let mut bomb = holder(&site, &token(&ada));
            bomb.cookies.insert("bomb".to_owned(), "x".repeat(200 * 1024));
            // The rest of it is not read, which may cost the client the answer.
            if let Ok(response) = Raw::connect(site.address).send(bomb.ask("GET", path).bytes()).try_answer(false) {
                assert_eq!(response.status, 431);
            }
        }
        assert!(site.upstream.arrived().is_empty());
        let many: Vec<String> = (0..2000).map(|n| format!("c{n}=x")).collect();
        let line = format!("{}; sidegate={}", many.join("; "), token(&ada));
        let response = with_cookie(&site, line.as_bytes());
        assert_eq!(response.status, 200, "many small ones are no reason to forget who it is");
        assert_eq!(site.upstream.only().all("x-user-id").len(), 1);
    }

    fn ck_7_a_value_made_for_one_cookie_is_worth_nothing_in_another(database) {
        let site = roomy(database).set("limits", "attempts_per_address = 10000\nattempts_per_account = 2").start();
        let (ada, _) = site.member("ada@example.com");
        let (session, device) = (token(&ada), ada.cookies["sidegate-device"].clone());
        assert_eq!(with_cookie(&site, format!("sidegate={device}").as_bytes()).status, 401);
        let wrong = serde_json::json!({ "email": "ada@example.com", "password": "another phrase" });
        for _ in 0..2 {
            assert_eq!(site.stranger().post("/auth/login", &wrong).status, 401);
        }
        let (_, proof) = device.split_once('.').expect("a secret and a proof");
        for pasted in [session.as_str(), &proof[1..], "x"] {
            let mut visitor = site.stranger();
            visitor.cookies.insert("sidegate-device".to_owned(), pasted.to_owned());
            assert_eq!(visitor.post("/auth/login", &credentials("ada@example.com")).status, 429, "{pasted}");
        }
        let mut visitor = site.stranger();
        visitor.cookies.insert("sidegate-device".to_owned(), device);
        assert_eq!(visitor.post("/auth/login", &credentials("ada@example.com")).status, 200);
    }

    fn ses_12_a_forwarded_answer_that_renews_the_cookie_is_kept_by_no_cache(database) {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: public, max-age=600\r\n\r\nok";
        let site = roomy(database).upstream(Upstream::answering(answer)).start();
        let (mut ada, _) = site.member("ada@example.com");
        assert_eq!(ada.get("/app").all("set-cookie").len(), 0);
        site.pass(Duration::from_hours(24));
        let renewed = ada.get("/app");
        assert_eq!(renewed.all("set-cookie").len(), 1);
        assert_eq!(renewed.all("cache-control"), ["no-store"]);
    }
}
