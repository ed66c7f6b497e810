//! The code: right, wrong, late, too often, somebody else's.

use serde_json::json;

use super::{
    ADA, SAFARI, ada_at_home, another, browser, last_code, last_letter, log, mails, minutes, pending,
    prove_mailboxes, seconds, verify, watchful,
};
use crate::flow::{credentials, opens, rows, set_cookie, token};
use crate::support::database::on_both_databases;
use crate::support::letters::later;

on_both_databases! {
    fn ses_2_the_right_code_makes_the_sign_in_come_about_with_a_new_token_and_the_browser_known(database) {
        let site = watchful(database).start();
        let (_, id) = ada_at_home(&site);
        let mut other = pending(&site);
        let waiting = other.cookies["sidegate-pending"].clone();
        let response = verify(&mut other, &last_code(&site));
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.json()["user"]["id"], *id);
        let cleared = set_cookie(&response, "sidegate-pending").expect("a cookie");
        assert!(cleared.contains("Max-Age=0"), "{cleared}");
        assert!(token(&other) != waiting && other.cookies.contains_key("sidegate-device"));
        assert_eq!(other.get("/app").status, 200);
        assert_eq!(site.upstream.only().header("x-user-id"), Some(&*id));
        assert_eq!(rows(&site, "sidegate_pending_session"), 0);
        assert_eq!(log(&site), ["no NEEDS_SIGN_IN_VERIFICATION R4", "yes - R0", "yes - R4"]);
        // Known from now on, in the same browser and without its session.
        other.cookies.remove("sidegate");
        let again = other.post("/auth/sign-in/email", &credentials(ADA));
        assert!(again.json()["pending"].is_null() && again.json()["user"]["id"] == *id, "{}", again.text());
        assert_eq!(mails(&site).len(), 1, "and nothing is mailed");
    }

    fn pen_4_a_code_is_typed_in_groups_or_not_and_stands_in_no_table(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        let mut other = pending(&site);
        let code = last_code(&site);
        let bare = code.replace(' ', "");
        assert_eq!((bare.len(), code.len()), (8, 9));
        let dump = site.block_on(site.database.dump());
        assert!(dump.contains("sidegate_pending_session") && !dump.contains(&bare) && !dump.contains(&code));
        assert!(!dump.contains(&other.cookies["sidegate-pending"]), "SES-5");
        assert_eq!(verify(&mut other, &format!(" {}-{} ", &bare[..3], &bare[3..])).status, 200);
    }

    fn pen_5_five_wrong_codes_void_the_code_and_not_the_account(database) {
        let site = watchful(database).start();
        let (mut ada, _) = ada_at_home(&site);
        let mut other = pending(&site);
        let code = last_code(&site);
        for slip in ["", "1", "12345678x", "123456789"] {
            assert_eq!(verify(&mut other, slip).code(), "INVALID_OTP", "{slip:?} is no guess");
        }
        let codes: Vec<(u16, String)> = (0..7)
            .map(|_| verify(&mut other, &another(&code)))
            .map(|answer| (answer.status, answer.code()))
            .collect();
        let (wrong, spent) = ((400, "INVALID_OTP".to_owned()), (403, "TOO_MANY_ATTEMPTS".to_owned()));
        assert_eq!(codes[..4], [wrong.clone(), wrong.clone(), wrong.clone(), wrong][..]);
        assert_eq!(codes[4..], [spent.clone(), spent.clone(), spent][..]);
        assert_eq!(verify(&mut other, &code).code(), "TOO_MANY_ATTEMPTS", "not even the right one");
        assert_eq!(ada.get("/app").status, 200);
        ada.cookies.remove("sidegate");
        assert_eq!(ada.post("/auth/sign-in/email", &credentials(ADA)).json()["user"]["email"], ADA);
        later(&site, seconds(1));
        assert_eq!(other.post("/auth/verify-signin/resend", &json!({})).status, 200);
        assert_eq!(verify(&mut other, &last_code(&site)).status, 200, "a new code has all its tries");
    }

    fn pen_5_wrong_codes_are_counted_over_all_codes_of_an_account(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        let mut tries = 0;
        for _ in 0..8 {
            later(&site, seconds(1));
            let mut other = pending(&site);
            let code = last_code(&site);
            tries += (0..5).filter(|_| verify(&mut other, &another(&code)).code() == "INVALID_OTP").count();
        }
        assert!(tries <= 25, "{tries}");
        later(&site, seconds(1));
        let mut other = pending(&site);
        assert_eq!(verify(&mut other, &last_code(&site)).code(), "TOO_MANY_ATTEMPTS");
        later(&site, minutes(60));
        assert_eq!(other.post("/auth/verify-signin/resend", &json!({})).status, 200);
        assert_eq!(verify(&mut other, &last_code(&site)).status, 200);
    }

    fn rl_10_a_code_that_is_spent_is_sent_and_logged_only_so_often(database) {
        let site = watchful(database).set("limits", "attempts_per_address = 20").start();
        ada_at_home(&site);
        let mut other = pending(&site);
        let code = another(&last_code(&site));
        let answers: Vec<_> = (0..60).map(|_| verify(&mut other, &code)).collect();
        let refused = &answers[59];
        assert_eq!((refused.status, refused.header("retry-after").is_some()), (429, true), "{}", refused.text());
        assert!(log(&site).len() < 25, "{}", log(&site).len());
        let form = other.submit("/auth/verify-signin", &[("code", &code)]);
        assert!(form.status == 429 && form.text().contains("name=\"code\""), "{}", form.text());
        later(&site, minutes(1));
        assert_eq!(verify(&mut other, &code).code(), "TOO_MANY_ATTEMPTS", "it still waits");
    }

    fn pen_4_a_code_is_good_for_ten_minutes_and_the_sign_in_waits_on(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        let mut other = pending(&site);
        later(&site, seconds(1));
        let mut late = pending(&site);
        let late_code = last_code(&site);
        later(&site, minutes(10));
        let answer = verify(&mut late, &late_code);
        assert_eq!((answer.status, answer.code()), (400, "OTP_EXPIRED".to_owned()));
        assert_eq!(other.post("/auth/verify-signin/resend", &json!({})).status, 200);
        let code = last_code(&site);
        later(&site, seconds(599));
        assert_eq!(verify(&mut other, &code).status, 200);
    }

    fn pen_6_a_code_opens_its_own_sign_in_only(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        let mut one = pending(&site);
        let first = last_code(&site);
        later(&site, minutes(1));
        let mut two = pending(&site);
        let second = last_code(&site);
        assert_ne!(first, second);
        assert_eq!(verify(&mut two, &first).code(), "INVALID_OTP");
        assert_eq!(verify(&mut one, &second).code(), "INVALID_OTP");
        assert_eq!(verify(&mut browser(&site, SAFARI), &second).code(), "SIGN_IN_VERIFICATION_ENDED");
        assert_eq!(verify(&mut one, &first).status, 200);
        assert_eq!(verify(&mut two, &second).status, 200);
    }

    fn pen_7_parallel_right_codes_make_one_session(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        let other = pending(&site);
        let (cookie, code) = (other.cookies["sidegate-pending"].clone(), last_code(&site));
        let answers: Vec<u16> = std::thread::scope(|scope| {
            let run = || {
                let mut same = browser(&site, SAFARI);
                same.cookies.insert("sidegate-pending".to_owned(), cookie.clone());
                verify(&mut same, &code).status
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
        assert!(answers.iter().all(|status| [200, 401].contains(status)), "{answers:?}");
        assert_eq!(rows(&site, "session"), 2, "and the one that she had");
    }

    fn pen_5_parallel_guesses_are_counted_one_by_one(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        let other = pending(&site);
        let (cookie, wrong) = (other.cookies["sidegate-pending"].clone(), another(&last_code(&site)));
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    let mut same = browser(&site, SAFARI);
                    same.cookies.insert("sidegate-pending".to_owned(), cookie.clone());
                    verify(&mut same, &wrong);
                });
            }
        });
        let tries = site.block_on(site.database.texts(r#"SELECT CAST("tries" AS text) FROM "sidegate_pending_session""#));
        assert_eq!(tries, ["5"]);
    }

    fn a_new_code_voids_the_earlier_one_and_there_are_so_many_in_an_hour(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        let mut other = pending(&site);
        let first = last_code(&site);
        later(&site, minutes(1));
        assert_eq!(other.post("/auth/verify-signin/resend", &json!({})).status, 200);
        let second = last_code(&site);
        assert_ne!(first, second);
        assert_eq!(verify(&mut other, &first).code(), "INVALID_OTP");
        let more = (0..20).map(|_| {
            later(&site, seconds(1));
            other.post("/auth/verify-signin/resend", &json!({}))
        }).collect::<Vec<_>>();
        assert_eq!(more.iter().filter(|answer| answer.status == 200).count(), 8);
        let refused = more.last().expect("answers");
        assert_eq!(refused.status, 429);
        assert!(refused.header("retry-after").is_some(), "RL-6");
        assert_eq!(browser(&site, SAFARI).post("/auth/sign-in/email", &credentials(ADA)).status, 429);
        assert_eq!(mails(&site).len(), 10);
        assert_eq!(verify(&mut other, &last_code(&site)).status, 200, "the last one still opens");
    }

    fn pen_11_the_mail_says_when_where_and_why_and_holds_no_link_that_signs_in(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        pending(&site);
        let letter = last_letter(&site);
        assert_eq!(letter.to, ADA);
        assert!(!letter.subject.contains(&letter.code()[..4]), "{}", letter.subject);
        for part in ["Safari on macOS", "127.0.0.0/24", "/auth/not-me?token="] {
            assert!(letter.text.contains(part), "{part} in {}", letter.text);
        }
        assert_eq!(letter.text.matches("http://").count(), letter.text.matches(&site.origin).count());
        assert!(!letter.text.contains("verify-signin"), "{}", letter.text);
        let link = letter.link(&site, "/auth/not-me");
        assert!(!link.contains("verify"), "{link}");
    }

    fn pen_9_nothing_is_begun_before_the_password_was_right(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        for email in [ADA, "nobody@example.com"] {
            let mut other = browser(&site, SAFARI);
            let body = json!({ "email": email, "password": "another phrase" });
            let answer = other.post("/auth/sign-in/email", &body);
            assert_eq!((answer.status, answer.code()), (401, "INVALID_EMAIL_OR_PASSWORD".to_owned()));
            assert!(other.cookies.is_empty());
        }
        assert_eq!((rows(&site, "sidegate_pending_session"), mails(&site).len()), (0, 0));
    }

    fn a_session_that_was_in_the_browser_before_ends_with_the_first_factor(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        site.sign_up("eve@example.com");
        prove_mailboxes(&site);
        let mut other = browser(&site, SAFARI);
        assert_eq!(other.post("/auth/sign-in/email", &credentials("eve@example.com")).status, 200);
        let of_eve = token(&other);
        assert!(opens(&site, &of_eve));
        let answer = other.post("/auth/sign-in/email", &credentials(ADA));
        assert_eq!(answer.json()["pending"], true, "Eve's browser is not Ada's");
        assert!(!other.cookies.contains_key("sidegate") && !opens(&site, &of_eve));
        assert_eq!(verify(&mut other, &last_code(&site)).status, 200);
        // Both are known in it now.
        for email in ["eve@example.com", ADA, "eve@example.com"] {
            let answer = other.post("/auth/sign-in/email", &credentials(email));
            assert_eq!(answer.json()["user"]["email"], email, "{}", answer.text());
        }
    }
}
