//! Deleting one's account (LIF-5, LK-12, LG-4).

use std::time::Duration;

use serde_json::json;

use super::mailed::{lenient, link, logged, mailing, proved, provider_only, refused, sign_in, token_of};
use super::{opens, roomy, rows, token as cookie};
use crate::support::database::on_both_databases;
use crate::support::mailbox::Mailbox;
use crate::support::site::PASSWORD;

const ADA: &str = "ada@example.com";
const AT: &str = "/auth/delete-user";

on_both_databases! {
    fn lif_5_everything_of_the_user_goes_at_once_and_the_log_stays(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        let (mut ada, id) = proved(&site, &mailbox, ADA);
        let held = [cookie(&ada), cookie(&site.signed_in(ADA).0)];
        let (bob, _) = proved(&site, &mailbox, "bob@example.com");
        for body in [json!({}), json!({ "password": "" }), json!({ "password": "wrong" })] {
            refused(&ada.post(AT, &body), 400, "INVALID_PASSWORD");
        }
        assert!(held.iter().all(|token| opens(&site, token)));
        let done = ada.post(AT, &json!({ "password": PASSWORD, "callbackURL": "/" }));
        assert_eq!((done.status, done.json()), (200, json!({ "success": true, "message": "User deleted" })));
        assert!(!ada.cookies.contains_key("sidegate"));
        assert!(!held.iter().any(|token| opens(&site, token)) && opens(&site, &cookie(&bob)));
        assert_eq!((rows(&site, "user"), rows(&site, "account"), rows(&site, "session")), (1, 1, 1));
        assert!(logged(&site, "delete").contains(&"ok - known".to_owned()));
        assert!(mailbox.wait_for(ADA).text.contains("gone"));
        assert_eq!(sign_in(&site, ADA, PASSWORD).0, 401);
        let (_, again) = proved(&site, &mailbox, ADA);
        assert!(again != id, "LK-12: who comes later is somebody else");
    }

    fn a_person_deletes_the_account_by_the_form_of_its_page(database) {
        let site = roomy(database).start();
        let (mut ada, _) = site.member(ADA);
        let wrong = ada.submit(AT, &[("password", "wrong")]);
        let to = format!("{}/auth/account?problem=INVALID_PASSWORD", site.origin);
        assert_eq!((wrong.status, wrong.header("location")), (303, Some(&*to)));
        let done = ada.submit(AT, &[("password", PASSWORD)]);
        let to = format!("{}/auth/sign-in?notice=account-deleted", site.origin);
        assert_eq!((done.status, done.header("location")), (303, Some(&*to)));
        assert!(!ada.cookies.contains_key("sidegate") && rows(&site, "user") == 0);
    }

    fn who_has_no_password_confirms_by_a_link_in_the_own_browser(database) {
        let mailbox = Mailbox::start();
        let site = lenient(database, &mailbox).start();
        let (mut ada, id) = proved(&site, &mailbox, ADA);
        let (mut eve, _) = proved(&site, &mailbox, "eve@example.com");
        provider_only(&site, &id);
        let asked = ada.submit(AT, &[]);
        let to = format!("{}/auth/account?notice=deletion-sent", site.origin);
        assert_eq!((asked.status, asked.header("location")), (303, Some(&*to)));
        let link = link(&site, &mailbox, ADA);
        assert!(ada.navigate(&link).text().contains("action=\"/auth/delete-user\""));
        let body = json!({ "token": token_of(&link) });
        refused(&site.stranger().post(AT, &body), 401, "UNAUTHORIZED");
        refused(&eve.post(AT, &body), 403, "FORBIDDEN");
        assert_eq!(eve.navigate(&link).status, 403);
        assert_eq!(rows(&site, "user"), 2);
        let done = ada.submit(AT, &[("token", &token_of(&link))]);
        assert_eq!(done.status, 303);
        assert_eq!(rows(&site, "user"), 1);
        assert_eq!(logged(&site, "delete-request"), ["ok - known"]);
    }

    fn without_mail_a_recent_sign_in_stands_for_the_password_that_is_not_there(database) {
        let site = roomy(database).start();
        let (mut ada, id) = site.member(ADA);
        provider_only(&site, &id);
        site.pass(Duration::from_hours(24));
        refused(&ada.post(AT, &json!({})), 403, "SESSION_NOT_FRESH");
        let (mut bob, bobs) = site.member("bob@example.com");
        provider_only(&site, &bobs);
        assert_eq!(bob.post(AT, &json!({})).status, 200);
        assert_eq!(rows(&site, "user"), 1);
    }

    fn a_site_can_forbid_it(database) {
        let site = roomy(database).set("accounts", "delete = false").start();
        let (mut ada, _) = site.member(ADA);
        refused(&ada.post(AT, &json!({ "password": PASSWORD })), 404, "NOT_FOUND");
        assert_eq!(ada.navigate(AT).status, 404);
        assert_eq!(rows(&site, "user"), 1);
    }
}
