//! The socket of a client, encrypted or not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use rustls::ProtocolVersion;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::http::pipe::End;

/// A connection of a client.
pub enum Socket {
    /// As it is.
    Plain(TcpStream),
    /// The same, behind these bytes that were read before it was known what they are.
    Begun(Box<(BytesMut, TcpStream)>),
    /// Under TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Which TLS is spoken, if any.
    pub fn tls(&self) -> Option<&'static str> {
        match self {
            Self::Plain(_) | Self::Begun(_) => None,
            Self::Tls(stream) => match stream.get_ref().1.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => Some("1.2"),
                _ => Some("1.3"),
            },
        }
    }

    /// The same with what was read of it, for somebody who reads it anew. Under TLS nobody has to: what is spoken was
    /// negotiated.
    #[must_use]
    pub fn behind(self, read: BytesMut) -> Self {
        match self {
            Self::Plain(stream) => Self::Begun(Box::new((read, stream))),
            socket => socket,
        }
    }

    /// What can be read and written through a pipe, if it can.
    pub fn end(&self) -> Option<End<'_>> {
        match self {
            Self::Plain(stream) => Some(End::Tcp(stream)),
            Self::Begun(begun) if begun.0.is_empty() => Some(End::Tcp(&begun.1)),
            Self::Begun(_) | Self::Tls(_) => None,
        }
    }

    /// Whether the connection is reset when it is closed, by whatever: the only way to show that an answer without a
    /// length was cut short (RFC 9112 §8).
    pub fn breaks_off(&self, breaks: bool) {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Begun(begun) => &begun.1,
            Self::Tls(stream) => stream.get_ref().0,
        };
        // A socket that cannot be told so is gone already.
        let _ = SockRef::from(stream).set_linger(breaks.then_some(Duration::ZERO));
    }
}

/// Does the same on either kind of socket.
macro_rules! either {
    ($socket:expr, $stream:ident => $body:expr) => {
        match $socket.get_mut() {
            Socket::Plain($stream) => {
                let $stream = Pin::new($stream);
                $body
            }
            Socket::Begun(begun) => {
                let $stream = Pin::new(&mut begun.1);
                $body
            }
            Socket::Tls($stream) => {
                let $stream = Pin::new(&mut **$stream);
                $body
            }
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Self::Begun(begun) = &mut *self
            && !begun.0.is_empty()
        {
            let count = begun.0.len().min(buffer.remaining());
            buffer.put_slice(&begun.0[..count]);
            begun.0.advance(count);
            return Poll::Ready(Ok(()));
        }
        either!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Begun(begun) => begun.1.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }
}
