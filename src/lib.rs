//! Sidegate.

pub mod account;
pub mod answer;
pub mod app;
pub mod cli;
pub mod config;
pub mod demo;
pub mod error;
pub mod flow;
pub mod gate;
pub mod http;
pub mod id;
pub mod limit;
pub mod log;
pub mod proxy;
pub mod refusal;
pub mod secret;
pub mod server;
pub mod session;
pub mod store;
pub mod time;
pub mod ui;
pub mod visitor;
