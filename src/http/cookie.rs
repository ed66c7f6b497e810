//! Our cookies: found in a request by a parser of our own, cut out of what is forwarded, written with
//! attributes.
//!
//! Names are compared as bytes and only SP and HTAB are trimmed: a parser that trims more lets a sibling site
//! plant a cookie under our name.

use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::HeaderValue;
use http::header::COOKIE;
use memchr::memmem::Finder;
use memchr::{memchr, memrchr};

use crate::http::fields::Fields;
use crate::secret::TokenHash;

/// The names of our cookies, which depend on whether browsers reach us by https.
#[derive(Clone, Debug)]
pub struct CookieNames {
    /// Carries the session token.
    pub session: &'static str,
    /// Carries the refresh token beside a signed session cookie.
    pub refresh: &'static str,
    /// Remembers that this browser signed a user in before.
    pub device: &'static str,
    /// Carries the token of a sign-in that waits for its code.
    pub pending: &'static str,
    /// Keeps the address that was typed a moment ago.
    pub typed: &'static str,
    /// How the names begin that tie flows at providers to the browser; see [`Self::of_flow`].
    pub flow: &'static str,
    secure: bool,
}

/// What the request carries under one cookie name.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// Nothing.
    Nothing,
    /// One value, perhaps repeated.
    One(&'a [u8]),
    /// Two different values: one of them was planted, and nobody can say which.
    Conflict,
}

impl CookieNames {
    /// `__Host-…` on https, plain names on loopback http, where browsers refuse the prefix.
    pub fn new(https: bool) -> Self {
        let (session, device, flow) = if https {
            ("__Host-sidegate", "__Host-sidegate-device", "__Host-sidegate-flow-")
        } else {
            ("sidegate", "sidegate-device", "sidegate-flow-")
        };
        let pending = if https { "__Host-sidegate-pending" } else { "sidegate-pending" };
        let refresh = if https { "__Host-sidegate-refresh" } else { "sidegate-refresh" };
        let typed = if https { "__Host-sidegate-typed" } else { "sidegate-typed" };
        Self { session, refresh, device, flow, pending, typed, secure: https }
    }

    /// The name of the cookie beside the flow with this state: one for each, so that flows in several tabs do
    /// not disturb each other.
    pub fn of_flow(&self, state: TokenHash) -> String {
        format!("{}{}", self.flow, &state.to_column()[..8])
    }

    /// Whether `name` is one that only we may set and read, with or without the prefix.
    pub fn ours(name: &[u8]) -> bool {
        let bare = name.strip_prefix(b"__Host-").or_else(|| name.strip_prefix(b"__Secure-")).unwrap_or(name);
        bare == b"sidegate" || bare.starts_with(b"sidegate-")
    }

    /// A `Set-Cookie` value. `lifetime` of `None` makes it end with the browser session.
    pub fn set(&self, name: &str, value: String, lifetime: Option<Duration>) -> HeaderValue {
        let mut cookie = Cookie::build((name, value))
            .path("/")
            .http_only(true)
            .secure(self.secure)
            .same_site(SameSite::Lax)
            .build();
        if let Some(lifetime) = lifetime {
            cookie.set_max_age(Some(time::Duration::seconds(
                i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX),
            )));
        }
        header(&cookie)
    }

    /// A `Set-Cookie` value that makes the browser forget the cookie.
    pub fn clear(&self, name: &str) -> HeaderValue {
        self.set(name, String::new(), Some(Duration::ZERO))
    }
}

fn header(cookie: &Cookie<'_>) -> HeaderValue {
    HeaderValue::from_str(&cookie.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Splits a `Cookie` value into its pairs as they stand.
fn pairs(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let end = memchr(b';', bytes);
        rest = end.map(|end| &bytes[end + 1..]);
        Some(end.map_or(bytes, |end| &bytes[..end]))
    })
}

/// The value of a pair that has exactly this name.
fn value_under<'p>(pair: &'p [u8], name: &str) -> Option<&'p [u8]> {
    let value = trim(trim_start(pair).strip_prefix(name.as_bytes())?).strip_prefix(b"=")?;
    Some(trim(value))
}

/// Whether a pair, without the spaces around it, has one of our names. Those of others are told by their first letter.
fn is_ours(pair: &[u8]) -> bool {
    matches!(pair.first(), Some(b's' | b'_'))
        && pair.iter().position(|&b| b == b'=').is_some_and(|end| CookieNames::ours(trim(&pair[..end])))
}

fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

fn trim(bytes: &[u8]) -> &[u8] {
    let mut bytes = trim_start(bytes);
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Looks for one cookie of ours by its exact name in all `Cookie` lines.
pub fn find<'a>(headers: &'a Fields, name: &str) -> Found<'a> {
    let mut found = Found::Nothing;
    for line in headers.get_all(&COOKIE) {
        let candidates = Candidates { line: line.as_bytes(), at: 0 };
        for value in candidates.filter_map(|pair| value_under(&line.as_bytes()[pair], name)) {
            match found {
                Found::Nothing => found = Found::One(value),
                Found::One(first) if first == value => {}
                _ => return Found::Conflict,
            }
        }
    }
    found
}

/// What all of our names contain.
const OURS: &[u8] = b"sidegate";

/// The pairs of a `Cookie` line that may have one of our names, as they stand: the only ones that need a look.
struct Candidates<'l> {
    line: &'l [u8],
    /// How far the line has been searched.
    at: usize,
}

