//! An identity provider on a port of its own: real HTTP, real keys. It checks what a real one checks, plays
//! the one that the test names, keeps what it was asked, and lies as it is told.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use sidegate::time::Clock;
use url::Url;

use crate::support::database::START;
use crate::support::raw::{self, Response};
use crate::support::upstream::{Arrived, Upstream};

mod keys;
mod kind;
mod lie;
mod serve;
mod token;

pub(crate) use self::keys::Alg;
pub(crate) use self::kind::{Kind, Persona, TENANT};
pub(crate) use self::lie::{Answer, Endpoint, Lie};

/// The id that the site has there.
pub(crate) const CLIENT: &str = "sidegate";
/// And its secret, which an URL cannot hold as it is.
pub(crate) const SECRET: &str = "a secret of+the client%/&=ü";

/// A running provider.
pub(crate) struct Provider {
    /// `http://127.0.0.1:PORT`
    pub(crate) origin: String,
    /// Whom it plays.
    pub(crate) kind: Kind,
    shared: Arc<Shared>,
    http: Upstream,
}

/// One request, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// What was asked for.
    pub(crate) endpoint: Endpoint,
    /// The request as it came.
    pub(crate) arrived: Arrived,
    /// Parameters of query and form.
    pub(crate) parameters: BTreeMap<String, String>,
}

struct Shared {
    kind: Kind,
    origin: Mutex<String>,
    state: Mutex<State>,
}

/// What changes.
struct State {
    clock: Clock,
    persona: Persona,
    lies: Vec<Lie>,
    alg: Alg,
    /// How often the keys were given new names.
    generation: u32,
    /// Redirect URIs, if the client registered any.
    registered: Vec<String>,
    /// Requests that a real provider would have refused, and why.
    complaints: Vec<String>,
    /// Whom the browser was signed in as, under its code, until the code is used.
    codes: HashMap<String, Grant>,
    /// The same under access tokens.
    access: HashMap<String, Grant>,
    asked: Vec<Asked>,
    /// The sessions that people have here, the latest last.
    sids: Vec<String>,
    count: u64,
}

/// What one authorization request came to.
#[derive(Clone)]
struct Grant {
    persona: Persona,
    redirect_uri: String,
    challenge: String,
    nonce: Option<String>,
    scope: String,
    sid: String,
    tenant: String,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn origin(&self) -> String {
        self.origin.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl State {
    /// Something that was never there before.
    fn fresh(&mut self, what: &str) -> String {
        self.count += 1;
        format!("{what}-{}-{}", self.count, sidegate::id::RowId::random().as_str())
    }

    /// Seconds since 1970, by the site's clock.
    fn now(&self) -> i64 {
        self.clock.now().millis().div_euclid(1000)
    }

    fn kid(&self, alg: Alg) -> String {
        format!("{}-{}", alg.key_name(), self.generation)
    }
}

impl Provider {
    /// OpenID Connect by the book, with Ada at the keyboard.
    pub(crate) fn start() -> Self {
        Self::playing(Kind::Oidc)
    }

    /// Somebody in particular.
    pub(crate) fn playing(kind: Kind) -> Self {
        let state = State {
            clock: Clock::fixed(START),
            persona: Persona::ada(),
            lies: Vec::new(),
            alg: Alg::Rs256,
            generation: 1,
            registered: Vec::new(),
            complaints: Vec::new(),
            codes: HashMap::new(),
            access: HashMap::new(),
            asked: Vec::new(),
            sids: Vec::new(),
            count: 0,
        };
        let shared = Arc::new(Shared { kind, origin: Mutex::default(), state: Mutex::new(state) });
        let served = Arc::clone(&shared);
        let http = Upstream::with(move |arrived, stream| serve::answer(&served, arrived, stream));
        let origin = format!("http://{}", http.address);
        shared.origin.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&origin);
        Self { origin, kind, shared, http }
    }

    /// Goes by the clock of the site.
    pub(crate) fn follow(&self, clock: &Clock) {
        self.shared.state().clock = clock.clone();
    }

    /// Takes these redirect URIs only; else all are taken.
    pub(crate) fn register(&self, redirect_uris: &[&str]) {
        self.shared.state().registered = redirect_uris.iter().map(|&uri| uri.to_owned()).collect();
    }

    /// Whoever comes from now on is this person.
    pub(crate) fn is_visited_by(&self, persona: Persona) {
        self.shared.state().persona = persona;
    }

    /// Signs in this way.
    pub(crate) fn signs_with(&self, alg: Alg) {
        self.shared.state().alg = alg;
    }

    /// Lies in this way too, from now on.
    pub(crate) fn lies(&self, lie: Lie) -> &Self {
        self.shared.state().lies.push(lie);
        self
    }

    /// Tells the truth again.
    pub(crate) fn repents(&self) {
        self.shared.state().lies.clear();
    }

    /// Publishes and uses keys under new names, and the old ones no more.
    pub(crate) fn rotates_keys(&self) {
        self.shared.state().generation += 1;
    }

    /// The issuer in its tokens.
    pub(crate) fn issuer(&self) -> String {
        self.kind.issuer(&self.origin, TENANT)
    }

    /// The URL of an endpoint.
    pub(crate) fn url(&self, endpoint: Endpoint) -> String {
        let path = self.kind.path(endpoint).unwrap_or_else(|| panic!("it has no {endpoint:?}"));
        format!("{}{}", self.origin, path.replace("{tenant}", TENANT))
    }

    /// What a real provider would have refused, in order.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.shared.state().complaints.clone()
    }

