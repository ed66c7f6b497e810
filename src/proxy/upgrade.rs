//! Connections that have left HTTP: bytes pass in both directions until one side ends, both are silent for
//! too long, or the session that opened the tunnel is over.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, BytesMut};
use http::HeaderValue;
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::visit::Visit;
use crate::metrics::worker::Worker;
use crate::proxy::app_side::AppSide;
use crate::proxy::ending::Ending;
use crate::proxy::failure::Failure;
use crate::proxy::response::Head;
use crate::proxy::ticker::{Deadline, TICK};
use crate::proxy::websocket::{Frames, say_goodbye};
use crate::session::live::Line;

/// Bytes that are read at a time in each direction.
const BUFFER: usize = 16 * 1024;

/// What a server puts behind the key before it hashes it (RFC 6455 §1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether the app switched to what was asked for (RFC 9110 §7.8) and, where that is `WebSocket`, has read the
/// handshake: something that only repeats what it is sent must not be taken for one (RFC 6455 §4.1).
///
/// # Errors
/// [`Failure::Invalid`] if it did not.
pub(super) fn check(visit: &Visit, head: &Head) -> Result<(), Failure> {
    let asked = visit.upgrade.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    let given = head.protocol.as_deref().unwrap_or_default();
    if asked.is_empty() || !asked.eq_ignore_ascii_case(given) {
        return Err(Failure::Invalid("a switch to a protocol that nobody asked for"));
    }
    if asked.eq_ignore_ascii_case(b"websocket") {
        let mut accepts = head.fields.get_all(&SEC_WEBSOCKET_ACCEPT);
        let key =
            visit.headers.get(&SEC_WEBSOCKET_KEY).ok_or(Failure::Invalid("a handshake without a key"))?;
        let accept = accepts.next().filter(|_| accepts.next().is_none());
        if accept.is_none_or(|accept| accept.as_bytes() != acceptance(key.as_bytes()).as_bytes()) {
            return Err(Failure::Invalid("Sec-WebSocket-Accept does not follow from the key"));
        }
    }
    Ok(())
}

/// The `Sec-WebSocket-Accept` that belongs to a key (RFC 6455 §4.2.2). SHA-1 proves nothing here but that the
/// other side knows the protocol.
pub(super) fn acceptance(key: &[u8]) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.trim_ascii());
    hash.update(KEY_SUFFIX);
    STANDARD.encode(hash.finish())
}

/// An upgraded connection to the app, waiting for the client's side.
pub struct Tunnel {
    pub(super) upstream: AppSide,
    /// What the app sent behind its 101.
    pub(super) unread: BytesMut,
    /// Whether its bytes are frames that we know.
    pub(super) websocket: bool,
    /// Strikes when both sides are silent.
    pub(super) silence: Deadline,
    /// Strikes at every tick, to look at the session.
    pub(super) watch: Deadline,
    pub(super) patience: Duration,
    /// Ended together with the session.
    pub(super) line: Option<Line>,
    /// Bytes that were passed on to the client.
    pub(super) passed: Rc<Cell<u64>>,
    /// Counted as long as it is open.
    pub(super) _open: Open,
}

/// One tunnel, counted.
pub(super) struct Open(Arc<Worker>);

impl Open {
    /// One more.
    pub(super) fn new(counts: &Arc<Worker>) -> Self {
        counts.tunnels[0].add_alone(1);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.tunnels[1].add_alone(1);
    }
}

/// How a tunnel comes to its end.
enum End {
    /// Both sides are done.
    Done,
    /// We end it, for this reason, which the client is told in these words.
    Cut(Ending, &'static str),
    /// One of them broke.
    Broken(Broken),
}

/// What became of a tunnel.
pub struct Ended {
    /// Why it ended, unless both sides were done.
    pub by: Option<Ending>,
    /// What was wrong with a connection that broke.
    pub error: Option<io::Error>,
}

/// A connection that broke.
struct Broken {
    error: io::Error,
    /// It is the one that is written to.
    sink: bool,
}

impl Broken {
    fn source(error: io::Error) -> Self {
        Self { error, sink: false }
    }

    fn sink(error: io::Error) -> Self {
        Self { error, sink: true }
    }
}

impl Tunnel {
    /// Bytes that were passed on to the client: whoever writes them down may outlive the tunnel.
    pub fn passed(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.passed)
    }

    /// Carries bytes until the end. `early` is what the client sent behind its request. The client of a WebSocket
    /// that we end is told so where a frame can stand.
    pub async fn run<C>(self, client: C, early: BytesMut) -> Ended
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { upstream, unread, websocket, silence, watch, patience, line, passed, _open } = self;
        let mut to_client = Pipe::starting_with(unread, websocket.then(Frames::default));
        let mut to_upstream = Pipe::starting_with(early, None);
        let (mut client, mut upstream): (C, AppSide) = (client, upstream);
        silence.arm(patience);
        let end = std::future::poll_fn(|cx| {
            let before = to_client.passed + to_upstream.passed;
            let down = to_client.poll_pass(cx, &mut upstream, &mut client);
            let up = to_upstream.poll_pass(cx, &mut client, &mut upstream);
            passed.set(to_client.passed);
            match (down, up) {
                (Poll::Ready(Err(broken)), _) => return Poll::Ready(End::Broken(broken)),
                (_, Poll::Ready(Err(Broken { error, sink }))) => {
                    return Poll::Ready(End::Broken(Broken { error, sink: !sink }));
                }
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(End::Done),
                _ => {}
            }
            if to_client.passed + to_upstream.passed > before {
                silence.arm(patience);
            }
            if silence.is_cut() {
                return Poll::Ready(End::Cut(Ending::Drain, "going down"));
            }
            if let Some(line) = &line {
                watch.arm(TICK);
                if line.is_cut() {
                    return Poll::Ready(End::Cut(Ending::Session, "the session has ended"));
                }
                let _ = watch.poll(cx);
            }
            silence.poll(cx).map(|()| End::Cut(Ending::Idle, "silent for too long"))
        })
        .await;
        drop(upstream);
        match end {
            End::Done => Ended { by: None, error: None },
            End::Broken(Broken { error, sink }) => {
                let by = Some(if sink { Ending::Client } else { Ending::App });
                Ended { by, error: Some(error) }
            }
            End::Cut(by, why) => {
                if to_client.frames.is_some_and(|frames| frames.between()) {
                    say_goodbye(&mut client, why).await;
                }
                Ended { by: Some(by), error: None }
            }
        }
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
    /// Where in its frames it is, if they are followed.
    frames: Option<Frames>,
}

impl Pipe {
    fn starting_with(buffer: BytesMut, frames: Option<Frames>) -> Self {
        Self { buffer, ended: false, closed: false, passed: 0, frames }
    }

    /// Ready once the source has ended and the sink has been told.
    fn poll_pass<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<Result<(), Broken>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while !self.closed {
            while !self.buffer.is_empty() {
                let count = ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer)).map_err(Broken::sink)?;
                if count == 0 {
                    return Poll::Ready(Err(Broken::sink(io::ErrorKind::WriteZero.into())));
                }
                if let Some(frames) = &mut self.frames {
                    frames.passed(&self.buffer[..count]);
                }
                self.buffer.advance(count);
                self.passed += count as u64;
            }
            if self.ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(Broken::sink)?;
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
                    ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(Broken::sink)?;
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::source(error))),
                Poll::Ready(Ok(())) => self.ended = count == 0,
            }
        }
        // Nothing is left to be sent, but a stream of HTTP/2 gathers what comes on it by that.
        let _ = Pin::new(to).poll_flush(cx);
        Poll::Ready(Ok(()))
    }
}
