//! `[trace]`: who is told of requests as parts of traces.

use super::upstream::Target;
use crate::trace::Share;

/// A collector.
#[derive(Clone)]
pub struct Trace {
    /// Where it listens.
    pub target: Target,
    /// What `Host` says.
    pub authority: String,
    /// Where it takes spans.
    pub path: String,
    /// Which part of all traces is recorded.
    pub share: Share,
    /// What we are called there.
    pub service: String,
}
