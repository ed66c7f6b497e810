//! Many requests with one expired cookie: one exchange, and nobody is signed out by being late (TK-4, TK-7, TK-8).

use std::collections::HashSet;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::{LIFETIME, copy, generations, gives_both, pair, signed, takes_both};
use crate::support::database::on_both_databases;
use crate::support::journal;
use crate::support::raw::Raw;
use crate::support::site::Site;
use crate::support::upstream::{Upstream, ok};
use crate::support::visitor::Visitor;

fn race(sites: &[&Site], ada: &Visitor) {
    for site in sites {
        site.pass(LIFETIME);
    }
    let mut browsers: Vec<Visitor> = (0..50).map(|number| copy(sites[number % sites.len()], ada)).collect();
    std::thread::scope(|scope| {
        for browser in &mut browsers {
            scope.spawn(move || {
                let response = browser.get("/app");
                assert_eq!(response.status, 200, "{}", response.text());
                gives_both(&response);
            });
        }
    });
    let successors: HashSet<&String> =
        browsers.iter().map(|browser| &browser.cookies["sidegate-refresh"]).collect();
    assert_eq!(successors.len(), 1, "one successor");
    assert_eq!(generations(sites[0]), ["1"], "one exchange");
    assert_eq!(sites.iter().map(|site| site.upstream.arrived().len()).sum::<usize>(), 50);
    for site in sites {
        for browser in &browsers[..4] {
            assert!(copy(site, browser).get("/app").all("set-cookie").is_empty(), "all are good everywhere");
        }
        site.pass(LIFETIME);
    }
    let next = copy(sites[0], &browsers[49]).get("/app");
    assert_eq!(next.status, 200);
    gives_both(&next);
}

on_both_databases! {
    fn tk_4_of_fifty_requests_with_an_expired_cookie_nobody_is_signed_out_and_there_is_one_exchange(database) {
        let site = signed(database).start();
        let ada = site.member("ada@example.com").0;
        race(&[&site], &ada);
    }

    fn tk_7_within_the_grace_the_old_cookies_give_the_same_successor(database) {
        let site = signed(database).start();
        let mut ada = site.member("ada@example.com").0;
        site.pass(LIFETIME);
        let unheard = copy(&site, &ada);
        ada.get("/app");
        site.pass(Duration::from_secs(30));
        let mut late = copy(&site, &unheard);
        let response = late.get("/app");
        assert_eq!(response.status, 200);
        gives_both(&response);
        assert_eq!(late.cookies["sidegate-refresh"], ada.cookies["sidegate-refresh"]);
        assert_eq!(generations(&site), ["1"]);
    }

    fn tk_5_outside_the_grace_old_cookies_end_the_family_and_the_session(database) {
        let site = signed(database).start();
        let mut ada = site.member("ada@example.com").0;
        let sessions = crate::flow::rows(&site, "session");
        site.pass(LIFETIME);
        let mut thief = copy(&site, &ada);
        ada.get("/app");
        assert_eq!(ada.get("/app").status, 200);
        site.pass(Duration::from_millis(30_001));
        let replay = thief.get("/app");
        assert_eq!(replay.status, 401);
        takes_both(&replay);
        let ended = ada.get("/app");
        assert_eq!(ended.status, 401, "although the cookie was good");
        takes_both(&ended);
        assert_eq!((crate::flow::rows(&site, "session"), generations(&site).len()), (sessions - 1, sessions - 1));
        let logged = site.block_on(site.database.texts(
            r#"SELECT "action" || ' ' || "error" FROM "sidegate_auth_log" WHERE "error" IS NOT NULL"#));
        assert_eq!(logged, ["revoke REFRESH_TOKEN_REUSED"]);
        assert!(journal::mentions("a refresh token was used a second time"));
    }

    fn rl_10_a_browser_that_asks_for_more_and_more_keeps_the_refresh_cookie_that_it_has(database) {
        let site = signed(database).start();
        let mut ada = site.member("ada@example.com").0;
        for _ in 0..60 {
            ada.cookies.remove("sidegate");
            gives_both(&ada.get("/app"));
        }
        let family = generations(&site);
        for _ in 0..2 {
            ada.cookies.remove("sidegate");
            let response = ada.get("/app");
            assert_eq!(response.status, 200, "nobody is signed out by it");
            let names: Vec<_> = response.all("set-cookie").iter().filter_map(|line| line.split('=').next()).collect();
            assert_eq!(names, ["sidegate"]);
        }
        assert_eq!(generations(&site), family, "and nothing is written");
        assert!(ada.get("/app").all("set-cookie").is_empty(), "the new cookie is good");
        site.pass(LIFETIME);
        gives_both(&ada.get("/app"));
    }

    fn tk_8_an_app_that_takes_longer_than_the_grace_signs_nobody_out(database) {
        let (open, gate) = channel::<()>();
        let gate = Mutex::new(gate);
        let upstream = Upstream::with(move |arrived, stream| {
            if arrived.line.contains("/slow") {
                gate.lock().expect("no panic").recv().expect("it is let go");
            }
            let _ = stream.write_all(ok("hello").as_bytes());
        });
        let site = signed(database).upstream(upstream).start();
        let ada = site.member("ada@example.com").0;
        site.pass(LIFETIME);
        let mut slow = Raw::connect(site.address);
        slow.send(copy(&site, &ada).ask("GET", "/slow").bytes());
        while site.upstream.arrived().is_empty() {
            std::thread::yield_now();
        }
        site.pass(Duration::from_mins(1));
        let mut meanwhile = copy(&site, &ada);
        let response = meanwhile.get("/app");
        assert_eq!(response.status, 200, "it could not know");
        gives_both(&response);
        open.send(()).expect("it waits");
        let answer = slow.answer();
        assert_eq!(answer.status, 200);
        gives_both(&answer);
        let mut crossed = copy(&site, &ada);
        assert_eq!(crossed.get("/app").status, 200, "sent before the answer came");
        assert_eq!(crossed.cookies["sidegate-refresh"], meanwhile.cookies["sidegate-refresh"]);
        site.pass(Duration::from_secs(31));
        assert_eq!(copy(&site, &ada).get("/app").status, 401, "and then it is a replay");
    }
}

#[test]
fn tk_4_of_fifty_at_two_replicas_nobody_is_signed_out() {
    let (one, two) = pair();
    let ada = one.member("ada@example.com").0;
    race(&[&one, &two], &ada);
}
