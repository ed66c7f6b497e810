//! The body of an answer that moves through a pipe.

use std::io;
use std::task::{Context, Poll};

use crate::http::pipe::{BULK, Piece, Pipe};
use crate::proxy::response::Http1Body;
use crate::proxy::response::head::Delimited;

impl Http1Body {
    /// How much of the body may be moved through a pipe next: all that is still to come, if that is much and comes as
    /// it is, and the client took the first piece.
    fn bulk(&self) -> Option<u64> {
        let Delimited::Length(left) = self.body else { return None };
        let connection = self.connection.as_ref()?;
        (left >= BULK && self.reads.flows() && connection.unread.is_empty()).then_some(left)
    }

    /// A pipe for what comes next, if that can and may go through one.
    pub(super) fn pipe(&self) -> Option<Pipe> {
        self.bulk()?;
        self.connection.as_ref()?.stream.end()?;
        self.pool.buffers().pipe()
    }

    /// Moves more into an empty pipe; reads more if the system would not.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Option<Poll<io::Result<usize>>> {
        let most = self.bulk()?.min(self.reads.piped());
        let connection = self.connection.as_mut()?;
        let buffer = std::mem::take(&mut connection.unread);
        let filled = connection.stream.end().map_or(Poll::Ready(None), |end| pipe.poll_fill(cx, &end, most));
        self.give_back(buffer);
        match filled {
            Poll::Pending => Some(Poll::Pending),
            Poll::Ready(Some(filled)) => Some(Poll::Ready(filled)),
            Poll::Ready(None) => self.poll_read(cx),
        }
    }

    /// What was moved into a pipe is the next piece.
    pub(super) fn piped(&mut self, pipe: Pipe) -> Piece {
        self.given = pipe.held() as u64;
        if let Delimited::Length(left) = &mut self.body {
            *left = left.saturating_sub(self.given);
            if *left == 0 {
                self.finish();
            }
        }
        // Nothing of it is in a buffer.
        self.moved = true;
        self.pace.wait(self.pool.now());
        Piece::Pipe(pipe)
    }
}
