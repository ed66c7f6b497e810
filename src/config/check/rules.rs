//! Mount prefixes and access rules: patterns that mean one thing, can match, and open no owner path.

use std::collections::HashMap;

use http::Method;

use crate::config::file::RawRule;
use crate::config::problem::Problems;
use crate::config::rule::{AUTH, Access, DEFAULT, NONE, OWNER, Rule};
use crate::id::UserId;
use crate::pattern::{Case, NoPattern, OWNER_TREE, Pattern, Segment};

/// Most rules: a request is held against one after the other, and their places are told in 16 bits.
const MOST: usize = 10_000;
/// The longest name of a rule, in bytes.
const LONGEST_NAME: usize = 64;

pub(super) fn paths(raw: &[String], p: &mut Problems) -> Vec<String> {
    if raw.is_empty() && !p.about("paths") {
        p.add("paths", "is empty, so that nobody could sign in", "write paths = [\"/auth\"]");
    }
    for (i, path) in raw.iter().enumerate() {
        let key = format!("paths[{i}]");
        let shown = p.quote(&key, path);
        let mut segments = path.strip_prefix('/').unwrap_or_default().split('/');
        let plain = path.starts_with('/') && segments.clone().all(is_plain_segment);
        if !plain {
            let what = format!("{shown} is not a path of plain segments");
            p.add(key, what, "write \"/auth\": a leading slash, none at the end, letters, digits and `-._~`");
        } else if segments.next().is_some_and(|s| s.eq_ignore_ascii_case(OWNER_TREE))
            && segments.next() != Some("auth")
        {
            // Any other second segment may be somebody's user id.
            let what = format!("{shown} would take owner paths (/api/{{user_id}}/**) from the app");
            p.add(key, what, "write \"/api/auth\" or a path outside of /api");
        } else if raw[..i].contains(path) {
            p.add(key, format!("{shown} is there twice"), "remove one");
        }
    }
    raw.to_vec()
}

fn is_plain_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

pub(super) fn rules(
    raw: &[RawRule],
    mounts: &[String],
    p: &mut Problems,
    dangers: &mut Vec<String>,
) -> Vec<Rule> {
    if raw.len() > MOST {
        p.add("rules", format!("are {}, more than {MOST}", raw.len()), "let patterns say more: `*`, `**`");
        return Vec::new();
    }
    let mut rules = Earlier::default();
    for (i, raw) in raw.iter().enumerate() {
        let methods = methods(i, &raw.methods, p);
        let name = name(i, raw.name.as_deref(), p);
        let access_key = format!("rules[{i}].access");
        if raw.access.is_none() && !p.about(&access_key) {
            p.add(
                access_key,
                "is not given",
                "write access = \"public\", \"optional\", \"required\" or \"deny\"",
            );
        }
        if let (Some(pattern), Some(methods)) = (pattern(i, raw, p), methods)
            && let Some(access) = raw.access
        {
            let rule = Rule { pattern, methods, access, name };
            can_match(i, &rule, &rules, mounts, p);
            needs_its_user(i, &rule, p);
            dangers.extend(surprises(i, &rule));
            rules.push(i, rule);
        }
    }
    rules.all.into_iter().map(|(_, rule)| rule).collect()
}

/// The rules so far, each with its place in the file.
#[derive(Default)]
struct Earlier {
    all: Vec<(usize, Rule)>,
    /// Where they are in `all`, by the literal that they begin with: without one they could cover any other.
    by_first: HashMap<Option<String>, Vec<usize>>,
}

impl Earlier {
    fn push(&mut self, i: usize, rule: Rule) {
        let first = first_literal(&rule.pattern).map(str::to_owned);
        self.by_first.entry(first).or_default().push(self.all.len());
        self.all.push((i, rule));
    }

    /// The first rule that matches all that this pattern does, with this method or all of them.
    fn covering(&self, pattern: &Pattern, method: Option<&Method>) -> Option<&(usize, Rule)> {
        let covers = |(_, earlier): &&(usize, Rule)| {
            let methods = &earlier.methods;
            (methods.is_empty() || method.is_some_and(|method| methods.contains(method)))
                && earlier.pattern.covers(pattern)
        };
        let first_of = |first: Option<&str>| {
            let places = self.by_first.get(&first.map(str::to_owned))?;
            places.iter().filter_map(|place| self.all.get(*place)).find(covers)
        };
        let same = first_literal(pattern).and_then(|first| first_of(Some(first)));
        [first_of(None), same].into_iter().flatten().min_by_key(|(i, _)| *i)
    }
}

fn first_literal(pattern: &Pattern) -> Option<&str> {
    match pattern.0.first() {
        Some(Segment::Literal(first)) => Some(first),
        _ => None,
    }
}

fn pattern(i: usize, raw: &RawRule, p: &mut Problems) -> Option<Pattern> {
    let key = format!("rules[{i}].path");
    let Some(text) = &raw.path else {
        if !p.about(&key) {
            p.add(key, "is not given", "write path = \"/assets/**\"");
        }
        return None;
    };
    let error = match Pattern::parse(text) {
        Ok(pattern) => return Some(pattern),
        Err(error) => error,
    };
    let remedy = match error {
        NoPattern::NoSlash => "begin it with `/`",
        NoPattern::Empty => "write single slashes",
        NoPattern::RestInside => "end the path with `**`, or write `*` for one segment",
        NoPattern::StarInside => "write `*` for one whole segment or `**` at the end for all that follows",
        NoPattern::Brace => "write the segment {user_id} for the visitor's own id, or `*` for any",
        NoPattern::Dots => "write the path that is meant",
        NoPattern::Character => {
            "use letters, digits and -._~!$&'()+,=:@ (paths with others need a `*` there)"
        }
    };
    let what = format!("{} {error}", p.quote(&key, text));
    p.add(key, what, remedy);
    None
}

