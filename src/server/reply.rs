//! What follows the head of an answer: a body of ours or of the app's, or a tunnel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::proxy::Following;
use crate::proxy::body::UpstreamBody;
use crate::proxy::upgrade::Tunnel;

/// What follows the head of an answer.
pub(super) enum ReplyBody {
    /// A body of ours.
    Own(Bytes),
    /// The app's body.
    App(UpstreamBody),
    /// No HTTP any more.
    Tunnel(Box<Tunnel>),
}

impl From<Following> for ReplyBody {
    fn from(following: Following) -> Self {
        match following {
            Following::Body(body) => Self::App(body),
            Following::Tunnel(tunnel) => Self::Tunnel(tunnel),
        }
    }
}

impl ReplyBody {
    /// Passes on more of the request, while nothing of the answer can be.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Self::App(body) = self {
            body.drive(cx);
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Own(body) if body.is_empty() => Poll::Ready(None),
            Self::Own(body) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(body))))),
            Self::App(body) => Pin::new(body).poll_frame(cx),
            Self::Tunnel(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_empty(),
            Self::App(body) => body.is_end_stream(),
            Self::Tunnel(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => SizeHint::with_exact(body.len() as u64),
            Self::App(body) => body.size_hint(),
            Self::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}
