//! The request path, parsed once: refused if no honest client would send it, and otherwise kept byte for
//! byte together with every other way in which an upstream could read it.

use http::uri::PathAndQuery;
use unicode_normalization::UnicodeNormalization as _;

use crate::refusal::Refusal;

/// The path and query of a request: exactly the bytes that will be forwarded.
#[derive(Clone, Debug)]
pub struct Path {
    target: PathAndQuery,
    /// Other readings, none of them equal to the raw path; empty for the ordinary path.
    others: Vec<String>,
    uppercase: bool,
}

impl Path {
    /// Checks the target of a request.
    ///
    /// # Errors
    /// [`Refusal::MalformedTarget`] for a missing leading slash, control bytes, space, `\`, `#`, characters
    /// that RFC 3986 has no place for, bytes outside ASCII, broken percent-encodings, encoded control bytes,
    /// and what is not UTF-8 once decoded.
    pub fn parse(target: PathAndQuery) -> Result<Self, Refusal> {
        let raw = target.path();
        let scan = Scan::of(raw)?;
        if let Some(query) = target.query()
            && !query.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
        {
            return Err(Refusal::MalformedTarget);
        }
        let others = if scan.ordinary { Vec::new() } else { readings(raw)? };
        let uppercase =
            scan.uppercase || others.iter().any(|path| path.bytes().any(|b| b.is_ascii_uppercase()));
        Ok(Self { target, others, uppercase })
    }

    /// The path as it came, without the query.
    pub fn raw(&self) -> &str {
        self.target.path()
    }

    /// The query as it came, without `?`.
    pub fn query(&self) -> Option<&str> {
        self.target.query()
    }

    /// Path and query: the request target that is forwarded.
    pub fn target(&self) -> &str {
        self.target.as_str()
    }

    /// Every way in which this path may be read, the raw one first.
    pub fn readings(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.raw()).chain(self.others.iter().map(String::as_str))
    }

    /// Whether there is only one way to read this path.
    pub fn ordinary(&self) -> bool {
        self.others.is_empty()
    }

    /// Whether letter case could make a difference to somebody.
    pub fn has_uppercase(&self) -> bool {
        self.uppercase
    }
}

/// The segments of a path as the rules see them: `/a//b` has `a`, the empty segment, and `b`.
pub fn segments(path: &str) -> std::str::Split<'_, char> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// What one look at the raw bytes says.
struct Scan {
    /// Nothing in it that anyone reads in a second way.
    ordinary: bool,
    uppercase: bool,
}

impl Scan {
    fn of(raw: &str) -> Result<Self, Refusal> {
        let bytes = raw.as_bytes();
        if bytes.first() != Some(&b'/') {
            return Err(Refusal::MalformedTarget);
        }
        let mut scan = Self { ordinary: true, uppercase: false };
        let mut before = 0;
        for &byte in bytes {
            match byte {
                b'%' | b';' => scan.ordinary = false,
                b'/' | b'.' if before == b'/' => scan.ordinary = false,
                b'A'..=b'Z' => scan.uppercase = true,
                b'\\' | b'#' | b'<' | b'>' | b'"' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                    return Err(Refusal::MalformedTarget);
                }
                0x21..=0x7e => {}
                _ => return Err(Refusal::MalformedTarget),
            }
            before = byte;
        }
        Ok(scan)
    }
}

/// How far a reader decodes percent-encodings.
#[derive(Clone, Copy)]
enum Decode {
    /// Only letters, digits and `-._~`, as RFC 3986 §6.2.2.2 normalises.
    Unreserved,
    /// Everything.
    All,
}

/// All readings other than the raw path: not decoded, decoded in part, once and twice, full-width and other
/// compatible forms of letters as the letters; each with and without `\` as `/`, parameters cut, slashes
/// merged and dot segments resolved.
fn readings(raw: &str) -> Result<Vec<String>, Refusal> {
    let once = decoded(raw, Decode::All, true)?;
    let twice = decoded(&once, Decode::All, false)?;
    let mut bases = vec![raw.to_owned(), decoded(raw, Decode::Unreserved, true)?];
    if !twice.is_ascii() {
        // NFKC makes `.` of U+FF0E and `/` of U+FF0F.
        bases.extend([once.nfkc().collect(), twice.nfkc().collect()]);
    }
    bases.extend([once, twice]);
    let mut all: Vec<String> = Vec::new();
    for base in bases {
        let steps = if one_shape(&base) { 0..1 } else { 0..16u8 };
        for steps in steps {
            let mut path = base.clone();
            if steps & 1 != 0 {
                path = path.replace('\\', "/");
            }
            if steps & 2 != 0 {
                path = without_parameters(&path);
            }
            if steps & 4 != 0 {
                path = merged(&path);
            }
            if steps & 8 != 0 {
                path = resolved(&path);
            }
            if path != raw && !all.contains(&path) {
                all.push(path);
            }
        }
    }
    Ok(all)
}

