//! Two processes with one secret on one PostgreSQL database.

use std::time::Duration;

use serde_json::json;

use crate::flow::{credentials, opens, roomy, token};
use crate::support::database::Database;
use crate::support::site::Site;
use crate::support::upstream::Upstream;

const SECRET: &str = "one secret for all replicas, 32 bytes or more";

pub(crate) fn pair() -> (Site, Site) {
    pair_before(Upstream::hello)
}

/// The same, each before an app that `app` makes.
pub(crate) fn pair_before(app: impl Fn() -> Upstream) -> (Site, Site) {
    let database = Database::postgres();
    let other = database.shared();
    let start = |database| roomy(database).secret(SECRET).upstream(app()).start();
    (start(database), start(other))
}

#[test]
fn a_session_that_one_replica_opened_opens_the_other() {
    let (one, two) = pair();
    let (ada, id) = one.member("ada@example.com");
    let held = token(&ada);
    assert!(opens(&one, &held) && opens(&two, &held));
    assert_eq!(two.upstream.only().header("x-user-id"), Some(&*id));
    let (bob, _) = two.member("bob@example.com");
    assert!(opens(&one, &token(&bob)));
}

#[test]
fn lif_4_a_session_that_one_replica_ended_is_refused_by_the_other_within_the_cache_age() {
    let (one, two) = pair();
    let (mut ada, _) = one.member("ada@example.com");
    let held = token(&ada);
    assert!(opens(&two, &held));
    assert_eq!(ada.post("/auth/sign-out", &json!({})).status, 200);
    assert!(!opens(&one, &held));
    two.pass(Duration::from_secs(30));
    assert!(!opens(&two, &held));
}

#[test]
fn a_browser_that_one_replica_knows_is_known_to_the_other() {
    // RL-3 with RL-8: the proof is in the cookie, not in memory.
    let (one, two) = pair();
    let (ada, _) = one.member("ada@example.com");
    let wrong = json!({ "email": "ada@example.com", "password": "another phrase" });
    for _ in 0..10 {
        two.stranger().post("/auth/login", &wrong);
    }
    assert_eq!(two.stranger().post("/auth/login", &credentials("ada@example.com")).status, 429);
    let mut known = two.stranger();
    known.cookies.insert("sidegate-device".to_owned(), ada.cookies["sidegate-device"].clone());
    assert_eq!(known.post("/auth/login", &credentials("ada@example.com")).status, 200);
}

#[test]
fn lif_11_both_replicas_together_move_the_end_once() {
    let (one, two) = pair();
    let held = token(&one.member("ada@example.com").0);
    assert!(opens(&one, &held) && opens(&two, &held));
    for site in [&one, &two] {
        site.pass(Duration::from_hours(24));
    }
    let cookies: usize = std::thread::scope(|scope| {
        let ask = |site| {
            let held = &held;
            scope.spawn(move || crate::flow::holder(site, held).get("/app").all("set-cookie").len())
        };
        let all: Vec<_> = (0..10).flat_map(|_| [ask(&one), ask(&two)]).collect();
        all.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(cookies, 1);
}

#[test]
fn with_another_secret_a_token_is_worth_nothing() {
    let database = Database::postgres();
    let other = database.shared();
    let one = roomy(database).secret(SECRET).start();
    let two = roomy(other).secret("another secret that is long enough too").start();
    let (ada, _) = one.member("ada@example.com");
    assert!(opens(&one, &token(&ada)) && !opens(&two, &token(&ada)));
}
