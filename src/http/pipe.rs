//! Pipes of the kernel, through which the body of a large message moves from socket to socket without being copied
//! into our memory (splice(2)). They are lent as large buffers are.
//!
//! That can be done only where neither side speaks TLS and the body needs no framing of ours; everywhere else, and
//! where the system has no pipe for us, bodies are read and written.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// Most that is in a pipe, in bytes: with each, somebody who stops reading can hold up as much of the kernel's memory.
const MOST: usize = 256 * 1024;
/// Most pipes that are lent at a time, each of which is two open files. A worker lends as many for answers as for
/// requests.
const MOST_PIPES: usize = 8;
/// Less of a body than this is not worth a pipe, in bytes.
pub const BULK: u64 = 64 * 1024;

/// A piece of a body.
pub enum Piece {
    /// In memory.
    Frame(Frame<Bytes>),
    /// In a pipe.
    Pipe(Pipe),
}

/// A socket that can be read and written through a pipe.
pub enum End<'a> {
    /// Over the network, without TLS.
    Tcp(&'a TcpStream),
    /// Through the file system.
    Unix(&'a UnixStream),
}

/// The pipes that nobody holds.
#[derive(Default)]
pub struct Pipes {
    kept: RefCell<Vec<Ends>>,
    lent: Cell<usize>,
    /// One was lent since it was looked last.
    used: Cell<bool>,
    /// The system gave none, or would not move anything through it; asked again some time later.
    refused: Cell<bool>,
}

struct Ends {
    to_read: OwnedFd,
    to_write: OwnedFd,
}

/// A pipe that is lent, until this is dropped.
pub struct Pipe {
    pool: Rc<Pipes>,
    ends: Option<Ends>,
    /// Bytes that are in it.
    held: usize,
}

impl Pipes {
    /// An empty one; none if as many are lent as may be, or the system gives none.
    pub fn lend(self: &Rc<Self>) -> Option<Pipe> {
        if self.refused.get() || self.lent.get() == MOST_PIPES {
            return None;
        }
        let kept = self.kept.borrow_mut().pop();
        let Some(ends) = kept.or_else(|| system::pipe(MOST).ok()) else {
            self.refused.set(true);
            return None;
        };
        self.used.set(true);
        self.lent.set(self.lent.get() + 1);
        Some(Pipe { pool: Rc::clone(self), ends: Some(ends), held: 0 })
    }

    /// Closes them if none was lent since it was called last.
    pub fn sweep(&self) {
        self.refused.set(false);
        if !self.used.replace(false) {
            *self.kept.borrow_mut() = Vec::new();
        }
    }
}

impl Pipe {
    /// Bytes that are in it.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves into it what has come, `most` bytes at most; it has to be empty. Nothing comes at the end. `None`: the
    /// system moves nothing through it.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &End<'_>,
        most: u64,
    ) -> Poll<Option<io::Result<usize>>> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(MOST);
        let Some(ends) = self.ends.as_ref().filter(|_| self.held == 0) else { return Poll::Ready(None) };
        let moved =
            ready!(from.poll(cx, Interest::READABLE, |from| system::splice(from, &ends.to_write, most)));
        Poll::Ready(match moved {
            Ok(count) => {
                self.held = count;
                Some(Ok(count))
            }
            Err(error) if is_refusal(&error) => {
                self.pool.refused.set(true);
                None
            }
            Err(error) => Some(Err(error)),
        })
    }

    /// Moves what is in it to where it is taken; how much was taken, which is nothing only if nothing is in it.
    ///
    /// # Errors
    /// If it is not taken any more.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>, to: &End<'_>) -> Poll<io::Result<usize>> {
        let Some(ends) = self.ends.as_ref().filter(|_| self.held > 0) else { return Poll::Ready(Ok(0)) };
        let most = self.held;
        let moved = ready!(to.poll(cx, Interest::WRITABLE, |to| system::splice(&ends.to_read, to, most)));
        if moved.as_ref().is_err_and(is_refusal) {
            // This one is lost; those that follow go another way.
            self.pool.refused.set(true);
        }
        let count = moved?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.held = self.held.saturating_sub(count);
        Poll::Ready(Ok(count))
    }
}

