//! A pair in place of cookies, for those who owe a code.

use serde_json::json;

use std::time::Duration;

use super::{access_of, bear, opens, parts};
use crate::flow::pending::{SAFARI, ada_at_home, browser, last_code, watchful};
use crate::flow::provider::site;
use crate::flow::{credentials, rows};
use crate::support::database::on_both_databases;
use crate::support::provider::Provider;
use crate::support::visitor::Visitor;

on_both_databases! {
    fn a_front_end_that_took_the_callback_itself_may_have_a_pair(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        provider.register(&[&format!("{}/oauth/done", site.origin)]);
        let mut program = site.stranger();
        let url = program.get("/auth/get-oauth-url/corp?redirect_uri=/oauth/done").json();
        let callback = provider.authorize(url["oAuthUrl"].as_str().expect("a URL"));
        let callback = url::Url::parse(&callback).expect("a URL");
        let mut body: serde_json::Map<String, serde_json::Value> =
            callback.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
        body.insert("delivery".to_owned(), json!("bearer"));
        let done = program.post("/auth/signin/corp", &body.into());
        assert_eq!(done.status, 200, "{}", done.text());
        assert!(program.cookies.is_empty(), "{:?}", program.cookies);
        assert!(opens(&site, done.json()["access_token"].as_str().expect("a token")));
        assert_eq!(done.json()["user"]["email"], "ada@example.com");
    }

    fn an_unusual_sign_in_gives_no_pair_before_its_code_and_one_after(database) {
        let site = watchful(database).start();
        let (ada, id) = ada_at_home(&site);
        let mut program = browser(&site, SAFARI);
        let mut body = credentials("ada@example.com");
        body["delivery"] = json!("bearer");
        let waits = program.post("/auth/login", &body);
        assert_eq!(waits.json()["pending"], true, "{}", waits.text());
        assert!(!waits.text().contains("access_token"), "{}", waits.text());
        let pending = waits.json()["pending_token"].clone();
        let dump = site.block_on(site.database.dump());
        assert!(!dump.contains(pending.as_str().expect("a token")), "it is stored as a hash");
        let ask = |program: &mut Visitor, path: &str, body: serde_json::Value| {
            let response = program.post(path, &body);
            assert!(response.all("set-cookie").is_empty(), "a program gets no cookie: {path}");
            response
        };
        assert_eq!(bear(&site, "/app", pending.as_str().expect("a token")).status, 401, "PEN-1");
        let code = last_code(&site);
        for (token, what) in [(json!("x"), "no token"), (json!(access_of(&site, &ada)), "another kind")] {
            let body = json!({ "code": code, "pending_token": token });
            let refused = ask(&mut program, "/auth/verify-signin", body);
            assert_eq!((refused.status, &*refused.code()), (401, "SIGN_IN_VERIFICATION_ENDED"), "{what}");
        }
        site.pass(Duration::from_mins(1));
        let again = ask(&mut program, "/auth/verify-signin/resend", json!({ "pending_token": pending }));
        assert_eq!(again.status, 200, "{}", again.text());
        let newer = last_code(&site);
        assert_ne!(newer, code);
        let done = ask(&mut program, "/auth/verify-signin", json!({ "code": newer, "pending_token": pending }));
        assert_eq!(done.status, 200, "{}", done.text());
        assert!(program.cookies.is_empty());
        let twice = ask(&mut program, "/auth/verify-signin", json!({ "code": newer, "pending_token": pending }));
        assert_eq!(twice.code(), "SIGN_IN_VERIFICATION_ENDED", "PEN-7");
        let access = done.json()["access_token"].as_str().expect("a token").to_owned();
        assert!(opens(&site, &access));
        assert_eq!(parts(&access).1["sub"], id);
        assert!(done.json()["refresh_token"].is_string());
    }

    fn a_program_gives_a_sign_in_up_that_waits(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        let mut program = browser(&site, SAFARI);
        let mut body = credentials("ada@example.com");
        body["delivery"] = json!("bearer");
        let pending = program.post("/auth/sign-in/email", &body).json()["pending_token"].clone();
        let given_up = program.post("/auth/verify-signin/cancel", &json!({ "pending_token": pending }));
        assert_eq!((given_up.status, given_up.all("set-cookie").len(), rows(&site, "sidegate_pending_session")), (200, 0, 0));
        let body = json!({ "code": last_code(&site), "pending_token": pending });
        assert_eq!(program.post("/auth/verify-signin", &body).code(), "SIGN_IN_VERIFICATION_ENDED");
    }

    fn a_program_that_signs_in_again_and_again_takes_no_browsers_place(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        let mut body = credentials("ada@example.com");
        body["delivery"] = json!("bearer");
        let mut program = browser(&site, SAFARI);
        let waits = program.post("/auth/login", &body).json();
        let code = last_code(&site);
        let done = program.post("/auth/verify-signin", &json!({ "code": code, "pending_token": waits["pending_token"] }));
        assert_eq!(done.status, 200, "{}", done.text());
        for path in ["/auth/login", "/auth/sign-in/email", "/auth/login"] {
            let again = browser(&site, SAFARI).post(path, &body);
            assert!(again.json()["access_token"].is_string(), "R3: it was seen here: {}", again.text());
        }
        assert_eq!(rows(&site, "sidegate_device"), 2, "Ada's browser and the program");
    }
}
