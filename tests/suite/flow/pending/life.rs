//! How long a pending sign-in lives, what it is mistaken for, and which browser is known by what.

use serde_json::json;
use sidegate::jobs::Jobs;

use super::{
    ADA, FIREFOX, SAFARI, ada_at_home, browser, hours, last_code, minutes, pending, prove_mailboxes, seconds,
    verify, watchful,
};
use crate::flow::{credentials, opens, rows, token};
use crate::support::database::{Database, on_both_databases};
use crate::support::letters::{later, letters};
use crate::support::raw::PATIENCE;
use crate::support::site::{PASSWORD, Site};

/// Waits until something has come about, which no clock of a test moves.
#[expect(clippy::disallowed_methods, reason = "jobs run by the machine's clock")]
fn eventually(what: &str, so: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

on_both_databases! {
    fn pen_3_a_sign_in_that_waits_is_over_after_twelve_hours_at_once_and_then_deleted(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        let mut other = pending(&site);
        later(&site, minutes(719));
        assert_eq!(other.get("/app").code(), "NEEDS_SIGN_IN_VERIFICATION");
        assert_eq!(other.post("/auth/verify-signin/resend", &json!({})).status, 200);
        let code = last_code(&site);
        later(&site, minutes(1));
        assert_eq!(rows(&site, "sidegate_pending_session"), 1, "no job has run");
        assert_eq!(other.get("/app").code(), "UNAUTHORIZED");
        assert_eq!(other.navigate("/app").header("location"), Some(&*format!("{}/auth/sign-in?callback_url=%2Fapp", site.origin)));
        assert_eq!(verify(&mut other, &code).code(), "SIGN_IN_VERIFICATION_ENDED", "a good code, too late");
        let _again = Jobs::start(&site.app);
        eventually("the row is deleted", || rows(&site, "sidegate_pending_session") == 0);
    }

    fn a_browser_that_was_not_seen_for_so_long_is_forgotten(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        assert_eq!(rows(&site, "sidegate_device"), 1);
        later(&site, hours(24 * 400));
        let _again = Jobs::start(&site.app);
        eventually("the row is deleted", || rows(&site, "sidegate_device") == 0);
    }

    fn giving_up_ends_it(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        for (at, form) in [("verify-signin/cancel", false), ("verify-signin/cancel", true), ("sign-out", false), ("sign-out", true)] {
            later(&site, seconds(1));
            let mut other = pending(&site);
            let cookie = other.cookies["sidegate-pending"].clone();
            let code = last_code(&site);
            let path = format!("/auth/{at}");
            let answer = if form { other.submit(&path, &[]) } else { other.post(&path, &json!({})) };
            assert_eq!(answer.status, if form { 303 } else { 200 }, "{at}");
            assert!(!other.cookies.contains_key("sidegate-pending"), "{at}");
            assert_eq!(rows(&site, "sidegate_pending_session"), 0, "{at}");
            other.cookies.insert("sidegate-pending".to_owned(), cookie);
            assert_eq!(verify(&mut other, &code).code(), "SIGN_IN_VERIFICATION_ENDED");
            assert_eq!(other.get("/app").code(), "UNAUTHORIZED");
        }
    }

    fn ck_7_and_pen_8_no_cookie_is_taken_for_another(database) {
        let site = watchful(database).start();
        let (ada, _) = ada_at_home(&site);
        let other = pending(&site);
        let (session, waiting) = (token(&ada), other.cookies["sidegate-pending"].clone());
        let device = ada.cookies["sidegate-device"].split('.').next().expect("a secret").to_owned();
        assert!(!opens(&site, &waiting) && !opens(&site, &device), "no session");
        for pasted in [&session, &device, &waiting[1..].to_owned(), &"A".repeat(54)] {
            let mut visitor = browser(&site, SAFARI);
            visitor.cookies.insert("sidegate-pending".to_owned(), pasted.clone());
            assert_eq!(visitor.get("/app").code(), "UNAUTHORIZED", "no pending sign-in");
        }
        for pasted in [&session, &waiting] {
            let mut visitor = browser(&site, SAFARI);
            visitor.cookies.insert("sidegate-device".to_owned(), pasted.clone());
            let answer = visitor.post("/auth/sign-in/email", &credentials(ADA));
            assert_eq!(answer.json()["pending"], true, "no known browser: {}", answer.text());
        }
        // The cookie of a pending sign-in planted beside the right one makes it nobody's.
        let mut visitor = browser(&site, SAFARI);
        let both = format!("sidegate-pending={waiting}; sidegate-pending=x");
        visitor.headers.push(("Cookie".to_owned(), both));
        assert_eq!(visitor.get("/app").code(), "UNAUTHORIZED", "CK-3");
        // Whoever has a session is not asked for a code.
        let mut ada = ada;
        ada.cookies.insert("sidegate-pending".to_owned(), waiting);
        assert_eq!(ada.get("/app").status, 200);
    }

    fn a_copied_device_cookie_is_worth_nothing_once_its_browser_has_signed_in_again(database) {
        let site = watchful(database).start();
        let (mut ada, _) = ada_at_home(&site);
        let copied = ada.cookies["sidegate-device"].clone();
        ada.cookies.remove("sidegate");
        assert_eq!(ada.post("/auth/sign-in/email", &credentials(ADA)).json()["user"]["email"], ADA);
        assert_ne!(ada.cookies["sidegate-device"], copied);
        let mut thief = browser(&site, SAFARI);
        thief.cookies.insert("sidegate-device".to_owned(), copied);
        assert_eq!(thief.post("/auth/sign-in/email", &credentials(ADA)).json()["pending"], true);
    }

    fn trust_is_of_one_browser_with_one_user_and_ends_when_it_is_revoked(database) {
        let site = watchful(database).start();
        let (mut ada, id) = ada_at_home(&site);
        site.sign_up("bob@example.com");
        prove_mailboxes(&site);
        let mut bob = browser(&site, SAFARI);
        assert_eq!(bob.post("/auth/sign-in/email", &credentials("bob@example.com")).json()["user"]["email"], "bob@example.com");
        bob.cookies.remove("sidegate");
        bob.cookies.insert("sidegate-device".to_owned(), ada.cookies["sidegate-device"].clone());
        assert_eq!(bob.post("/auth/sign-in/email", &credentials("bob@example.com")).json()["user"]["email"], "bob@example.com",
            "R3: Bob's browser was seen here");
        site.block_on(async {
            let id = sidegate::id::UserId::parse(&id).expect("an id");
            let mut tx = site.app.store.begin().await.expect("begins");
            assert_eq!(tx.devices_revoke_of_user(&id, None, site.clock.now()).await.expect("revokes"), 1);
            tx.commit().await.expect("commits");
        });
        ada.cookies.remove("sidegate");
        assert_eq!(ada.post("/auth/sign-in/email", &credentials(ADA)).json()["pending"], true);
        bob.cookies.remove("sidegate");
        assert_eq!(bob.post("/auth/sign-in/email", &credentials("bob@example.com")).json()["user"]["email"], "bob@example.com");
    }

    fn rl_3_guesses_lock_no_known_browser_out_and_give_no_code_to_others(database) {
        let site = watchful(database).start();
        let (mut ada, _) = ada_at_home(&site);
        ada.cookies.remove("sidegate");
        let wrong = json!({ "email": ADA, "password": "another phrase" });
        for _ in 0..12 {
            browser(&site, SAFARI).post("/auth/sign-in/email", &wrong);
        }
        assert_eq!(browser(&site, SAFARI).post("/auth/sign-in/email", &credentials(ADA)).status, 429);
        let answer = ada.post("/auth/sign-in/email", &credentials(ADA));
        assert_eq!(answer.json()["user"]["email"], ADA, "{}", answer.text());
    }

    fn who_knew_the_earlier_password_guesses_the_next_one_as_a_stranger(database) {
        let site = watchful(database).start();
        let (mut ada, _) = ada_at_home(&site);
        let mut former = browser(&site, FIREFOX);
        let answer = former.post("/auth/sign-in/email", &credentials(ADA));
        assert_eq!(answer.json()["user"]["email"], ADA, "R3: {}", answer.text());
        let other = "another private phrase";
        let body = json!({ "currentPassword": PASSWORD, "newPassword": other, "revokeOtherSessions": true });
        assert_eq!(ada.post("/auth/change-password", &body).status, 200);
        ada.cookies.remove("sidegate");
        let wrong = json!({ "email": ADA, "password": "a guess" });
        let right = json!({ "email": ADA, "password": other });
        let guesses: Vec<u16> = (0..12).map(|n| {
            let mut stranger = browser(&site, SAFARI);
            if n % 2 == 0 { &mut former } else { &mut stranger }.post("/auth/sign-in/email", &wrong).status
        }).collect();
        assert_eq!(guesses, [&[401; 10][..], &[429; 2]].concat(), "one budget for both");
        assert_eq!(former.post("/auth/sign-in/email", &right).status, 429);
        let answer = ada.post("/auth/sign-in/email", &right);
        assert_eq!(answer.json()["user"]["email"], ADA, "where it was changed: {}", answer.text());
    }

    fn a_sign_in_that_waits_ends_with_the_password_that_began_it(database) {
        let site = watchful(database).start();
        let (mut ada, _) = ada_at_home(&site);
        let mut thief = pending(&site);
        let code = last_code(&site);
        let body = json!({ "currentPassword": PASSWORD, "newPassword": "another private phrase" });
        assert_eq!(ada.post("/auth/change-password", &body).status, 200);
        assert_eq!(rows(&site, "sidegate_pending_session"), 0);
        assert_eq!(verify(&mut thief, &code).code(), "SIGN_IN_VERIFICATION_ENDED");
        assert_eq!(thief.get("/app").code(), "UNAUTHORIZED");
    }

    fn a_sign_in_that_waits_ends_with_all_other_sessions_and_with_the_mailbox_that_has_its_code(database) {
        let site = watchful(database).start();
        let (mut ada, _) = ada_at_home(&site);
        let mut thief = pending(&site);
        let code = last_code(&site);
        assert_eq!(ada.post("/auth/revoke-other-sessions", &json!({})).status, 200);
        assert_eq!(verify(&mut thief, &code).code(), "SIGN_IN_VERIFICATION_ENDED");
        later(&site, seconds(1));
        let mut thief = pending(&site);
        let code = last_code(&site);
        later(&site, seconds(1));
        assert_eq!(ada.post("/auth/change-email", &json!({ "newEmail": "ada@new.example" })).status, 200);
        let link = letters(&site).pop().expect("a mail").link(&site, "/auth/change-email?token=");
        let token = link.split_once("token=").expect("a token").1;
        assert_eq!(ada.post("/auth/change-email", &json!({ "token": token })).status, 200);
        assert_eq!(verify(&mut thief, &code).code(), "SIGN_IN_VERIFICATION_ENDED");
        assert_eq!(ada.get("/app").status, 200);
    }

    fn a_pending_sign_in_makes_its_browser_known_to_nobody(database) {
        let site = watchful(database).start();
        ada_at_home(&site);
        let mut other = pending(&site);
        assert!(!other.cookies.contains_key("sidegate-device"));
        other.cookies.clear();
        assert_eq!(other.post("/auth/sign-in/email", &credentials(ADA)).json()["pending"], true);
        assert_eq!(rows(&site, "sidegate_device"), 1, "Ada's own");
    }
}

#[test]
fn a_sign_in_that_one_replica_made_wait_is_finished_at_the_other() {
    let database = Database::postgres();
    let other = database.shared();
    let start = |database| -> Site {
        watchful(database).secret("one secret for all replicas, 32 bytes or more").start()
    };
    let (one, two) = (start(database), start(other));
    ada_at_home(&one);
    let waiting = pending(&one);
    let mut moved = browser(&two, SAFARI);
    moved.cookies = waiting.cookies;
    assert_eq!(moved.get("/app").code(), "NEEDS_SIGN_IN_VERIFICATION");
    assert_eq!(verify(&mut moved, &last_code(&one)).status, 200);
    assert!(opens(&one, &token(&moved)) && opens(&two, &token(&moved)));
    let mut again = browser(&one, FIREFOX);
    again.cookies.insert("sidegate-device".to_owned(), moved.cookies["sidegate-device"].clone());
    assert_eq!(again.post("/auth/sign-in/email", &credentials(ADA)).json()["user"]["email"], ADA);
}
