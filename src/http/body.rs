//! Request bodies: passed on as they come, or read whole under a limit for our own endpoints.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::http::pipe::Piece;
use crate::http::stream::{Answering, StreamBody};
use crate::http::wire::Wire;
use crate::refusal::Refusal;

/// Largest body that an endpoint of ours takes, in bytes.
pub const ENDPOINT_LIMIT: usize = 64 * 1024;
/// Largest trailer fields of a request, in bytes: at larger ones some apps end a connection of HTTP/2 that others share.
const LARGEST_TRAILERS: usize = 8 * 1024;

/// The body of a request.
pub enum RequestBody {
    /// It is read off a connection of HTTP/1.1, and may be nothing.
    Http1(Rc<RefCell<Wire>>),
    /// It comes in a stream of HTTP/2.
    Http2(StreamBody),
}

/// A client that can be told of its answer before it comes.
#[derive(Clone)]
pub enum Client {
    /// On its connection of HTTP/1.1.
    Http1(Rc<RefCell<Wire>>),
    /// On its stream of HTTP/2.
    Http2(Rc<Answering>),
}

impl RequestBody {
    /// Reads the whole body of a request to one of our endpoints.
    ///
    /// # Errors
    /// [`Refusal::BodyTooLarge`] past [`ENDPOINT_LIMIT`]; [`Refusal::BodyTimeout`] if it takes longer than
    /// `patience`; [`Refusal::BadBody`] if it ends early or breaks its framing.
    pub async fn collect_whole(self, patience: Duration) -> Result<Bytes, Refusal> {
        if self.is_end_stream() {
            return Ok(Bytes::new());
        }
        if self.is_too_large() {
            return Err(Refusal::BodyTooLarge);
        }
        match tokio::time::timeout(patience, Limited::new(self, ENDPOINT_LIMIT).collect()).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge),
            Ok(Err(_)) => Err(Refusal::BadBody),
            Err(_) => Err(Refusal::BodyTimeout),
        }
    }

    /// Whether it says of itself that it is larger than [`ENDPOINT_LIMIT`].
    fn is_too_large(&self) -> bool {
        self.size_hint().lower() > ENDPOINT_LIMIT as u64
    }

    /// The next piece of it, in a pipe if that is wanted (`piped`), possible and worth it.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>, piped: bool) -> Poll<Option<io::Result<Piece>>> {
        let piece = ready!(match self {
            Self::Http1(wire) => wire.borrow_mut().poll_piece(cx, piped),
            Self::Http2(body) => body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map(Piece::Frame))),
        });
        if let Some(Ok(Piece::Frame(frame))) = &piece
            && let Some(trailers) = frame.trailers_ref()
            && trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
                > LARGEST_TRAILERS
        {
            return Poll::Ready(Some(Err(io::ErrorKind::InvalidData.into())));
        }
        Poll::Ready(piece)
    }

    /// Takes what has come of it while it cannot be passed on, where that is as good for all that its client does.
    pub fn gather(&mut self, cx: &mut Context<'_>) {
        if let Self::Http2(body) = self {
            body.gather(cx);
        }
    }

    /// Whoever sends it.
    pub fn client(&self) -> Client {
        match self {
            Self::Http1(wire) => Client::Http1(Rc::clone(wire)),
            Self::Http2(body) => Client::Http2(body.answering()),
        }
    }

    /// Whether the client sends it only once it is told that it is wanted.
    pub fn waits_for_invitation(&self) -> bool {
        match self {
            Self::Http2(_) => false,
            Self::Http1(wire) => wire.borrow().waits_for_invitation(),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Http1(wire) => wire.borrow_mut().poll_frame(cx),
            Self::Http2(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(wire) => wire.borrow().complete(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(wire) => wire.borrow().size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
