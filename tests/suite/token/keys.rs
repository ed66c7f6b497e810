//! Signing keys: made once, shared, replaced, taken back (TK-12).

use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sidegate::jobs::Jobs;
use sidegate::metrics::Job;
use sidegate::token::{Change, Tokens};

use super::{SECRET, Stolen, access_of, bear, jwks, member, opens, pair, parts, plan};
use crate::support::database::{Database, on_both_databases};
use crate::support::letters::later;
use crate::support::site::Site;

const LEAD: Duration = Duration::from_mins(10);

fn kid(token: &str) -> String {
    parts(token).0["kid"].as_str().expect("a name").to_owned()
}

fn published(site: &Site) -> Vec<String> {
    jwks(site).iter().map(|key| key["kid"].as_str().expect("a name").to_owned()).collect()
}

/// What the job does once a minute.
fn tend(site: &Site) -> Change {
    let tended = site.block_on(site.app.tokens.tend(site.clock.now()));
    tended.unwrap_or_else(|fault| panic!("{fault}"))
}

/// Somebody with a new account, and an access token that has opened the app.
fn known(site: &Site, name: &str) -> String {
    let (ada, _) = site.member(&format!("{}@example.com", name.replace(' ', ".")));
    let token = access_of(site, &ada);
    assert!(opens(site, &token));
    token
}

/// The keys of a site as another process on the same database has them.
fn other_process(site: &Site) -> Tokens {
    let tokens = Tokens::new(site.app.store.clone(), &site.app.config);
    site.block_on(tokens.start(site.clock.now())).unwrap_or_else(|fault| panic!("{fault}"));
    tokens
}

