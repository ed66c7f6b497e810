//! Buffers that the connections of a worker lend each other: who waits holds none, and what was used last, and is in
//! the processor's cache, is used next.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;

/// Most that is kept to read into, in bytes: as many requests as are under way at a time have one each.
const MOST_TO_READ: usize = 512 * 1024;
/// Most buffers that are kept to write into: each is written at once, as a rule.
const MOST_TO_WRITE: usize = 16;
/// What a buffer may have grown to and still be kept, in bytes.
const LARGEST: usize = 52 * 1024;

/// Makes room for `size` bytes or some less: from the beginning of a buffer again if nobody holds a part of it any
/// more, in what is left of it otherwise. A new one is a trip to the allocator.
pub fn make_room(buffer: &mut BytesMut, size: usize) {
    if buffer.is_empty() && buffer.try_reclaim(size) {
        return;
    }
    if buffer.capacity() - buffer.len() < size / 4 {
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
        if buffer.capacity() > 0 && buffer.capacity() <= LARGEST && kept <= MOST_TO_READ {
            self.kept.set(kept);
            self.to_read.borrow_mut().push(buffer);
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
