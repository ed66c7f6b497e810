//! Request bodies: passed on as they come, or read whole under a limit for our own endpoints.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::refusal::Refusal;

/// Largest body that an endpoint of ours takes, in bytes.
pub const ENDPOINT_LIMIT: usize = 64 * 1024;

/// The body of a request.
pub struct RequestBody(Incoming);

impl RequestBody {
    /// The body as hyper gives it.
    pub fn new(incoming: Incoming) -> Self {
        Self(incoming)
    }

    /// Reads the whole body of a request to one of our endpoints.
    ///
    /// # Errors
    /// [`Refusal::BodyTooLarge`] past [`ENDPOINT_LIMIT`]; [`Refusal::BadBody`] if it ends early, breaks its
    /// framing or takes longer than `patience`.
    pub async fn collect_whole(self, patience: Duration) -> Result<Bytes, Refusal> {
        if self.is_end_stream() {
            return Ok(Bytes::new());
        }
        match tokio::time::timeout(patience, Limited::new(self, ENDPOINT_LIMIT).collect()).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge),
            Ok(Err(_)) | Err(_) => Err(Refusal::BadBody),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
