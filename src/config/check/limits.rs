//! Sizes, deadlines and rates.

use super::{Bound, between, bytes, ordered};
use crate::config::Limits;
use crate::config::file::limits::RawLimits;
use crate::config::limits::{Connections, MOST_HEADERS};
use crate::config::problem::Problems;
use crate::config::units::{Size, Span};

pub(super) fn limits(raw: &RawLimits, p: &mut Problems) -> Limits {
    let (moment, hour) = (Span::millis(100), Span::minutes(60));
    // Browsers send up to 4 KiB of cookies alone.
    let head = bytes(p, "limits.head", raw.head, Size::kib(8), Size::mib(1));
    // Browsers send about twenty, proxies in front add as many.
    between(p, "limits.headers", raw.headers, 40, MOST_HEADERS);
    let target = bytes(p, "limits.target", raw.target, Size(256), Size::mib(1));
    ordered(p, ("limits.target", raw.target), ("limits.head", raw.head), Bound::Most);
    between(p, "limits.head_timeout", raw.head_timeout, moment, hour);
    between(p, "limits.keep_alive", raw.keep_alive, moment, hour);
    between(p, "limits.body_idle", raw.body_idle, moment, hour);
    between(p, "limits.tunnel_idle", raw.tunnel_idle, moment, Span::days(7));
    if let Some(connections) = raw.connections {
        between(p, "limits.connections", connections, 1, 10_000_000);
    }
    between(p, "limits.connections_per_address", raw.connections_per_address, 1, 10_000_000);
    between(p, "limits.requests_per_address", raw.requests_per_address, 1, 10_000_000);
    between(p, "limits.handshakes", raw.handshakes, 1, 10_000_000);
    between(p, "limits.min_rate", raw.min_rate, Size(0), Size::mib(1));
    between(p, "limits.min_rate_grace", raw.min_rate_grace, Span::seconds(1), hour);
    between(p, "limits.streams", raw.streams, 1, 100_000);
    // Below the one, HTTP/2 itself would have to be told (RFC 9113 §6.9.2); above the other, a client has the
    // memory of the machine.
    let stream_window = window(p, "limits.stream_window", raw.stream_window);
    let connection_window = window(p, "limits.connection_window", raw.connection_window);
    between(p, "limits.resets", raw.resets, 1, 100_000);
    between(p, "limits.drain", raw.drain, Span::millis(0), hour);
    between(p, "limits.grace", raw.grace, Span::millis(0), hour);
    between(p, "limits.attempts_per_address", raw.attempts_per_address, 1, 1_000_000);
    between(p, "limits.attempts_per_account", raw.attempts_per_account, 1, 1_000_000);
    between(p, "limits.attempts_in_all", raw.attempts_in_all, 1, 1_000_000);
    between(p, "limits.mails_per_recipient", raw.mails_per_recipient, 1, 1_000_000);
    Limits {
        head,
        headers: raw.headers,
        target,
        body: if raw.body == Size(0) { u64::MAX } else { raw.body.0 },
        head_timeout: raw.head_timeout.0,
        keep_alive: raw.keep_alive.0,
        body_idle: raw.body_idle.0,
        tunnel_idle: raw.tunnel_idle.0,
        connections: raw.connections.map_or(Connections::Usual, Connections::Chosen),
        connections_per_address: raw.connections_per_address,
        requests_per_address: raw.requests_per_address,
        handshakes: raw.handshakes,
        min_rate: raw.min_rate.0,
        min_rate_grace: raw.min_rate_grace.0,
        requests_per_connection: match raw.requests_per_connection {
            0 => u64::MAX,
            count => count,
        },
        streams: raw.streams,
        stream_window,
        connection_window,
        resets: raw.resets,
        drain: raw.drain.0,
        grace: raw.grace.0,
        attempts_per_address: raw.attempts_per_address,
        attempts_per_account: raw.attempts_per_account,
        attempts_in_all: raw.attempts_in_all,
        mails_per_recipient: raw.mails_per_recipient,
    }
}

/// What may be sent ahead of being taken (RFC 9113 §6.9).
fn window(p: &mut Problems, key: &str, value: Size) -> u32 {
    u32::try_from(bytes(p, key, value, Size::kib(64), Size::mib(64))).unwrap_or(u32::MAX)
}
