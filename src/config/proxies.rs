//! Who may stand between a client and us, and how that is told: `[proxies]` and `[forward_auth]`.

use ipnet::IpNet;
use serde::Deserialize;

/// `[proxies]`
#[derive(Clone)]
pub struct Proxies {
    /// Peers that are believed when they say who stood before them.
    pub trusted: Vec<IpNet>,
    /// Where they say it.
    pub chain: Chain,
}

/// `proxies.header`: the header field in which trusted proxies say who stood before them. The other one is whatever
/// the client made of it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Chain {
    /// What nearly all of them write.
    #[serde(rename = "x-forwarded-for")]
    XForwardedFor,
    /// RFC 7239.
    #[serde(rename = "forwarded")]
    Forwarded,
}
