//! Buffers that the connections of a worker lend each other: who waits for a client holds none.

use std::cell::RefCell;

use bytes::BytesMut;

/// Most buffers of a kind that are kept.
const MOST: usize = 64;
/// What a buffer may have grown to and still be kept, in bytes.
const LARGEST: usize = 16 * 1024;

/// The buffers that nobody holds.
#[derive(Default)]
pub(in crate::server) struct Buffers {
    to_read: RefCell<Vec<BytesMut>>,
    to_write: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// One to read into.
    pub(super) fn to_read(&self) -> BytesMut {
        self.to_read.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes one back from which everything was read.
    pub(super) fn read(&self, buffer: BytesMut) {
        let mut kept = self.to_read.borrow_mut();
        if buffer.capacity() > 0 && buffer.capacity() <= LARGEST && kept.len() < MOST {
            kept.push(buffer);
        }
    }

    /// One to write into.
    pub(super) fn to_write(&self) -> Vec<u8> {
        self.to_write.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes one back whose bytes were written.
    pub(super) fn written(&self, mut buffer: Vec<u8>) {
        let mut kept = self.to_write.borrow_mut();
        if buffer.capacity() <= LARGEST && kept.len() < MOST {
            buffer.clear();
            kept.push(buffer);
        }
    }
}
