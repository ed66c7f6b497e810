//! Sidegate from the outside: one test binary.

mod pages;
mod support;
