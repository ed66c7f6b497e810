//! How much of an answer's body is read at a time.
//!
//! Few large reads are cheap, but what was read waits in memory for its client. So a body is read in large pieces only
//! as long as its client takes them, and nobody who reads nothing gets that far: by then it holds up one of
//! [`Reads::FURTHER`]. What goes through a pipe is no memory of ours, and large at once; but not for a client that has to
//! be waited for ([`Reads::piped`]).

use bytes::{Bytes, BytesMut};

use crate::http::body::Client;
use crate::proxy::upload::Upload;

/// The course of one body.
pub(super) struct Reads {
    /// The server says when the client has to be waited for.
    wide: bool,
    begun: bool,
    /// Bytes that the client took since it had to be waited for, or since the beginning.
    fluent: u64,
    /// How many it has to take before pieces in pipes are large: none unless it had to be waited for.
    owed: u64,
    /// The last read brought much.
    full: bool,
}

impl Reads {
    /// The first read of who is told when the client has to be waited for, in bytes: an answer of 64 KiB with its head.
    const FIRST: usize = 68 * 1024;
    /// The next ones.
    const FURTHER: usize = 44 * 1024;
    /// The first read of who is not, and the next ones.
    const NARROW: [usize; 2] = [16 * 1024, 48 * 1024];
    /// What a client has to take without being waited for before large pieces are read for it, in bytes: more than the
    /// kernel keeps at first for one that does not read.
    const FLUENT: u64 = 96 * 1024;

    /// A body whose consumer says (`wide`) or does not say when its client has to be waited for.
    fn new(wide: bool) -> Self {
        Self { wide, begun: false, fluent: 0, owed: 0, full: false }
    }

    /// The answer to what `upload` sends: by HTTP/1.1 it is said when the client has to be waited for.
    pub(super) fn of(upload: &Upload) -> Self {
        Self::new(matches!(upload.client, Some(Client::Http1(_))))
    }

    /// The most to be read next, in bytes, without a large buffer.
    pub(super) fn size(&self) -> usize {
        match (self.wide, self.begun) {
            (true, false) => Self::FIRST,
            (true, true) => Self::FURTHER,
            (false, _) => Self::NARROW[usize::from(self.full)],
        }
    }

    /// Whether a large buffer would be used well.
    pub(super) fn large(&self) -> bool {
        self.wide && self.full && self.fluent >= Self::FLUENT
    }

    /// Whether the client took the first piece, as nobody does who reads nothing.
    pub(super) fn flows(&self) -> bool {
        self.wide && self.fluent > 0
    }

    /// The most to be moved through a pipe next, in bytes: whether its client is fast enough is asked once for each piece,
    /// so who had to be waited for gets those that are read without one.
    pub(super) fn piped(&self) -> u64 {
        if self.lag() { Self::FURTHER as u64 } else { u64::MAX }
    }

    /// Whether the client had to be waited for and has not made up for it.
    pub(super) fn lag(&self) -> bool {
        self.fluent < self.owed
    }

    /// So much was read.
    pub(super) fn read(&mut self, count: usize) {
        self.full = if self.wide { count >= Self::FURTHER } else { self.full || count >= Self::NARROW[0] };
    }

    /// The client took so much.
    pub(super) fn taken(&mut self, count: u64) {
        self.begun |= count > 0;
        self.fluent = self.fluent.saturating_add(count);
    }

    /// The client has to be waited for.
    pub(super) fn stalled(&mut self) {
        self.begun = true;
        (self.fluent, self.owed) = (0, Self::FLUENT);
    }
}

/// The most that is moved out of a buffer, in bytes: all that was read into one, unless it was a large one.
const MOST_MOVED: usize = Reads::FIRST;

/// Moves what a client has yet to take of an answer into memory of its own, so that the buffer is free, which is
/// returned; `None` if that is too much to be moved.
pub(super) fn move_out(piece: &mut Bytes, unread: Option<&mut BytesMut>) -> Option<BytesMut> {
    let rest = unread.as_ref().map_or(0, |unread| unread.len());
    if piece.len() + rest > MOST_MOVED {
        return None;
    }
    *piece = Bytes::copy_from_slice(piece);
    Some(unread.map_or_else(BytesMut::new, |unread| {
        let rest = BytesMut::from(&unread[..]);
        let mut buffer = std::mem::replace(unread, rest);
        buffer.clear();
        buffer
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::buffers::LARGE;

    #[test]
    fn only_what_flows_in_bulk_is_read_in_large_pieces() {
        let mut reads = Reads::new(true);
        assert_eq!(reads.size(), Reads::FIRST);
        reads.read(Reads::FIRST);
        reads.taken(Reads::FIRST as u64);
        assert!(reads.size() == Reads::FURTHER && !reads.large());
        reads.read(Reads::FURTHER);
        reads.taken(Reads::FURTHER as u64);
        assert!(reads.large());
        reads.read(1024);
        assert!(!reads.large(), "the app is slow");
        reads.read(LARGE);
        reads.stalled();
        assert!(reads.size() == Reads::FURTHER && !reads.large(), "the client is slow");
        reads.taken(Reads::FLUENT);
        assert!(reads.large(), "it goes on");
    }

    #[test]
    fn who_had_to_be_waited_for_is_looked_at_as_often_through_pipes() {
        let mut reads = Reads::new(true);
        reads.taken(1);
        assert!(reads.flows() && reads.piped() == u64::MAX);
        reads.stalled();
        reads.taken(Reads::FLUENT - 1);
        assert!(reads.flows() && reads.piped() == Reads::FURTHER as u64);
        reads.taken(1);
        assert_eq!(reads.piped(), u64::MAX, "it goes on");
    }

    #[test]
    fn nothing_large_is_read_for_who_does_not_say_that_the_client_waits() {
        let mut reads = Reads::new(false);
        assert_eq!(reads.size(), 16 * 1024);
        reads.read(16 * 1024);
        reads.taken(1024 * 1024);
        assert!(reads.size() == 48 * 1024 && !reads.large());
    }

    #[test]
    fn who_has_to_be_waited_for_holds_no_buffer_unless_it_is_a_large_one() {
        let mut unread = BytesMut::with_capacity(LARGE);
        unread.resize(LARGE, b'x');
        let mut piece = unread.split_to(LARGE - 5).freeze();
        assert!(move_out(&mut piece, Some(&mut unread)).is_none());
        piece = piece.slice(LARGE - 8..);
        let mut buffer = move_out(&mut piece, Some(&mut unread)).expect("it is little");
        assert!(buffer.try_reclaim(LARGE), "nothing of it is in use");
        assert_eq!((&piece[..], &unread[..]), (&b"xxx"[..], &b"xxxxx"[..]));
        assert!(move_out(&mut piece, None).is_some_and(|buffer| buffer.capacity() == 0));
    }
}
