//! Changing the password while signed in (PW-7, LIF-6, LIF-8, SES-2).

use std::time::Duration;

use serde_json::{Value, json};

use super::mailed::{logged, mailing, proved, provider_only, refused, reset, reset_token, sign_in};
use super::{opens, roomy, token as cookie};
use crate::support::database::on_both_databases;
use crate::support::mailbox::Mailbox;
use crate::support::site::PASSWORD;

const ADA: &str = "ada@example.com";
const OTHER: &str = "quite another phrase";
const AT: &str = "/auth/change-password";

fn change(current: &str, new: &str, others: &Value) -> Value {
    json!({ "currentPassword": current, "newPassword": new, "revokeOtherSessions": others })
}

on_both_databases! {
    fn ses_2_a_new_password_comes_with_a_new_token_and_ends_the_others_if_asked_to(database) {
        let site = roomy(database).start();
        let (mut ada, _) = site.member(ADA);
        let (phone, _) = site.signed_in(ADA);
        let old = cookie(&ada);
        let session = ada.get("/auth/get-session").json()["session"].clone();
        let kept = ada.post(AT, &change(PASSWORD, OTHER, &json!(false)));
        assert_eq!((kept.status, &kept.json()["token"]), (200, &Value::Null), "{}", kept.text());
        assert_eq!(kept.json()["user"]["email"], ADA);
        assert!(cookie(&ada) != old && !opens(&site, &old) && opens(&site, &cookie(&ada)));
        assert!(opens(&site, &cookie(&phone)));
        assert_eq!(ada.get("/auth/get-session").json()["session"], session, "it is the same session");
        assert_eq!((sign_in(&site, ADA, PASSWORD).0, sign_in(&site, ADA, OTHER).0), (401, 200));
        let ended = ada.post(AT, &change(OTHER, PASSWORD, &json!(true)));
        assert_eq!((ended.status, &ended.json()["token"]), (200, &session["token"]));
        assert!(!opens(&site, &cookie(&phone)) && opens(&site, &cookie(&ada)));
        assert_eq!(ada.get("/auth/list-sessions").json().as_array().map(Vec::len), Some(1));
        assert_eq!(logged(&site, "password-change"), ["ok - known", "ok - known"]);
    }

    fn the_form_of_the_account_page_leads_back_there(database) {
        let site = roomy(database).start();
        let (mut ada, _) = site.member(ADA);
        let (phone, _) = site.signed_in(ADA);
        let at = |query: &str| format!("{}/auth/account?{query}", site.origin);
        let old = cookie(&ada);
        let wrong = ada.submit(AT, &[("currentPassword", "wrong"), ("newPassword", OTHER)]);
        assert_eq!((wrong.status, wrong.header("location")), (303, Some(&*at("problem=INVALID_PASSWORD"))));
        let short = ada.submit(AT, &[("currentPassword", PASSWORD), ("newPassword", "short")]);
        assert_eq!(short.header("location"), Some(&*at("problem=PASSWORD_TOO_SHORT")));
        assert_eq!(cookie(&ada), old);
        let fields = [("currentPassword", PASSWORD), ("newPassword", OTHER), ("revokeOtherSessions", "true")];
        let done = ada.submit(AT, &fields);
        assert_eq!((done.status, done.header("location")), (303, Some(&*at("notice=password-changed"))));
        assert!(!opens(&site, &cookie(&phone)) && !opens(&site, &old) && opens(&site, &cookie(&ada)));
    }

    fn pw_7_lif_8_it_takes_the_current_password_and_a_recent_sign_in(database) {
        let site = roomy(database).start();
        let (mut ada, id) = site.member(ADA);
        refused(&site.stranger().post(AT, &change(PASSWORD, OTHER, &json!(null))), 401, "UNAUTHORIZED");
        refused(&ada.post(AT, &change("wrong", OTHER, &json!(null))), 400, "INVALID_PASSWORD");
        refused(&ada.post(AT, &change("", OTHER, &json!(null))), 400, "INVALID_PASSWORD");
        refused(&ada.post(AT, &change(PASSWORD, "password1", &json!(null))), 400, "PASSWORD_TOO_COMMON");
        refused(&ada.post(AT, &change(PASSWORD, &"x".repeat(129), &json!(null))), 400, "PASSWORD_TOO_LONG");
        refused(&ada.post(AT, &json!({ "newPassword": OTHER })), 400, "VALIDATION_ERROR");
        site.pass(Duration::from_hours(24));
        refused(&ada.post(AT, &change(PASSWORD, OTHER, &json!(null))), 403, "SESSION_NOT_FRESH");
        let (mut ada, _) = site.signed_in(ADA);
        provider_only(&site, &id);
        refused(&ada.post(AT, &change(PASSWORD, OTHER, &json!(null))), 400, "CREDENTIAL_ACCOUNT_NOT_FOUND");
        assert_eq!(logged(&site, "password-change"), ["failed INVALID_PASSWORD known"; 2]);
    }

    fn who_found_a_browser_open_cannot_go_on_guessing_the_password(database) {
        let site = roomy(database).set("limits", "attempts_per_address = 10000\nattempts_per_account = 3").start();
        let (mut ada, _) = site.member(ADA);
        let statuses = [(); 5].map(|()| ada.post(AT, &change("a guess", OTHER, &json!(null))).status);
        assert_eq!(statuses, [400, 400, 400, 429, 429]);
        let other_door = ada.post("/auth/delete-user", &json!({ "password": PASSWORD }));
        assert_eq!(other_door.status, 429, "whatever the door");
        assert_eq!(sign_in(&site, ADA, PASSWORD).0, 200, "and signing in is another matter");
    }

    fn a_right_password_is_no_guess_however_often_it_is_given(database) {
        let site = roomy(database).set("limits", "attempts_per_address = 10000\nattempts_per_account = 2").start();
        let (mut ada, _) = site.member(ADA);
        for (current, new) in [(PASSWORD, OTHER), (OTHER, PASSWORD), (PASSWORD, OTHER), (OTHER, PASSWORD)] {
            assert_eq!(ada.post(AT, &change(current, new, &json!(null))).status, 200);
        }
    }

    fn of_two_changes_at_the_same_time_one_counts(database) {
        let site = roomy(database).set("listen", "workers = 2").start();
        let (ada, _) = site.member(ADA);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|n| {
                let (site, ada) = (&site, &ada);
                scope.spawn(move || {
                    let mut ada_there = site.stranger();
                    ada_there.cookies.clone_from(&ada.cookies);
                    ada_there.post(AT, &change(PASSWORD, &format!("phrase number {n}"), &json!(null))).status
                })
            }).collect();
            all.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    }

    fn em_6_links_that_were_sent_before_are_void_and_a_mail_says_what_happened(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        let (mut ada, _) = proved(&site, &mailbox, ADA);
        let token = reset_token(&site, &mailbox, ADA);
        assert_eq!(ada.post(AT, &change(PASSWORD, OTHER, &json!(null))).status, 200);
        refused(&reset(&site, &token, "a third phrase"), 400, "INVALID_TOKEN");
        let notice = mailbox.wait_for(ADA);
        assert!(notice.text.contains("/auth/forgot-password") && !notice.text.contains("token="), "{}", notice.text);
    }

    fn a_program_that_holds_the_token_itself_keeps_it(database) {
        let site = roomy(database).start();
        let (ada, _) = site.member(ADA);
        let held = cookie(&ada);
        let mut program = site.stranger();
        program.headers.push(("Authorization".to_owned(), format!("Bearer {held}")));
        assert_eq!(program.post(AT, &change(PASSWORD, OTHER, &json!(null))).status, 200);
        assert_eq!(program.get("/auth/me").status, 200);
    }
}
