//! What the benchmarks of single functions work on: a browser's request, a session, rules, a configuration.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sidegate::config::rule::{Access, Rule};
use sidegate::config::{self, Config, Flags, NewSecret, Sources};
use sidegate::gate::rules::Rules;
use sidegate::gate::{self, Pass, Verdict};
use sidegate::http::client::Peer;
use sidegate::http::fields::Fields;
use sidegate::http::path::Path;
use sidegate::http::visit::{Credential, Visit};
use sidegate::id::{RequestId, SessionId, UserId};
use sidegate::pattern::{Pattern, Segment};
use sidegate::secret::TokenHash;
use sidegate::time::Now;
use sidegate::visitor::{Session, User, Visitor};

/// When it all happens.
pub(crate) const NOW: Now = Now::from_millis(1_767_323_045_678);

/// The user of every session: an id as new ones look.
pub(crate) const USER: &str = "0b0f1c52-6a7e-4d55-9b1c-2f6f3a4d8e90";

/// The defaults, in front of some app.
pub(crate) fn config() -> Config {
    let sources = Sources {
        file: None,
        env: Vec::new(),
        flags: Flags { upstream: Some("http://127.0.0.1:3000".to_owned()), ..Flags::default() },
        new_secret: NewSecret::Leave,
    };
    config::load(&sources).unwrap_or_else(|problems| panic!("{problems}"))
}

/// This many public sections, `/section0/**` and so on, of a site whose own endpoints are under `/auth`.
pub(crate) fn rules(count: usize) -> Rules {
    let rule = |number| Rule {
        pattern: Pattern(vec![Segment::Literal(format!("section{number}")), Segment::Rest]),
        methods: Vec::new(),
        access: Access::Public,
        name: None,
    };
    Rules {
        forward_auth: false,
        mounts: vec!["/auth".to_owned()],
        rules: (0..count).map(rule).collect(),
        hide_existence: false,
        origin: "http://127.0.0.1:8080".to_owned(),
        origins: vec!["http://127.0.0.1:8080".to_owned()],
        cross_site_writes: false,
        capitals: false,
    }
}

/// The one user.
pub(crate) fn user() -> User {
    User {
        id: UserId::parse(USER).expect("an id"),
        name: "Ada Lovelace".to_owned(),
        email: "ada@example.com".to_owned(),
        email_verified: true,
        image: None,
        created: NOW,
        updated: NOW,
    }
}

/// A session that is good for as long as anything is measured.
pub(crate) fn session(token: TokenHash) -> Arc<Session> {
    Arc::new(Session {
        id: SessionId::random(),
        token,
        user: user(),
        opened: NOW,
        renewed: NOW,
        expires: NOW.plus(Duration::from_hours(168)),
        remember: true,
        address: Some("192.0.2.1".to_owned()),
        agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".to_owned()),
        fresh_until: NOW.plus(Duration::from_hours(168)),
        stale: AtomicBool::new(false),
        over: AtomicBool::new(false),
        renewing: AtomicBool::new(false),
        assertion: OnceLock::new(),
        grant: None,
    })
}

/// The twelve header fields of a browser's navigation, with four cookies, ours the third.
pub(crate) fn headers(token: &str) -> Fields {
    let cookies = format!("theme=dark; _ga=GA1.1.1234567890.1700000000; sidegate={token}; lang=en-GB");
    let fields = [
        ("host", "127.0.0.1:8080"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("referer", "http://127.0.0.1:8080/projects/42"),
        ("cookie", &cookies),
        ("upgrade-insecure-requests", "1"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-user", "?1"),
    ];
    let field =
        |(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a field value"));
    Fields::from(&fields.map(field).into_iter().collect::<HeaderMap>())
}

/// A target as the HTTP parser hands it over.
pub(crate) fn target(text: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(text)
}

/// A browser's GET.
pub(crate) fn visit(target: PathAndQuery, visitor: Visitor) -> Visit {
    let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let credential = match &visitor {
        Visitor::Known(_) => Credential::Cookie,
        Visitor::Stranger | Visitor::Pending(_) | Visitor::Unsure => Credential::None,
    };
    Visit {
        id: RequestId::next(),
        now: NOW,
        peer: Peer::new((peer, 0).into(), &[]),
        client: peer,
        upgrade: None,
        method: Method::GET,
        path: Path::parse(target).expect("a path that is not refused"),
        headers: headers(&"A".repeat(54)),
        visitor,
        credential,
        trace: None,
        body: Bytes::new(),
    }
}

/// A visitor with a session.
pub(crate) fn known() -> Visitor {
    Visitor::Known(session(TokenHash([7; 32])))
}

/// The permit that the gate gives for this visit.
pub(crate) fn pass(rules: &Rules, visit: &Visit) -> Pass {
    match gate::decide(rules, visit).verdict {
        Verdict::Forward(pass) => pass,
        Verdict::Ours(_) | Verdict::AskToSignIn | Verdict::AskForCode | Verdict::Refuse(_) => {
            panic!("not forwarded")
        }
    }
}
