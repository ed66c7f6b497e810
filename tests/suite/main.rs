//! The tests, in one binary: from outside where a thing can be seen from outside.

mod store;
mod support;
