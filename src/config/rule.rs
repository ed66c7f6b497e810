//! Access rules as data: which requests, and what they need.

use std::fmt;

use http::Method;
use serde::Deserialize;

use crate::pattern::Pattern;

/// The name of the route of what cannot be read in one way.
pub const NONE: &str = "none";
/// The name of the route of our own endpoints.
pub const AUTH: &str = "auth";
/// The name of the route of owner paths that no rule is about.
pub const OWNER: &str = "owner";
/// The name of the route of everything that no rule is about.
pub const DEFAULT: &str = "default";

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
    /// What it is called in the log and the metrics, if not by its pattern.
    pub name: Option<String>,
}

impl Rule {
    /// The name of its route.
    pub fn route(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.pattern.to_string())
    }
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
