//! What does it cost to find out who is asking?
//!
//! ```text
//! cargo bench --bench recognise                     # nanoseconds
//! cargo bench --bench recognise -- --instructions   # user instructions, under valgrind
//! SIDEGATE_BENCH_POSTGRES=postgres://… cargo bench --bench recognise -- store
//! ```
//!
//! Keys are picked at random, so that a large cache pays for the memory that it touches. The measures of the
//! store are one question at a time with its way through the office's threads and back; the row is in the
//! database's memory.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sidegate::config::{Assertion, SessionCookie};
use sidegate::http::cookie::{self, Found};
use sidegate::id::SessionId;
use sidegate::secret::{Key, Purpose, RootSecret, Token, TokenHash};
use sidegate::session::Sessions;
use sidegate::session::bearer::Vouched;
use sidegate::session::cache::Cache;
use sidegate::session::memory::Recognised;
use sidegate::session::near::Near;
use sidegate::store::Store;
use sidegate::store::sessions::SessionRow;
use sidegate::time::Clock;
use sidegate::token::Tokens;
use tokio::runtime::{Builder, Runtime};

#[path = "support/database.rs"]
mod database;
#[path = "support/inputs.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod inputs;
#[path = "support/micro.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod micro;

use database::{Database, Kind};
use inputs::{NOW, headers, session, user};
use micro::Micro;

/// Rows that the measures of the store pick from, and tokens of those who open nothing.
const SOME: usize = 1_000;

fn main() {
    let micro = Micro::from_args();
    micro.measure("cookie scan of 4, print", || {
        let (headers, near) = (headers(&key(7).issue().reveal()), Near::default());
        move || match cookie::find(&headers, "sidegate") {
            Found::One(text) => near.print(text),
            Found::Nothing | Found::Conflict => panic!("the cookie is there"),
        }
    });
    micro.measure("recognise, hit in the worker's own table", || recognise(1));
    tokens_and_signed_cookies(&micro);
    micro.measure("Cache::get, 1 000 sessions", || shared(1_000));
    micro.measure("Cache::get, 100 000 sessions", || shared(100_000));
    micro.measure("recognise, 1 000 sessions", || recognise(1_000));
    micro.measure("recognise, 100 000 sessions", || recognise(100_000));
    micro.measure("refuse an invented token by its tag", || {
        let mut house = House::new(Kind::Sqlite);
        let tokens = tokens(&key(8), SOME);
        let mut random = Random(1);
        move || match house.recognise(random.pick(&tokens)) {
            Recognised::Foreign => {}
            _ => panic!("not refused"),
        }
    });
    micro.measure("refuse a token known to be gone", || {
        let mut house = House::new(Kind::Sqlite);
        let tokens = tokens(&key(7), SOME);
        for token in &tokens {
            assert!(!house.ask(token), "it opens something");
        }
        let mut random = Random(1);
        move || match house.recognise(random.pick(&tokens)) {
            Recognised::Gone => {}
            _ => panic!("it was forgotten that it is gone"),
        }
    });
    let asking = micro.across_threads(4_000);
    for kind in Kind::available() {
        asking.measure(&format!("miss, asks the store ({})", kind.name()), || {
            let house = House::new(kind);
            let tokens = tokens(&key(7), SOME);
            house.write(&tokens);
            let mut random = Random(1);
            move || assert!(house.ask(random.pick(&tokens)), "the store has it")
        });
    }
}

