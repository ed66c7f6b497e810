//! The search for the end of a message's head, the same for requests and answers.
//!
//! **Invariant:** whether a head is found, and what is wrong with it, does not depend on how it was cut into pieces
//! on its way.

use bytes::{Buf as _, BytesMut};
use memchr::memchr;

/// Why the bytes that came are no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// A line ends otherwise than with CRLF: a bare LF is the end of a line to some and a part of it to others.
    Line,
    /// The first line alone is too long.
    FirstLine,
    /// It is too large.
    Size,
}

/// The search for the end of one head, as far as it has come.
#[derive(Default)]
pub struct Search {
    /// Where the line begins whose end has not come.
    line: usize,
    /// Some of it was there before.
    begun: bool,
}

impl Search {
    /// Whether the end of the first line has not been found.
    pub fn at_first_line(&self) -> bool {
        self.line == 0
    }

    /// Whether a head may begin and end in what has been read: asked when something is there, and believed once.
    pub fn may_be_whole(&mut self) -> bool {
        !std::mem::replace(&mut self.begun, true)
    }

    /// Cuts the next head off what was read, if all of it is there.
    ///
    /// # Errors
    /// For a line that does not end with CRLF, and for more than `longest` bytes.
    pub fn take(&mut self, unread: &mut BytesMut, longest: usize) -> Result<Option<BytesMut>, Unfit> {
        while let Some(length) = memchr(b'\n', &unread[self.line..]) {
            let end = self.line + length;
            if length == 0 || unread[end - 1] != b'\r' {
                return Err(Unfit::Line);
            }
            if end >= longest {
                return Err(self.too_large());
            }
            if length == 1 {
                *self = Self::default();
                return Ok(Some(unread.split_to(end + 1)));
            }
            self.line = end + 1;
        }
        if unread.len() > longest { Err(self.too_large()) } else { Ok(None) }
    }

    fn too_large(&self) -> Unfit {
        if self.line == 0 { Unfit::FirstLine } else { Unfit::Size }
    }
}

/// Passes over empty lines, which are to be ignored before a request (RFC 9112 §2.2).
pub fn skip_empty_lines(unread: &mut BytesMut) {
    while unread.starts_with(b"\r\n") {
        unread.advance(2);
    }
}
