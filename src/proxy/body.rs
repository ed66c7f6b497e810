//! The body of an answer on its way to the client, by whichever HTTP the app sends it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::http::pipe::Piece;
use crate::proxy::ending::Ending;
use crate::proxy::http2::body::Http2Body;
use crate::proxy::response::Http1Body;

/// The body of an answer on its way to the client.
pub enum UpstreamBody {
    /// By HTTP/1.1, straight from the socket. Boxed, because an answer is handed on several times.
    Http1(Box<Http1Body>),
    /// By HTTP/2.
    Http2(Box<Http2Body>),
}

impl UpstreamBody {
    /// Sends on what has come of the request while nothing of the answer can be passed on. Ready if neither goes on any
    /// more.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        match self {
            Self::Http1(body) => body.drive(cx),
            Self::Http2(body) => body.drive(cx),
        }
    }

    /// The next piece of it, in a pipe if that is wanted (`piped`), possible and worth it.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>, piped: bool) -> Poll<Option<io::Result<Piece>>> {
        match self {
            Self::Http1(body) => body.poll_piece(cx, piped),
            Self::Http2(body) => {
                Pin::new(&mut **body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map(Piece::Frame)))
            }
        }
    }

    /// Why it ended as it did, if that is told in words that a client takes for the end of an answer.
    pub fn cut(&self) -> Option<Ending> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(body) => body.cut,
        }
    }

    /// The client takes no more for now, and has yet to take `piece` of what it was given.
    pub fn stalled(&mut self, piece: &mut Bytes) {
        match self {
            Self::Http1(body) => body.stalled(piece),
            Self::Http2(_) => {}
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(&mut **body).poll_frame(cx),
            Self::Http2(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
