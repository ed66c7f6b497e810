//! Pieces of a body that wait for whoever takes them, small ones in one buffer rather than each with what it costs to
//! keep a frame of HTTP/2. How much waits is for the window of the stream to say.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;

/// From so many bytes on a piece is kept as it is.
const LARGE: usize = 2 * 1024;

/// What was received and is not taken yet. It keeps its part of the windows until it is.
#[derive(Default)]
pub struct Gathered {
    pieces: VecDeque<Bytes>,
    /// Small ones that came last.
    tail: BytesMut,
}

impl Gathered {
    /// Takes what has come, as long as nobody else does.
    pub fn gather(&mut self, receive: &mut RecvStream, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(Ok(data))) = receive.poll_data(cx) {
            self.add(data);
        }
    }

    fn add(&mut self, data: Bytes) {
        if data.len() < LARGE {
            self.tail.extend_from_slice(&data);
            return;
        }
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
        self.pieces.push_back(data);
    }

    /// What came first.
    pub fn take(&mut self) -> Option<Bytes> {
        let last = || (!self.tail.is_empty()).then(|| std::mem::take(&mut self.tail).freeze());
        self.pieces.pop_front().or_else(last)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
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
