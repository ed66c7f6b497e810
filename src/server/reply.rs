//! The body of an answer, ours or the app's; its end is the end of the request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use crate::proxy::response::UpstreamBody;
use crate::server::record::Record;
use crate::server::watched::Client;

/// The body of an answer; its end is the end of the request.
pub(super) struct ReplyBody {
    kind: Kind,
    client: Arc<Client>,
    /// What is written down of the request, with this body's end.
    record: Option<Record>,
}

enum Kind {
    Own(Bytes),
    App(UpstreamBody),
}

impl ReplyBody {
    /// A body of ours.
    pub(super) fn own(client: Arc<Client>, body: Bytes) -> Self {
        Self { kind: Kind::Own(body), client, record: None }
    }

    /// A body of the app's.
    pub(super) fn app(client: Arc<Client>, body: UpstreamBody) -> Self {
        Self { kind: Kind::App(body), client, record: None }
    }

    /// The response, whose end is also that of its record.
    pub(super) fn recorded(mut response: Response<Self>, record: Record) -> Response<Self> {
        response.body_mut().record = Some(record);
        response
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
        let polled = match &mut self.kind {
            Kind::Own(body) if body.is_empty() => Poll::Ready(None),
            Kind::Own(body) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(body))))),
            Kind::App(body) => Pin::new(body).poll_frame(cx),
        };
        if let (Poll::Ready(Some(Ok(frame))), Some(record)) = (&polled, &mut self.record)
            && let Some(data) = frame.data_ref()
        {
            record.passed(data.len());
        }
        polled
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
