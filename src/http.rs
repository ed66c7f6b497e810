//! The wire: heads, fields, bodies and buffers of messages, and what a request says before anything is decided about it.

pub mod body;
pub mod buffers;
pub mod chunked;
pub mod client;
pub mod cookie;
pub mod duplex;
pub mod fields;
pub mod form;
pub mod gathered;
pub mod grammar;
pub mod head;
pub mod path;
pub mod pipe;
pub mod reply;
pub mod return_to;
pub mod socket;
pub mod stream;
pub mod visit;
pub mod wire;
