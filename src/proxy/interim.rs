//! Interim answers of the app (1xx) on their way to the client, ahead of the final one.
//!
//! They are the app's to send and pass as its final answers do, whatever their status (RFC 9110 §15.2), such as early
//! hints (RFC 8297). What is asked of us alone does not: 100 belongs to the connection on which it is waited for, and
//! 101 changes one.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::http::body::Client;

/// Most of them before one final answer.
pub(super) const MOST: usize = 8;

/// Fields that frame a message, of which this one has no body (RFC 9110 §8.6, RFC 9112 §6.1).
const FRAMING: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"trailer"];

/// Tells the client of one with these fields, which are those that may pass.
pub(super) fn tell<'f>(
    client: &Client,
    status: StatusCode,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
) {
    if status == StatusCode::CONTINUE {
        return;
    }
    let fields = fields.filter(|(name, _)| !FRAMING.contains(name));
    match client {
        Client::Http1(wire) => {
            let reason = status.canonical_reason().unwrap_or_default().as_bytes();
            let mut head = [b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason, b"\r\n"].concat();
            for (name, value) in fields {
                head.extend_from_slice(name);
                head.extend_from_slice(b": ");
                head.extend_from_slice(value);
                head.extend_from_slice(b"\r\n");
            }
            head.extend_from_slice(b"\r\n");
            wire.borrow_mut().inform(&head);
        }
        Client::Http2(answering) => {
            let field = |(name, value)| {
                let name = HeaderName::from_bytes(name).ok()?;
                Some((name, HeaderValue::from_maybe_shared(Bytes::copy_from_slice(value)).ok()?))
            };
            let mut map = HeaderMap::new();
            for (name, value) in fields.filter_map(field) {
                map.append(name, value);
            }
            answering.inform(status, map);
        }
    }
}
