//! Patterns of path segments: which paths a rule or a token is about.
//!
//! The segments of a path are what stands between its slashes: `/` has one, which is empty, and
//! the last one of `/docs/` is empty too. Only a [`Segment::Literal`] or a [`Segment::Rest`]
//! matches an empty segment.

use std::fmt;

use crate::id::UserId;

/// The first segment of owner paths: `/api/{user_id}/**`.
pub const OWNER_TREE: &str = "api";

/// A path pattern, matched segment by segment: `/files/*/public/**`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub Vec<Segment>);

/// One segment of a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// These bytes. Empty only as the last segment: the pattern ends with a slash.
    Literal(String),
    /// Any one segment that is not empty.
    Any,
    /// One segment, which must be the visitor's own user id.
    UserId,
    /// Any number of segments, none included; only at the end.
    Rest,
}

/// Why a text is no [`Pattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPattern {
    /// It does not begin with a slash.
    NoSlash,
    /// Two slashes in a row.
    Empty,
    /// `**` is followed by something.
    RestInside,
    /// A `*` beside other characters.
    StarInside,
    /// A brace that is not `{user_id}`.
    Brace,
    /// `.` or `..`.
    Dots,
    /// Anything else than `A-Z a-z 0-9 . _ ~ ! $ & ' ( ) + , = : @ -`.
    Character,
}

/// Characters of a path segment that no reader decodes, cuts or folds into something else
/// (RFC 3986 §3.3 `pchar`, less `%`, `;` and `*`).
fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._~!$&'()+,=:@-".contains(&byte)
}

impl Segment {
    fn parse(text: &str) -> Result<Self, NoPattern> {
        match text {
            "**" => Ok(Self::Rest),
            "*" => Ok(Self::Any),
            "{user_id}" => Ok(Self::UserId),
            "" => Err(NoPattern::Empty),
            "." | ".." => Err(NoPattern::Dots),
            _ if text.contains('*') => Err(NoPattern::StarInside),
            _ if text.contains(['{', '}']) => Err(NoPattern::Brace),
            _ if text.bytes().all(plain) => Ok(Self::Literal(text.to_owned())),
            _ => Err(NoPattern::Character),
        }
    }

    /// Whether some segment matches both. Neither is [`Segment::Rest`].
    fn overlaps(&self, other: &Self, case: Case) -> bool {
        match (self, other) {
            (Self::Literal(a), Self::Literal(b)) => case.same(a, b),
            (Self::Literal(text), Self::UserId) | (Self::UserId, Self::Literal(text)) => {
                UserId::parse(text).is_some()
            }
            (Self::Literal(text), Self::Any) | (Self::Any, Self::Literal(text)) => !text.is_empty(),
            (Self::Any | Self::UserId | Self::Rest, Self::Any | Self::UserId | Self::Rest)
            | (Self::Rest, Self::Literal(_))
            | (Self::Literal(_), Self::Rest) => true,
        }
    }

    /// Whether every segment that matches `other` matches this one. Neither is [`Segment::Rest`].
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, Self::Literal(text)) => !text.is_empty(),
            (Self::Any, Self::Any | Self::UserId) => true,
            _ => self == other,
        }
    }
}

/// How letters are compared.
#[derive(Clone, Copy)]
pub enum Case {
    /// `/API` is not `/api`.
    Exact,
    /// `/API` is `/api`, as some apps and file systems have it.
    Folded,
}

impl Case {
    /// Whether two segments are the same.
    pub fn same(self, a: &str, b: &str) -> bool {
        match self {
            Self::Exact => a == b,
            Self::Folded => a.eq_ignore_ascii_case(b),
        }
    }
}

impl Pattern {
    /// Reads `/`, `/docs/`, `/files/*/x`, `/api/{user_id}/**` and the like.
    pub fn parse(text: &str) -> Result<Self, NoPattern> {
        let path = text.strip_prefix('/').ok_or(NoPattern::NoSlash)?;
        let mut segments = Vec::new();
        let mut rest = path.split('/').peekable();
        while let Some(text) = rest.next() {
            let last = rest.peek().is_none();
            let segment =
                if last && text.is_empty() { Segment::Literal(String::new()) } else { Segment::parse(text)? };
            if segment == Segment::Rest && !last {
                return Err(NoPattern::RestInside);
            }
            segments.push(segment);
        }
        Ok(Self(segments))
    }

    /// Everything at and under the owner's path: `/api/{user_id}/**`.
    pub fn owner() -> Self {
        Self(vec![Segment::Literal(OWNER_TREE.to_owned()), Segment::UserId, Segment::Rest])
    }

