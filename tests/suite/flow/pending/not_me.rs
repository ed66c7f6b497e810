//! "This was not me": the link that ends everything and makes a new password necessary.

use serde_json::json;

use super::{
    ADA, FIREFOX, SAFARI, ada_at_home, browser, hours, last_code, last_letter, minutes, pending,
    prove_mailboxes, verify, watchful,
};
use crate::flow::{credentials, opens, roomy, rows, token};
use crate::support::database::on_both_databases;
use crate::support::letters::{CATCHER, Letter, later, letters};
use crate::support::site::{PASSWORD, Site};
use crate::support::visitor::Visitor;

/// What a link says that was sent last.
fn sent(site: &Site, path: &str) -> String {
    let link = letters(site).pop().expect("a mail").link(site, path);
    link.split_once("token=").expect("a token").1.split('&').next().expect("a token").to_owned()
}

/// Signs in as Ada with a browser that gives her account another address, and returns it with the secret of the link
/// that she was sent before.
fn given_away(site: &Site) -> (String, Visitor) {
    later(site, minutes(1));
    let mut thief = browser(site, SAFARI);
    assert_eq!(thief.post("/auth/sign-in/email", &credentials(ADA)).status, 200);
    let secret = sent(site, "/auth/not-me?token=");
    later(site, minutes(1));
    assert_eq!(thief.post("/auth/change-email", &json!({ "newEmail": "thief@example.org" })).status, 200);
    let change = sent(site, "/auth/change-email?token=");
    assert_eq!(thief.post("/auth/change-email", &json!({ "token": change })).status, 200);
    later(site, minutes(1));
    (secret, thief)
}

