//! Pieces of a body that wait for whoever takes them, small ones in one buffer rather than each with what it costs to
//! keep a frame of HTTP/2. How much waits is for the window of the stream to say.
//!
//! The library bounds what such frames cost it by ending the connection, and with it the streams of everybody who shares
//! it. So whoever does not take a body for now, because it has to wait for somebody else, has it gathered.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use h2::{Error, RecvStream};
use http::HeaderMap;

/// From so many bytes on a piece is kept as one.
const LARGE: usize = 2 * 1024;
/// From so many bytes on a piece is kept where it was read: as much as most frames carry at most. Of a smaller one that
/// could be half of what it holds on to.
const FULL: usize = 16 * 1024;

/// What comes in a stream.
pub struct Received {
    stream: RecvStream,
    gathered: Gathered,
}

impl Received {
    /// By what the stream receives.
    pub fn new(stream: RecvStream) -> Self {
        Self { stream, gathered: Gathered::default() }
    }

    /// Takes what has come while nobody else does. It keeps its part of the windows.
    pub fn gather(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(Ok(data))) = self.stream.poll_data(cx) {
            self.gathered.add(data);
        }
    }

    /// The next piece, or what was gathered. The other side may send as much again.
    ///
    /// # Errors
    /// If the stream has ended in another way than in order.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let data = match self.gathered.take() {
            Some(data) => data,
            None => match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => data,
                end => return Poll::Ready(end),
            },
        };
        // It fails only if more is released than came.
        let _ = self.stream.flow_control().release_capacity(data.len());
        Poll::Ready(Some(Ok(data)))
    }

    /// The trailer fields, behind all of the data.
    ///
    /// # Errors
    /// As [`Received::poll_data`].
    pub fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, Error>> {
        self.stream.poll_trailers(cx)
    }

    /// Whether all of it has come, taken or not, as far as can be seen without waiting.
    pub fn has_come(&mut self) -> bool {
        self.gather(&mut Context::from_waker(Waker::noop()));
        self.stream.is_end_stream()
    }

    /// Whether nothing comes any more.
    pub fn is_end_stream(&self) -> bool {
        self.gathered.is_empty() && self.stream.is_end_stream()
    }
}

/// What was received and is not taken yet.
#[derive(Default)]
struct Gathered {
    pieces: VecDeque<Bytes>,
    /// Small ones that came last.
    tail: BytesMut,
}

impl Gathered {
    fn add(&mut self, data: Bytes) {
        if data.len() < LARGE {
            self.tail.extend_from_slice(&data);
            return;
        }
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
        self.pieces.push_back(if data.len() < FULL { Bytes::copy_from_slice(&data) } else { data });
    }

    /// What came first.
    fn take(&mut self) -> Option<Bytes> {
        let last = || (!self.tail.is_empty()).then(|| std::mem::take(&mut self.tail).freeze());
        self.pieces.pop_front().or_else(last)
    }

    /// Whether nothing waits.
    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.tail.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_gathered_is_taken_in_order_and_small_pieces_as_one() {
        let mut gathered = Gathered::default();
        let large = [b'x'; LARGE];
        for piece in [&b"a"[..], b"b", &large, b"c", b"d"] {
            gathered.add(Bytes::copy_from_slice(piece));
        }
        assert_eq!(gathered.take().as_deref(), Some(&b"ab"[..]));
        gathered.add(Bytes::from_static(b"e"));
        assert_eq!(gathered.take().as_deref(), Some(&large[..]));
        assert!(!gathered.is_empty());
        assert_eq!(gathered.take().as_deref(), Some(&b"cde"[..]));
        assert!(gathered.is_empty() && gathered.take().is_none());
    }
}
