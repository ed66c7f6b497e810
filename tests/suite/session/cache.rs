//! The cache against the end of a session: once it is ended, nobody who asks from then on gets it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use sidegate::error::Fault;
use sidegate::id::{SessionId, UserId};
use sidegate::secret::{Purpose, RootSecret, Token, TokenHash};
use sidegate::session::Sessions;
use sidegate::session::cache::Cache;
use sidegate::session::memory::Recognised;
use sidegate::session::near::Near;
use sidegate::visitor::{Session, User};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::flow::{holder, roomy, token};
use crate::support::database::{START, on_both_databases};
use crate::support::raw::PATIENCE;
use crate::support::site::Site;

fn session(token: TokenHash) -> Session {
    let user = User {
        id: UserId::random(),
        name: "Ada".to_owned(),
        email: "ada@example.com".to_owned(),
        email_verified: false,
        image: None,
        created: START,
        updated: START,
    };
    Session {
        id: SessionId::random(),
        token,
        user,
        opened: START,
        renewed: START,
        expires: START.plus(Duration::from_hours(1)),
        remember: true,
        address: None,
        agent: None,
        fresh_until: START.plus(Duration::from_secs(30)),
        stale: AtomicBool::new(false),
        over: AtomicBool::new(false),
        renewing: AtomicBool::new(false),
        assertion: OnceLock::new(),
        grant: None,
    }
}

fn issue() -> Token {
    RootSecret::new(vec![1; 32]).expect("long enough").key(Purpose::SessionTag).issue()
}

fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::runtime::Handle::current().spawn(work)
}

/// Begins to ask for `token`, of which the store says `session` when the sender is used, and nothing when it
/// is asked again.
async fn begun(
    cache: &Arc<Cache>,
    token: TokenHash,
) -> (oneshot::Sender<Option<Session>>, JoinHandle<Option<Arc<Session>>>) {
    let (say, said) = oneshot::channel();
    let (ask, asked) = oneshot::channel();
    let own = Arc::clone(cache);
    let task = spawn(async move {
        let first = Mutex::new(Some((ask, said)));
        let load = || {
            let first = first.lock().expect("no panic").take();
            async move {
                let Some((ask, said)) = first else { return Ok(None) };
                let _ = ask.send(());
                Ok(said.await.expect("the store says something"))
            }
        };
        own.fetch(token, 0, load).await.expect("no fault")
    });
    asked.await.expect("the store is asked");
    (say, task)
}

#[tokio::test]
async fn an_answer_that_an_ending_overtook_is_neither_given_nor_kept() {
    let (cache, token) = (Arc::new(Cache::new(100)), issue().hash());
    let (say, task) = begun(&cache, token).await;
    cache.end(&token);
    let _ = say.send(Some(session(token)));
    assert!(task.await.expect("no panic").is_none());
    assert!(cache.get(&token, START).is_none());
}

#[tokio::test]
async fn who_asks_after_the_ending_does_not_wait_for_an_answer_from_before() {
    let (cache, token) = (Arc::new(Cache::new(100)), issue().hash());
    let (say, task) = begun(&cache, token).await;
    cache.end(&token);
    let later = timeout(PATIENCE, cache.fetch(token, 0, async || Ok(None))).await.expect("does not wait");
    assert!(later.expect("no fault").is_none());
    let _ = say.send(Some(session(token)));
    assert!(task.await.expect("no panic").is_none());
    assert!(cache.get(&token, START).is_none());
}

#[tokio::test]
async fn nobody_is_taken_for_signed_out_because_all_copies_were_dropped_meanwhile() {
    let (cache, token) = (Arc::new(Cache::new(100)), issue().hash());
    let asked = AtomicUsize::new(0);
    let load = || {
        // While the store is asked for the first time, everything is forgotten.
        if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            cache.clear();
        }
        async { Ok(Some(session(token))) }
    };
    assert!(cache.fetch(token, 0, load).await.expect("no fault").is_some());
    assert_eq!(asked.load(Ordering::SeqCst), 2, "the first answer may be out of date");
    assert!(cache.get(&token, START).is_some());
}

