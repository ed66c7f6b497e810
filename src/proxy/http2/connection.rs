//! One HTTP/2 connection to the app: how it begins, what is known of it, how it is kept and ended.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::upstream::Upstream;
use crate::proxy::connect::Stream;
use crate::proxy::http2::given_up::GivenUp;
use crate::proxy::http2::hollow::Hollow;
use crate::proxy::ticker::{Deadline, TICK, Ticker};

/// Requests under way on one connection, if the app allows as many.
const MOST_STREAMS: usize = 100;
/// What the app may send ahead in one stream, in bytes: a client that does not read holds up as much memory.
const NARROW: u32 = 32 * 1024;
/// The same on a connection with few streams, so that none of them is slow because the app is far.
const WIDE: u32 = 128 * 1024;
/// How many are few, those counted that were given up.
const FEW: usize = 8;
/// For how long they have to be few before the window is [`WIDE`].
const CALM: Duration = Duration::from_secs(1);
/// What it may send ahead in all: enough for all streams, so that clients that do not read hold up no others.
#[expect(clippy::cast_possible_truncation, reason = "a hundred")]
const CONNECTION_WINDOW: u32 = (MOST_STREAMS as u32 + 1) * WIDE;
/// What is kept of a body that the app does not read, for each stream, in bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that were given up, and whose frames may still be on their way: so many are remembered for so long. A frame of
/// any other that has ended is answered by a reset.
const GIVEN_UP: (usize, Duration) = (20 * MOST_STREAMS, Duration::from_secs(30));
/// Between two questions whether the app is still there while it says nothing: gRPC servers end a connection that
/// asks more often.
const BETWEEN_PINGS: Duration = Duration::from_mins(5);

/// What is known of a connection. Atomic because a tunnel is a socket, and a socket must be able to change threads.
pub(super) struct State {
    /// Requests under way.
    pub(super) streams: AtomicUsize,
    /// Requests that we ended before the app did. It may work on them still, so their places are not taken again.
    pub(super) given_up: AtomicUsize,
    /// When a request ended last, in milliseconds of the worker.
    pub(super) idle_since: AtomicU64,
    /// When it was made.
    pub(super) born: u64,
    /// When bytes came last.
    pub(super) heard: AtomicU64,
    /// That it broke off has been held against the instance.
    pub(super) lost: AtomicBool,
    /// No further request is sent on it.
    pub(super) retired: AtomicBool,
    /// When an answer came on it last; 0 if none has.
    pub(super) answered_at: AtomicU64,
    /// Requests in a row that have waited for theirs in vain since.
    pub(super) in_vain: AtomicUsize,
    /// It is encrypted.
    pub(super) encrypted: bool,
}

/// How many requests the app takes at a time from this sender's connection, of those that we would send.
pub(super) fn places(sender: &SendRequest<Bytes>) -> usize {
    sender.current_max_send_streams().min(MOST_STREAMS)
}

/// A connection's own work, beside the requests.
pub(super) struct Life {
    connection: Connection<Listening, Bytes>,
    pings: PingPong,
    state: Arc<State>,
    ticker: Ticker,
    watch: Deadline,
    patience: Duration,
    /// When the app was asked whether it is there, and has not said so yet.
    asked: Option<u64>,
    /// When it was asked last.
    last_asked: Option<u64>,
    /// The window of streams is [`WIDE`].
    wide: bool,
    /// When there were more than [`FEW`] of them last, or the connection began.
    crowded: u64,
}

