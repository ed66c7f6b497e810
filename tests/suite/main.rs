//! Sidegate from the outside: one test binary.

mod config;
mod pages;
mod store;
mod support;
