//! Providers that are down, and what still works meanwhile.

use std::time::Duration;

use serde_json::json;

use super::{Stand, grace, plan};
use crate::support::database::on_both_databases;
use crate::support::provider::{Answer, Endpoint, Lie, Provider};
use crate::support::site::PASSWORD;

on_both_databases! {
    fn a_provider_that_is_down_shuts_nobody_else_out(database) {
        let (down, up) = (Provider::start(), Provider::start());
        for endpoint in [Endpoint::Discovery, Endpoint::Keys, Endpoint::Token] {
            down.lies(Lie::Answers(endpoint, Answer::Hangup));
        }
        // The site starts although one does not answer.
        let site = plan(database).toml(&format!("{}{}", down.toml("down", ""), up.toml("up", ""))).start();
        site.sign_up("local@example.com");
        let page = site.stranger().navigate("/auth/sign-in/down?callback_url=/wanted");
        assert_eq!(page.status, 502);
        assert!(page.text().contains("wanted"), "the way on is kept: {}", page.text());
        let response = site.stranger().get("/auth/sign-in/down");
        assert_eq!(response.code(), "PROVIDER_UNAVAILABLE");

        let body = json!({ "email": "local@example.com", "password": PASSWORD });
        assert_eq!(site.stranger().post("/auth/sign-in/email", &body).status, 200);
        assert_eq!(site.stranger().walk("/auth/sign-in/up?callback_url=/app").response.status, 200);
        let list = site.stranger().get("/auth/providers").json();
        assert_eq!(list.as_array().map(Vec::len), Some(2));
        assert!(site.is_well());
    }

    fn a_provider_that_is_down_is_asked_less_and_less_often_and_comes_back_by_itself(database) {
        let stand = Stand::new(database);
        stand.provider.lies(Lie::Answers(Endpoint::Discovery, Answer::With(503, "text/plain", String::new())));
        for _ in 0..20 {
            assert_eq!(stand.site.stranger().get("/auth/sign-in/corp").status, 502);
        }
        assert_eq!(stand.asked(Endpoint::Discovery), 1, "not once for each visitor");
        for _ in 0..60 {
            stand.site.pass(Duration::from_secs(10));
            assert_eq!(stand.site.stranger().get("/auth/sign-in/corp").status, 502);
        }
        let asked = stand.asked(Endpoint::Discovery);
        assert!((3..=12).contains(&asked), "{asked} times in ten minutes");
        stand.provider.repents();
        stand.site.pass(Duration::from_mins(10));
        stand.enters();
    }

    fn what_is_known_of_a_provider_is_used_while_it_does_not_say_it_again(database) {
        let stand = Stand::new(database);
        stand.enters();
        for endpoint in [Endpoint::Discovery, Endpoint::Keys] {
            stand.provider.lies(Lie::Answers(endpoint, Answer::Hangup));
        }
        stand.site.pass(Duration::from_hours(3));
        stand.enters();
        stand.site.pass(Duration::from_hours(48));
        let response = stand.site.stranger().get("/auth/sign-in/corp");
        assert_eq!(response.code(), "PROVIDER_UNAVAILABLE", "but not for ever");
    }

    fn people_who_are_signed_in_do_not_notice(database) {
        let stand = Stand::new(database);
        let mut ada = stand.enters();
        for endpoint in [Endpoint::Discovery, Endpoint::Token, Endpoint::Keys, Endpoint::Profile] {
            stand.provider.lies(Lie::Answers(endpoint, Answer::Hangup));
        }
        assert_eq!(ada.get("/app").status, 200);
        assert_eq!(ada.submit("/auth/sign-out", &[]).status, 200, "LO-1: signing out here always works");
        assert_eq!(ada.get("/app").status, 401);
    }

    fn a_provider_that_fails_on_the_way_loses_nobody(database) {
        let stand = Stand::new(database);
        stand.enters();
        stand.provider.is_visited_by(grace());
        stand.provider.lies(Lie::Answers(Endpoint::Token, Answer::With(503, "text/plain", String::new())));
        let mut visitor = stand.site.stranger();
        let walk = visitor.walk("/auth/sign-in/corp?callback_url=/wanted");
        assert_eq!(walk.response.status, 502);
        assert!(walk.response.text().contains("wanted"), "the way on is kept");
        stand.provider.repents();
        let walk = visitor.walk("/auth/sign-in/corp?callback_url=/wanted");
        assert_eq!((walk.response.status, walk.urls.last().map(String::as_str)), (200, Some(format!("{}/wanted", stand.site.origin).as_str())));
    }
}
