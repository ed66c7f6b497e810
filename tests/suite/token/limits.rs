//! How often refresh tokens are exchanged (RL-10).

use std::time::Duration;

use super::plan;
use super::refresh::{exchange, exchanged, program, sign_in, text};
use crate::support::database::on_both_databases;

on_both_databases! {
    fn rl_10_exchanges_of_one_session_are_limited_and_the_token_stays_good(database) {
        let site = plan(database).start();
        let mut token = text(&program(&site), "refresh_token").to_owned();
        let other = text(&sign_in(&site, "/auth/login", "ada@example.com"), "refresh_token").to_owned();
        for _ in 0..60 {
            let pair = exchanged(&site, &token);
            text(&pair, "refresh_token").clone_into(&mut token);
        }
        for _ in 0..2 {
            let response = exchange(&site, &token);
            assert_eq!((response.status, &*response.code()), (429, "TOO_MANY_REQUESTS"));
            assert!(response.header("retry-after").is_some());
        }
        exchanged(&site, &other);
        site.pass(Duration::from_secs(2));
        exchanged(&site, &token);
    }
}