/// What is signed: carried by clients, or made for the app.
fn tokens_and_signed_cookies(micro: &Micro) {
    micro.measure("access token, hit in the worker's own table", || vouched(1));
    micro.measure("access token, 1 000 of as many sessions", || vouched(1_000));
    micro.measure("signed cookie, hit in the worker's own table", || carried(1));
    micro.measure("signed cookie, 1 000 of as many sessions", || carried(1_000));
    micro.measure("signed cookie, first sight: verified", || {
        let (house, tokens) = House::with_tokens(Kind::Sqlite);
        let session = session(TokenHash([7; 32]));
        let text = tokens.cookie(&session, &session.user, session.token, NOW).expect("a cookie").token;
        move || {
            let _house = &house;
            assert!(tokens.cookie_opens(text.as_bytes(), NOW).is_some(), "it is good");
        }
    });
    micro.measure("access token, first sight: verified", || {
        let (house, tokens) = House::with_tokens(Kind::Sqlite);
        let text = tokens.access(&session(TokenHash([7; 32])), NOW).expect("a token").token;
        move || {
            let _house = &house;
            assert!(tokens.verify(text.as_bytes(), NOW).is_some(), "it is good");
        }
    });
    micro.measure("access token, made", || {
        let (house, tokens) = House::with_tokens(Kind::Sqlite);
        let session = session(TokenHash([7; 32]));
        move || {
            let _house = &house;
            assert!(tokens.access(&session, NOW).is_ok(), "it is made");
        }
    });
    micro.measure("assertion, made once for each copy of a session", || {
        let (house, tokens) = House::with_tokens(Kind::Sqlite);
        let mut session = Arc::into_inner(session(TokenHash([7; 32]))).expect("the only one");
        move || {
            let _house = &house;
            session.assertion = OnceLock::new();
            assert!(tokens.assert(&session, NOW).is_ok(), "it is made");
        }
    });
    micro.measure("assertion, there already", || {
        let (house, tokens) = House::with_tokens(Kind::Sqlite);
        let session = session(TokenHash([7; 32]));
        move || {
            let _house = &house;
            assert!(tokens.assert(&session, NOW).is_ok(), "it is there");
        }
    });
}

/// A key for tags; houses have number 7.
fn key(number: u8) -> Key {
    secret(number).key(Purpose::SessionTag)
}

fn secret(number: u8) -> RootSecret {
    RootSecret::new(vec![number; 32]).expect("long enough")
}

fn tokens(key: &Key, count: usize) -> Vec<Token> {
    (0..count).map(|_| key.issue()).collect()
}

/// Recognition among this many cached sessions, each as likely as the others.
fn recognise(count: usize) -> impl FnMut() {
    let mut house = House::new(Kind::Sqlite);
    let tokens = tokens(&key(7), count);
    for token in &tokens {
        house.office.block_on(keep(&house.sessions.cache, token.hash()));
    }
    let mut random = Random(1);
    move || match house.recognise(random.pick(&tokens)) {
        Recognised::Known(_) => {}
        _ => panic!("not cached"),
    }
}

/// The same for as many access tokens.
fn vouched(count: usize) -> impl FnMut() {
    let (mut house, tokens) = House::with_tokens(Kind::Sqlite);
    let keys: Vec<_> = self::tokens(&key(7), count).iter().map(Token::hash).collect();
    let texts: Vec<String> = keys
        .iter()
        .map(|key| {
            let given = async || Ok(Some(Arc::into_inner(session(*key)).expect("the only one")));
            let found = house.office.block_on(house.sessions.cache.fetch(*key, 0, given)).expect("kept");
            let session = found.expect("kept");
            let text = tokens.access(&session, NOW).expect("a token").token;
            let epoch = house.sessions.cache.epoch();
            house.sessions.vouch(text.as_bytes(), session.expires, Some(session), epoch);
            text
        })
        .collect();
    let mut random = Random(1);
    move || match house.sessions.vouched(&mut house.near, random.pick(&texts).as_bytes(), NOW) {
        Some(Vouched::Opens(_)) => {}
        Some(Vouched::Verified(..) | Vouched::Over) | None => panic!("not cached"),
    }
}

/// The same for as many signed cookies, found among the cookies of a request.
fn carried(count: usize) -> impl FnMut() {
    let (mut house, tokens) = House::with_tokens(Kind::Sqlite);
    let requests: Vec<_> = self::tokens(&key(7), count)
        .iter()
        .map(|token| {
            let session = session(token.hash());
            let text = tokens.cookie(&session, &session.user, session.token, NOW).expect("a cookie").token;
            let opened = tokens.cookie_opens(text.as_bytes(), NOW).expect("it is good");
            let epoch = house.sessions.cache.epoch();
            assert!(house.sessions.keep_carried(text.as_bytes(), opened, epoch).is_some(), "kept");
            headers(&text)
        })
        .collect();
    let mut random = Random(1);
    move || match cookie::find(random.pick(&requests), "sidegate") {
        Found::One(text) => {
            assert!(house.sessions.carried(&mut house.near, text, NOW).is_some(), "not kept");
        }
        Found::Nothing | Found::Conflict => panic!("the cookie is there"),
    }
}

