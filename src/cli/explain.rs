//! `sidegate explain`: what would be done with a request under this configuration, why, and what the app
//! would get.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use clap::Args;
use http::header::{HOST, ORIGIN};
use http::{Method, Request, StatusCode, Uri};

use super::{Failure, Settings};
use crate::app;
use crate::config::rule::Access;
use crate::config::{Config, NewSecret};
use crate::gate::rules::{Owner, Reader, Reason, Rules};
use crate::gate::{self, Decision, Verdict, endpoint};
use crate::http::client::Peer;
use crate::http::visit::{Credential, Visit};
use crate::id::{RequestId, SessionId, UserId};
use crate::proxy::headers::{Framing, HeadWriter};
use crate::refusal::Refusal;
use crate::secret::TokenHash;
use crate::server::read::{self, Head};
use crate::time::{Clock, Now};
use crate::visitor::{Session, User, Visitor};

/// The request in question.
#[derive(Args)]
pub(crate) struct Question {
    /// GET, POST, …
    method: String,
    /// A path with its query, or a whole URL; not changed in any way.
    url: String,
    /// The id of a user who is taken as signed in.
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// Prints the answer. The request is taken as one that this machine sends for a page of the site itself.
pub(super) fn run(question: &Question) -> Result<(), Failure> {
    let config = question.settings.load(NewSecret::Leave)?;
    let usage = |what: &str| Failure::Usage(what.to_owned());
    let method = Method::from_bytes(question.method.as_bytes())
        .map_err(|_| usage("METHOD is not a method: write GET, POST, …"))?;
    let user = question.user.as_deref().map(|user| {
        UserId::parse(user).ok_or_else(|| usage("--as is not a user id: 1 to 64 of A-Z a-z 0-9 _ -"))
    });
    let (host, target) = parted(&question.url, &config.public.authority).ok_or_else(|| {
        usage("URL is neither a path nor a URL without a fragment, which browsers do not send")
    })?;
    explain(&config, &Asked { method, host, target }, user.transpose()?, &mut io::stdout().lock())
        .map_err(|error| Failure::Other(format!("writing the answer: {error}")))
}

/// A request as a client would send it.
struct Asked<'a> {
    method: Method,
    host: &'a str,
    target: &'a str,
}

/// Host and request target, as a client would send them.
fn parted<'t>(url: &'t str, public: &'t str) -> Option<(&'t str, &'t str)> {
    if url.contains('#') {
        return None;
    }
    let Some((_, rest)) = url.split_once("://").filter(|_| !url.starts_with('/')) else {
        return url.starts_with('/').then_some((public, url));
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, target) = rest.split_at(end);
    match target {
        "" => Some((host, "/")),
        _ if target.starts_with('/') => Some((host, target)),
        _ => None,
    }
}

fn explain(config: &Config, asked: &Asked<'_>, user: Option<UserId>, out: &mut impl Write) -> io::Result<()> {
    let Asked { method, host, target } = asked;
    let who = user.as_ref().map_or("a stranger", UserId::as_str);
    writeln!(out, "request   {method} {target} at {host}, by {who}")?;
    let visit = match visit(config, asked, user) {
        Ok(visit) => visit,
        Err(refusal) => return refused(refusal, out),
    };
    let rules = app::rules(config);
    for reading in visit.path.readings() {
        writeln!(out, "read as   {reading}")?;
        writeln!(out, "          {}", why(&rules, &visit, reading))?;
    }
    let Decision { verdict, route } = gate::decide(&rules, &visit);
    if let Some((_, name)) = rules.routes().get(route.place()) {
        writeln!(out, "route     {name}")?;
    }
    match verdict {
        Verdict::Ours(endpoint) => {
            let (method, path) = endpoint::at_place(endpoint.place()).unwrap_or_default();
            let asked = visit.path.readings().next().unwrap_or_default();
            let below = |mount: &&String| {
                asked.strip_prefix(mount.as_str()).is_some_and(|rest| rest.starts_with('/'))
            };
            let mount = rules.mounts.iter().find(below).map_or(config.mount(), String::as_str);
            writeln!(out, "verdict   answered by Sidegate: {method} {mount}/{path}")
        }
        Verdict::Refuse(refusal) => refused(refusal, out),
        Verdict::AskToSignIn => {
            let programs = Refusal::SignInRequired;
            let (status, code) = (programs.status().as_u16(), programs.code());
            let mount = config.mount();
            writeln!(
                out,
                "verdict   not forwarded: people are led to {mount}/sign-in, programs get {status} {code}"
            )
        }
        Verdict::AskForCode => {
            let mount = config.mount();
            writeln!(out, "verdict   not forwarded: people are led to {mount}/verify-signin")
        }
        Verdict::Forward(pass) => {
            let mut head = Vec::new();
            HeadWriter::new(config).write(&mut head, &without_origin(visit), &pass, Framing::None);
            let as_whom = if pass.session().is_some() { "with identity" } else { "without identity" };
            writeln!(out, "verdict   forwarded {as_whom}")?;
            writeln!(out, "the app gets, besides what else the client sends:")?;
            for line in String::from_utf8_lossy(&head).lines().filter(|line| !line.is_empty()) {
                writeln!(out, "          {line}")?;
            }
            Ok(())
        }
    }
}

