//! What goes on without anybody asking.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use sidegate::jobs::Jobs;

use crate::flow::{opens, token};
use crate::session::replicas::pair;
use crate::support::database::on_both_databases;
use crate::support::journal;
use crate::support::raw::PATIENCE;
use crate::support::site::Site;

/// Waits until it is so; fails when that takes longer than anything does.
#[expect(clippy::disallowed_methods, reason = "bounds the waiting of a test")]
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_session_that_one_replica_ended_is_refused_by_the_other_long_before_its_copy_is_too_old() {
    // The clocks stand still, so that only the notice can end the copy.
    let (one, two) = pair();
    let (mut ada, _) = one.member("ada@example.com");
    let held = token(&ada);
    assert!(opens(&two, &held));
    assert_eq!(ada.post("/auth/sign-out", &json!({})).status, 200);
    eventually("the other replica hears of it", || !opens(&two, &held));
}

#[test]
fn what_was_ended_while_the_feed_was_interrupted_is_not_missed() {
    let (one, two) = pair();
    let (mut ada, _) = one.member("ada@example.com");
    let held = token(&ada);
    assert!(opens(&two, &held));
    // Ended past every replica, so that no notice is ever sent.
    two.block_on(two.database.execute(r#"DELETE FROM "session""#));
    assert!(opens(&two, &held), "the copy is still used");
    two.block_on(two.database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND query LIKE 'LISTEN%'",
    ));
    eventually("all copies are dropped", || !opens(&two, &held));
    assert_eq!(ada.get("/auth/me").status, 401);
}

on_both_databases! {
    fn expired_sessions_are_deleted(database) {
        let site = Site::on(database).start();
        let (ada, _) = site.member("ada@example.com");
        let rows = || site.block_on(site.database.texts(r#"SELECT "id" FROM "session""#)).len();
        assert_eq!(rows(), 1);
        site.pass(Duration::from_hours(24 * 8));
        let _again = Jobs::start(&site.app);
        eventually("the row is deleted", || rows() == 0);
        assert!(!opens(&site, &token(&ada)));
    }

    fn what_cannot_be_deleted_keeps_nothing_else_from_being_deleted(database) {
        let site = Site::on(database).start();
        site.member("ada@example.com");
        // Personal access tokens come before the rest.
        let table = |from: &str, to: &str| {
            let sql = format!(r#"ALTER TABLE "{from}" RENAME TO "{to}""#);
            site.block_on(site.database.execute(&sql));
        };
        site.pass(Duration::from_hours(24 * 400));
        table("sidegate_personal_token", "away");
        let rows = || site.block_on(site.database.texts(r#"SELECT "id" FROM "sidegate_auth_log""#)).len();
        assert!(rows() > 0);
        let _again = Jobs::start(&site.app);
        eventually("old lines of the log are deleted all the same", || rows() == 0);
        assert!(journal::mentions("what is old cannot be deleted"));
        table("away", "sidegate_personal_token");
    }

    fn old_lines_of_the_log_of_sign_ins_are_deleted_and_others_are_not(database) {
        let site = Site::on(database).set("log", "keep_sign_ins = \"90d\"").start();
        site.member("ada@example.com");
        site.pass(Duration::from_hours(24 * 89));
        site.member("bob@example.com");
        let rows = || site.block_on(site.database.texts(r#"SELECT "id" FROM "sidegate_auth_log""#)).len();
        assert_eq!(rows(), 4);
        site.pass(Duration::from_hours(24 * 2));
        let _again = Jobs::start(&site.app);
        eventually("old lines are deleted", || rows() == 2);
    }
}