impl Iterator for Candidates<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        static SEARCH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(OURS));
        let found = self.at + SEARCH.find(self.line.get(self.at..)?)?;
        let start = memrchr(b';', &self.line[self.at..found]).map_or(self.at, |before| self.at + before + 1);
        let end = memchr(b';', &self.line[found..]).map_or(self.line.len(), |after| found + after);
        self.at = end + 1;
        Some(start..end)
    }
}

/// All cookies whose names begin with `prefix`, as they came.
pub fn beginning_with<'h>(headers: &'h Fields, prefix: &str) -> Vec<(&'h str, &'h [u8])> {
    let lines = headers.get_all(&COOKIE);
    lines
        .flat_map(|line| pairs(line.as_bytes()))
        .filter_map(|pair| {
            let end = memchr(b'=', pair)?;
            let name = std::str::from_utf8(trim(&pair[..end])).ok()?;
            name.starts_with(prefix).then(|| (name, trim(&pair[end + 1..])))
        })
        .collect()
}

/// Whether any cookie of ours came along.
pub fn any_of_ours(headers: &Fields) -> bool {
    headers.get_all(&COOKIE).any(|line| {
        let line = line.as_bytes();
        Candidates { line, at: 0 }.any(|pair| is_ours(trim(&line[pair])))
    })
}

/// Appends to `out` what is left of one `Cookie` value without our pairs.
pub fn without_ours(value: &[u8], out: &mut Vec<u8>) {
    let (start, mut kept) = (out.len(), 0);
    for pair in (Candidates { line: value, at: 0 }).filter(|pair| is_ours(trim(&value[pair.clone()]))) {
        add(out, &value[kept..pair.start], start);
        kept = pair.end + 1;
    }
    add(out, value.get(kept..).unwrap_or_default(), start);
}

/// Appends pairs to those that stand behind `start`.
fn add(out: &mut Vec<u8>, mut pairs: &[u8], start: usize) {
    while let [b' ' | b'\t' | b';', rest @ ..] | [rest @ .., b' ' | b'\t' | b';'] = pairs {
        pairs = rest;
    }
    if out.len() > start && !pairs.is_empty() {
        out.extend_from_slice(b"; ");
    }
    out.extend_from_slice(pairs);
}

/// Whether a `Set-Cookie` value of the upstream would set one of our names.
pub fn sets_ours(value: &[u8]) -> bool {
    let pair = trim(value.split(|&b| b == b';').next().unwrap_or_default());
    // Without a name the whole value is sent back, and could look like one of ours.
    let pair = trim(pair.strip_prefix(b"=").unwrap_or(pair));
    let name = pair.split(|&b| b == b'=').next().unwrap_or_default();
    CookieNames::ours(trim(name)) || CookieNames::ours(trim(pair))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn headers(lines: &[&[u8]]) -> Fields {
        let mut map = HeaderMap::new();
        for line in lines {
            map.append(COOKIE, HeaderValue::from_bytes(line).expect("a header value"));
        }
        Fields::from(&map)
    }

    #[test]
    fn ck_1_a_name_behind_unicode_space_is_another_name() {
        let map = headers(&["\u{2000}__Host-sidegate=EVIL; __Host-sidegate=GOOD".as_bytes()]);
        assert_eq!(find(&map, "__Host-sidegate"), Found::One(b"GOOD"));
    }

    #[test]
    fn ck_2_case_matters_and_ck_4_nameless_and_valueless_cookies_are_not_ours() {
        let map = headers(&[b"__host-sidegate=a; =__Host-sidegate=b; __Host-sidegate"]);
        assert_eq!(find(&map, "__Host-sidegate"), Found::Nothing);
    }

    #[test]
    fn ck_3_two_values_under_our_name_are_nobody() {
        assert_eq!(find(&headers(&[b"sidegate=a; x=1; sidegate=b"]), "sidegate"), Found::Conflict);
        assert_eq!(find(&headers(&[b"sidegate=a", b"sidegate=b"]), "sidegate"), Found::Conflict);
        assert_eq!(find(&headers(&[b"sidegate=a", b"sidegate=a"]), "sidegate"), Found::One(b"a"));
    }

    #[test]
    fn ck_5_the_legacy_version_syntax_means_nothing() {
        let map = headers(&[b"$Version=1; sidegate=\"v\""]);
        assert_eq!(find(&map, "sidegate"), Found::One(b"\"v\""));
    }

    #[test]
    fn our_cookies_are_cut_and_the_others_stay_as_they_were() {
        let mut out = Vec::new();
        without_ours(b"a=1; sidegate=x; __Host-sidegate-device=y;b=\"2;;c", &mut out);
        assert_eq!(out, b"a=1; b=\"2;;c");
        for (line, left) in [
            ("sidegate=x", ""),
            (" sidegate=x ; ", ""),
            ("sidegate=x;a=1", "a=1"),
            ("a=1;sidegate=x", "a=1"),
            ("a=1; \tsidegate = x;sidegate-typed=y ;; b=2", "a=1; b=2"),
            ("a=sidegate; sidegated=1; =sidegate", "a=sidegate; sidegated=1; =sidegate"),
            ("", ""),
        ] {
            let mut out = Vec::new();
            without_ours(line.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), left, "{line}");
        }
    }

    #[test]
    fn an_upstream_cookie_under_our_name_is_recognised() {
        assert!(sets_ours(b"=sidegate=1") && sets_ours(b" = sidegate=1"));
        assert!(sets_ours(b"sidegate=1; Path=/") && sets_ours(b" __Host-sidegate =1"));
        assert!(!sets_ours(b"sidegated=1") && !sets_ours(b"x=sidegate"));
    }
}