on_both_databases! {
    fn one_key_is_made_at_the_first_start_and_kept(database) {
        let site = plan(database).start();
        let keys = published(&site);
        assert_eq!(keys.len(), 1);
        for _ in 0..2 {
            assert!(other_process(&site).ring().keys().map(|key| key.id().to_string()).eq(keys.clone()));
        }
        assert_eq!(tend(&site), Change::Nothing);
        assert_eq!(published(&site), keys);
    }

    fn many_that_start_together_agree_on_one(database) {
        let site = plan(database).start();
        site.block_on(site.database.execute(r#"DELETE FROM "sidegate_signing_key""#));
        let started: Vec<Vec<String>> = std::thread::scope(|scope| {
            let start = || other_process(&site).ring().keys().map(|key| key.id().to_string()).collect();
            let all: Vec<_> = (0..10).map(|_| scope.spawn(start)).collect();
            all.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(started[0].len(), 1);
        assert!(started.iter().all(|keys| *keys == started[0]), "{started:?}");
    }

    fn what_is_stored_does_not_sign_without_the_root_secret(database) {
        let site = plan(database).start();
        let stolen = Stolen::from(&site);
        let private = stolen.pair.to_bytes().expect("bytes");
        let dump = site.block_on(site.database.dump());
        for window in private.windows(24) {
            let text = URL_SAFE_NO_PAD.encode(window);
            assert!(!dump.contains(&text) && !dump.as_bytes().windows(24).any(|bytes| bytes == window));
        }
        let other = Tokens::new(site.app.store.clone(), &Site::start().app.config);
        site.block_on(other.reload(site.clock.now())).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(other.ring().keys().count(), 0);
    }

    fn tk_12_a_key_is_replaced_on_schedule_and_no_token_dies_of_it(database) {
        let site = plan(database).start();
        let (ada, _, _) = member(&site);
        let old = published(&site);
        site.pass(Duration::from_hours(24 * 30) - Duration::from_secs(1));
        tend(&site);
        assert_eq!(published(&site), old, "it is not time yet");
        site.pass(Duration::from_secs(1));
        let (ada, _) = { drop(ada); site.signed_in("ada@example.com") };
        tend(&site);
        assert_eq!(published(&site).len(), 2, "the new one is known before it signs");
        let token = access_of(&site, &ada);
        assert_eq!(kid(&token), old[0]);
        site.pass(LEAD);
        tend(&site);
        let newer = access_of(&site, &ada);
        assert_ne!(kid(&newer), old[0]);
        assert!(opens(&site, &token) && opens(&site, &newer));
        site.pass(Duration::from_secs(7199));
        assert!(published(&site).contains(&old[0]));
        site.pass(Duration::from_secs(1));
        assert_eq!(published(&site), [kid(&newer)]);
        assert_eq!(tend(&site), Change::Gone);
        assert_eq!(crate::flow::rows(&site, "sidegate_signing_key"), 1);
    }

    fn a_job_tends_to_it(database) {
        let site = plan(database).start();
        site.pass(Duration::from_hours(24 * 30));
        let _again = Jobs::start(&site.app);
        crate::jobs::eventually("there is a new key", || published(&site).len() == 2);
    }

    fn a_key_that_others_got_hold_of_is_taken_back_at_once(database) {
        let site = plan(database).start();
        let (ada, _, token) = member(&site);
        assert!(opens(&site, &token));
        let rotated = site.block_on(other_process(&site).rotate(site.clock.now(), true));
        assert!(rotated.unwrap_or_else(|fault| panic!("{fault}")).is_some());
        let _again = Jobs::start(&site.app);
        crate::jobs::eventually("what it signed is refused", || bear(&site, "/app", &token).status == 401);
        assert_eq!(published(&site).len(), 1);
        assert!(opens(&site, &access_of(&site, &ada)), "the session lives");
    }

    fn a_token_that_memory_knows_is_held_against_the_keys_when_its_session_is_asked_for_anew(database) {
        let site = plan(database).start();
        let (_, _, token) = member(&site);
        assert!(opens(&site, &token));
        let (other, now) = (other_process(&site), site.clock.now());
        site.block_on(async {
            other.rotate(now, true).await?;
            // Memory is not emptied: whoever does that comes a moment later.
            site.app.tokens.reload(now).await
        })
        .unwrap_or_else(|fault| panic!("{fault}"));
        later(&site, Duration::from_mins(1));
        assert_eq!(bear(&site, "/app", &token).status, 401);
    }

    fn a_key_that_was_taken_back_and_is_gone_from_the_store_is_missed_by_whatever_reads_the_keys_first(database) {
        let site = plan(database).start();
        for by in ["the job", "a start", "another key"] {
            let token = known(&site, by);
            let other = other_process(&site);
            let now = site.clock.now();
            site.block_on(async {
                other.rotate(now, true).await?;
                // It removes what has retired.
                other.tend(now).await?;
                match by {
                    "a start" => site.app.tokens.start(now).await.map(drop),
                    "another key" => site.app.tokens.rotate(now, false).await.map(drop),
                    _ => Ok(()),
                }
            })
            .unwrap_or_else(|fault| panic!("{fault}"));
            let _again = Jobs::start(&site.app);
            crate::jobs::eventually(by, || bear(&site, "/app", &token).status == 401);
        }
    }

    fn a_job_that_begins_again_makes_no_key_because_another_replica_makes_those_of_another_kind(database) {
        let site = plan(database).start();
        let modern = Site::on(Database::sqlite()).secret(SECRET).set("tokens", "algorithm = \"ES256\"").start();
        let tokens = Tokens::new(site.app.store.clone(), &modern.app.config);
        site.block_on(tokens.start(site.clock.now())).unwrap_or_else(|fault| panic!("{fault}"));
        let runs = || site.app.metrics.job(Job::Keys).runs.get();
        let before = runs();
        let _again = Jobs::start(&site.app);
        crate::jobs::eventually("it has run", || runs() > before);
        assert_eq!(crate::flow::rows(&site, "sidegate_signing_key"), 2);
    }

    fn another_algorithm_makes_a_new_key_and_the_old_one_is_still_believed(database) {
        let site = plan(database).start();
        let (_, _, token) = member(&site);
        let modern = Site::on(Database::sqlite()).secret(SECRET).set("tokens", "algorithm = \"ES256\"").start();
        let tokens = Tokens::new(site.app.store.clone(), &modern.app.config);
        site.block_on(tokens.start(site.clock.now())).unwrap_or_else(|fault| panic!("{fault}"));
        tend(&site);
        let algorithms: Vec<_> = jwks(&site).iter().map(|key| key["alg"].clone()).collect();
        assert_eq!(algorithms, ["ES256", "EdDSA"]);
        assert!(opens(&site, &token));
    }

    fn the_public_keys_are_published_at_two_places_and_may_be_kept(database) {
        let site = plan(database).start();
        let first = site.stranger().get("/auth/jwks");
        assert_eq!(first.status, 200);
        assert_eq!(first.header("content-type"), Some("application/json"));
        assert_eq!(first.header("cache-control"), Some("public, max-age=300"));
        assert!(first.all("set-cookie").is_empty());
        assert_eq!(site.stranger().get("/auth/.well-known/jwks.json").body, first.body);
        let key = &first.json()["keys"][0];
        let members: Vec<&String> = key.as_object().expect("a key").keys().collect();
        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x"], "nothing private");
        assert_eq!(site.stranger().ask("POST", "/auth/jwks").body("").send().status, 405);
    }
}

#[test]
fn replicas_share_their_keys_and_learn_of_new_ones_when_they_meet_them() {
    let (one, two) = pair();
    assert_eq!(published(&one), published(&two));
    let (ada, id) = one.member("ada@example.com");
    assert!(opens(&two, &access_of(&one, &ada)));
    assert_eq!(two.upstream.last().header("x-user-id"), Some(&*id));
    let rotated = one.block_on(one.app.tokens.rotate(one.clock.now(), true));
    assert!(rotated.unwrap_or_else(|fault| panic!("{fault}")).is_some());
    let token = access_of(&one, &ada);
    assert!(!opens(&two, &token), "it has just looked");
    two.pass(Duration::from_secs(10));
    assert!(opens(&two, &token));
    assert_eq!(published(&one), published(&two));
}

#[test]
fn two_replicas_that_replace_a_key_together_make_one() {
    let (one, two) = pair();
    for site in [&one, &two] {
        site.pass(Duration::from_hours(24 * 30));
    }
    std::thread::scope(|scope| {
        let tend = |site| scope.spawn(move || tend(site));
        let all: Vec<_> = (0..5).flat_map(|_| [tend(&one), tend(&two)]).collect();
        for thread in all {
            thread.join().expect("no panic");
        }
    });
    assert_eq!(crate::flow::rows(&one, "sidegate_signing_key"), 2);
}

#[test]
fn with_another_root_secret_nothing_that_was_signed_is_believed() {
    let database = Database::postgres();
    let other = database.shared();
    let one = plan(database).start();
    let two = crate::flow::roomy(other).secret("another secret that is long enough too").start();
    let (_, _, token) = member(&one);
    assert!(opens(&one, &token) && !opens(&two, &token));
    assert_eq!(published(&two).len(), 1);
    assert_ne!(published(&one), published(&two));
}

#[test]
fn the_command_line_shows_keys_and_replaces_them() {
    let home = tempfile::tempdir().expect("a directory");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_sidegate"))
            .args(arguments)
            .args(["--upstream", "http://127.0.0.1:3000"])
            .env_clear()
            .env("SIDEGATE_SECRET", SECRET)
            .current_dir(home.path())
            .output()
            .expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(run(&["keys", "list"]).contains("no key signs yet"));
    let first = run(&["keys", "rotate"]);
    assert!(first.lines().count() == 1 && first.contains("EdDSA  signs"), "{first}");
    let second = run(&["keys", "rotate"]);
    assert!(second.lines().count() == 2 && second.contains("waits") && second.contains("signs"), "{second}");
    assert_eq!(run(&["keys", "list"]), second);
    let third = run(&["keys", "rotate", "--at-once"]);
    assert!(third.lines().count() == 1 && third.contains("signs"), "{third}");
    assert!(!second.contains(third.split(' ').next().expect("a name")), "{third}");
}
