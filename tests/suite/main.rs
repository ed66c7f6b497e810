//! Sidegate from the outside: one test binary.

mod account;
mod architecture;
mod browser;
mod client;
mod config;
mod demo;
mod edge;
mod explain;
mod flow;
mod gate;
mod grpc;
mod hostile;
mod jobs;
mod mail;
mod oauth;
mod ops;
mod pages;
mod provider;
mod proxy;
mod serve;
mod session;
mod store;
mod support;
mod tls;
mod token;
mod users;