/// Puts a session into the cache as if the store had given it.
async fn keep(cache: &Cache, token: TokenHash) {
    let given = async || Ok(Some(Arc::into_inner(session(token)).expect("the only one")));
    assert!(cache.fetch(token, 0, given).await.is_ok_and(|found| found.is_some()), "kept");
}

/// The shared cache alone.
fn shared(count: usize) -> impl FnMut() {
    let cache = Cache::new(2 * count as u64);
    let hashes: Vec<_> = tokens(&key(7), count).iter().map(Token::hash).collect();
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    for hash in &hashes {
        runtime.block_on(keep(&cache, *hash));
    }
    let mut random = Random(1);
    move || assert!(cache.get(random.pick(&hashes), NOW).is_some(), "not cached")
}

/// Sessions over a store, and the office that asks it.
struct House {
    office: Runtime,
    store: Store,
    sessions: Arc<Sessions>,
    near: Near,
    _database: Database,
}

impl House {
    fn new(kind: Kind) -> Self {
        let office = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let database = kind.create();
        let store = office
            .block_on(Store::open(&database.config(8), &Clock::fixed(NOW)))
            .unwrap_or_else(|fault| panic!("{fault}"));
        let mut limits = inputs::config().session;
        // None is to be evicted while it is looked for.
        limits.cache_entries = 200_000;
        // With what signed cookies need besides.
        limits.cookie = SessionCookie::Jwt;
        let sessions = Arc::new(Sessions::new(store.clone(), limits, &secret(7), false));
        Self { office, store, sessions, near: Near::default(), _database: database }
    }

    /// A house with a key that signs, and assertions switched on.
    fn with_tokens(kind: Kind) -> (Self, Tokens) {
        let house = Self::new(kind);
        let mut config = inputs::config();
        let (header, audience) = ("x-sidegate-assertion".to_owned(), "http://127.0.0.1:3000".to_owned());
        config.identity.assertion = Some(Assertion { header, lifetime: Duration::from_mins(5), audience });
        let tokens = Tokens::new(house.store.clone(), &config);
        house.office.block_on(tokens.start(NOW)).unwrap_or_else(|fault| panic!("{fault}"));
        (house, tokens)
    }

    fn recognise(&mut self, token: &Token) -> Recognised {
        self.sessions.recognise(&mut self.near, token.as_bytes(), NOW)
    }

    /// As a worker asks: the office does it, the worker waits.
    fn ask(&self, token: &Token) -> bool {
        let (sessions, hash) = (Arc::clone(&self.sessions), token.hash());
        let asked = self.office.spawn(async move { sessions.fetch(hash, NOW).await });
        let found = self.office.block_on(asked).expect("the office does not panic");
        found.unwrap_or_else(|fault| panic!("{fault}")).is_some()
    }

    /// Opens a session for each token.
    fn write(&self, tokens: &[Token]) {
        let written = self.office.block_on(async {
            let mut tx = self.store.begin().await?;
            tx.user_insert(&user()).await?;
            for token in tokens {
                tx.session_insert(&SessionRow {
                    id: SessionId::random(),
                    token: token.hash(),
                    user: user(),
                    opened: NOW,
                    renewed: NOW,
                    expires: session(token.hash()).expires,
                    remember: true,
                    address: Some("192.0.2.1".to_owned()),
                    agent: None,
                })
                .await?;
            }
            tx.commit().await
        });
        written.unwrap_or_else(|fault| panic!("{fault}"));
    }
}

/// Picks evenly and cheaply (xorshift64).
struct Random(u64);

impl Random {
    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let at = self.0 % from.len() as u64;
        &from[usize::try_from(at).unwrap_or(0)]
    }
}
