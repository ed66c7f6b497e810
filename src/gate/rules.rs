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

/// What one reading of a path asks for. Equal if the same is asked for, whichever rule says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    pub(super) access: Access,
    pub(super) owner: Owner,
    /// The rule that says so, counted from 1.
    pub(super) rule: Option<u16>,
}

impl PartialEq for Demand {
    fn eq(&self, other: &Self) -> bool {
        self.access == other.access && self.owner == other.owner
    }
}

impl Eq for Demand {}

/// Why one reading of a path is judged as it is: told to people who ask, never used to decide.
pub struct Reason<'r> {
    /// The rule that matches, and its place in the list, counted from 1; without one, a session is required.
    pub rule: Option<(usize, &'r Rule)>,
    /// What is asked of the visitor.
    pub access: Access,
    /// Whose the path is.
    pub owner: Owner,
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
        let Demand { access, owner, .. } = self.demand(method, path, user, fold);
        let applies = |rule: &Rule| {
            (rule.methods.is_empty() || rule.methods.contains(method))
                && matches(&rule.pattern, path, user, Case::Exact).is_some()
        };
        let rule = self.rules.iter().zip(1..).find(|(rule, _)| applies(rule));
        Some(Reason { rule: rule.map(|(rule, place)| (place, rule)), access, owner })
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
    /// reader that does so would find a guarded path; if that one is stricter, it counts.
    pub(super) fn demand(&self, method: &Method, path: &str, user: Option<&UserId>, fold: bool) -> Demand {
        let exact = self.demand_in(method, path, user, Case::Exact);
        if !fold && !self.capitals {
            return exact;
        }
        let folded = self.demand_in(method, path, user, Case::Folded);
        let owner = match (exact.owner, folded.owner) {
            // Written in another case it is somebody's, but not as it stands.
            (Owner::Nobody, Owner::Visitor | Owner::Other) => Owner::Other,
            (owner, _) => owner,
        };
        Demand { access: stricter(exact.access, folded.access), owner, rule: exact.rule }
    }

    fn demand_in(&self, method: &Method, path: &str, user: Option<&UserId>, case: Case) -> Demand {
        let mut owner = owner_of(path, user, case);
        for (rule, place) in self.rules.iter().zip(1..) {
            if !rule.methods.is_empty() && !rule.methods.contains(method) {
                continue;
            }
            if let Some(matched) = matches(&rule.pattern, path, user, case) {
                if matched == Owner::Other || owner == Owner::Nobody {
                    owner = matched;
                }
                return Demand { access: rule.access, owner, rule: Some(place) };
            }
        }
        Demand { access: Access::Required, owner, rule: None }
    }
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
        Some(Owner::Nobody | Owner::Visitor) => true,
        Some(Owner::Other) | None => false,
    })
}

/// Matches a pattern; a match says whose the path is by its `{user_id}` segments.
fn matches(pattern: &Pattern, path: &str, user: Option<&UserId>, case: Case) -> Option<Owner> {
    let mut parts = segments(path);
    let mut owner = Owner::Nobody;
    for segment in &pattern.0 {
        if *segment == Segment::Rest {
            return Some(owner);
        }
        let part = parts.next()?;
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
    parts.next().is_none().then_some(owner)
}
