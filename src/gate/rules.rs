//! What the configuration asks of a path, for one reading of it.

use http::Method;

use crate::config::rule::{Access, Rule};
use crate::gate::endpoint::{self, Lookup};
use crate::http::path::{Path, segments};
use crate::id::UserId;
use crate::pattern::{Case, OWNER_TREE, Pattern, Segment};

/// The compiled rules of one site.
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the configuration, or follows from one")]
pub struct Rules {
    /// Mount prefixes of our own endpoints, each before what it may lie in.
    pub mounts: Vec<String>,
    /// First match wins.
    pub rules: Vec<Rule>,
    /// Whether another user's owner path is answered with 404.
    pub hide_existence: bool,
    /// Our origin, as browsers write it.
    pub origin: String,
    /// Whether proxies may ask what they may let through.
    pub forward_auth: bool,
    /// Origins whose pages may act for a user by cookie, ours among them.
    pub origins: Vec<String>,
    /// Whether pages of all others may too, but for handshakes.
    pub cross_site_writes: bool,
    /// Whether a rule names something in capitals, so that another spelling could slip past it.
    pub capitals: bool,
}

/// Whose a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody's in particular.
    Nobody,
    /// The visitor's own.
    Visitor,
    /// Somebody else's, or nobody can say.
    Other,
}

/// A reader to whom a request is another one than it is as written: told to people who ask, never used to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Letter case in paths is nothing to it.
    Caseless,
    /// A slash at the end of a path is nothing to it.
    Slashless,
    /// It runs `HEAD` as `GET`, and methods in lower case as those in capitals.
    OtherMethod,
}

/// What one reading of a path asks for. Equal if the same is asked for, whichever rule says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    pub(super) access: Access,
    pub(super) owner: Owner,
    /// The rule that says so, counted from 1.
    pub(super) rule: Option<u16>,
    /// On whose account more is asked for than that rule says.
    reader: Option<Reader>,
}

impl PartialEq for Demand {
    fn eq(&self, other: &Self) -> bool {
        self.access == other.access && self.owner == other.owner
    }
}

impl Eq for Demand {}

impl Demand {
    /// Everybody may, and nobody need be known.
    pub(super) const NONE: Self =
        Self { access: Access::Public, owner: Owner::Nobody, rule: None, reader: None };

    /// Asks for what this reader finds guarded too.
    fn heed(&mut self, access: Access, owner: Owner, reader: Reader) {
        let before = *self;
        self.access = stricter(self.access, access);
        self.owner = narrower(self.owner, owner);
        if *self != before {
            self.reader = Some(reader);
        }
    }
}

/// Why one reading of a path is judged as it is: told to people who ask, never used to decide.
pub struct Reason<'r> {
    /// The rule that matches, and its place in the list, counted from 1; without one, a session is required.
    pub rule: Option<(u16, &'r Rule)>,
    /// What is asked of the visitor.
    pub access: Access,
    /// Whose the path is.
    pub owner: Owner,
    /// On whose account more is asked for than the rule says.
    pub reader: Option<Reader>,
}

impl Rules {
    /// Why this reading of a path is judged as it is; `None` if it is one of ours. `fold` is as for a
    /// decision: whether letter case could matter.
    pub fn reason(
        &self,
        method: &Method,
        path: &str,
        user: Option<&UserId>,
        fold: bool,
    ) -> Option<Reason<'_>> {
        if self.below_mount(path).is_some() {
            return None;
        }
        let Demand { access, owner, rule, reader } = self.demand(method, path, user, fold);
        let rule = rule.and_then(|place| Some((place, self.rules.get(usize::from(place).checked_sub(1)?)?)));
        Some(Reason { rule, access, owner, reader })
    }

    /// What follows the mount prefix (without the slash), if `path` is one of ours.
    pub fn below_mount<'p>(&self, path: &'p str) -> Option<&'p str> {
        self.mounts.iter().find_map(|mount| {
            let rest = path.strip_prefix(mount.as_str())?;
            if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
        })
    }

    /// Whether this is a question that a proxy may ask, however the path is read.
    pub fn is_for_proxies(&self, method: &Method, path: &Path) -> bool {
        let asks = |reading: &str| {
            let found = self.below_mount(reading).map(|below| endpoint::find(method, below));
            matches!(found, Some(Lookup::Found(endpoint)) if endpoint.for_proxies())
        };
        self.forward_auth && path.readings().all(asks)
    }

    /// The endpoint's path below our mount prefix; empty for any other path.
    pub fn endpoint_of<'p>(&self, path: &'p str) -> &'p str {
        self.below_mount(path).unwrap_or_default()
    }

    /// What this reading of the path asks for. With `fold`, letter case is also ignored to see whether a
    /// reader that does so would find a guarded path; if that one is stricter, it counts. So does what an earlier rule
    /// asks of the same path with or without a slash at its end, and of the method that an app may run in place of
    /// this one.
    pub(super) fn demand(&self, method: &Method, path: &str, user: Option<&UserId>, fold: bool) -> Demand {
        let fold = fold || self.capitals;
        let mut demand = demand_among(&self.rules, Access::Required, Asked { method, path, user }, fold);
        if ordinary(method) {
            return demand;
        }
        let before = demand.rule.map_or(self.rules.len(), |place| usize::from(place).saturating_sub(1));
        for kin in run_as(method) {
            let asked = Asked { method: &kin, path, user };
            let kin = demand_among(&self.rules[..before], Access::Public, asked, fold);
            demand.heed(kin.access, kin.owner, Reader::OtherMethod);
        }
        demand
    }
}

