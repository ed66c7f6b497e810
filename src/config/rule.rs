//! Access rules as data: which requests, and what they need.

use std::fmt;

use http::Method;
use serde::Deserialize;

use crate::pattern::Pattern;

/// What a request that matches needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
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

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Optional => "optional",
            Self::Required => "required",
            Self::Deny => "deny",
        })
    }
}
