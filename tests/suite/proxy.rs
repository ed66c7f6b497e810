//! Forwarding from both ends: what the app sees of a request, what the client sees of the answer.

mod drain;
mod failure;
mod headers;
mod health;
mod http1;
mod http2;
mod instances;
mod streaming;
mod upgrade;
mod upstream;
