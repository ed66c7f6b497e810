//! Sidegate.

pub mod cli;
pub mod config;
pub mod error;
pub mod id;
pub mod log;
pub mod refusal;
pub mod secret;
pub mod time;
pub mod visitor;
