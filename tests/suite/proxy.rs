//! Forwarding from both ends: what the app sees of a request, what the client sees of the answer.

mod crossing;
mod drain;
mod failure;
mod headers;
mod health;
mod http1;
mod http2;
mod http2_again;
mod http2_ahead;
mod http2_apart;
mod http2_app;
mod http2_given_up;
mod http2_room;
mod http2_shared;
mod http2_tunnel;
mod http2_ways;
mod instances;
mod interim;
mod pipes;
mod pipes_up;
mod streaming;
mod term;
mod trailers;
mod upgrade;
mod upload;
mod upstream;
