//! Buffers that the connections of a worker lend each other: who waits holds none, and what was used last, and is in
//! the processor's cache, is used next.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::BytesMut;

use crate::http::pipe::{Pipe, Pipes};

/// Most that is kept to read into, in bytes: as many requests as are under way at a time have one each.
const MOST_TO_READ: usize = 512 * 1024;
/// Most buffers that are kept to read into: of one that is partly in use, only the rest is counted in bytes.
const MOST_HANDLES: usize = 128;
/// Most buffers that are kept to write into: each is written at once, as a rule.
const MOST_TO_WRITE: usize = 16;
/// What a buffer may have grown to and still be kept, in bytes.
const LARGEST: usize = 72 * 1024;
/// Size of a large buffer, in bytes.
pub const LARGE: usize = 256 * 1024;
/// Most large buffers that are lent at a time: with each, a client that stops reading can hold up as much.
const MOST_LARGE: usize = 4;

/// Size of a buffer that heads are put together in, in bytes: several have room in one, and who waits with one holds up
/// no more than that.
const HEADS: usize = 8 * 1024;

/// Makes room for `size` bytes or some less: from the beginning of a buffer again if nobody holds a part of it any
/// more, in what is left of it otherwise. A new one is a trip to the allocator.
pub fn make_room(buffer: &mut BytesMut, size: usize) {
    if buffer.is_empty() && buffer.try_reclaim(size) {
        return;
    }
    let few = size / 4;
    if buffer.capacity() - buffer.len() < few
        && !buffer.try_reclaim(size.saturating_sub(buffer.len()).max(few))
    {
        buffer.reserve(size);
    }
}

/// The buffers that nobody holds.
#[derive(Default)]
pub struct Buffers {
    to_read: RefCell<Vec<BytesMut>>,
    /// Capacity of all of these, in bytes.
    kept: Cell<usize>,
    to_write: RefCell<Vec<Vec<u8>>>,
    heads: RefCell<BytesMut>,
    large: Rc<Large>,
    pipes: Rc<Pipes>,
}

/// The large ones.
#[derive(Default)]
struct Large {
    kept: RefCell<Vec<BytesMut>>,
    lent: Cell<usize>,
    /// One was lent since it was looked last.
    used: Cell<bool>,
}

/// A large buffer that is lent, until this is dropped.
pub struct Loan {
    large: Rc<Large>,
    buffer: Option<BytesMut>,
}

impl Buffers {
    /// One to read into.
    pub fn to_read(&self) -> BytesMut {
        let buffer = self.to_read.borrow_mut().pop().unwrap_or_default();
        self.kept.set(self.kept.get() - buffer.capacity());
        buffer
    }

    /// Takes one back from which everything was read. Parts of it may still be in use; what was not read goes to
    /// nobody else.
    pub fn read(&self, buffer: BytesMut) {
        if !buffer.is_empty() {
            return;
        }
        let kept = self.kept.get() + buffer.capacity();
        let mut to_read = self.to_read.borrow_mut();
        let few = kept <= MOST_TO_READ && to_read.len() < MOST_HANDLES;
        if few && buffer.capacity() > 0 && buffer.capacity() <= LARGEST {
            self.kept.set(kept);
            to_read.push(buffer);
        }
    }

    /// Has a head put together in a buffer that others are in too, and that is to be left empty.
    pub fn gather<T>(&self, put: impl FnOnce(&mut BytesMut) -> T) -> T {
        let mut heads = self.heads.borrow_mut();
        make_room(&mut heads, HEADS);
        put(&mut heads)
    }

    /// One of [`LARGE`] to read into; none if as many are lent as may be.
    pub fn large(&self) -> Option<Loan> {
        let large = &self.large;
        large.used.set(true);
        if large.lent.get() == MOST_LARGE {
            return None;
        }
        large.lent.set(large.lent.get() + 1);
        let mut buffer = large.kept.borrow_mut().pop().unwrap_or_default();
        if !buffer.try_reclaim(LARGE) {
            buffer = BytesMut::with_capacity(LARGE);
        }
        Some(Loan { large: Rc::clone(large), buffer: Some(buffer) })
    }

    /// A pipe to move a piece of a body through; none if there is none to be had.
    pub fn pipe(&self) -> Option<Pipe> {
        self.pipes.lend()
    }

    /// Lets go of the large ones and the pipes if none was lent since it was called last.
    pub fn sweep(&self) {
        self.pipes.sweep();
        if !self.large.used.replace(false) {
            *self.large.kept.borrow_mut() = Vec::new();
        }
    }

    /// One to write into.
    pub fn to_write(&self) -> Vec<u8> {
        self.to_write.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes one back whose bytes were written.
    pub fn written(&self, mut buffer: Vec<u8>) {
        let mut kept = self.to_write.borrow_mut();
        if buffer.capacity() > 0 && buffer.capacity() <= LARGEST && kept.len() < MOST_TO_WRITE {
            buffer.clear();
            kept.push(buffer);
        }
    }
}

impl Loan {
    /// The buffer, empty.
    pub fn take(&mut self) -> BytesMut {
        self.buffer.take().unwrap_or_default()
    }

    /// Takes it back, to be kept once this ends.
    pub fn put(&mut self, buffer: BytesMut) {
        self.buffer = Some(buffer);
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.large.lent.set(self.large.lent.get() - 1);
        if let Some(mut buffer) = self.buffer.take() {
            buffer.clear();
            self.large.kept.borrow_mut().push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_large_buffers_are_lent_and_those_that_come_back_are_lent_again() {
        let buffers = Buffers::default();
        let mut loans: Vec<Loan> = std::iter::from_fn(|| buffers.large()).take(MOST_LARGE + 1).collect();
        assert_eq!(loans.len(), MOST_LARGE);
        let mut loan = loans.pop().expect("one");
        let mut buffer = loan.take();
        buffer.resize(LARGE, b'x');
        let (place, piece) = (buffer.as_ptr(), buffer.split().freeze());
        loan.put(buffer);
        drop((loan, piece));
        assert_eq!(buffers.large().expect("one is free").take().as_ptr(), place, "the same");
        drop(loans);
        assert_eq!(buffers.large.kept.borrow().len(), MOST_LARGE - 1);
        buffers.sweep();
        assert!(!buffers.large.kept.borrow().is_empty(), "in use");
        buffers.sweep();
        assert!(buffers.large.kept.borrow().is_empty(), "not any more");
    }

    #[test]
    fn what_was_left_in_a_buffer_is_nothing_to_whom_it_is_lent_next() {
        let buffers = Buffers::default();
        buffers.read(BytesMut::from(&b"of somebody else"[..]));
        assert!(buffers.to_read().is_empty());
    }

    #[test]
    fn one_that_does_not_come_back_can_be_lent_again() {
        let buffers = Buffers::default();
        for _ in 0..=MOST_LARGE {
            drop(buffers.large().expect("one is free").take());
        }
    }

    #[test]
    fn what_is_left_in_a_buffer_moves_to_its_beginning() {
        let mut buffer = BytesMut::with_capacity(LARGE);
        buffer.resize(LARGE, b'x');
        let place = buffer.as_ptr();
        drop(buffer.split_to(LARGE - 7));
        make_room(&mut buffer, LARGE);
        assert!(buffer.as_ptr() == place && buffer.capacity() == LARGE && buffer.len() == 7);
    }
}
