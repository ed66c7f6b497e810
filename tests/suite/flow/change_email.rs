//! Changing the address (EM-8, EN-5, LIF-8).

use std::time::Duration;

use serde_json::json;

use super::mailed::{link, logged, mailing, proved, refused, reset, reset_token, sign_in, token, token_of};
use super::{opens, token as cookie};
use crate::support::database::on_both_databases;
use crate::support::mailbox::Mailbox;
use crate::support::site::PASSWORD;

const ADA: &str = "ada@example.com";
const NEW: &str = "ada@new.example";
const AT: &str = "/auth/change-email";

on_both_databases! {
    fn em_8_the_new_mailbox_confirms_and_the_old_one_is_told(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        let (mut ada, id) = proved(&site, &mailbox, ADA);
        let (mut phone, _) = site.signed_in(ADA);
        assert_eq!(phone.get("/auth/me").json()["user"]["email"], ADA);
        let asked = ada.post(AT, &json!({ "newEmail": " ADA@New.example", "callbackURL": "/x" }));
        assert_eq!((asked.status, asked.json()), (200, json!({ "status": true })));
        assert_eq!(ada.get("/auth/me").json()["user"]["email"], ADA, "asking changes nothing");
        let link = link(&site, &mailbox, NEW);
        let page = ada.navigate(&link).text();
        assert!(page.contains(NEW) && page.contains("action=\"/auth/change-email\""), "{page}");
        let old = cookie(&ada);
        let done = ada.submit(AT, &[("token", &token_of(&link))]);
        let to = format!("{}/auth/account?notice=email-changed", site.origin);
        assert_eq!((done.status, done.header("location")), (303, Some(&*to)));
        assert!(!opens(&site, &old) && opens(&site, &cookie(&ada)), "SES-2");
        for browser in [&mut ada, &mut phone] {
            let me = browser.get("/auth/me").json()["user"].clone();
            assert_eq!((&me["email"], &me["emailVerified"], &me["id"]), (&json!(NEW), &json!(true), &json!(id)));
        }
        let told = mailbox.wait_for(ADA);
        assert!(told.text.contains(NEW) && !told.text.contains("token="), "{}", told.text);
        assert_eq!((sign_in(&site, ADA, PASSWORD).0, sign_in(&site, NEW, PASSWORD).0), (401, 200));
        assert_eq!(logged(&site, "email-request"), ["ok - known"]);
        assert_eq!(logged(&site, "email-change"), ["ok - known"]);
    }

    fn who_reads_the_mail_in_another_browser_signs_in_there_and_comes_back_to_the_link(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        let (mut ada, _) = proved(&site, &mailbox, ADA);
        assert_eq!(ada.post(AT, &json!({ "newEmail": NEW })).status, 200);
        let link = link(&site, &mailbox, NEW);
        let mut phone = site.stranger();
        let asked = phone.walk(&link);
        let page = asked.response.text();
        assert!(asked.response.status == 200 && page.contains("action=\"/auth/sign-in\""), "{page}");
        let target = format!("{}{link}", site.origin);
        assert!(page.contains(&format!("name=\"callback_url\" value=\"{target}\"")), "{page}");
        let fields = [("email", ADA), ("password", PASSWORD), ("callback_url", &*target)];
        let signed_in = phone.submit("/auth/sign-in", &fields);
        assert_eq!((signed_in.status, signed_in.header("location")), (303, Some(&*target)));
        assert!(phone.navigate(&link).text().contains(NEW));
        let program = site.stranger().get(&link);
        assert_eq!((program.status, &*program.code()), (401, "UNAUTHORIZED"));
    }

    fn en_5_a_taken_address_is_answered_like_a_free_one_and_its_owner_is_told(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        let (mut ada, _) = proved(&site, &mailbox, ADA);
        proved(&site, &mailbox, "bob@example.com");
        let mut ask = |email: &str| {
            let json = ada.post(AT, &json!({ "newEmail": email }));
            let form = ada.submit(AT, &[("newEmail", email)]);
            (json.status, json.text(), form.status, form.header("location").map(str::to_owned))
        };
        let free = ask(NEW);
        assert_eq!((free.0, free.2), (200, 303));
        assert_eq!(ask("bob@example.com"), free);
        assert!(!mailbox.wait_for("bob@example.com").text.contains("token="));
    }

    fn an_address_that_was_taken_meanwhile_is_not_given_away(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        let (mut ada, _) = proved(&site, &mailbox, ADA);
        ada.post(AT, &json!({ "newEmail": NEW }));
        let change = token(&site, &mailbox, NEW);
        proved(&site, &mailbox, NEW);
        refused(&ada.post(AT, &json!({ "token": change })), 400, "INVALID_TOKEN");
        assert_eq!(ada.get("/auth/me").json()["user"]["email"], ADA);
    }

    fn the_link_is_worth_nothing_to_whoever_reads_a_mistyped_mailbox(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        let (mut ada, _) = proved(&site, &mailbox, ADA);
        let (mut eve, _) = proved(&site, &mailbox, "eve@example.com");
        ada.post(AT, &json!({ "newEmail": NEW }));
        let link = link(&site, &mailbox, NEW);
        let body = json!({ "token": token_of(&link) });
        refused(&site.stranger().post(AT, &body), 401, "UNAUTHORIZED");
        refused(&eve.post(AT, &body), 403, "FORBIDDEN");
        assert_eq!((site.stranger().navigate(&link).status, eve.navigate(&link).status), (302, 403));
        assert!(!eve.navigate(&link).text().contains(NEW));
        assert_eq!(ada.post(AT, &body).status, 200, "and it is not spent by that");
    }

    fn em_8_a_pending_change_dies_with_a_reset_and_when_sessions_are_ended(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        proved(&site, &mailbox, ADA);
        for path in ["reset-password", "revoke-sessions", "revoke-other-sessions", "change-password"] {
            let (mut ada, _) = site.signed_in(ADA);
            ada.post(AT, &json!({ "newEmail": NEW }));
            let change = token(&site, &mailbox, NEW);
            let (mut other, _) = site.signed_in(ADA);
            let done = match path {
                "reset-password" => {
                    // The link is asked for after the change, as its owner would.
                    let link = reset_token(&site, &mailbox, ADA);
                    reset(&site, &link, PASSWORD)
                }
                "change-password" => {
                    other.post("/auth/change-password", &json!({ "currentPassword": PASSWORD, "newPassword": PASSWORD }))
                }
                path => other.post(&format!("/auth/{path}"), &json!({})),
            };
            assert_eq!(done.status, 200, "{path}: {}", done.text());
            let (mut again, _) = site.signed_in(ADA);
            refused(&again.post(AT, &json!({ "token": change })), 400, "INVALID_TOKEN");
        }
    }

    fn lif_8_it_takes_a_recent_sign_in_and_another_address(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        let (mut ada, _) = proved(&site, &mailbox, ADA);
        refused(&site.stranger().post(AT, &json!({ "newEmail": NEW })), 401, "UNAUTHORIZED");
        for same in [ADA, "ADA@example.com"] {
            refused(&ada.post(AT, &json!({ "newEmail": same })), 400, "VALIDATION_ERROR");
        }
        for bad in ["", "no address", "a@b.example,c@d.example"] {
            refused(&ada.post(AT, &json!({ "newEmail": bad })), 400, "INVALID_EMAIL");
        }
        let off = json!({ "newEmail": NEW, "callbackURL": "https://evil.example/" });
        refused(&ada.post(AT, &off), 403, "INVALID_CALLBACK_URL");
        site.pass(Duration::from_hours(24));
        refused(&ada.post(AT, &json!({ "newEmail": NEW })), 403, "SESSION_NOT_FRESH");
        let form = ada.submit(AT, &[("newEmail", NEW)]);
        let to = format!("{}/auth/account?problem=SESSION_NOT_FRESH", site.origin);
        assert_eq!(form.header("location"), Some(&*to));
        assert_eq!(mailbox.count(NEW), 0);
    }
}
