//! Who may do what: the rules and what is said to those who may not.

mod cross_site;
mod endpoints;
mod pending;
mod refusals;
mod rules;
