//! Sessions from outside: their cookies, their lifetime, their end, on both databases.

mod bearer;
mod cache;
mod cookies;
mod lifetime;
mod open;
mod outage;
pub(crate) mod replicas;
mod secrets;
