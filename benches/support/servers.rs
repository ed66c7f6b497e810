//! The servers of a benchmark, and those who speak to them.

#![expect(dead_code, reason = "shared with benchmarks that need more of it")]

#[path = "process.rs"]
pub(crate) mod process;
#[path = "running.rs"]
pub(crate) mod running;
#[path = "tls.rs"]
pub(crate) mod tls;
