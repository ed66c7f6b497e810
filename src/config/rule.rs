//! Access rules as data: patterns of path segments, and what they ask of a visitor.

use http::Method;

/// What a request that matches needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Forwarded for everyone, without identity.
    Public,
    /// Forwarded for everyone, with the identity if there is one.
    Optional,
    /// Forwarded with an identity only.
    Required,
    /// Never forwarded.
    Deny,
}

/// One `[[rules]]` entry.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which paths.
    pub pattern: Pattern,
    /// Which methods; empty means all.
    pub methods: Vec<Method>,
    /// What they need.
    pub access: Access,
}

/// A path pattern, matched segment by segment: `/files/*/public/**`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub Vec<Segment>);

/// One segment of a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// These bytes.
    Literal(String),
    /// Any one segment that is not empty.
    Any,
    /// One segment, which must be the visitor's own user id.
    UserId,
    /// Any number of segments, none included; only at the end.
    Rest,
}