impl End<'_> {
    /// Tries once the socket is ready for it.
    fn poll(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        attempt: impl Fn(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let tried = match (self, interest.is_writable()) {
                (Self::Tcp(socket), true) => ready!(socket.poll_write_ready(cx)),
                (Self::Tcp(socket), false) => ready!(socket.poll_read_ready(cx)),
                (Self::Unix(socket), true) => ready!(socket.poll_write_ready(cx)),
                (Self::Unix(socket), false) => ready!(socket.poll_read_ready(cx)),
            };
            let tried = tried.and_then(|()| match self {
                Self::Tcp(socket) => socket.try_io(interest, || attempt(socket.as_fd())),
                Self::Unix(socket) => socket.try_io(interest, || attempt(socket.as_fd())),
            });
            match tried {
                Err(error) if again(&error) => {}
                tried => return Poll::Ready(tried),
            }
        }
    }
}

/// Whether it may do another time.
fn again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Whether the system says that it would never do it, rather than that the socket is broken.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported)
}

impl Piece {
    /// How many bytes of the body it is.
    pub fn size(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.data_ref().map_or(0, Bytes::len),
            Self::Pipe(pipe) => pipe.held,
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.pool.lent.set(self.pool.lent.get() - 1);
        // What is left in it is somebody's: it goes with the pipe.
        if let Some(ends) = self.ends.take().filter(|_| self.held == 0) {
            self.pool.kept.borrow_mut().push(ends);
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::fd::AsFd;

    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with};

    use super::Ends;

    pub(super) fn pipe(size: usize) -> io::Result<Ends> {
        let (to_read, to_write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A small one would cost more than it spares.
        fcntl_setpipe_size(&to_write, size)?;
        Ok(Ends { to_read, to_write })
    }

    pub(super) fn splice(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        Ok(rustix::pipe::splice(from, None, to, None, most, flags)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::os::fd::AsFd;

    use super::Ends;

    pub(super) fn pipe(_: usize) -> io::Result<Ends> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn splice(_: impl AsFd, _: impl AsFd, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_is_left_in_a_pipe_is_lent_to_nobody() {
        let pipes = Rc::new(Pipes::default());
        let (mut from, source) = UnixStream::pair().expect("two ends");
        let (target, mut to) = UnixStream::pair().expect("two ends");
        from.write_all(b"for one").await.expect("it is sent");
        source.readable().await.expect("it came");
        let mut pipe = pipes.lend().expect("one");
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(matches!(pipe.poll_fill(cx, &End::Unix(&source), 4), Poll::Ready(Some(Ok(4)))));
        drop(pipe);
        assert!(pipes.kept.borrow().is_empty(), "it went with what was in it");
        let mut pipe = pipes.lend().expect("another");
        assert!(matches!(pipe.poll_fill(cx, &End::Unix(&source), 9), Poll::Ready(Some(Ok(3)))));
        assert!(matches!(pipe.poll_fill(cx, &End::Unix(&source), 9), Poll::Ready(None)), "it is not empty");
        let drained = std::future::poll_fn(|cx| pipe.poll_drain(cx, &End::Unix(&target))).await;
        assert_eq!(drained.expect("it is taken"), 3);
        assert!(pipe.poll_fill(cx, &End::Unix(&source), 9).is_pending(), "nothing has come");
        drop((pipe, target));
        let mut all = String::new();
        to.read_to_string(&mut all).await.expect("text");
        assert_eq!(all, "one");
        assert_eq!((pipes.kept.borrow().len(), pipes.lent.get()), (1, 0), "it can be lent again");
        pipes.sweep();
        pipes.sweep();
        assert!(pipes.kept.borrow().is_empty(), "it is not in use any more");
    }

    #[test]
    fn few_are_lent_and_none_for_a_while_once_the_system_refused() {
        let pipes = Rc::new(Pipes::default());
        let lent: Vec<Pipe> = std::iter::from_fn(|| pipes.lend()).take(MOST_PIPES + 1).collect();
        assert!(lent.len() == MOST_PIPES || cfg!(not(target_os = "linux")));
        drop(lent);
        pipes.refused.set(true);
        assert!(pipes.lend().is_none());
        pipes.sweep();
        assert!(pipes.lend().is_some() || cfg!(not(target_os = "linux")));
    }

    #[test]
    fn what_will_never_do_is_told_from_a_broken_socket() {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, InvalidInput, PermissionDenied, Unsupported};
        for (kind, refused) in [
            (InvalidInput, true),
            (PermissionDenied, true),
            (Unsupported, true),
            (BrokenPipe, false),
            (ConnectionReset, false),
        ] {
            assert_eq!(is_refusal(&kind.into()), refused, "{kind}");
        }
    }
}
