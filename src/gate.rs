//! The whole access rule: a pure function from what was read of a request to what is done with it.
//!
//! **Invariant:** nothing here waits, asks the store or looks at anything but the [`Visit`]. Only this module
//! makes a [`Pass`], and nothing is forwarded without one.

use std::sync::Arc;

use http::{HeaderName, Method, Uri};

use crate::config::rule::Access;
use crate::http::path::Path;
use crate::http::visit::{Credential, Visit};
use crate::id::UserId;
use crate::refusal::Refusal;
use crate::visitor::{Grant, Session, Visitor};

pub mod endpoint;
pub mod route;
pub mod rules;

use endpoint::{Endpoint, Lookup};
use route::Route;
use rules::{Demand, Owner, Rules};

/// A second path at which a request of `WebDAV` acts (RFC 4918 §10.3).
const DESTINATION: HeaderName = HeaderName::from_static("destination");

/// The permit to forward one request.
pub struct Pass {
    session: Option<Arc<Session>>,
}

impl Pass {
    /// The session whose owner the app is told of.
    pub fn session(&self) -> Option<&Arc<Session>> {
        self.session.as_ref()
    }
}

/// What is done with a request.
pub enum Verdict {
    /// It is answered by us.
    Ours(Endpoint),
    /// It goes to the app.
    Forward(Pass),
    /// It needs a session: a person is sent to the sign-in page, a program hears 401.
    AskToSignIn,
    /// It needs the code of a sign-in that waits for it: a person is sent to the page that takes it.
    AskForCode,
    /// It is answered with this.
    Refuse(Refusal),
}

impl Verdict {
    /// Why the visitor may not, if that is what it says.
    pub fn denial(&self) -> Option<Refusal> {
        match self {
            Self::Ours(_) | Self::Forward(_) => None,
            Self::AskToSignIn => Some(Refusal::SignInRequired),
            Self::AskForCode => Some(Refusal::CodeRequired),
            Self::Refuse(refusal) => Some(*refusal),
        }
    }
}

/// What was decided on a request.
pub struct Decision {
    /// What is done with it.
    pub verdict: Verdict,
    /// Which route it belongs to.
    pub route: Route,
}

/// What one reading of the path leads to, before the visitor's credentials are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ruling {
    Ours(Lookup),
    App(Demand),
}

/// Decides on a request.
pub fn decide(rules: &Rules, visit: &Visit) -> Decision {
    let Some(ruling) = agreed(rules, visit, &visit.path) else {
        return Decision { verdict: Verdict::Refuse(Refusal::AmbiguousPath), route: Route::NONE };
    };
    let route = match ruling {
        Ruling::Ours(_) => Route::AUTH,
        Ruling::App(demand) => Route::of(demand),
    };
    Decision { verdict: verdict(rules, visit, ruling), route }
}

fn verdict(rules: &Rules, visit: &Visit, ruling: Ruling) -> Verdict {
    match ruling {
        Ruling::Ours(Lookup::Nothing) => Verdict::Refuse(Refusal::NotFound),
        Ruling::Ours(Lookup::OtherMethod) => Verdict::Refuse(Refusal::MethodNotAllowed),
        Ruling::Ours(Lookup::Found(endpoint)) => ours(rules, visit, endpoint),
        Ruling::App(demand) => match app(rules, visit, &visit.path, demand) {
            Verdict::Forward(pass) if acts_elsewhere(visit) => also_there(rules, visit, pass),
            verdict => verdict,
        },
    }
}

/// Whether the request names a second path at which it acts. What forms and scripts of every site send has no such
/// meaning for a field of this name.
fn acts_elsewhere(visit: &Visit) -> bool {
    let ordinary = matches!(
        visit.method,
        Method::GET
            | Method::HEAD
            | Method::POST
            | Method::PUT
            | Method::PATCH
            | Method::DELETE
            | Method::OPTIONS
    );
    !ordinary && visit.headers.get(&DESTINATION).is_some()
}

/// The path at which the request acts too; `None` if it cannot be read, or there are several.
fn elsewhere(visit: &Visit) -> Option<Path> {
    let name = DESTINATION;
    let mut all = visit.headers.get_all(&name);
    // A fragment would be dropped without a word, and be part of the path to somebody else.
    let value = all.next().filter(|value| all.next().is_none() && !value.as_bytes().contains(&b'#'))?;
    let target = Uri::try_from(value.as_bytes()).ok()?.into_parts().path_and_query?;
    Path::parse(target).ok()
}

/// What may be done at one path is done only if it may be done at the other, by nobody the app is told less of.
fn also_there(rules: &Rules, visit: &Visit, pass: Pass) -> Verdict {
    let Some((path, ruling)) =
        elsewhere(visit).and_then(|path| agreed(rules, visit, &path).map(|ruling| (path, ruling)))
    else {
        return Verdict::Refuse(Refusal::AmbiguousPath);
    };
    let Ruling::App(demand) = ruling else { return Verdict::Refuse(Refusal::Forbidden) };
    match app(rules, visit, &path, demand) {
        Verdict::Forward(there) if there.session.is_none() || pass.session.is_some() => {
            Verdict::Forward(pass)
        }
        Verdict::Forward(_) => Verdict::Refuse(Refusal::Forbidden),
        refused => refused,
    }
}

