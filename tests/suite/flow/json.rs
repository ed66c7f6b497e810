//! The JSON endpoints: what better-auth's client and the short names are answered, and every way to get it
//! wrong.

use serde_json::{Value, json};

use super::{credentials, opens, roomy, rows, set_cookie, token};
use crate::support::database::on_both_databases;
use crate::support::raw::Response;
use crate::support::site::PASSWORD;

const STARTED: &str = "2026-01-02T03:04:05.678Z";

/// Every endpoint that reads a JSON body, with one that it takes.
fn readers() -> [(&'static str, Value); 5] {
    let up = json!({ "name": "Ada", "email": "ada@example.com", "password": PASSWORD });
    [
        ("/auth/sign-up/email", up.clone()),
        ("/auth/signup", up),
        ("/auth/sign-in/email", credentials("ada@example.com")),
        ("/auth/login", credentials("ada@example.com")),
        ("/auth/revoke-session", json!({ "token": "x" })),
    ]
}

/// A refusal has a text, a code and the id under which the log knows it.
fn refused(response: &Response, status: u16, code: &str) {
    let text = response.text();
    assert_eq!(response.status, status, "{text}");
    let body = response.json();
    assert_eq!(body["code"], code, "{text}");
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{text}");
    assert_eq!(body["request_id"].as_str(), response.header("x-request-id"), "{text}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert!(response.all("set-cookie").is_empty(), "{response:?}");
}

on_both_databases! {
    fn an_account_is_made_and_used_through_better_auths_endpoints(database) {
        let site = roomy(database).start();
        let mut ada = site.stranger();
        let up = json!({ "name": " Ada ", "email": "Ada@Example.com", "password": PASSWORD,
                         "image": "https://example.com/ada.png", "callbackURL": "/x", "more": 1 });
        let made = ada.post("/auth/sign-up/email", &up);
        assert_eq!(made.status, 200, "{}", made.text());
        assert_eq!(made.json()["token"], Value::Null);
        assert!(made.all("set-cookie").is_empty());
        let user = made.json()["user"].clone();
        assert_eq!(user, json!({ "id": user["id"], "name": "Ada", "email": "ada@example.com",
            "emailVerified": false, "image": "https://example.com/ada.png",
            "createdAt": STARTED, "updatedAt": STARTED }));

        let signed = ada.ask("POST", "/auth/sign-in/email").header("User-Agent", "Test/1")
            .json(&json!({ "email": "ADA@example.com", "password": PASSWORD, "callbackURL": "/dash?x=1" }))
            .send();
        assert_eq!(signed.status, 200, "{}", signed.text());
        let body = signed.json();
        assert_eq!(body["user"], user);
        assert_eq!(body["redirect"], true);
        assert_eq!(body["url"], format!("{}/dash?x=1", site.origin));
        assert!(set_cookie(&signed, "sidegate").is_some() && set_cookie(&signed, "sidegate-device").is_some());

        let who = ada.get("/auth/get-session");
        assert_eq!(who.status, 200);
        assert_eq!(who.json()["user"], user);
        let session = who.json()["session"].clone();
        assert_eq!(session, json!({ "id": session["id"], "token": body["token"], "userId": user["id"],
            "expiresAt": "2026-01-09T03:04:05.678Z", "createdAt": STARTED, "updatedAt": STARTED,
            "ipAddress": "127.0.0.1", "userAgent": "Test/1" }));
        let list = ada.get("/auth/list-sessions");
        assert_eq!((list.status, list.json()), (200, json!([session])));

        let old = token(&ada);
        let out = ada.post("/auth/sign-out", &json!({}));
        assert_eq!((out.status, out.json()), (200, json!({ "success": true })));
        assert!(!ada.cookies.contains_key("sidegate"), "the cookie is taken back");
        assert!(!opens(&site, &old));
        assert_eq!(ada.get("/auth/get-session").json(), Value::Null);
    }

    fn the_short_names_do_the_same(database) {
        let site = roomy(database).start();
        let mut ada = site.stranger();
        let up = json!({ "name": "Ada", "email": "ada@example.com", "password": PASSWORD, "callback_url": "/x" });
        let made = ada.post("/auth/signup", &up);
        assert_eq!((made.status, &made.json()["token"]), (200, &Value::Null));
        let signed = ada.post("/auth/login", &json!({
            "email": "ada@example.com", "password": PASSWORD, "callback_url": "/dash", "remember": true }));
        assert_eq!(signed.status, 200, "{}", signed.text());
        let body = signed.json();
        assert_eq!(body["user"]["email"], "ada@example.com");
        assert_eq!(body["expires_at"], "2026-01-09T03:04:05.678Z");
        assert_eq!(body["session"]["userId"], body["user"]["id"]);
        assert_eq!(body["callback_url"], format!("{}/dash", site.origin));
        assert!(set_cookie(&signed, "sidegate").is_some());
        let me = ada.get("/auth/me");
        assert_eq!((me.status, &me.json()["user"]), (200, &body["user"]));
        assert_eq!(me.json()["session"], body["session"]);
        let old = token(&ada);
        assert_eq!(ada.post("/auth/logout", &json!({})).json(), json!({ "success": true }));
        assert!(!opens(&site, &old));
        assert_eq!(ada.get("/auth/me").status, 401);
    }

    fn both_spellings_of_the_callback_are_read_and_one_is_enough(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        for at in ["/auth/sign-in/email", "/auth/login"] {
            for key in ["callbackURL", "callback_url"] {
                let mut body = credentials("ada@example.com");
                body[key] = json!("https://evil.com/");
                refused(&site.stranger().post(at, &body), 403, "INVALID_CALLBACK_URL");
            }
            let mut body = credentials("ada@example.com");
            body["callbackURL"] = json!("/a");
            body["callback_url"] = json!("/b");
            refused(&site.stranger().post(at, &body), 400, "VALIDATION_ERROR");
        }
    }

    fn strangers_hear_null_or_401_and_nothing_else(database) {
        let site = roomy(database).start();
        let mut stranger = site.stranger();
        let asked = stranger.get("/auth/get-session");
        assert_eq!((asked.status, asked.text().as_str()), (200, "null"));
        for (method, path) in [("GET", "me"), ("GET", "list-sessions"), ("POST", "revoke-session"),
                               ("POST", "revoke-sessions"), ("POST", "revoke-other-sessions")] {
            let response = stranger.ask(method, &format!("/auth/{path}")).json(&json!({ "token": "x" })).send();
            refused(&response, 401, "UNAUTHORIZED");
            assert_eq!(response.header("www-authenticate"), Some("Bearer"), "no credentials, no error");
            assert!(response.json()["login_url"].as_str().is_some_and(|url| url.starts_with(&site.origin)));
        }
        assert_eq!(stranger.post("/auth/sign-out", &json!({})).json(), json!({ "success": true }));
        assert_eq!(stranger.get("/auth/ok").json(), json!({ "ok": true }));
        assert!(site.upstream.arrived().is_empty());
    }

    fn bodies_that_cannot_be_read_are_refused_in_one_shape_everywhere(database) {
        // auth.md 1.4 and 1.5, CS-4
        let site = roomy(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let before = rows(&site, "session");
        for (path, good) in readers() {
            let mut post = |kind: &str, body: &str| {
                ada.ask("POST", path).header("Content-Type", kind).header("Sec-Fetch-Site", "same-origin")
                    .body(body).send()
            };
            let json_type = "application/json";
            for broken in ["", "{", "{\"email\":", "nonsense", "\u{feff}{}", "{\"email\": NaN}"] {
                refused(&post(json_type, broken), 400, "BAD_REQUEST");
            }
            for wrong in ["[]", "null", "1", "\"x\"", "{}"] {
                refused(&post(json_type, wrong), 400, "VALIDATION_ERROR");
            }
            let first = good.as_object().expect("an object").keys().next().expect("a field").clone();
            for wrong in [json!(1), json!(null), json!(["a"]), json!({ "a": 1 }), json!(true)] {
                let mut body = good.clone();
                body[&first] = wrong;
                refused(&post(json_type, &body.to_string()), 400, "VALIDATION_ERROR");
            }
            let twice = format!("{{\"{first}\":\"a\",{}", &good.to_string()[1..]);
            refused(&post(json_type, &twice), 400, "VALIDATION_ERROR");
            for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                         "text/json", "application/jsonp", "application/json-patch+json"] {
                // The account page has a form that ends a session.
                if (path, kind) != ("/auth/revoke-session", "application/x-www-form-urlencoded") {
                    refused(&post(kind, &good.to_string()), 415, "UNSUPPORTED_MEDIA_TYPE");
                }
            }
            refused(&post(json_type, &"x".repeat(65_537)), 413, "BODY_TOO_LARGE");
            let untyped = ada.ask("POST", path).header("Sec-Fetch-Site", "same-origin").body("{}").send();
            refused(&untyped, 415, "UNSUPPORTED_MEDIA_TYPE");
        }
        assert_eq!(rows(&site, "session"), before);
        assert_eq!(rows(&site, "user"), 1);
    }

    fn json_may_say_its_charset_and_bytes_that_are_no_text_are_refused(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        let body = credentials("ada@example.com").to_string();
        let typed = |kind: &str, body: &[u8]| {
            site.stranger().ask("POST", "/auth/login").header("Content-Type", kind)
                .header("Origin", &site.origin).body(body).send()
        };
        assert_eq!(typed("Application/JSON; charset=utf-8", body.as_bytes()).status, 200);
        refused(&typed("application/json", b"{\"email\":\"\xff\",\"password\":\"x\"}"), 400, "BAD_REQUEST");
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
        refused(&typed("application/json", deep.as_bytes()), 400, "VALIDATION_ERROR");
    }

    fn a_sign_up_that_breaks_the_rules_is_told_which(database) {
        let site = roomy(database).start();
        let up = |name: &str, email: &str, password: &str| {
            let body = json!({ "name": name, "email": email, "password": password });
            site.stranger().post("/auth/sign-up/email", &body)
        };
        refused(&up("Ada", "no address", PASSWORD), 400, "INVALID_EMAIL");
        refused(&up("Ada", "a@b.example,c@d.example", PASSWORD), 400, "INVALID_EMAIL");
        refused(&up("Ada", "ada@example.com", "short"), 400, "PASSWORD_TOO_SHORT");
        refused(&up("Ada", "ada@example.com", &"x".repeat(129)), 400, "PASSWORD_TOO_LONG");
        refused(&up("Ada", "ada@example.com", "password1"), 400, "PASSWORD_TOO_COMMON");
        refused(&up(&"n".repeat(129), "ada@example.com", PASSWORD), 400, "VALIDATION_ERROR");
        for name in ["a\0b", "a\nb", "a\r\nBcc: b@example.com", "\u{7f}", "a\u{85}b"] {
            refused(&up(name, "ada@example.com", PASSWORD), 400, "VALIDATION_ERROR");
        }
        assert_eq!(rows(&site, "user"), 0);
        let odd = json!({ "name": "Ada", "email": "ada@example.com", "password": PASSWORD,
                          "image": "https://x/\0" });
        let made = site.stranger().post("/auth/sign-up/email", &odd);
        assert_eq!((made.status, &made.json()["user"]["image"]), (200, &Value::Null));
        refused(&site.stranger().post("/auth/login", &credentials("not an address")), 400, "INVALID_EMAIL");
    }

    fn a_site_whose_sign_up_is_closed_says_so_and_makes_no_account(database) {
        let site = roomy(database).set("sign_up", "open = false").start();
        for (path, body) in &readers()[..2] {
            refused(&site.stranger().post(path, body), 400, "EMAIL_PASSWORD_SIGN_UP_DISABLED");
        }
        let fields = [("name", "Ada"), ("email", "ada@example.com"), ("password", PASSWORD)];
        assert!(site.stranger().submit("/auth/sign-up", &fields).status >= 400);
        assert_eq!(site.stranger().navigate("/auth/sign-up").status, 400);
        assert_eq!(rows(&site, "user"), 0);
        assert!(!site.stranger().navigate("/auth/sign-in").text().contains("/auth/sign-up"));
    }

    fn paths_that_are_none_are_404_and_methods_that_are_none_405_with_those_that_are(database) {
        // CS-14, EN-9
        let site = roomy(database).start();
        let mut stranger = site.stranger();
        for path in ["", "/", "/nothing", "/user-exists?email=ada@example.com", "/sign-in/", "/Sign-In",
                     "/sign-up/check-email", "/list-users"] {
            refused(&stranger.get(&format!("/auth{path}")), 404, "NOT_FOUND");
        }
        for (method, path, allow) in [
            ("GET", "login", "POST"), ("GET", "sign-in/email", "POST"), ("GET", "sign-up/email", "POST"),
            ("GET", "logout", "POST"), ("GET", "revoke-sessions", "POST"), ("POST", "get-session", "GET"),
            ("DELETE", "sign-out", "GET, POST"), ("PUT", "me", "GET"), ("OPTIONS", "sign-in/email", "POST"),
        ] {
            let response = stranger.ask(method, &format!("/auth/{path}")).header("Origin", &site.origin).send();
            refused(&response, 405, "METHOD_NOT_ALLOWED");
            assert_eq!(response.header("allow"), Some(allow), "{method} {path}");
        }
        assert_eq!(stranger.ask("TRACE", "/auth/ok").send().status, 405);
        let head = stranger.ask("HEAD", "/auth/ok").send();
        assert_eq!((head.status, head.body.len()), (200, 0));
    }

    fn a_second_mount_prefix_has_the_same_endpoints(database) {
        let site = roomy(database).paths("[\"/auth\", \"/api/auth\"]").start();
        site.sign_up("ada@example.com");
        let mut ada = site.stranger();
        assert_eq!(ada.post("/api/auth/sign-in/email", &credentials("ada@example.com")).status, 200);
        assert_eq!(ada.get("/api/auth/get-session").json()["user"]["email"], "ada@example.com");
        assert_eq!(ada.get("/auth/me").status, 200);
    }
}