/// Whether none of the steps would change the path: the usual case, an encoded space or letter.
fn one_shape(path: &str) -> bool {
    !path.contains(['\\', ';']) && !path.contains("//") && !path.contains("/.")
}

/// Decodes percent-encodings. A broken one is refused if `strict`, and kept as it stands otherwise (a second
/// decoder sees `%` signs that were data to the first).
fn decoded(path: &str, decode: Decode, strict: bool) -> Result<String, Refusal> {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match escaped(&bytes[at..]) {
            Some(byte) if byte < 0x20 || byte == 0x7f => return Err(Refusal::MalformedTarget),
            Some(byte) if matches!(decode, Decode::All) || unreserved(byte) => {
                out.push(byte);
                at += 3;
            }
            None if bytes[at] == b'%' && strict => return Err(Refusal::MalformedTarget),
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    // Overlong forms and stray continuation bytes are not UTF-8 either.
    String::from_utf8(out).map_err(|_| Refusal::MalformedTarget)
}

/// The byte that the percent-encoding at the start of `bytes` stands for; `None` if there is none.
pub(super) fn escaped(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn without_parameters(path: &str) -> String {
    let cut: Vec<&str> = path.split('/').map(|s| s.split(';').next().unwrap_or_default()).collect();
    cut.join("/")
}

fn merged(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !out.ends_with('/') {
            out.push(c);
        }
    }
    out
}

/// Resolves `.` and `..` (RFC 3986 §5.2.4).
fn resolved(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = segments(path).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => {
                kept.push(part);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Result<Path, Refusal> {
        Path::parse(
            PathAndQuery::from_maybe_shared(bytes::Bytes::copy_from_slice(path.as_bytes()))
                .map_err(|_| Refusal::MalformedTarget)?,
        )
    }

    #[test]
    fn an_ordinary_path_has_one_reading() {
        for path in ["/", "/a", "/api/u1/items", "/a.b/c..d/e...", "/a?x=/../y;z", "/~u/-_!$&'()*+,=:@"] {
            assert!(parse(path).expect(path).ordinary(), "{path}");
        }
    }

    #[test]
    fn what_no_honest_client_sends_is_refused() {
        for path in [
            "a", "*", "/a b", "/a\\b", "/é", "/a\u{7f}", "/%", "/%2", "/%zz", "/%00", "/%0d%0a", "/%7f",
            "/%c0%ae", "/%ff", "/%2500", "/{x}", "/a|b", "/a^b", "/a`b", "/a?x y",
        ] {
            assert!(parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn letters_that_only_a_decoder_sees_in_upper_case_are_noticed() {
        assert!(parse("/%41%50%49/u2").expect("a path").has_uppercase());
        assert!(!parse("/%61%70%69/u2").expect("a path").has_uppercase());
    }

    #[test]
    fn every_reading_of_a_hostile_path_is_found() {
        for (path, reading) in [
            ("/api/u1/../u2/x", "/api/u2/x"),
            ("/api/u1/%2e%2e/u2", "/api/u2"),
            ("/api/u1/..%2fu2", "/api/u2"),
            ("/api/u1/..%252fu2", "/api/u2"),
            ("/api/u1/..;/u2", "/api/u2"),
            ("/api/u1/..%5cu2", "/api/u2"),
            ("/api/%75%32/x", "/api/u2/x"),
            ("//api/u2", "/api/u2"),
            ("/x/..%2fapi/u2", "/api/u2"),
            ("/a/./b/.", "/a/b/"),
            ("/a;v=1/b", "/a/b"),
            ("/api/u1/%EF%BC%8E%EF%BC%8E/u2", "/api/u2"),
            ("/api/u1/%EF%BC%8E.%25EF%25BC%258Fu2", "/api/u2"),
        ] {
            assert!(parse(path).expect(path).readings().any(|r| r == reading), "{path} as {reading}");
        }
    }
}
