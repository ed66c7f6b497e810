//! What follows the head of an answer: a body of ours or of the app's, or a tunnel; its end is that of the record.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::http::pipe::Piece;
use crate::proxy::Following;
use crate::proxy::body::UpstreamBody;
use crate::proxy::ending::Ending;
use crate::proxy::upgrade::Tunnel;
use crate::server::record::{Opened, Record};

/// What follows the head of an answer.
pub(super) struct ReplyBody {
    kind: Kind,
    /// What is written down of the request. Boxed, because an answer is handed on several times.
    record: Option<Box<Record>>,
}

enum Kind {
    /// A body of ours.
    Own(Bytes),
    /// The app's body.
    App(UpstreamBody),
    /// No HTTP any more.
    Tunnel(Box<Tunnel>),
}

impl From<Following> for ReplyBody {
    fn from(following: Following) -> Self {
        let kind = match following {
            Following::Body(body) => Kind::App(body),
            Following::Tunnel(tunnel) => Kind::Tunnel(tunnel),
        };
        Self { kind, record: None }
    }
}

impl ReplyBody {
    /// A body of ours.
    pub(super) fn own(body: Bytes) -> Self {
        Self { kind: Kind::Own(body), record: None }
    }

    /// The end of this is the end of `record`.
    pub(super) fn record(&mut self, record: Record) {
        self.record = Some(Box::new(record));
    }

    /// The client was given all of it.
    pub(super) fn whole(&mut self) {
        if let Some(record) = &mut self.record {
            record.whole(if let Kind::App(body) = &self.kind { body.cut() } else { None });
        }
    }

    /// Passes on more of the request, while nothing of the answer can be. Ready if neither goes on any more.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Kind::App(body) = &mut self.kind else { return Poll::Pending };
        body.drive(cx).map(|ending| {
            if let Some(record) = &mut self.record {
                record.cut(ending);
            }
        })
    }

    /// The client takes no more for now, and has yet to take `piece` of what it was given.
    pub(super) fn stalled(&mut self, piece: &mut Bytes) {
        if let Kind::App(body) = &mut self.kind {
            body.stalled(piece);
        }
    }

    /// The next piece of it, in a pipe if that is wanted (`piped`), possible and worth it.
    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        piped: bool,
    ) -> Poll<Option<io::Result<Piece>>> {
        let polled = match &mut self.kind {
            Kind::Own(body) if body.is_empty() => Poll::Ready(None),
            Kind::Own(body) => Poll::Ready(Some(Ok(Piece::Frame(Frame::data(std::mem::take(body)))))),
            Kind::App(body) => body.poll_piece(cx, piped),
            Kind::Tunnel(_) => Poll::Ready(None),
        };
        if let (Poll::Ready(Some(piece)), Some(record)) = (&polled, &mut self.record) {
            match piece {
                Ok(Piece::Frame(frame)) if frame.is_trailers() => {
                    frame.trailers_ref().into_iter().for_each(|trailers| record.trailers(trailers));
                }
                Ok(piece) => record.passed(piece.size()),
                Err(error) => record.cut(Ending::of(error)),
            }
        }
        polled
    }

    /// The tunnel, if it is one, and what is written down of it.
    pub(super) fn take_tunnel(&mut self) -> Option<(Box<Tunnel>, Option<Opened>)> {
        self.kind = match std::mem::replace(&mut self.kind, Kind::Own(Bytes::new())) {
            Kind::Tunnel(tunnel) => {
                let passed = tunnel.passed();
                return Some((tunnel, self.record.take().and_then(|record| record.opened(passed))));
            }
            kind => kind,
        };
        None
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.poll_piece(cx, false).map(|piece| {
            piece.map(|piece| match piece? {
                Piece::Frame(frame) => Ok(frame),
                // It was not asked for.
                Piece::Pipe(_) => Err(io::ErrorKind::Unsupported.into()),
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own(body) => body.is_empty(),
            Kind::App(body) => body.is_end_stream(),
            Kind::Tunnel(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own(body) => SizeHint::with_exact(body.len() as u64),
            Kind::App(body) => body.size_hint(),
            Kind::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}
