//! Every way in which somebody behind us could read a path: what decoders, normalisers and file systems do to
//! it, in whatever order they stand.

use unicode_normalization::UnicodeNormalization as _;

use super::segments;
use crate::refusal::Refusal;

/// Most readings of one path; an honest one has two or three.
const MOST: usize = 64;
/// How long all of them may be together, in bytes: each is looked at by every step, and judged.
const MOST_BYTES: usize = 16 * 1024;

/// What a reader may do to a path; `None` where it changes nothing. None makes it longer, but for [`composed`].
type Step = fn(&str) -> Result<Option<String>, Refusal>;

/// The steps, each of which may come first, last or twice.
const STEPS: [Step; 13] = [
    |path| decoded(path, Decode::All),
    |path| decoded(path, Decode::ButSlash),
    |path| decoded(path, Decode::ButSlashes),
    |path| decoded(path, Decode::Unreserved),
    |path| Ok(path.contains('\\').then(|| path.replace('\\', "/"))),
    |path| Ok(path.contains(';').then(|| each_segment(path, |s| s.split(';').next().unwrap_or_default()))),
    |path| Ok(path.contains("//").then(|| merged(path))),
    |path| Ok(path.contains("/.").then(|| resolved(path))),
    |path| Ok(path.starts_with("//").then(|| beyond_authority(path))),
    // NFKC makes `.` of U+FF0E and `/` of U+FF0F.
    composed,
    |path| Ok((!path.is_ascii()).then(|| path.chars().map(without_case).collect())),
    // A decoded `?` or `#` ends the path for who splits after decoding.
    |path| Ok(path.find(['?', '#']).map(|end| path[..end].to_owned())),
    |path| Ok(path.contains(['.', ' ']).then(|| each_segment(path, without_tail))),
];

/// All readings other than the raw path.
///
/// # Errors
/// [`Refusal::MalformedTarget`] for a broken escape, an encoded control byte at any depth, and what is not
/// UTF-8 once decoded; [`Refusal::AmbiguousPath`] if there is no end of readings, or too much to each.
pub(super) fn readings(raw: &str) -> Result<Vec<String>, Refusal> {
    if has_broken_escape(raw) {
        return Err(Refusal::MalformedTarget);
    }
    let mut all = vec![raw.to_owned()];
    let mut bytes = raw.len();
    let mut next = 0;
    while next < all.len() {
        for step in STEPS {
            if let Some(reading) = step(&all[next])?
                && !all.contains(&reading)
            {
                bytes += reading.len();
                if all.len() > MOST || bytes > MOST_BYTES {
                    return Err(Refusal::AmbiguousPath);
                }
                all.push(reading);
            }
        }
        next += 1;
    }
    all.remove(0);
    Ok(all)
}

/// How far a reader decodes percent-encodings.
#[derive(Clone, Copy)]
enum Decode {
    /// Only letters, digits and `-._~`, as RFC 3986 §6.2.2.2 normalises.
    Unreserved,
    /// Everything.
    All,
    /// Everything but `/`, so that a segment stays one.
    ButSlash,
    /// Everything but `/` and `\`.
    ButSlashes,
}

impl Decode {
    /// Whether this byte of an escape is decoded.
    fn takes(self, byte: u8) -> bool {
        match self {
            Self::Unreserved => unreserved(byte),
            Self::All => true,
            Self::ButSlash => byte != b'/',
            Self::ButSlashes => !matches!(byte, b'/' | b'\\'),
        }
    }

    /// Whether it can come to something else than to decode everything, or to decode all but `/`.
    fn differs(self, path: &str) -> bool {
        let has =
            |escape: &[u8; 3]| path.as_bytes().windows(3).any(|three| three.eq_ignore_ascii_case(escape));
        match self {
            Self::Unreserved | Self::All => path.contains('%'),
            Self::ButSlash => has(b"%2f"),
            Self::ButSlashes => has(b"%5c"),
        }
    }
}

/// Decodes percent-encodings. A broken one stays as it stands: to a second decoder `%` signs may be data.
fn decoded(path: &str, decode: Decode) -> Result<Option<String>, Refusal> {
    if !decode.differs(path) {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        match escaped(rest) {
            Some(byte) if byte < 0x20 || byte == 0x7f => return Err(Refusal::MalformedTarget),
            Some(byte) if decode.takes(byte) => {
                out.push(byte);
                rest = &rest[3..];
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    // Overlong forms and stray continuation bytes are not UTF-8 either.
    String::from_utf8(out).map(Some).map_err(|_| Refusal::MalformedTarget)
}

/// The byte that the percent-encoding at the start of `bytes` stands for; `None` if there is none.
pub(in crate::http) fn escaped(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

fn has_broken_escape(path: &str) -> bool {
    path.match_indices('%').any(|(at, _)| escaped(&path.as_bytes()[at..]).is_none())
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn each_segment(path: &str, change: impl Fn(&str) -> &str) -> String {
    path.split('/').map(change).collect::<Vec<_>>().join("/")
}

/// The path in NFKC, in which one character can become eighteen.
fn composed(path: &str) -> Result<Option<String>, Refusal> {
    if path.is_ascii() {
        return Ok(None);
    }
    let mut out = String::with_capacity(path.len());
    for letter in path.nfkc() {
        if out.len() > MOST_BYTES {
            return Err(Refusal::AmbiguousPath);
        }
        out.push(letter);
    }
    Ok(Some(out))
}

/// A letter outside ASCII that has an ASCII letter in the other case (U+0131 is `i` to who compares in capitals) as
/// that letter.
fn without_case(letter: char) -> char {
    let mut capital = letter.to_uppercase();
    match (capital.next(), capital.next()) {
        (Some(capital), None) if !letter.is_ascii() && capital.is_ascii() => capital.to_ascii_lowercase(),
        _ => letter,
    }
}

/// A name without the dots and spaces at its end, which some file systems do not keep.
fn without_tail(segment: &str) -> &str {
    let spaceless = segment.trim_end_matches(' ');
    let bare = segment.trim_end_matches(['.', ' ']);
    if bare.is_empty() { spaceless } else { bare }
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

/// What is left for who takes the target for a reference and resolves it: two slashes begin an authority (RFC 3986 §4.2),
/// and so do more of them to a browser's parser, such as `new URL(target, base)`.
fn beyond_authority(path: &str) -> String {
    let reference = path.trim_start_matches('/');
    reference.find('/').map_or("/", |end| &reference[end..]).to_owned()
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
