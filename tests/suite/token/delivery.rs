//! A pair in place of cookies, for those who owe a code.

use serde_json::json;

use super::{opens, parts};
use crate::flow::credentials;
use crate::flow::pending::{SAFARI, ada_at_home, browser, last_code, watchful};
use crate::support::database::on_both_databases;

on_both_databases! {
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
}
