//! What tests are made with.

pub mod database;