impl Life {
    /// Begins to speak HTTP/2 and waits until the app has shown that it does too.
    ///
    /// # Errors
    /// If the connection breaks, or the other side speaks something else.
    pub(super) async fn begin(
        stream: Stream,
        ticker: &Ticker,
        settings: &Upstream,
    ) -> io::Result<(SendRequest<Bytes>, Self)> {
        let now = ticker.now();
        let state = Arc::new(State {
            streams: AtomicUsize::new(0),
            given_up: AtomicUsize::new(0),
            idle_since: AtomicU64::new(now),
            born: now,
            heard: AtomicU64::new(now),
            lost: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            answered_at: AtomicU64::new(0),
            in_vain: AtomicUsize::new(0),
            encrypted: stream.is_encrypted(),
        });
        let io = Listening {
            stream,
            state: Arc::clone(&state),
            ticker: ticker.clone(),
            hollow: Hollow::default(),
        };
        let (sender, mut connection) = Builder::new()
            .initial_window_size(NARROW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(MOST_STREAMS)
            .max_header_list_size(u32::try_from(settings.head).unwrap_or(u32::MAX))
            .max_send_buffer_size(SEND_BUFFER)
            .enable_push(false)
            // What is meant for a stranger who wants to do harm, and would end what everybody shares. The windows say
            // how much is kept, and what comes in small pieces is gathered by whoever waits for its client.
            .data_frame_budget(usize::MAX)
            .max_local_error_reset_streams(None)
            .max_concurrent_reset_streams(GIVEN_UP.0)
            .reset_stream_duration(GIVEN_UP.1)
            .handshake::<_, Bytes>(io)
            .await
            .map_err(unspoken)?;
        let mut pings = connection.ping_pong().ok_or(io::ErrorKind::Unsupported)?;
        // What answers has sent its settings before (RFC 9113 §3.4): how many streams, whether tunnels.
        pings.send_ping(Ping::opaque()).map_err(unspoken)?;
        poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(unspoken(error))),
            Poll::Pending => pings.poll_pong(cx).map(|pong| pong.map(|_| ()).map_err(unspoken)),
        })
        .await?;
        let (ticker, watch) = (ticker.clone(), ticker.deadline());
        let life = Self {
            connection,
            pings,
            state,
            ticker,
            watch,
            patience: settings.ping,
            asked: None,
            last_asked: None,
            wide: false,
            crowded: now,
        };
        Ok((sender, life))
    }

    /// What is known of the connection.
    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Keeps the connection until it ends; nothing moves on it otherwise.
    /// What comes for requests that were `given_up` goes.
    pub(super) async fn run(mut self, given_up: &GivenUp) -> Result<(), h2::Error> {
        poll_fn(|cx| {
            loop {
                // Before the requests leave that make many of few.
                self.fit_window();
                let polled = Pin::new(&mut self.connection).poll(cx);
                given_up.drain();
                if let Poll::Ready(ended) = polled {
                    return Poll::Ready(ended);
                }
                if self.pings.poll_pong(cx).is_ready() {
                    self.asked = None;
                }
                self.watch.arm_once(TICK);
                ready!(self.watch.poll(cx));
                self.watch.disarm();
                if self.is_dead() {
                    return Poll::Ready(Ok(()));
                }
            }
        })
        .await
    }

    /// Tells the app how much it may send ahead in each stream, if that is to be another window than before (RFC 9113
    /// §6.9.2).
    fn fit_window(&mut self) {
        let State { streams, given_up, .. } = &*self.state;
        let many = streams.load(Ordering::Relaxed) + given_up.load(Ordering::Relaxed) > FEW;
        if many {
            self.crowded = self.ticker.now();
        }
        let fits = if many { !self.wide } else { self.wide || !self.ticker.has_passed(self.crowded, CALM) };
        // It fails as long as the app has not answered that it knows of the last change.
        let size = if many { NARROW } else { WIDE };
        if !fits && self.connection.set_initial_window_size(size).is_ok() {
            self.wide = !many;
        }
    }

    /// Asks an app that owes an answer and says nothing whether it is there. True once it does not say so in time.
    fn is_dead(&mut self) -> bool {
        let (now, heard) = (self.ticker.now(), self.state.heard.load(Ordering::Relaxed));
        if let Some(asked) = self.asked {
            // Whatever came meanwhile shows that it was there then.
            return self.ticker.has_passed(asked.max(heard), self.patience);
        }
        let due = !self.patience.is_zero()
            && self.state.streams.load(Ordering::Relaxed) > 0
            && self.ticker.has_passed(heard, self.patience)
            && self.last_asked.is_none_or(|last| self.ticker.has_passed(last, BETWEEN_PINGS));
        if due && self.pings.send_ping(Ping::opaque()).is_ok() {
            (self.asked, self.last_asked) = (Some(now), Some(now));
        }
        false
    }
}

/// What went wrong before HTTP/2 was spoken.
fn unspoken(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::Other.into());
    }
    io::Error::new(io::ErrorKind::InvalidData, format!("it does not speak HTTP/2: {error}"))
}

/// A socket to the app that notes when bytes come.
struct Listening {
    stream: Stream,
    state: Arc<State>,
    ticker: Ticker,
    hollow: Hollow,
}

impl AsyncRead for Listening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = pin!(&mut self.stream).poll_read(cx, buffer);
        if polled.is_ready() {
            self.hollow.hide(&mut buffer.filled_mut()[before..]);
            self.state.heard.store(self.ticker.now(), Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Listening {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        pin!(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        pin!(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        !self.stream.is_encrypted()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_shutdown(cx)
    }
}
