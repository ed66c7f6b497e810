//! Sessions from outside: their cookies, their lifetime, their end, on both databases.

mod bearer;
mod cache;
mod cookies;
mod lifetime;
mod outage;
mod replicas;
mod secrets;
