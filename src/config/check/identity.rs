//! Header names under which the app is told who is asking, own ones and those of a preset.

use std::collections::HashMap;

use http::HeaderName;

use super::between;
use crate::config::file::{Preset, Raw, RawIdentity};
use crate::config::problem::Problems;
use crate::config::units::Span;
use crate::config::{Assertion, Identity};

/// The name that carries the user's id in every configuration.
const USER_ID: &str = "x-user-id";

/// Header names of a preset, by what they carry: user id, email, name, groups, all of that signed.
type Names = [&'static [&'static str]; 5];

const KEYS: [&str; 5] =
    ["identity.user_id", "identity.email", "identity.name", "identity.groups", "identity.assertion_header"];

/// Names that mean something else to us, to the app or to what lies between.
const RESERVED: [&str; 26] = [
    "host",
    "cookie",
    "set-cookie",
    "authorization",
    "proxy-authorization",
    "proxy-authenticate",
    "proxy-connection",
    "www-authenticate",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "content-type",
    "content-encoding",
    "expect",
    "date",
    "forwarded",
    "via",
    "origin",
    "referer",
    "x-real-ip",
    "x-request-id",
    "user-agent",
];

/// Names under `x-forwarded-` that carry who is asking and not how the request came.
const FORWARDED_IDENTITY: [&str; 4] =
    ["x-forwarded-user", "x-forwarded-email", "x-forwarded-preferred-username", "x-forwarded-groups"];

fn preset(preset: Preset) -> Names {
    match preset {
        Preset::None => [&[], &[], &[], &[], &[]],
        Preset::Oauth2Proxy => [
            &["x-forwarded-user"],
            &["x-forwarded-email"],
            &["x-forwarded-preferred-username"],
            &["x-forwarded-groups"],
            &[],
        ],
        Preset::Authelia => [&["remote-user"], &["remote-email"], &["remote-name"], &["remote-groups"], &[]],
        Preset::Authentik => [
            &["x-authentik-uid", "x-authentik-username"],
            &["x-authentik-email"],
            &["x-authentik-name"],
            &["x-authentik-groups"],
            &[],
        ],
    }
}

/// `upstream` and `public` are origins: whom an assertion is for, and whom it must not be for.
pub(super) fn identity(raw: &Raw, upstream: &str, public: &str, p: &mut Problems) -> Identity {
    let [user_id, email, name, groups, mut assertion] = names(&raw.identity, p);
    let assertion = assertion.pop().map(|header| self::assertion(raw, header, upstream, public, p));
    Identity { user_id, email, name, groups, assertion }
}

fn assertion(raw: &Raw, header: String, upstream: &str, public: &str, p: &mut Problems) -> Assertion {
    let key = "identity.assertion_lifetime";
    let lifetime = raw.identity.assertion_lifetime;
    between(p, key, lifetime, Span::seconds(10), Span::minutes(5));
    // One is made for each copy of a session in memory and goes with it.
    let most = Span(lifetime.0 / 2);
    if raw.session.cache_age > most && !p.about(key) && !p.about("session.cache_age") {
        let what = format!("{lifetime} is less than twice `session.cache_age` ({})", raw.session.cache_age);
        p.add(key, what, "the app shall have half of it left; raise it, or lower `session.cache_age`");
    }
    let key = "identity.assertion_audience";
    let audience = raw.identity.assertion_audience.as_deref().unwrap_or(upstream);
    if audience.trim().is_empty() || audience == public {
        let what = "is empty, or whom access tokens are for: one could be taken for the other";
        p.add(key, what, "name the app, such as \"http://127.0.0.1:3000\"");
    }
    Assertion { header, lifetime: lifetime.0, audience: audience.to_owned() }
}

/// The names for each of [`KEYS`], in lower case.
fn names(raw: &RawIdentity, p: &mut Problems) -> [Vec<String>; 5] {
    let own: [&[String]; 5] =
        [&raw.user_id.0, &raw.email.0, &raw.name.0, &raw.groups.0, raw.assertion_header.as_slice()];
    // What each folded name carries, and how it was first written.
    let mut taken: HashMap<String, (usize, String)> = HashMap::new();
    let mut lists: [Vec<String>; 5] = Default::default();
    for (what, preset) in preset(raw.preset).into_iter().enumerate() {
        let key = KEYS[what];
        let always = if what == 0 { [USER_ID].as_slice() } else { &[] };
        let given = own[what].iter().map(String::as_str);
        for name in always.iter().chain(preset).copied().chain(given) {
            let lower = name.to_ascii_lowercase();
            if HeaderName::from_bytes(lower.as_bytes()).is_err() {
                let what = format!("{} is not a header name", p.quote(key, name));
                p.add(key, what, "write letters, digits and `-`");
            } else if reserved(&lower) {
                let what = format!("{} has another meaning already", p.quote(key, name));
                p.add(key, what, "choose another name, such as \"x-user-email\"");
            } else if let Some((other, written)) = taken.get(&folded(&lower)) {
                if (*other, written) != (what, &lower) {
                    let what =
                        format!("{lower:?} is the same to some apps as {written:?} of `{}`", KEYS[*other]);
                    p.add(key, what, "give each its own name; case, `-`, `_` and `.` make no difference");
                }
            } else {
                taken.insert(folded(&lower), (what, lower.clone()));
                lists[what].push(lower);
            }
        }
    }
    lists
}

fn reserved(lower: &str) -> bool {
    let folded = folded(lower);
    let is = |name: &&str| *name == folded;
    RESERVED.iter().any(is)
        || (folded.starts_with("x-forwarded-") && !FORWARDED_IDENTITY.iter().any(is))
        || folded.starts_with("sec-")
        || folded.starts_with("access-control-")
        || folded.starts_with("if-")
}

/// A name as CGI, WSGI or PHP may see it: there `-`, `_` and `.` fall together.
fn folded(lower: &str) -> String {
    lower.replace(['_', '.'], "-")
}
