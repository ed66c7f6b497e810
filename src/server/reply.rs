//! The body of an answer, ours or the app's; its end is the end of the request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::proxy::body::UpstreamBody;
use crate::server::watched::Client;

/// The body of an answer; its end is the end of the request.
pub(super) struct ReplyBody {
    kind: Kind,
    client: Arc<Client>,
}

enum Kind {
    Own(Bytes),
    App(UpstreamBody),
}

impl ReplyBody {
    /// A body of ours.
    pub(super) fn own(client: Arc<Client>, body: Bytes) -> Self {
        Self { kind: Kind::Own(body), client }
    }

    /// A body of the app's.
    pub(super) fn app(client: Arc<Client>, body: UpstreamBody) -> Self {
        Self { kind: Kind::App(body), client }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        self.client.end();
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.kind {
            Kind::Own(body) if body.is_empty() => Poll::Ready(None),
            Kind::Own(body) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(body))))),
            Kind::App(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own(body) => body.is_empty(),
            Kind::App(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own(body) => SizeHint::with_exact(body.len() as u64),
            Kind::App(body) => body.size_hint(),
        }
    }
}
