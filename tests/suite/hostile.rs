//! What attackers send: one test per advisory or RFC rule, with its id in the name.

mod broken;
mod files;
mod frames;
mod handshake;
mod headers;
mod http2;
mod http2_bodies;
mod http2_crowd;
mod http2_identity;
mod http2_limits;
mod http2_pieces;
mod identity;
mod memory;
mod order;
mod path;
mod places;
mod readers;
mod resources;
mod responses;
mod seats;
mod smuggling;
mod target;
mod together;
mod unfinished;
mod unread;
mod windows;
