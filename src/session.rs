//! Sessions.
pub mod live;
