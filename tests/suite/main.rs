//! Sidegate from the outside: one test binary.

mod architecture;
mod config;
mod gate;
mod hostile;
mod pages;
mod proxy;
mod store;
mod support;
