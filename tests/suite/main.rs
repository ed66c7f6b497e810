//! Sidegate from the outside: one test binary.

mod architecture;
mod config;
mod demo;
mod explain;
mod gate;
mod hostile;
mod pages;
mod proxy;
mod store;
mod support;
