//! The shape of `[limits]`.

use serde::Deserialize;

use crate::config::units::{Size, Span};

table! {
    /// `[limits]`; a `body`, `min_rate` or `requests_per_connection` of 0 is unlimited.
    RawLimits {
        head: Size = Size::kib(32),
        headers: usize = 100,
        target: Size = Size::kib(8),
        body: Size = Size::mib(10),
        head_timeout: Span = Span::seconds(10),
        keep_alive: Span = Span::seconds(75),
        body_idle: Span = Span::seconds(30),
        min_rate: Size = Size(500),
        min_rate_grace: Span = Span::seconds(10),
        tunnel_idle: Span = Span::minutes(5),
        connections: Option<usize> = None,
        connections_per_address: u32 = 256,
        requests_per_address: u32 = 1024,
        handshakes: usize = 1000,
        uncounted: Vec<String> = vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()],
        requests_per_connection: u64 = 10_000,
        streams: u32 = 128,
        stream_window: Size = Size::kib(256),
        connection_window: Size = Size::mib(1),
        resets: usize = 64,
        drain: Span = Span::seconds(30),
        grace: Span = Span::seconds(0),
        attempts_per_address: u32 = 20,
        attempts_per_account: u32 = 10,
        attempts_in_all: u32 = 50,
        mails_per_recipient: u32 = 5,
    }
}
