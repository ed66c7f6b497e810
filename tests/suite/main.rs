//! Sidegate from the outside: one test binary.

mod account;
mod architecture;
mod browser;
mod client;
mod config;
mod demo;
mod explain;
mod flow;
mod gate;
mod hostile;
mod jobs;
mod pages;
mod proxy;
mod serve;
mod session;
mod store;
mod support;
mod tls;