    /// Whether some path matches both, for some visitor.
    pub fn overlaps(&self, other: &Self, case: Case) -> bool {
        let (mut a, mut b) = (self.0.iter(), other.0.iter());
        loop {
            match (a.next(), b.next()) {
                // Whatever is left of the one beside a `**`: some path matches it.
                (Some(Segment::Rest), _) | (_, Some(Segment::Rest)) | (None, None) => return true,
                (Some(a), Some(b)) if a.overlaps(b, case) => {}
                _ => return false,
            }
        }
    }

    /// Whether every path that matches `other` matches this one, whoever the visitor is.
    pub fn covers(&self, other: &Self) -> bool {
        let (mut a, mut b) = (self.0.iter(), other.0.iter());
        loop {
            match (a.next(), b.next()) {
                (Some(Segment::Rest), _) | (None, None) => return true,
                (_, Some(Segment::Rest)) => return false,
                (Some(a), Some(b)) if a.covers(b) => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for NoPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSlash => "does not begin with `/`",
            Self::Empty => "holds an empty segment",
            Self::RestInside => "has `**` before its end",
            Self::StarInside => "has a `*` inside a segment, where it stands for whole segments only",
            Self::Brace => "has a brace that is not the segment `{user_id}`",
            Self::Dots => "holds a `.` or `..` segment",
            Self::Character => "holds a character that can be written in more than one way",
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.0 {
            let text = match segment {
                Segment::Literal(text) => text.as_str(),
                Segment::Any => "*",
                Segment::UserId => "{user_id}",
                Segment::Rest => "**",
            };
            write!(f, "/{text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn patterns_read_as_written_and_say_the_same() {
        for text in ["/", "/docs/", "/files/*/x", "/api/{user_id}/**", "/**", "/a.b/c:d@e", "/.well-known/x"]
        {
            assert_eq!(pattern(text).to_string(), text);
        }
        assert_eq!(pattern("/").0, [Segment::Literal(String::new())]);
    }

    #[test]
    fn ambiguous_patterns_are_refused() {
        for (text, why) in [
            ("", NoPattern::NoSlash),
            ("x", NoPattern::NoSlash),
            ("//x", NoPattern::Empty),
            ("/a//b", NoPattern::Empty),
            ("/**/x", NoPattern::RestInside),
            ("/*.png", NoPattern::StarInside),
            ("/***", NoPattern::StarInside),
            ("/{id}", NoPattern::Brace),
            ("/x{user_id}", NoPattern::Brace),
            ("/a/../b", NoPattern::Dots),
            ("/.", NoPattern::Dots),
            ("/a%2fb", NoPattern::Character),
            ("/a;b", NoPattern::Character),
            ("/a b", NoPattern::Character),
            ("/a\\b", NoPattern::Character),
            ("/é", NoPattern::Character),
            ("/a?b", NoPattern::Character),
        ] {
            assert_eq!(Pattern::parse(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn covering_is_matching_all_that_the_other_matches() {
        for (a, b, covers) in [
            ("/**", "/", true),
            ("/**", "/a/**", true),
            ("/a/**", "/a", true),
            ("/a/**", "/a/", true),
            ("/a/**", "/a/*/c", true),
            ("/a/**", "/ab", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/", false),
            ("/a/*", "/a/{user_id}", true),
            ("/a/{user_id}", "/a/*", false),
            ("/a/{user_id}", "/a/b", false),
            ("/a/b", "/a/**", false),
            ("/a/*", "/a/**", false),
            ("/a", "/a/", false),
            ("/a", "/A", false),
            ("/a/b", "/a/b", true),
        ] {
            assert_eq!(pattern(a).covers(&pattern(b)), covers, "{a} {b}");
        }
    }

    #[test]
    fn overlapping_is_matching_one_path_in_common() {
        for (a, b, overlaps) in [
            ("/**", "/api/{user_id}/**", true),
            ("/*/x", "/api/{user_id}/**", true),
            ("/*", "/api/{user_id}/**", false),
            ("/api", "/api/{user_id}/**", false),
            ("/api/", "/api/{user_id}/**", false),
            ("/api/health", "/api/{user_id}/**", true),
            ("/api/health.txt", "/api/{user_id}/**", false),
            ("/API/*/x", "/api/{user_id}/**", true),
            ("/apis/**", "/api/{user_id}/**", false),
            ("/api/**", "/api/{user_id}/**", true),
            ("/a/*/c", "/a/b/*", true),
            ("/a/*/c", "/a/b/d", false),
        ] {
            assert_eq!(pattern(a).overlaps(&pattern(b), Case::Folded), overlaps, "{a} {b}");
            assert_eq!(pattern(b).overlaps(&pattern(a), Case::Folded), overlaps, "{b} {a}");
        }
        assert!(!pattern("/API/*/x").overlaps(&Pattern::owner(), Case::Exact));
    }
}
