//! Sidegate.

pub mod account;
pub mod config;
pub mod error;
pub mod id;
pub mod limit;
pub mod refusal;
pub mod secret;
pub mod time;
pub mod visitor;
