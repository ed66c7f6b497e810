//! An HTTP/2 request put into the form of an HTTP/1.1 one, so that all that follows reads one form only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use http::header::{HOST, SEC_WEBSOCKET_KEY};
use http::request::Parts;
use http::{Extensions, Method, Uri, Version};

use crate::http::buffers::Buffers;
use crate::http::fields::Fields;
use crate::http::stream::is_sound;
use crate::refusal::Refusal;
use crate::secret::random;
use crate::server::read::Head;

/// Puts a request that came by HTTP/2 into the form of HTTP/1.1: `:authority` becomes `Host`, and a bootstrapped
/// WebSocket becomes a handshake (RFC 8441 §5).
///
/// The head is of use in a log even where the request is refused.
///
/// # Errors
/// [`Refusal::BadFraming`] for a field that is none, [`Refusal::BadHost`] if two hosts are named (RFC 9113 §8.3.1),
/// [`Refusal::MethodNotAllowed`] and [`Refusal::NotImplemented`] for tunnels that are not served, and
/// [`Refusal::MalformedTarget`].
pub(super) fn adapt(parts: Parts, buffers: &Buffers) -> (Head, Result<(), Refusal>) {
    let Parts { mut method, uri, headers, extensions, .. } = parts;
    let mut uri = uri.into_parts();
    uri.scheme = None;
    let authority = uri.authority.take();
    let authority = authority.as_ref().map(|authority| authority.as_str().as_bytes());
    let mut outcome = Ok(());
    let mut key = String::new();
    // Fields that belong to one connection of HTTP/1 have been refused already (RFC 9113 §8.2.2).
    let mut handshake: &[(&[u8], &[u8])] = &[];
    let with_key;
    if method == Method::CONNECT {
        if let Err(refusal) = is_for_a_websocket(&extensions) {
            outcome = outcome.and(Err(refusal));
        } else {
            method = Method::GET;
            STANDARD.encode_string(random::<16>(), &mut key);
            with_key = [
                (&b"sec-websocket-key"[..], key.as_bytes()),
                (b"upgrade", b"websocket"),
                (b"connection", b"upgrade"),
            ];
            handshake = &with_key;
        }
    }
    let host = authority.map(|authority| (&b"host"[..], authority));
    let (mut two_hosts, mut sound) = (false, true);
    let others = headers
        .iter()
        .inspect(|field| sound &= is_sound(*field))
        .filter(|(name, value)| {
            let Some(authority) = authority else { return true };
            let is_host = *name == HOST;
            two_hosts |= is_host && value.as_bytes() != authority;
            !is_host
        })
        // Of the handshake only the key can be here, and ours takes its place.
        .filter(|(name, _)| handshake.is_empty() || *name != SEC_WEBSOCKET_KEY)
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let all = host.into_iter().chain(others).chain(handshake.iter().copied());
    let headers = buffers.gather(|head| Fields::gather(head, all));
    if two_hosts {
        outcome = Err(Refusal::BadHost);
    }
    if !sound {
        outcome = Err(Refusal::BadFraming);
    }
    let uri = Uri::from_parts(uri).unwrap_or_else(|_| {
        outcome = outcome.and(Err(Refusal::MalformedTarget));
        Uri::default()
    });
    (Head { method, uri, version: Version::HTTP_11, headers }, outcome)
}

fn is_for_a_websocket(extensions: &Extensions) -> Result<(), Refusal> {
    let protocol = extensions.get::<Protocol>().ok_or(Refusal::MethodNotAllowed)?;
    if protocol.as_str() == "websocket" { Ok(()) } else { Err(Refusal::NotImplemented) }
}
