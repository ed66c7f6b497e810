//! Sidegate from the outside: one test binary.

mod config;
mod demo;
mod explain;
mod pages;
mod store;
mod support;
