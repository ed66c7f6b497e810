//! What follows in each mode, and for whom no code can be sent.

use serde_json::json;

use super::{
    ADA, FIREFOX, SAFARI, ada_at_home, browser, hours, last_code, last_letter, log, mails, pending,
    prove_mailboxes, verify, watchful, with_password,
};
use crate::flow::provider::returns;
use crate::flow::{credentials, roomy, rows};
use crate::support::database::on_both_databases;
use crate::support::letters::later;
use crate::support::provider::{Persona, Provider};

on_both_databases! {
    fn without_mail_nothing_is_judged(database) {
        let site = roomy(database).start();
        ada_at_home(&site);
        let (_, answer) = with_password(&site);
        assert_eq!(answer.json()["user"]["email"], ADA);
        assert_eq!(log(&site), ["yes - -", "yes - -"]);
    }

    fn off_judges_nothing_and_still_remembers_browsers(database) {
        let site = watchful(database).set("unusual", "mode = \"off\"").start();
        ada_at_home(&site);
        let (_, answer) = with_password(&site);
        assert_eq!(answer.json()["user"]["email"], ADA);
        assert_eq!((mails(&site).len(), rows(&site, "sidegate_device")), (0, 2));
    }

    fn notify_only_tells(database) {
        let site = watchful(database).set("unusual", "mode = \"notify\"").start();
        ada_at_home(&site);
        let (_, answer) = with_password(&site);
        assert_eq!(answer.json()["user"]["email"], ADA);
        let letter = last_letter(&site);
        assert!(letter.to == ADA && letter.text.contains("Safari on macOS") && letter.text.contains("/auth/not-me?token="), "{letter:?}");
        assert_eq!(mails(&site).len(), 1);
        assert_eq!(log(&site), ["yes - R0", "yes - R4"]);
    }

    fn r3_cookies_that_were_cleared_at_home_are_a_notice_and_when_strict_a_code(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        let answer = browser(&site, FIREFOX).post("/auth/sign-in/email", &credentials(ADA));
        assert_eq!(answer.json()["user"]["email"], ADA, "{}", answer.text());
        assert_eq!(mails(&site).len(), 1);
        assert_eq!(log(&site), ["yes - R0", "yes - R3"]);
        later(&site, hours(24 * 31));
        let answer = browser(&site, FIREFOX).post("/auth/sign-in/email", &credentials(ADA));
        assert_eq!(answer.json()["pending"], true, "a month later");
    }

    fn strict_asks_for_a_code_for_all_but_a_known_browser(database) {
        let site = watchful(database).set("unusual", "mode = \"strict\"").start();
        let (mut ada, _) = ada_at_home(&site);
        let answer = browser(&site, FIREFOX).post("/auth/sign-in/email", &credentials(ADA));
        assert_eq!(answer.json()["pending"], true);
        ada.cookies.remove("sidegate");
        assert_eq!(ada.post("/auth/sign-in/email", &credentials(ADA)).json()["user"]["email"], ADA);
        // R6: five wrong guesses from elsewhere, and even the known browser owes a code.
        let wrong = serde_json::json!({ "email": ADA, "password": "another phrase" });
        for _ in 0..5 {
            browser(&site, SAFARI).post("/auth/sign-in/email", &wrong);
        }
        ada.cookies.remove("sidegate");
        assert_eq!(ada.post("/auth/sign-in/email", &credentials(ADA)).json()["pending"], true);
        assert!(log(&site).contains(&"no NEEDS_SIGN_IN_VERIFICATION R2 R6".to_owned()), "{:?}", log(&site));
        assert!(last_letter(&site).text.contains("Firefox on Linux"));
    }

    fn an_account_that_slept_for_half_a_year_is_asked_even_at_home(database) {
        let site = watchful(database).start();
        let (mut ada, _) = ada_at_home(&site);
        later(&site, hours(24 * 181));
        ada.cookies.remove("sidegate");
        assert_eq!(ada.post("/auth/sign-in/email", &credentials(ADA)).json()["pending"], true);
        assert!(log(&site).contains(&"no NEEDS_SIGN_IN_VERIFICATION R4 R7".to_owned()), "{:?}", log(&site));
    }

    fn whose_mailbox_is_not_proved_is_told_or_turned_away_but_sent_no_code(database) {
        let site = watchful(database).set("sign_up", "require_verified_email = false").start();
        ada_at_home(&site);
        site.block_on(site.database.execute(r#"UPDATE "user" SET "emailVerified" = FALSE"#));
        let (_, answer) = with_password(&site);
        assert_eq!(answer.json()["user"]["email"], ADA);
        assert_eq!(mails(&site).len(), 1);
        assert!(!last_letter(&site).text.lines().any(|line| line.trim().len() == 9 && line.trim().bytes().filter(u8::is_ascii_digit).count() == 8));
    }

    fn strict_never_lets_in_whom_it_cannot_ask(database) {
        for unverified in ["", "\nunverified = \"allow\""] {
            let database = Database::sqlite();
            let site = watchful(database)
                .set("sign_up", "require_verified_email = false")
                .set("unusual", &format!("mode = \"strict\"{unverified}"))
                .start();
            ada_at_home(&site);
            site.block_on(site.database.execute(r#"UPDATE "user" SET "emailVerified" = FALSE"#));
            let (other, answer) = with_password(&site);
            if unverified.is_empty() {
                assert_eq!((answer.status, &*answer.code()), (403, "UNUSUAL_SIGN_IN"));
                assert!(other.cookies.is_empty());
                assert_eq!((rows(&site, "session"), mails(&site).len()), (1, 0));
                assert!(log(&site).contains(&"no UNUSUAL_SIGN_IN R4".to_owned()), "{:?}", log(&site));
            } else {
                assert_eq!((answer.status, mails(&site).len()), (200, 1), "not without a word");
            }
        }
        drop(database);
    }

    fn an_unusual_sign_in_to_an_imported_account_without_history_is_asked_when_the_account_is_old(database) {
        let site = watchful(database).start();
        site.sign_up(ADA);
        prove_mailboxes(&site);
        later(&site, hours(24 * 181));
        let _waits = pending(&site);
    }

    fn r9_a_provider_is_believed_but_not_when_strict(database) {
        let provider = Provider::start();
        let plan = watchful(database).toml(&provider.toml("corp", "trust_email = true"));
        let site = plan.set("unusual", "mode = \"strict\"").start();
        provider.follow(&site.clock);
        provider.is_visited_by(Persona::ada());
        let mut ada = browser(&site, FIREFOX);
        assert_eq!(returns(&mut ada, &provider).header("location"), Some(&*format!("{}/notes", site.origin)), "R0");
        let mut other = browser(&site, SAFARI);
        assert_eq!(returns(&mut other, &provider).header("location"), Some(&*format!("{}/auth/verify-signin", site.origin)));
        assert_eq!(other.get("/app").code(), "NEEDS_SIGN_IN_VERIFICATION");
        let done = other.submit("/auth/verify-signin", &[("code", &last_code(&site))]);
        assert_eq!(done.header("location"), Some(&*format!("{}/notes", site.origin)));
        assert_eq!(other.get("/app").status, 200);
        let subjects = site.block_on(site.database.texts(r#"SELECT "subject" FROM "sidegate_session_provider""#));
        assert!(subjects.len() == 2 && subjects[0] == subjects[1], "the session remembers its provider: {subjects:?}");
        assert_eq!(log(&site), ["no NEEDS_SIGN_IN_VERIFICATION R4", "yes - R0", "yes - R4"]);
    }

    fn lo_4_what_ends_at_the_provider_or_is_taken_from_the_account_ends_while_it_waits_too(database) {
        let provider = Provider::start();
        let plan = watchful(database).toml(&provider.toml("corp", "trust_email = true"));
        let site = plan.set("unusual", "mode = \"strict\"").start();
        provider.follow(&site.clock);
        let (mut ada, _) = ada_at_home(&site);
        provider.is_visited_by(Persona::ada());
        assert_eq!(returns(&mut ada, &provider).header("location"), Some(&*format!("{}/notes", site.origin)), "linked");
        let waits = || {
            later(&site, std::time::Duration::from_secs(1));
            let mut other = browser(&site, SAFARI);
            let to = format!("{}/auth/verify-signin", site.origin);
            assert_eq!(returns(&mut other, &provider).header("location"), Some(&*to));
            (other, last_code(&site), provider.sid())
        };
        let posts = |token: &str| {
            let body = format!("logout_token={token}");
            let asked = site.stranger().ask("POST", "/auth/back-channel-logout/corp")
                .header("Content-Type", "application/x-www-form-urlencoded").body(body).send();
            assert_eq!(asked.status, 200, "{}", asked.text());
        };
        let ((mut first, one, sid), (mut second, two, _)) = (waits(), waits());
        later(&site, std::time::Duration::from_secs(1));
        let (mut by_password, _) = with_password(&site);
        let third = last_code(&site);
        posts(&provider.logout_token(None, Some(&sid), &[]));
        assert_eq!(verify(&mut first, &one).code(), "SIGN_IN_VERIFICATION_ENDED");
        assert_eq!(second.get("/app").code(), "NEEDS_SIGN_IN_VERIFICATION", "another session of the provider's");
        posts(&provider.logout_token(Some("another"), None, &[]));
        assert_eq!(second.get("/app").code(), "NEEDS_SIGN_IN_VERIFICATION", "another subject");
        posts(&provider.logout_token(Some(&Persona::ada().subject), None, &[]));
        assert_eq!(verify(&mut second, &two).code(), "SIGN_IN_VERIFICATION_ENDED");
        assert_eq!(verify(&mut by_password, &third).status, 200, "it came from nowhere else");
        let (mut last, code, _) = waits();
        assert_eq!(by_password.post("/auth/unlink-account", &json!({ "providerId": "corp" })).status, 200);
        assert_eq!(verify(&mut last, &code).code(), "SIGN_IN_VERIFICATION_ENDED");
    }

    fn r9_a_provider_is_believed(database) {
        let provider = Provider::start();
        let site = watchful(database).toml(&provider.toml("corp", "trust_email = true")).start();
        provider.follow(&site.clock);
        provider.is_visited_by(Persona::ada());
        for agent in [FIREFOX, SAFARI] {
            let mut ada = browser(&site, agent);
            assert_eq!(returns(&mut ada, &provider).header("location"), Some(&*format!("{}/notes", site.origin)));
        }
        assert_eq!(log(&site), ["yes - R9", "yes - R9"]);
    }
}
