//! Sidegate.

pub mod config;
pub mod error;
pub mod gate;
pub mod http;
pub mod id;
pub mod refusal;
pub mod secret;
pub mod time;
pub mod visitor;