fn methods(i: usize, raw: &[String], p: &mut Problems) -> Option<Vec<Method>> {
    let mut methods = Vec::new();
    for (j, text) in raw.iter().enumerate() {
        let key = format!("rules[{i}].methods[{j}]");
        match Method::from_bytes(text.as_bytes()) {
            Ok(method) if !text.bytes().any(|b| b.is_ascii_lowercase()) => methods.push(method),
            _ => {
                let what = format!("{} is not a method", p.quote(&key, text));
                p.add(key, what, "write it in capitals: \"GET\"");
            }
        }
    }
    (methods.len() == raw.len()).then_some(methods)
}

/// What a rule is called. Several may share a name: they are one route to who counts.
fn name(i: usize, raw: Option<&str>, p: &mut Problems) -> Option<String> {
    let text = raw?;
    let key = format!("rules[{i}].name");
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if text.len() > LONGEST_NAME
        || !text.bytes().all(plain)
        || !text.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        let what = format!("{} is not a name", p.quote(&key, text));
        p.add(key, what, "use up to 64 letters, digits and `-._`, a letter or digit first");
        return None;
    }
    if [NONE, AUTH, OWNER, DEFAULT].contains(&text) {
        p.add(key, format!("\"{text}\" is the name of what no rule is about"), "write another one");
        return None;
    }
    Some(text.to_owned())
}

/// Notes a rule that no request ever reaches: somebody believes in it.
fn can_match(i: usize, rule: &Rule, earlier: &Earlier, mounts: &[String], p: &mut Problems) {
    let key = format!("rules[{i}].path");
    let pattern = &rule.pattern;
    let of_ours = mounts.iter().find(|mount| {
        Pattern::parse(&format!("{mount}/**")).is_ok_and(|everything_under| everything_under.covers(pattern))
    });
    if let Some(mount) = of_ours {
        let what = format!("{pattern} can never match: everything under {mount} is answered here");
        p.add(key, what, "remove the rule");
        return;
    }
    let covering = |method| earlier.covering(pattern, method);
    let first = if rule.methods.is_empty() {
        covering(None)
    } else {
        let each: Option<Vec<_>> = rule.methods.iter().map(|method| covering(Some(method))).collect();
        each.and_then(|all| all.first().copied())
    };
    if let Some((by, earlier)) = first {
        let same = earlier.pattern == *pattern && earlier.methods == rule.methods;
        let what = if same {
            format!("{pattern} is the same as rules[{by}], which wins")
        } else {
            format!(
                "{pattern} can never match: rules[{by}] ({}) comes first and matches all of it",
                earlier.pattern
            )
        };
        p.add(key, what, "remove it, or put it before that one");
    }
}

/// Notes a rule that asks for no session where only one's own may do, or where nobody is let in at all.
fn needs_its_user(i: usize, rule: &Rule, p: &mut Problems) {
    match rule.access {
        Access::Public | Access::Optional => {}
        Access::Required | Access::Deny => return,
    }
    let (key, access) = (format!("rules[{i}].path"), rule.access);
    let pattern = &rule.pattern;
    if pattern.0.contains(&Segment::UserId) {
        let what = format!("{pattern} names the visitor's own id and is {access}, which needs no visitor");
        p.add(key, what, "write access = \"required\"");
    } else if pattern.overlaps(&Pattern::owner(), Case::Folded) {
        let what =
            format!("{pattern} opens an owner path: it also matches something under /api/{{user_id}}/**");
        let remedy = match pattern.0.first() {
            Some(Segment::Literal(_)) => {
                "open paths outside of /api/*/** only; what follows /api/ may be a user id"
            }
            _ => {
                "name the paths to open, such as /assets/**; a more specific rule before this one does not help"
            }
        };
        p.add(key, what, remedy);
    } else if in_owner_tree(pattern) {
        let what =
            format!("{pattern} is {access} in vain: what is at or below /api is open to its user only");
        p.add(key, what, OUTSIDE);
    }
}

/// What to do with a rule for an API that is not laid out by user.
const OUTSIDE: &str = "let the app have this path outside of /api, or remove the rule";

/// A rule that asks for a session, and by which nobody gets to the path but one user, or nobody at all.
fn surprises(i: usize, rule: &Rule) -> Option<String> {
    if rule.access != Access::Required || !in_owner_tree(&rule.pattern) {
        return None;
    }
    let who = match rule.pattern.0.get(1) {
        Some(Segment::Literal(id)) if UserId::parse(id).is_some() => {
            format!("opens to nobody but the user whose id is \"{id}\"")
        }
        Some(Segment::Literal(_)) | None => "opens to nobody".to_owned(),
        Some(Segment::Any | Segment::UserId | Segment::Rest) => return None,
    };
    Some(format!("rules[{i}].path: {} {who}, session or not; {OUTSIDE}", rule.pattern))
}

/// Whether all that matches is in the tree of owner paths, with or without an owner.
fn in_owner_tree(pattern: &Pattern) -> bool {
    matches!(pattern.0.first(), Some(Segment::Literal(first)) if Case::Folded.same(first, OWNER_TREE))
}
