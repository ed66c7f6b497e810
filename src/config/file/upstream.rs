//! The shape of `[upstream]`.

use serde::Deserialize;

use crate::config::units::{Size, Span};
use crate::config::upstream::Protocol;

table! {
    /// `[upstream]`
    RawUpstream {
        url: Option<String> = None,
        more: Vec<String> = Vec::new(),
        protocol: Protocol = Protocol::Http1,
        upgrades: Vec<String> = vec!["websocket".to_owned()],
        rest: Span = Span::seconds(5),
        failures: u32 = 3,
        health: RawHealth = RawHealth::default(),
        ca_file: Option<String> = None,
        server_name: Option<String> = None,
        client_certificate: Option<String> = None,
        client_key: Option<String> = None,
        connect_timeout: Span = Span::seconds(2),
        response_timeout: Span = Span::seconds(60),
        idle_timeout: Span = Span::seconds(60),
        keep_alive: Span = Span::seconds(4),
        max_idle: usize = 1024,
        ping: Span = Span::seconds(10),
        head: Size = Size::kib(64),
    }
}

table! {
    /// `[upstream.health]`; without `path` nothing is asked.
    RawHealth {
        path: Option<String> = None,
        interval: Span = Span::seconds(5),
        timeout: Span = Span::seconds(2),
        healthy: u32 = 2,
        unhealthy: u32 = 3,
    }
}
