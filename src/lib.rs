//! Sidegate.

pub mod config;
pub mod error;
pub mod gate;
pub mod http;
pub mod id;
pub mod proxy;
pub mod refusal;
pub mod secret;
pub mod session;
pub mod time;
pub mod visitor;