#[tokio::test]
async fn a_copy_that_is_made_under_settings_of_before_is_kept_by_nobody() {
    let (cache, token) = (Arc::new(Cache::new(100)), issue().hash());
    let asked = AtomicUsize::new(0);
    let load = || {
        // While the store is asked for the first time, other settings come to count.
        if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            cache.supersede(1);
        }
        async { Ok(Some(session(token))) }
    };
    assert!(cache.fetch(token, 0, load).await.expect("no fault").is_some(), "who asked is answered");
    assert!(cache.get(&token, START).is_none());
    let fresh = cache.fetch(token, 1, async || Ok(Some(session(token)))).await.expect("no fault");
    assert!(fresh.is_some() && cache.get(&token, START).is_some());
    assert!(
        cache.fetch(token, 0, async || Ok(None)).await.expect("no fault").is_none(),
        "it asks for itself"
    );
    assert!(cache.get(&token, START).is_some());
    cache.supersede(2);
    assert!(cache.get(&token, START).is_none(), "nor is one that was there");
}

#[test]
fn what_was_verified_before_all_was_forgotten_is_not_remembered_behind_it() {
    let site = Site::start();
    let sessions = &site.app.sessions;
    let text = format!("a.b.{}", "A".repeat(86));
    let (text, until) = (text.as_bytes(), START.plus(Duration::from_mins(5)));
    let knows = || sessions.vouched(&mut Near::default(), text, START).is_some();
    let carries = || sessions.carried(&mut Near::default(), text, START).is_some();
    for remembered in [false, true] {
        let epoch = sessions.cache.epoch();
        if !remembered {
            sessions.forget_all();
        }
        sessions.vouch(text, until, None, epoch);
        assert_eq!(knows(), remembered);
        sessions.keep_carried(text, session(issue().hash()), epoch).expect("it lives");
        assert_eq!(carries(), remembered);
    }
}

#[test]
fn who_works_under_settings_of_before_takes_nothing_from_memory_and_puts_nothing_there() {
    let site = Site::start();
    let (config, before) = (&site.app.config, &site.app.sessions);
    let latest = before.under(config.session, &config.secret, config.public.https, false);
    // What looks like an access token, and is said to have been verified.
    let text = format!("a.b.{}", "A".repeat(86));
    let (text, until) = (text.as_bytes(), START.plus(Duration::from_mins(5)));
    let knows = |sessions: &Sessions| sessions.vouched(&mut Near::default(), text, START).is_some();
    before.vouch(text, until, None, before.cache.epoch());
    assert!(knows(before));
    latest.take_over();
    assert!(!knows(&latest), "memory is emptied");
    before.vouch(text, until, None, before.cache.epoch());
    assert!(!knows(&latest), "nothing is put there");
    latest.vouch(text, until, None, latest.cache.epoch());
    assert!(knows(&latest) && !knows(before), "nothing is taken from there");
    // The same of a signed cookie, and of a session as the store gave it.
    let carries = |sessions: &Sessions| sessions.carried(&mut Near::default(), text, START).is_some();
    latest.keep_carried(text, session(issue().hash()), latest.cache.epoch()).expect("it lives");
    assert!(carries(&latest) && !carries(before));
    let held = token(&site.member("ada@example.com").0);
    let held = Token::parse(held.as_bytes()).expect("a token").hash();
    let remembers = |sessions: &Sessions| sessions.remembered(&held, START).is_some();
    assert!(site.block_on(before.fetch(held, START)).expect("the store answers").is_some());
    assert!(!remembers(&latest), "nothing is put there");
    assert!(site.block_on(latest.fetch(held, START)).expect("the store answers").is_some());
    assert!(remembers(&latest) && !remembers(before));
}

#[tokio::test]
async fn the_ending_of_another_session_does_not_matter() {
    let (cache, token) = (Arc::new(Cache::new(100)), issue().hash());
    let (say, task) = begun(&cache, token).await;
    cache.end(&issue().hash());
    let _ = say.send(Some(session(token)));
    assert!(task.await.expect("no panic").is_some());
    assert!(cache.get(&token, START).is_some());
}