fn refused(refusal: Refusal, out: &mut impl Write) -> io::Result<()> {
    let status: StatusCode = refusal.status();
    writeln!(out, "verdict   refused: {} {}", status.as_u16(), refusal.code())
}

/// What decides about one reading of the path.
fn why(rules: &Rules, visit: &Visit, reading: &str) -> String {
    let user = visit.visitor.session().map(|session| &session.user.id);
    let Some(reason) = rules.reason(&visit.method, reading, user, visit.path.has_uppercase()) else {
        return "is one of Sidegate's own".to_owned();
    };
    let Reason { rule, access, owner, reader } = reason;
    let mut text = match rule {
        Some((place, rule)) => format!("rule {place}, {}: {}", rule.pattern, rule.access),
        None => "no rule: required".to_owned(),
    };
    if rule.map_or(Access::Required, |(_, rule)| rule.access) != access {
        let _ = write!(text, "; {access}");
    }
    text.push_str(match owner {
        Owner::Nobody => "",
        Owner::Visitor => "; the visitor's own path",
        Owner::Other => "; not the visitor's own path",
    });
    text.push_str(match reader {
        None => "",
        Some(Reader::Caseless) => ", for a reader that ignores letter case",
        Some(Reader::Slashless) => ", for a reader that ignores a slash at the end",
        Some(Reader::OtherMethod) => ", for a reader that runs HEAD as GET, or methods as those in capitals",
    });
    text
}

/// The request as the server would read it.
fn visit(config: &Config, asked: &Asked<'_>, user: Option<UserId>) -> Result<Visit, Refusal> {
    let uri: Uri = asked.target.parse().map_err(|_| Refusal::MalformedTarget)?;
    let request = Request::builder()
        .method(&asked.method)
        .uri(uri)
        .header(HOST, asked.host)
        .header(ORIGIN, &config.public.origin)
        .body(())
        .map_err(|_| Refusal::BadHost)?;
    let mut head = Head::from(request.into_parts().0);
    let read = read::read(&mut head, config)?;
    if read.misdirected {
        return Err(Refusal::Misdirected);
    }
    let now = Clock::System.now();
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Ok(Visit {
        id: RequestId::next(),
        now,
        peer: Peer::new((here, 0).into(), &[]),
        client: here,
        method: head.method,
        path: read.path,
        upgrade: read.upgrade,
        headers: head.headers,
        credential: if user.is_some() { Credential::Cookie } else { Credential::None },
        trace: None,
        visitor: user.map_or(Visitor::Stranger, |user| Visitor::Known(Arc::new(session(user, now)))),
        body: Bytes::new(),
    })
}

/// `Origin` was only there so that the request counts as one of the site's own.
fn without_origin(mut visit: Visit) -> Visit {
    visit.headers.remove(&ORIGIN);
    visit
}

/// A session as this user would have one.
fn session(id: UserId, now: Now) -> Session {
    // It cannot be made without the store.
    let assertion = OnceLock::from(Box::from("(the identity, signed)"));
    Session {
        id: SessionId::random(),
        token: TokenHash([0; 32]),
        user: User {
            id,
            name: "(the user's name)".to_owned(),
            email: "(the user's address)".to_owned(),
            email_verified: false,
            image: None,
            created: now,
            updated: now,
        },
        opened: now,
        renewed: now,
        expires: now,
        remember: true,
        address: None,
        agent: None,
        fresh_until: now,
        stale: AtomicBool::new(false),
        over: AtomicBool::new(false),
        renewing: AtomicBool::new(false),
        assertion,
        grant: None,
    }
}
