//! Connections that have left HTTP: bytes pass in both directions until one side ends, both are silent for
//! too long, or the session that opened the tunnel is over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::ticker::{Deadline, TICK};
use crate::session::live::Line;

/// Bytes that are read at a time in each direction.
const BUFFER: usize = 16 * 1024;

/// An upgraded connection to the app, waiting for the client's side.
pub(super) struct Tunnel<S> {
    pub(super) upstream: S,
    /// What the app sent behind its 101.
    pub(super) unread: BytesMut,
    pub(super) client: OnUpgrade,
    /// Strikes when both sides are silent.
    pub(super) silence: Deadline,
    /// Strikes at every tick, to look at the session.
    pub(super) watch: Deadline,
    pub(super) patience: Duration,
    /// Ended together with the session.
    pub(super) line: Option<Line>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Tunnel<S> {
    /// Carries bytes until the end.
    pub(super) async fn run(self) -> io::Result<()> {
        let Self { upstream, unread, client, silence, watch, patience, line } = self;
        let client = TokioIo::new(client.await.map_err(io::Error::other)?);
        let mut to_client = Pipe::starting_with(unread);
        let mut to_upstream = Pipe::starting_with(BytesMut::new());
        let (mut client, mut upstream): (TokioIo<Upgraded>, S) = (client, upstream);
        silence.arm(patience);
        std::future::poll_fn(|cx| {
            let before = to_client.passed + to_upstream.passed;
            let down = to_client.poll(cx, &mut upstream, &mut client)?;
            let up = to_upstream.poll(cx, &mut client, &mut upstream)?;
            if down.is_ready() && up.is_ready() {
                return Poll::Ready(Ok(()));
            }
            if to_client.passed + to_upstream.passed > before {
                silence.arm(patience);
            }
            if let Some(line) = &line {
                watch.arm(TICK);
                if line.is_cut() {
                    return Poll::Ready(Ok(()));
                }
                let _ = watch.poll(cx);
            }
            silence.poll(cx).map(|()| Ok(()))
        })
        .await
    }
}

/// One direction.
struct Pipe {
    buffer: BytesMut,
    /// The source has ended.
    ended: bool,
    /// The end has been told to the other side.
    closed: bool,
    passed: u64,
}

impl Pipe {
    fn starting_with(buffer: BytesMut) -> Self {
        Self { buffer, ended: false, closed: false, passed: 0 }
    }

    /// Ready once the source has ended and the sink has been told.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> io::Result<Poll<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        match self.poll_pass(cx, from, to) {
            Poll::Ready(done) => done.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    fn poll_pass<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while !self.closed {
            while !self.buffer.is_empty() {
                let count = ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.buffer.advance(count);
                self.passed += count as u64;
            }
            if self.ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.closed = true;
                break;
            }
            self.buffer.resize(BUFFER, 0);
            let mut read = ReadBuf::new(&mut self.buffer);
            let polled = Pin::new(&mut *from).poll_read(cx, &mut read);
            let count = read.filled().len();
            self.buffer.truncate(count);
            match polled {
                Poll::Pending => {
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => self.ended = count == 0,
            }
        }
        Poll::Ready(Ok(()))
    }
}
