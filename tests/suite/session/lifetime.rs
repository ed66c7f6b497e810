//! How long a session lives, and that its end is the end (LIF-1 to LIF-4, LIF-11, SESS-2).

use std::time::Duration;

use serde_json::json;
use sidegate::secret::Token;

use crate::flow::{credentials, holder, opens, roomy, rows, set_cookie, token};
use crate::support::database::on_both_databases;
use crate::support::site::{PASSWORD, Site};

const DAY: Duration = Duration::from_hours(24);
const SECOND: Duration = Duration::from_secs(1);

/// So many days but for a second.
fn almost(days: u32) -> Duration {
    (days * DAY).saturating_sub(SECOND)
}

/// The `Max-Age` of the session cookie that an answer to `GET /app` sets.
fn renewed(site: &Site, token: &str) -> Option<String> {
    let response = holder(site, token).get("/app");
    assert_eq!(response.status, 200, "{}", response.text());
    let line = set_cookie(&response, "sidegate")?;
    assert!(line.starts_with(&format!("sidegate={token};")), "the same token: {line}");
    line.split("; ").find_map(|part| part.strip_prefix("Max-Age=")).map(str::to_owned)
}

fn updated(site: &Site) -> Vec<String> {
    site.block_on(site.database.texts(r#"SELECT CAST("updatedAt" AS text) FROM "session""#))
}

on_both_databases! {
    fn lif_1_a_session_that_is_not_used_for_a_week_is_over(database) {
        let site = roomy(database).start();
        let unused = token(&site.member("ada@example.com").0);
        let other = token(&site.signed_in("ada@example.com").0);
        site.pass(almost(7));
        assert!(opens(&site, &other));
        site.pass(SECOND);
        assert!(!opens(&site, &unused) && opens(&site, &other));
        let response = holder(&site, &unused).get("/auth/get-session");
        assert_eq!((response.status, response.text().as_str()), (200, "null"));
    }

    fn lif_1_under_a_shorter_idle_time_a_session_ends_as_if_it_had_always_been_so_short(database) {
        let site = roomy(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let token = Token::parse(token(&ada).as_bytes()).expect("a token");
        let under = |days: u32| {
            let mut limits = site.app.config.session;
            limits.idle = days * DAY;
            let sessions = site.app.sessions.under(limits, &site.app.config.secret, false, false);
            site.block_on(sessions.fetch(token.hash(), site.clock.now())).expect("the store answers")
        };
        site.pass(almost(2));
        assert!(under(2).is_some());
        site.pass(SECOND);
        assert!(under(2).is_none() && under(7).is_some());
        assert!(under(90).expect("it lives").expires == site.clock.now().plus(5 * DAY), "a longer one counts from its next use");
        // Each use counts anew.
        assert_eq!(ada.get("/app").status, 200);
        site.pass(almost(2));
        assert!(under(2).is_some());
    }

    fn lif_1_a_cached_session_ends_on_time(database) {
        let site = roomy(database).set("session", "short = \"1m\"\ncache_age = \"10m\"").start();
        site.sign_up("ada@example.com");
        let mut ada = site.stranger();
        ada.post("/auth/login", &json!({ "email": "ada@example.com", "password": PASSWORD, "remember": false }));
        let held = token(&ada);
        for _ in 0..6 {
            assert!(opens(&site, &held));
            site.pass(10 * SECOND);
        }
        assert!(!opens(&site, &held), "memory may be kept for longer, but not used");
    }

    fn lif_11_use_moves_the_end_once_a_day_and_sends_the_cookie_again(database) {
        let site = roomy(database).start();
        let held = token(&site.member("ada@example.com").0);
        let first = updated(&site);
        site.pass(almost(1));
        assert_eq!(renewed(&site, &held), None);
        assert_eq!(updated(&site), first);
        site.pass(SECOND);
        assert_eq!(renewed(&site, &held).as_deref(), Some("604800"));
        assert_ne!(updated(&site), first);
        assert_eq!(renewed(&site, &held), None, "once");
        site.pass(6 * DAY);
        assert_eq!(renewed(&site, &held).as_deref(), Some("604800"), "eight days after signing in");
        let who = holder(&site, &held).get("/auth/get-session").json();
        assert_eq!(who["session"]["createdAt"], "2026-01-02T03:04:05.678Z");
        assert_eq!(who["session"]["updatedAt"], "2026-01-09T03:04:05.678Z");
        assert_eq!(who["session"]["expiresAt"], "2026-01-16T03:04:05.678Z");
    }

    fn lif_11_our_own_endpoints_move_it_too_but_a_bearer_gets_no_cookie(database) {
        let site = roomy(database).start();
        let held = token(&site.member("ada@example.com").0);
        site.pass(DAY);
        let response = holder(&site, &held).get("/auth/get-session");
        assert!(set_cookie(&response, "sidegate").is_some_and(|line| line.contains("Max-Age=604800")));
        site.pass(DAY);
        let response = site.stranger().ask("GET", "/app").header("Authorization", &format!("Bearer {held}")).send();
        assert_eq!((response.status, response.all("set-cookie").len()), (200, 0));
    }

    fn lif_11_twenty_requests_at_once_write_once(database) {
        let site = roomy(database).set("listen", "workers = 4").start();
        let held = token(&site.member("ada@example.com").0);
        for _ in 0..3 {
            site.pass(DAY);
            let before = updated(&site);
            let cookies: usize = std::thread::scope(|scope| {
                let all: Vec<_> = (0..20).map(|_| scope.spawn(|| renewed(&site, &held))).collect();
                all.into_iter().filter_map(|thread| thread.join().expect("no panic")).count()
            });
            assert_eq!(cookies, 1);
            assert_ne!(updated(&site), before);
        }
    }

    fn lif_2_no_use_keeps_a_session_beyond_thirty_days(database) {
        let site = roomy(database).start();
        let held = token(&site.member("ada@example.com").0);
        for _ in 0..4 {
            site.pass(6 * DAY);
            assert!(renewed(&site, &held).is_some());
        }
        // The 24th day: six are left, and the cookie does not promise more.
        let last = holder(&site, &held).get("/auth/get-session").json();
        assert_eq!(last["session"]["expiresAt"], "2026-02-01T03:04:05.678Z");
        site.pass(5 * DAY);
        assert_eq!(renewed(&site, &held), None, "there is nothing left to move");
        site.pass(almost(1));
        assert!(opens(&site, &held));
        site.pass(SECOND);
        assert!(!opens(&site, &held));
    }

    fn lif_2_the_last_renewal_promises_the_cookie_no_longer_than_the_session_lives(database) {
        let site = roomy(database).start();
        let held = token(&site.member("ada@example.com").0);
        for _ in 0..4 {
            site.pass(6 * DAY);
            let left = renewed(&site, &held);
            if site.clock.now().since(crate::support::database::START) == 24 * DAY {
                assert_eq!(left.as_deref(), Some("518400"));
            }
        }
    }

    fn a_session_that_is_not_remembered_lives_a_day_and_is_never_renewed(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        let body = json!({ "email": "ada@example.com", "password": PASSWORD, "rememberMe": false });
        let mut by_json = site.stranger();
        by_json.post("/auth/sign-in/email", &body);
        let mut short = site.stranger();
        short.post("/auth/login", &json!({ "email": "ada@example.com", "password": PASSWORD, "remember": false }));
        let mut by_form = site.stranger();
        by_form.submit("/auth/sign-in", &[("email", "ada@example.com"), ("password", PASSWORD)]);
        let held = [token(&by_json), token(&short), token(&by_form)];
        for hours in [1, 12, 10] {
            site.pass(Duration::from_hours(hours));
            assert!(held.iter().all(|token| renewed(&site, token).is_none()));
        }
        site.pass(Duration::from_hours(1).saturating_sub(SECOND));
        assert!(held.iter().all(|token| opens(&site, token)));
        site.pass(SECOND);
        assert!(!held.iter().any(|token| opens(&site, token)));
    }

    fn lif_4_and_sess_2_a_signed_out_cookie_is_refused_on_the_very_next_request(database) {
        let site = roomy(database).set("listen", "workers = 4").start();
        let (mut ada, _) = site.member("ada@example.com");
        for at in ["sign-out", "logout"] {
            let held = token(&ada);
            assert!((0..40).all(|_| opens(&site, &held)), "warm on every worker");
            assert_eq!(ada.post(&format!("/auth/{at}"), &json!({})).status, 200);
            assert!(!(0..40).any(|_| opens(&site, &held)));
            ada.post("/auth/login", &credentials("ada@example.com"));
        }
        let held = token(&ada);
        assert!((0..40).all(|_| opens(&site, &held)));
        assert_eq!(ada.submit("/auth/sign-out", &[]).status, 303);
        assert!(!(0..40).any(|_| opens(&site, &held)));
        assert_eq!(rows(&site, "session"), 0);
    }

    fn a_session_that_was_removed_past_us_is_seen_to_be_gone_within_the_cache_age(database) {
        let site = roomy(database).start();
        let held = token(&site.member("ada@example.com").0);
        assert!(opens(&site, &held));
        site.block_on(site.database.execute(r#"DELETE FROM "session""#));
        site.pass(Duration::from_secs(30));
        assert!(!opens(&site, &held));
    }

    fn twenty_sign_outs_at_once_end_it_once(database) {
        let site = roomy(database).set("listen", "workers = 4").start();
        let held = token(&site.member("ada@example.com").0);
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| assert_eq!(holder(&site, &held).post("/auth/sign-out", &json!({})).status, 200));
            }
        });
        assert!(!opens(&site, &held));
        let log = site.block_on(site.database.texts(r#"SELECT "id" FROM "sidegate_auth_log" WHERE "action" = 'logout'"#));
        assert_eq!(log.len(), 1);
    }
}
