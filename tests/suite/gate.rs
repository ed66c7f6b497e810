//! Who may do what: the rules and what is said to those who may not.

mod endpoints;
mod pending;
mod refusals;
mod rules;
