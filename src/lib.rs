//! Sidegate.

pub mod config;
pub mod error;
pub mod id;
pub mod refusal;
pub mod secret;
pub mod store;
pub mod time;
pub mod visitor;