    /// Everything that was asked of an endpoint.
    pub(crate) fn asked(&self, endpoint: Endpoint) -> Vec<Asked> {
        self.shared.state().asked.iter().filter(|asked| asked.endpoint == endpoint).cloned().collect()
    }

    /// The latest that was asked of an endpoint.
    pub(crate) fn last(&self, endpoint: Endpoint) -> Asked {
        self.asked(endpoint).pop().unwrap_or_else(|| panic!("nothing was asked of {endpoint:?}"))
    }

    /// The session that the latest visitor has here.
    pub(crate) fn sid(&self) -> String {
        self.shared.state().sids.last().expect("somebody signed in").clone()
    }

    /// A logout token for a person's sessions, or one of them (OpenID Connect Back-Channel Logout §2.4),
    /// with these defects.
    pub(crate) fn logout_token(&self, subject: Option<&str>, sid: Option<&str>, lies: &[Lie]) -> String {
        token::logout_token(&self.shared, subject, sid, lies)
    }

    /// An ID token for somebody who did not come here, with these defects.
    pub(crate) fn id_token(&self, persona: &Persona, nonce: Option<&str>, lies: &[Lie]) -> String {
        token::stray_id_token(&self.shared, persona, nonce, lies)
    }

    /// What a browser with a person at it gets when it is sent here: the URL to which it is sent back. Panics
    /// if it is not.
    pub(crate) fn authorize(&self, url: &str) -> String {
        let response = self.visited(url);
        assert_eq!(response.status, 302, "{}", response.text());
        response.header("location").expect("a location").to_owned()
    }

    /// What a browser gets here.
    pub(crate) fn visited(&self, url: &str) -> Response {
        let url = Url::parse(url).expect("a URL");
        assert_eq!(url.origin().ascii_serialization(), self.origin, "{url} is not here");
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        raw::ask(self.http.address, format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.http.address))
    }

    /// The `[[providers]]` table with which a site knows it, and further lines of it.
    pub(crate) fn toml(&self, id: &str, lines: &str) -> String {
        let place = match self.kind {
            Kind::Oidc => format!("issuer = \"{}\"", self.origin),
            Kind::GitHub | Kind::Google | Kind::GitLab | Kind::Discord | Kind::Entra => {
                format!("base_url = \"{}\"", self.origin)
            }
        };
        let secret = Value::from(SECRET);
        format!(
            "[[providers]]\nid = \"{id}\"\nkind = \"{}\"\n{place}\nclient_id = \"{CLIENT}\"\n\
             client_secret = {secret}\n{lines}\n",
            self.kind.name()
        )
    }
}
