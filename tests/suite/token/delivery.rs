//! A pair in place of cookies, for those who owe a code.

use serde_json::json;

use super::{opens, parts};
use crate::flow::pending::{SAFARI, ada_at_home, browser, last_code, watchful};
use crate::flow::provider::site;
use crate::flow::{credentials, rows};
use crate::support::database::on_both_databases;
use crate::support::provider::Provider;

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
        let (_, id) = ada_at_home(&site);
        let mut program = browser(&site, SAFARI);
        let mut body = credentials("ada@example.com");
        body["delivery"] = json!("bearer");
        let waits = program.post("/auth/login", &body);
        assert_eq!(waits.json()["pending"], true, "{}", waits.text());
        assert!(!waits.text().contains("_token"), "{}", waits.text());
        let code = last_code(&site);
        let done = program.post("/auth/verify-signin", &json!({ "code": code, "delivery": "bearer" }));
        assert_eq!(done.status, 200, "{}", done.text());
        assert!(!program.cookies.contains_key("sidegate") && !program.cookies.contains_key("sidegate-pending"));
        let access = done.json()["access_token"].as_str().expect("a token").to_owned();
        assert!(opens(&site, &access));
        assert_eq!(parts(&access).1["sub"], id);
        assert!(done.json()["refresh_token"].is_string());
    }

    fn a_program_that_signs_in_again_and_again_takes_no_browsers_place(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        let mut body = credentials("ada@example.com");
        body["delivery"] = json!("bearer");
        let mut program = browser(&site, SAFARI);
        assert_eq!(program.post("/auth/login", &body).json()["pending"], true);
        let code = last_code(&site);
        let done = program.post("/auth/verify-signin", &json!({ "code": code, "delivery": "bearer" }));
        assert_eq!(done.status, 200, "{}", done.text());
        for path in ["/auth/login", "/auth/sign-in/email", "/auth/login"] {
            let again = browser(&site, SAFARI).post(path, &body);
            assert!(again.json()["access_token"].is_string(), "R3: it was seen here: {}", again.text());
        }
        assert_eq!(rows(&site, "sidegate_device"), 2, "Ada's browser and the program");
    }
}
