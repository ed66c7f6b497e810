//! Sidegate.

pub mod config;
pub mod error;
pub mod id;
pub mod refusal;
pub mod secret;
pub mod time;
pub mod ui;
pub mod visitor;
