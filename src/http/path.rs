//! The request path, parsed once: refused if no honest client would send it, and otherwise kept byte for
//! byte together with every other way in which an upstream could read it.

use http::uri::PathAndQuery;

use crate::refusal::Refusal;

pub(super) mod readings;

use readings::readings;

/// Longest path that may be read in more than one way, in bytes: judging one costs work.
const LONGEST_EXTRAORDINARY: usize = 2048;

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
        Self::read(target).map_err(|(refusal, _)| refusal)
    }

    /// The same, which gives back what is refused.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn read(target: PathAndQuery) -> Result<Self, (Refusal, PathAndQuery)> {
        match others(&target) {
            Ok((others, uppercase)) => Ok(Self { target, others, uppercase }),
            Err(refusal) => Err((refusal, target)),
        }
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

    /// Lets go of the other readings, once they have been judged.
    pub fn judged(&mut self) {
        self.others = Vec::new();
    }

    /// Whether letter case could make a difference to somebody.
    pub fn has_uppercase(&self) -> bool {
        self.uppercase
    }
}

/// The segments of a path as the rules see them: `/a//b` has `a`, the empty segment, and `b`.
pub fn segments(path: &str) -> impl Iterator<Item = &str> {
    // As a set of one: the search for a single character is made for long texts.
    path.strip_prefix('/').unwrap_or(path).split(['/'])
}

/// The other ways in which the path may be read, and whether any has capitals.
fn others(target: &PathAndQuery) -> Result<(Vec<String>, bool), Refusal> {
    if !target.as_str().starts_with('/') {
        return Err(Refusal::MalformedTarget);
    }
    let raw = target.path();
    let scan = Scan::of(raw)?;
    if let Some(query) = target.query()
        && !query.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
    {
        return Err(Refusal::MalformedTarget);
    }
    let others = match scan.ordinary {
        true => Vec::new(),
        false if raw.len() > LONGEST_EXTRAORDINARY => return Err(Refusal::TargetTooLong),
        false => readings(raw)?,
    };
    let uppercase = scan.uppercase || others.iter().any(|path| path.bytes().any(|b| b.is_ascii_uppercase()));
    Ok((others, uppercase))
}

/// What one look at the raw bytes says.
struct Scan {
    /// Nothing in it that anyone reads in a second way.
    ordinary: bool,
    uppercase: bool,
}

/// Bits that say what a byte is in a path.
const BAD: u8 = 1;
const EXTRA: u8 = 2;
const UPPERCASE: u8 = 4;
/// Two bytes are read in a second way if the upper two bits of the one have a bit in common with the two bits below of
/// the next: a slash before a slash or a dot, and, because some file systems drop a dot at the end of a name, a dot before
/// a slash.
const SLASH: u8 = 0b1111 << 4;
const DOT: u8 = 0b1001 << 4;

/// What each byte is.
const KINDS: [u8; 256] = {
    let mut kinds = [BAD; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        kinds[byte as usize] = match byte {
            b'\\' | b'#' | b'<' | b'>' | b'"' | b'^' | b'`' | b'{' | b'|' | b'}' => BAD,
            b'%' | b';' => EXTRA,
            b'A'..=b'Z' => UPPERCASE,
            b'/' => SLASH,
            b'.' => DOT,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};

impl Scan {
    fn of(raw: &str) -> Result<Self, Refusal> {
        let bytes = raw.as_bytes();
        let (mut kinds, mut pairs, mut before) = (0, 0, 0);
        for &byte in bytes {
            let kind = KINDS[usize::from(byte)];
            kinds |= kind;
            pairs |= (before >> 6) & (kind >> 4);
            before = kind;
        }
        if kinds & BAD != 0 || bytes.first() != Some(&b'/') {
            return Err(Refusal::MalformedTarget);
        }
        Ok(Self {
            ordinary: kinds & EXTRA == 0 && pairs == 0 && before != DOT,
            uppercase: kinds & UPPERCASE != 0,
        })
    }
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
        for path in ["/", "/a", "/api/u1/items", "/a.b/c..d/...e", "/a?x=/../y;z", "/~u/-_!$&'()*+,=:@"] {
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
    fn every_two_bytes_are_judged_as_one_by_one() {
        let ascii = || (0..128_u8).map(char::from);
        let pairs = ascii().flat_map(|first| ascii().map(move |second| (first, second)));
        for raw in pairs.flat_map(|(first, second)| ["", "z"].map(|end| format!("/a{first}{second}{end}"))) {
            let bad = raw.contains(|c: char| !c.is_ascii_graphic() || "\\#<>\"^`{|}".contains(c));
            let odd = raw.contains(['%', ';']) || raw.ends_with('.');
            let odd = odd || ["//", "/.", "./"].iter().any(|pair| raw.contains(pair));
            let capital = raw.contains(|c: char| c.is_ascii_uppercase());
            let scan = Scan::of(&raw).ok().map(|scan| (scan.ordinary, scan.uppercase));
            assert_eq!(scan, (!bad).then_some((!odd, capital)), "{raw:?}");
        }
        assert!(["", "a", "/\u{e9}"].iter().all(|raw| Scan::of(raw).is_err()));
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
            ("//x/api/u2", "/api/u2"),
            ("///x:1/api/u2", "/api/u2"),
            ("/%2fx/api/u2", "/api/u2"),
            ("/%5cx%2fapi/u2", "/api/u2"),
            ("/.//x/api/u2", "/api/u2"),
            ("//x", "/"),
            ("/a/./b/.", "/a/b/"),
            ("/a;v=1/b", "/a/b"),
            ("/api/u1/%EF%BC%8E%EF%BC%8E/u2", "/api/u2"),
            ("/api/u1/%EF%BC%8E.%25EF%25BC%258Fu2", "/api/u2"),
        ] {
            assert!(parse(path).expect(path).readings().any(|r| r == reading), "{path} as {reading}");
        }
    }
}
