//! Sidegate from the outside: one test binary.

mod account;
mod browser;
mod client;
mod config;
mod flow;
mod pages;
mod session;
mod store;
mod support;
