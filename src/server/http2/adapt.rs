//! An HTTP/2 request put into the form of an HTTP/1.1 one, so that all that follows reads one form only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, Uri, Version};
use hyper::ext::Protocol;

use crate::refusal::Refusal;
use crate::secret::random;

/// Puts a request that came by HTTP/2 into the form of HTTP/1.1: `:authority` becomes `Host`, and a bootstrapped
/// WebSocket becomes a handshake (RFC 8441 §5).
///
/// # Errors
/// [`Refusal::BadHost`] if the request names two hosts or none (RFC 9113 §8.3.1), [`Refusal::MethodNotAllowed`]
/// and [`Refusal::NotImplemented`] for tunnels that are not served.
pub(super) fn adapt(parts: &mut Parts) -> Result<(), Refusal> {
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    if let Some(authority) = uri.authority.take() {
        let authority = HeaderValue::from_str(authority.as_str()).map_err(|_| Refusal::BadHost)?;
        if parts.headers.get_all(HOST).iter().any(|host| host != authority) {
            return Err(Refusal::BadHost);
        }
        parts.headers.insert(HOST, authority);
    }
    uri.scheme = None;
    parts.uri = Uri::from_parts(uri).map_err(|_| Refusal::MalformedTarget)?;
    parts.version = Version::HTTP_11;
    // Those that belong to one connection of HTTP/1 have been refused already (RFC 9113 §8.2.2).
    if parts.method == Method::CONNECT {
        let protocol = parts.extensions.get::<Protocol>().ok_or(Refusal::MethodNotAllowed)?;
        if protocol.as_str() != "websocket" {
            return Err(Refusal::NotImplemented);
        }
        parts.method = Method::GET;
        let key = STANDARD.encode(random::<16>());
        let key = HeaderValue::from_str(&key).map_err(|_| Refusal::BadFraming)?;
        parts.headers.insert(SEC_WEBSOCKET_KEY, key);
        parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    Ok(())
}