/// What the rules are asked about.
#[derive(Clone, Copy)]
struct Asked<'a> {
    method: &'a Method,
    path: &'a str,
    user: Option<&'a UserId>,
}

/// Whether every app takes the method for itself and nothing else.
fn ordinary(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::POST | Method::PUT | Method::DELETE | Method::PATCH | Method::OPTIONS
    )
}

/// The methods that an app may run in place of this one: some compare in capitals, and most answer `HEAD` by doing all
/// of a `GET` (RFC 9110 §9.3.2).
fn run_as(method: &Method) -> Vec<Method> {
    let mut methods = Vec::new();
    if method.as_str().bytes().any(|byte| byte.is_ascii_lowercase()) {
        methods.extend(Method::from_bytes(method.as_str().to_ascii_uppercase().as_bytes()));
    }
    if method.as_str().eq_ignore_ascii_case("HEAD") {
        methods.push(Method::GET);
    }
    methods
}

/// What these rules ask for, or `otherwise` where none matches.
fn demand_among(rules: &[Rule], otherwise: Access, asked: Asked<'_>, fold: bool) -> Demand {
    let mut exact = demand_in(rules, otherwise, asked, Case::Exact);
    if fold {
        let folded = demand_in(rules, otherwise, asked, Case::Folded);
        let owner = match (exact.owner, folded.owner) {
            // Written in another case it is somebody's, but not as it stands.
            (Owner::Nobody, Owner::Visitor | Owner::Other) => Owner::Other,
            (owner, _) => owner,
        };
        exact.heed(folded.access, owner, Reader::Caseless);
    }
    exact
}

fn demand_in(rules: &[Rule], otherwise: Access, asked: Asked<'_>, case: Case) -> Demand {
    let Asked { method, path, user } = asked;
    let owner = owner_of(path, user, case);
    let mut demand = Demand { access: otherwise, owner, rule: None, reader: None };
    let mut near = None;
    for (rule, place) in rules.iter().zip(1..) {
        if !rule.methods.is_empty() && !rule.methods.contains(method) {
            continue;
        }
        match matches(&rule.pattern, path, user, case) {
            Some((owner, Fit::Whole)) => {
                let owner = narrower(demand.owner, owner);
                demand = Demand { access: rule.access, owner, rule: Some(place), reader: None };
                break;
            }
            Some((owner, Fit::ButForSlash)) if near.is_none() => near = Some((rule.access, owner)),
            Some((_, Fit::ButForSlash)) | None => {}
        }
    }
    if let Some((access, owner)) = near {
        demand.heed(access, owner, Reader::Slashless);
    }
    demand
}

fn stricter(a: Access, b: Access) -> Access {
    fn rank(access: Access) -> u8 {
        match access {
            Access::Public => 0,
            Access::Optional => 1,
            Access::Required => 2,
            Access::Deny => 3,
        }
    }
    if rank(a) >= rank(b) { a } else { b }
}

/// Whose a path is that is both of this and of that.
fn narrower(a: Owner, b: Owner) -> Owner {
    if a == Owner::Nobody || b == Owner::Other { b } else { a }
}

/// Whose the path is by the owner tree alone.
fn owner_of(path: &str, user: Option<&UserId>, case: Case) -> Owner {
    let mut parts = segments(path);
    if !parts.next().is_some_and(|tree| case.same(OWNER_TREE, tree)) {
        return Owner::Nobody;
    }
    match (parts.next(), user) {
        (Some(id), Some(user)) if id == user.as_str() => Owner::Visitor,
        _ => Owner::Other,
    }
}

/// Whether a reading of a path matches one of these patterns for this user.
pub(super) fn within(patterns: &[Pattern], path: &str, user: &UserId) -> bool {
    patterns.iter().any(|pattern| match matches(pattern, path, Some(user), Case::Exact) {
        Some((Owner::Nobody | Owner::Visitor, Fit::Whole)) => true,
        Some((Owner::Other, _) | (_, Fit::ButForSlash)) | None => false,
    })
}

/// How a path matches a pattern.
#[derive(Clone, Copy)]
enum Fit {
    /// As it stands.
    Whole,
    /// It would with a slash at its end, or without the one that is there: many routers take both for the same.
    ButForSlash,
}

/// Matches a pattern; a match says whose the path is by its `{user_id}` segments.
fn matches(pattern: &Pattern, path: &str, user: Option<&UserId>, case: Case) -> Option<(Owner, Fit)> {
    let mut parts = segments(path);
    let mut owner = Owner::Nobody;
    for segment in &pattern.0 {
        if *segment == Segment::Rest {
            return Some((owner, Fit::Whole));
        }
        let Some(part) = parts.next() else {
            // Only the end of a pattern can be an empty literal.
            let slash = matches!(segment, Segment::Literal(literal) if literal.is_empty());
            return slash.then_some((owner, Fit::ButForSlash));
        };
        match segment {
            Segment::Literal(literal) => {
                if !case.same(literal, part) {
                    return None;
                }
            }
            Segment::Any => {
                if part.is_empty() {
                    return None;
                }
            }
            Segment::UserId => {
                if part.is_empty() {
                    return None;
                }
                let owns = user.is_some_and(|user| user.as_str() == part);
                if !owns || owner == Owner::Nobody {
                    owner = if owns { Owner::Visitor } else { Owner::Other };
                }
            }
            Segment::Rest => {}
        }
    }
    match parts.next() {
        None => Some((owner, Fit::Whole)),
        Some("") if parts.next().is_none() => Some((owner, Fit::ButForSlash)),
        Some(_) => None,
    }
}
