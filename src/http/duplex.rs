//! A stream of HTTP/2 that has become a tunnel, read and written as a socket is.
//!
//! Whoever writes to it or flushes it is taken for its only reader too, as in a tunnel: what comes is gathered then.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::SendStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::gathered::Received;

/// What is written at a time, in bytes.
const LARGEST_WRITE: usize = 16 * 1024;

/// Both directions of one stream.
pub struct Duplex<K> {
    send: SendStream<Bytes>,
    received: Received,
    unread: Bytes,
    _kept: K,
}

impl<K> Duplex<K> {
    /// What is sent and what is received, and what is kept as long as the tunnel is.
    pub fn new(send: SendStream<Bytes>, received: Received, kept: K) -> Self {
        Self { send, received, unread: Bytes::new(), _kept: kept }
    }
}

impl<K: Unpin> AsyncRead for Duplex<K> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.unread.is_empty() {
            match ready!(this.received.poll_data(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                Some(Ok(data)) => this.unread = data,
            }
        }
        let count = this.unread.len().min(buffer.remaining());
        buffer.put_slice(&this.unread[..count]);
        this.unread.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<K: Unpin> AsyncWrite for Duplex<K> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.send.reserve_capacity(bytes.len().min(LARGEST_WRITE));
        while self.send.capacity() == 0 {
            let polled = self.send.poll_capacity(cx);
            if polled.is_pending() {
                self.received.gather(cx);
            }
            match ready!(polled) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let count = bytes.len().min(self.send.capacity());
        let part = Bytes::copy_from_slice(&bytes[..count]);
        Poll::Ready(self.send.send_data(part, false).map(|()| count).map_err(io::Error::other))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.received.gather(cx);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.send.send_data(Bytes::new(), true).map_err(io::Error::other))
    }
}
