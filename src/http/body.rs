//! Small request bodies, read whole under a limit.

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::refusal::Refusal;

/// Largest body that an endpoint of ours takes, in bytes.
pub const ENDPOINT_LIMIT: usize = 64 * 1024;

/// Reads the body of a request to one of our endpoints.
///
/// # Errors
/// [`Refusal::BodyTooLarge`] past [`ENDPOINT_LIMIT`]; [`Refusal::BadBody`] if it ends early or its framing breaks.
pub async fn collect(body: Incoming) -> Result<Bytes, Refusal> {
    match Limited::new(body, ENDPOINT_LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge),
        Err(_) => Err(Refusal::BadBody),
    }
}