on_both_databases! {
    fn the_owner_ends_all_and_chooses_a_new_password(database) {
        let site = watchful(database).start();
        let (mut ada, _) = ada_at_home(&site);
        let mut thief = pending(&site);
        assert_eq!(verify(&mut thief, &last_code(&site)).status, 200, "whoever reads the mails too");
        let (of_ada, of_thief) = (token(&ada), token(&thief));
        later(&site, minutes(1));
        let mut waiting = browser(&site, "Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36");
        assert_eq!(waiting.post("/auth/sign-in/email", &credentials(ADA)).json()["pending"], true);
        let code = last_code(&site);
        let link = last_letter(&site).link(&site, "/auth/not-me?token=");

        // EM-3: whoever fetches it changes nothing.
        let mut scanner = site.stranger();
        for _ in 0..10 {
            let page = scanner.navigate(&link);
            assert_eq!((page.status, page.header("referrer-policy")), (200, Some("no-referrer")));
            assert!(page.all("set-cookie").is_empty());
            assert_eq!(scanner.ask("HEAD", &link).send().status, 200);
        }
        assert!(opens(&site, &of_ada) && opens(&site, &of_thief));

        let secret = link.split_once("token=").expect("a token").1;
        later(&site, minutes(1));
        let mut owner = browser(&site, SAFARI);
        let done = owner.submit("/auth/not-me", &[("token", secret)]);
        assert_eq!(done.status, 200);
        assert!(done.text().contains("role=\"status\""), "{}", done.text());
        assert!(!opens(&site, &of_ada) && !opens(&site, &of_thief));
        assert_eq!(rows(&site, "sidegate_pending_session"), 0);
        assert_eq!(verify(&mut waiting, &code).code(), "SIGN_IN_VERIFICATION_ENDED");
        for visitor in [&mut ada, &mut thief] {
            visitor.cookies.remove("sidegate");
            let answer = visitor.post("/auth/sign-in/email", &credentials(ADA));
            assert_eq!((answer.status, &*answer.code()), (401, "INVALID_EMAIL_OR_PASSWORD"));
        }
        let again = owner.post("/auth/not-me", &json!({ "token": secret }));
        assert_eq!((again.status, &*again.code()), (400, "INVALID_TOKEN"), "once");

        // The reset mail leads to a new password; no browser is known any more.
        let reset = letters(&site).pop().expect("a mail").link(&site, "/auth/reset-password?token=");
        let token = reset.split_once("token=").expect("a token").1.split('&').next().expect("a token");
        let body = json!({ "newPassword": "another private phrase", "token": token });
        assert_eq!(owner.post("/auth/reset-password", &body).status, 200);
        assert_ne!(PASSWORD, "another private phrase");
        let body = json!({ "email": ADA, "password": "another private phrase" });
        later(&site, minutes(1));
        assert_eq!(ada.post("/auth/sign-in/email", &body).json()["pending"], true);
        assert_eq!(verify(&mut ada, &last_code(&site)).status, 200);
    }

    fn lk_3_what_a_thief_added_to_come_back_goes_and_what_was_there_before_stays(database) {
        let site = watchful(database).start();
        let (_, id) = ada_at_home(&site);
        let link_at = |provider: &str| {
            let at = site.clock.now().iso();
            site.block_on(site.database.execute(&format!(
                r#"INSERT INTO "account" ("id", "accountId", "providerId", "userId", "createdAt", "updatedAt")
                   VALUES ('{provider}', 'there', '{provider}', '{id}', '{at}', '{at}')"#
            )));
        };
        later(&site, minutes(1));
        link_at("github");
        later(&site, hours(24 * 10));
        let mut thief = pending(&site);
        assert_eq!(verify(&mut thief, &last_code(&site)).status, 200);
        later(&site, minutes(1));
        link_at("gitlab");
        let mut once_more = browser(&site, "Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36");
        assert_eq!(once_more.post("/auth/sign-in/email", &credentials(ADA)).json()["pending"], true);
        let link = last_letter(&site).link(&site, "/auth/not-me?token=");
        let secret = link.split_once("token=").expect("a token").1.to_owned();
        assert_eq!(browser(&site, SAFARI).post("/auth/not-me", &json!({ "token": secret })).status, 200);
        let left = r#"SELECT "providerId" FROM "account" ORDER BY "providerId""#;
        assert_eq!(site.block_on(site.database.texts(left)), ["credential", "github"]);
        let told = |letter: &Letter| letter.text.contains("cannot be opened with gitlab");
        assert!(letters(&site).iter().any(told));
    }

    fn a_thief_does_not_void_the_link_by_which_the_owner_ends_it(database) {
        // The owner is told, and not asked.
        let site = watchful(database).set("unusual", "mode = \"notify\"").start();
        ada_at_home(&site);
        later(&site, minutes(1));
        let mut thief = browser(&site, SAFARI);
        assert_eq!(thief.post("/auth/sign-in/email", &credentials(ADA)).json()["user"]["email"], ADA);
        let link = last_letter(&site).link(&site, "/auth/not-me?token=");
        let secret = link.split_once("token=").expect("a token").1.to_owned();
        let change = json!({
            "currentPassword": PASSWORD, "newPassword": "the phrase of a thief", "revokeOtherSessions": true
        });
        assert_eq!(thief.post("/auth/change-password", &change).status, 200);
        assert_eq!(thief.post("/auth/revoke-other-sessions", &json!({})).status, 200);
        let held = token(&thief);
        assert!(opens(&site, &held));
        assert_eq!(browser(&site, FIREFOX).post("/auth/not-me", &json!({ "token": secret })).status, 200);
        assert!(!opens(&site, &held));
        let body = json!({ "email": ADA, "password": "the phrase of a thief" });
        assert_eq!(browser(&site, SAFARI).post("/auth/sign-in/email", &body).status, 401);
    }

    fn nor_does_one_who_gives_the_account_another_address_and_that_one_is_taken_back(database) {
        let site = watchful(database).set("unusual", "mode = \"notify\"").start();
        ada_at_home(&site);
        let his = "thief@example.org";
        let (secret, mut thief) = given_away(&site);
        assert_eq!(thief.post("/auth/request-password-reset", &json!({ "email": his })).status, 200);
        let reset = json!({ "newPassword": "the phrase of a thief", "token": sent(&site, "/auth/reset-password?token=") });
        assert_eq!(thief.post("/auth/reset-password", &reset).status, 200);
        let body = json!({ "email": his, "password": "the phrase of a thief" });
        assert_eq!(thief.post("/auth/sign-in/email", &body).status, 200);
        let held = token(&thief);
        later(&site, minutes(1));
        assert_eq!(browser(&site, FIREFOX).post("/auth/not-me", &json!({ "token": secret })).status, 200);
        assert!(!opens(&site, &held));
        let of_users = r#"SELECT "email" FROM "user""#;
        assert_eq!(site.block_on(site.database.texts(of_users)), [ADA]);
        assert_eq!(letters(&site).pop().expect("a mail").to, ADA, "where the way to a new password goes");
        let reset = json!({ "newPassword": "another private phrase", "token": sent(&site, "/auth/reset-password?token=") });
        assert_eq!(browser(&site, FIREFOX).post("/auth/reset-password", &reset).status, 200);
        assert_eq!(browser(&site, SAFARI).post("/auth/sign-in/email", &body).status, 401);
    }

    fn nor_does_one_who_is_sent_such_a_link_too(database) {
        let site = watchful(database).set("unusual", "mode = \"notify\"").start();
        ada_at_home(&site);
        let (secret, _thief) = given_away(&site);
        let his = json!({ "email": "thief@example.org", "password": PASSWORD });
        let mut elsewhere = browser(&site, "Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36");
        assert_eq!(elsewhere.post("/auth/sign-in/email", &his).status, 200);
        let letter = letters(&site).pop().expect("a mail");
        assert_eq!(letter.to, "thief@example.org");
        assert!(letter.text.contains("/auth/forgot-password") && !letter.text.contains("/auth/not-me"));
        later(&site, minutes(1));
        assert_eq!(browser(&site, FIREFOX).post("/auth/not-me", &json!({ "token": secret })).status, 200);
        assert_eq!(site.block_on(site.database.texts(r#"SELECT "email" FROM "user""#)), [ADA]);
    }

    fn nor_does_one_who_has_another_account_made_under_the_address_that_was_taken(database) {
        let site = watchful(database).set("unusual", "mode = \"notify\"").start();
        let (_, id) = ada_at_home(&site);
        let (secret, _thief) = given_away(&site);
        site.sign_up(ADA);
        later(&site, minutes(1));
        assert_eq!(browser(&site, FIREFOX).post("/auth/not-me", &json!({ "token": secret })).status, 200);
        let of_users = r#"SELECT "id" || ' ' || "email" FROM "user""#;
        assert_eq!(site.block_on(site.database.texts(of_users)), [format!("{id} {ADA}")]);
        let letter = letters(&site).pop().expect("a mail");
        assert!(letter.to == ADA && letter.text.contains("/auth/reset-password?token="), "{}", letter.text);
    }

    fn where_somebody_has_proved_the_address_that_was_taken_nobody_gets_in_any_more(database) {
        let site = watchful(database).set("unusual", "mode = \"notify\"").start();
        let (_, id) = ada_at_home(&site);
        let (secret, thief) = given_away(&site);
        site.sign_up(ADA);
        prove_mailboxes(&site);
        let held = token(&thief);
        assert!(opens(&site, &held));
        later(&site, minutes(1));
        let before = letters(&site).len();
        let done = browser(&site, FIREFOX).submit("/auth/not-me", &[("token", &secret)]);
        assert!(done.status == 200 && done.text().contains("belongs to another account"), "{}", done.text());
        assert!(!opens(&site, &held));
        assert_eq!(letters(&site).len(), before, "the mailbox of the thief is told nothing");
        let disabled = r#"SELECT "userId" FROM "sidegate_disabled_user""#;
        assert_eq!(site.block_on(site.database.texts(disabled)), [id]);
        let others = browser(&site, SAFARI).post("/auth/sign-in/email", &credentials(ADA));
        assert_eq!(others.status, 200, "the other account is as it was");
    }

    fn em_6_a_reset_ends_what_waits_and_leaves_known_only_the_browser_in_which_it_was_done(database) {
        let site = watchful(database).start();
        let (mut ada, _) = ada_at_home(&site);
        let mut waiting = pending(&site);
        let code = last_code(&site);
        later(&site, minutes(1));
        let mut phone = browser(&site, "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1");
        assert_eq!(phone.post("/auth/request-password-reset", &json!({ "email": ADA })).status, 200);
        let reset = letters(&site).pop().expect("a mail").link(&site, "/auth/reset-password?token=");
        let token = reset.split_once("token=").expect("a token").1.split('&').next().expect("a token").to_owned();
        let body = json!({ "newPassword": "another private phrase", "token": token });
        assert_eq!(phone.post("/auth/reset-password", &body).status, 200);
        assert_eq!(verify(&mut waiting, &code).code(), "SIGN_IN_VERIFICATION_ENDED");
        let body = json!({ "email": ADA, "password": "another private phrase" });
        assert_eq!(phone.post("/auth/sign-in/email", &body).json()["user"]["email"], ADA, "no second mail");
        assert_eq!(ada.post("/auth/sign-in/email", &body).json()["pending"], true);
    }

    fn a_link_that_is_not_good_does_nothing_and_neither_does_another_site(database) {
        let site = watchful(database).start();
        let (ada, _) = ada_at_home(&site);
        pending(&site);
        let link = last_letter(&site).link(&site, "/auth/not-me?token=");
        let secret = link.split_once("token=").expect("a token").1.to_owned();
        let before = letters(&site).len();
        for bad in ["", "x", &secret[1..], &"A".repeat(54)] {
            let mut stranger = browser(&site, SAFARI);
            assert_eq!(stranger.post("/auth/not-me", &json!({ "token": bad })).code(), "INVALID_TOKEN", "{bad}");
            assert_eq!(stranger.navigate(&format!("/auth/not-me?token={bad}")).status, 400);
        }
        let foreign = browser(&site, SAFARI).ask("POST", "/auth/not-me").navigating()
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Origin", "https://evil.test").header("Sec-Fetch-Site", "cross-site")
            .body(format!("token={secret}")).send();
        assert_eq!(foreign.status, 403);
        assert!(opens(&site, &token(&ada)));
        assert_eq!(letters(&site).len(), before);
        later(&site, hours(24 * 7));
        assert_eq!(browser(&site, SAFARI).post("/auth/not-me", &json!({ "token": secret })).code(), "INVALID_TOKEN");
    }

    fn rl_9_a_mail_that_is_left_out_voids_no_link_that_was_sent(database) {
        let caps = format!("{CATCHER}\nper_recipient = 6");
        let site = roomy(database).set("mail", &caps).start();
        ada_at_home(&site);
        later(&site, minutes(1));
        // Strangers ask until no more is sent.
        let mut sent = letters(&site).len();
        let reset = loop {
            let asked = site.stranger().post("/auth/request-password-reset", &json!({ "email": ADA }));
            assert_eq!(asked.status, 200, "{}", asked.text());
            if letters(&site).len() == sent {
                break letters(&site).pop().expect("a mail").link(&site, "/auth/reset-password?token=");
            }
            sent += 1;
            later(&site, minutes(1));
        };
        // So does whoever knows the password.
        let not_me = loop {
            pending(&site);
            if letters(&site).len() == sent {
                break last_letter(&site).link(&site, "/auth/not-me?token=");
            }
            sent += 1;
            later(&site, minutes(1));
        };
        assert_eq!(site.stranger().navigate(&reset).status, 200);
        let secret = not_me.split_once("token=").expect("a token").1;
        assert_eq!(site.stranger().post("/auth/not-me", &json!({ "token": secret })).status, 200);
    }
}