/// Whether the request is forwarded without an identity whoever sent it, so that nobody need be recognised.
pub fn open_to_all(rules: &Rules, visit: &Visit) -> bool {
    agreed(rules, visit, &visit.path) == Some(Ruling::App(Demand::NONE)) && !acts_elsewhere(visit)
}

/// The ruling on which all readings of a path agree.
fn agreed(rules: &Rules, visit: &Visit, path: &Path) -> Option<Ruling> {
    let user = visit.visitor.session().map(|session| &session.user.id);
    let rule_on = |reading: &str| match rules.below_mount(reading) {
        Some(below) => Ruling::Ours(endpoint::find(&visit.method, below)),
        None => Ruling::App(rules.demand(&visit.method, reading, user, path.has_uppercase())),
    };
    let raw = rule_on(path.raw());
    if path.ordinary() {
        return Some(raw);
    }
    path.readings().all(|reading| rule_on(reading) == raw).then_some(raw)
}

fn ours(rules: &Rules, visit: &Visit, endpoint: Endpoint) -> Verdict {
    let foreign = !visit.method.is_safe() && !visit.same_origin(&rules.origin);
    if foreign && !endpoint.takes_foreign_posts() {
        return Verdict::Refuse(Refusal::CrossOrigin);
    }
    if endpoint.for_proxies() && !rules.forward_auth {
        return Verdict::Refuse(Refusal::NotFound);
    }
    if endpoint.for_proxies() && !visit.peer.trusted {
        return Verdict::Refuse(Refusal::Forbidden);
    }
    if visit.visitor.session().is_some_and(|session| session.grant.is_some())
        && !endpoint.takes_personal_tokens()
    {
        return Verdict::Refuse(Refusal::InsufficientScope);
    }
    match visit.visitor {
        Visitor::Unsure if !matches!(endpoint, Endpoint::Ok | Endpoint::Jwks | Endpoint::Verify(_)) => {
            Verdict::Refuse(Refusal::StoreUnavailable)
        }
        Visitor::Stranger if endpoint.needs_session() => Verdict::Refuse(unauthorized(visit)),
        Visitor::Pending(_) if endpoint.needs_session() => Verdict::AskForCode,
        Visitor::Stranger | Visitor::Pending(_) | Visitor::Known(_) | Visitor::Unsure => {
            Verdict::Ours(endpoint)
        }
    }
}

fn app(rules: &Rules, visit: &Visit, path: &Path, demand: Demand) -> Verdict {
    let session = match (demand.access, &visit.visitor) {
        (Access::Deny, _) => return Verdict::Refuse(Refusal::Forbidden),
        (Access::Public, _) if demand.owner == Owner::Nobody => {
            return Verdict::Forward(Pass { session: None });
        }
        (_, Visitor::Unsure) => return Verdict::Refuse(Refusal::StoreUnavailable),
        (Access::Optional, Visitor::Stranger | Visitor::Pending(_)) if demand.owner == Owner::Nobody => None,
        (_, Visitor::Stranger) => {
            return match visit.credential {
                Credential::UnknownBearer => Verdict::Refuse(Refusal::InvalidToken),
                Credential::None | Credential::Cookie | Credential::Bearer => Verdict::AskToSignIn,
            };
        }
        (_, Visitor::Pending(_)) => return Verdict::AskForCode,
        (_, Visitor::Known(session)) => Some(session),
    };
    if demand.owner == Owner::Other {
        return Verdict::Refuse(if rules.hide_existence { Refusal::NotFound } else { Refusal::Forbidden });
    }
    if let Some(session) = session
        && let Some(grant) = &session.grant
        && !granted(grant, visit, path, &session.user.id)
    {
        return Verdict::Refuse(Refusal::InsufficientScope);
    }
    // What follows a handshake may be anything, and its answer is readable across sites.
    let acts = visit.upgrade.is_some() || (!visit.method.is_safe() && !rules.cross_site_writes);
    if acts
        && visit.credential == Credential::Cookie
        && session.is_some()
        && visit.made_elsewhere(&rules.origins)
    {
        return Verdict::Refuse(Refusal::CrossOrigin);
    }
    Verdict::Forward(Pass { session: session.cloned() })
}

/// Whether a personal access token may do this, however the path is read. What is sent through a tunnel is
/// nothing that can be called reading.
fn granted(grant: &Grant, visit: &Visit, path: &Path, user: &UserId) -> bool {
    let reads = [Method::GET, Method::HEAD].contains(&visit.method) && visit.upgrade.is_none();
    let within = |paths: &Vec<_>| path.readings().all(|reading| rules::within(paths, reading, user));
    (reads || !grant.read_only) && grant.paths.as_ref().is_none_or(within)
}

fn unauthorized(visit: &Visit) -> Refusal {
    match visit.credential {
        Credential::UnknownBearer => Refusal::InvalidToken,
        Credential::None | Credential::Cookie | Credential::Bearer => Refusal::SignInRequired,
    }
}