#[tokio::test]
async fn all_who_ask_at_once_share_one_answer_also_if_it_is_a_fault() {
    let (cache, token) = (Arc::new(Cache::new(100)), issue().hash());
    for works in [false, true] {
        let questions = Arc::new(AtomicUsize::new(0));
        let all: Vec<_> = (0..50)
            .map(|_| {
                let (cache, questions) = (Arc::clone(&cache), Arc::clone(&questions));
                spawn(async move {
                    let load = async || {
                        questions.fetch_add(1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        if works { Ok(Some(session(token))) } else { Err(Fault::store("testing", "down")) }
                    };
                    cache.fetch(token, 0, load).await.is_ok_and(|found| found.is_some())
                })
            })
            .collect();
        for task in all {
            assert_eq!(task.await.expect("no panic"), works);
        }
        assert_eq!(questions.load(Ordering::SeqCst), 1, "{works}");
    }
}

#[tokio::test]
async fn a_workers_own_table_is_void_once_any_session_has_ended() {
    let (cache, token) = (Cache::new(100), issue().hash());
    let found =
        cache.fetch(token, 0, async || Ok(Some(session(token)))).await.expect("no fault").expect("there");
    let mut near = Near::default();
    let print = near.print(b"a token");
    assert!(near.get(print, START, cache.endings()).is_none());
    near.put(print, found);
    assert!(near.get(print, START, cache.endings()).is_some());
    assert!(near.get(near.print(b"another"), START, cache.endings()).is_none());
    // Another session, and this copy was not told: it may have left the shared cache a moment ago.
    cache.end(&issue().hash());
    assert!(near.get(print, START, cache.endings()).is_none());
}

/// Threads ask for one session over and over, with tables of their own, while another ends it.
fn revoked_while_asked(site: &Site) {
    let (mut ada, _) = site.member("ada@example.com");
    for round in 0..20 {
        let victim = token(&site.signed_in("ada@example.com").0);
        let ended = AtomicBool::new(false);
        let (before, after) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let sessions = &site.app.sessions;
                    let mut near = Near::default();
                    while after.load(Ordering::SeqCst) < 300 {
                        let was_ended = ended.load(Ordering::SeqCst);
                        let now = site.clock.now();
                        let found = match sessions.recognise(&mut near, victim.as_bytes(), now) {
                            Recognised::Known(_) => true,
                            Recognised::Gone | Recognised::Foreign => false,
                            Recognised::Ask(hash) => {
                                site.block_on(sessions.fetch(hash, now)).expect("the store answers").is_some()
                            }
                        };
                        assert!(!(was_ended && found), "round {round}: a revoked session was usable");
                        if was_ended { &after } else { &before }.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            // Copies go stale all the time, so that the store is asked all the time.
            scope.spawn(|| {
                while !ended.load(Ordering::SeqCst) {
                    site.pass(Duration::from_millis(2));
                    std::thread::yield_now();
                }
            });
            while before.load(Ordering::SeqCst) < 50 {
                std::thread::yield_now();
            }
            let body = serde_json::json!({});
            let done = ada.post("/auth/revoke-other-sessions", &body);
            ended.store(true, Ordering::SeqCst);
            assert_eq!(done.status, 200);
        });
        assert_eq!(holder(site, &victim).get("/app").status, 401);
    }
}

on_both_databases! {
    fn what_a_copy_that_memory_does_not_hold_opens_ends_with_its_session_as_well(database) {
        let site = roomy(database).start();
        let now = site.clock.now();
        let (mut ada, _) = site.member("ada@example.com");
        let held = Token::parse(token(&ada).as_bytes()).expect("a token");
        // Of a request that began under another configuration.
        let config = &site.app.config;
        let earlier = site.app.sessions.under(config.session, &config.secret, false, false);
        let copy = site.block_on(earlier.fetch(held.hash(), now)).expect("the store answers").expect("it lives");
        let before = earlier.live.open(&copy);
        assert!(!before.is_cut());
        assert_eq!(ada.post("/auth/sign-out", &serde_json::json!({})).status, 200);
        assert!(before.is_cut());
        assert!(earlier.live.open(&copy).is_cut(), "one that is opened in the same moment");
    }

    fn a_revoked_session_is_never_usable_after_the_revocation_was_answered(database) {
        revoked_while_asked(&roomy(database).set("session", "cache_age = \"1ms\"").start());
    }

    fn nor_when_the_cache_is_too_small_to_hold_anything(database) {
        let site = roomy(database).set("session", "cache_age = \"1ms\"\ncache_entries = 1").start();
        site.member("bob@example.com");
        revoked_while_asked(&site);
    }
}
