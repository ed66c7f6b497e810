//! Closed-loop HTTP/1.1 load from one thread: every connection sends its next request when it has the last
//! answer.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, JoinHandle, LocalSet};
use tokio_rustls::TlsConnector;

use crate::histogram::Histogram;
use crate::servers::tls;

/// How long caches are warmed once every connection has had an answer.
const WARM_UP: Duration = Duration::from_millis(300);

/// Large enough that a big body does not cost a read every few kilobytes.
const READ_BUFFER: usize = 64 * 1024;

/// The receive buffer and largest segment of a client that reads nothing, in bytes, and how long its proxy
/// may take until it has stopped reading too.
const LITTLE: usize = 4 * 1024;
const ETHERNET: u32 = 1448;
const SETTLE: Duration = Duration::from_secs(2);

/// What is sent, where to, and over how many connections.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    /// One complete request, head and body.
    pub(crate) request: Vec<u8>,
    pub(crate) connections: usize,
    /// Speak TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// Open a connection for each request, which the server ends.
    pub(crate) fresh: bool,
}

/// A connection, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// What one run saw; `before` and `after` are the meter's readings around exactly these requests.
pub(crate) struct Sample<R> {
    pub(crate) requests: u64,
    pub(crate) reconnects: u64,
    pub(crate) elapsed: Duration,
    pub(crate) latency: Histogram,
    pub(crate) before: R,
    pub(crate) after: R,
}

struct Shared {
    counting: Cell<bool>,
    /// Connections that have not had an answer yet.
    silent: Cell<usize>,
    /// Requests that may still be sent.
    left: Cell<u64>,
    requests: Cell<u64>,
    reconnects: Cell<u64>,
    latency: RefCell<Histogram>,
    failure: RefCell<Option<io::Error>>,
}

impl Load {
    /// Loads for `length` after a warm-up, and reads `meter` when counting starts and ends.
    ///
    /// Any answer that is not a complete 200 or 204 ends the run with an error: a proxy that refuses is fast for no
    /// merit.
    pub(crate) fn run<R>(
        &self,
        length: Duration,
        meter: impl Fn() -> R,
    ) -> Result<Sample<R>, Box<dyn Error>> {
        let shared = Rc::new(Shared::new(u64::MAX, self.connections));
        let runtime = runtime()?;
        let tasks = LocalSet::new();
        for _ in 0..self.connections {
            self.spawn(&tasks, &shared);
        }
        let (before, after, elapsed) = tasks.block_on(&runtime, async {
            while shared.silent.get() > 0 && shared.failure.borrow().is_none() {
                tokio::time::sleep(WARM_UP / 30).await;
            }
            tokio::time::sleep(WARM_UP).await;
            let (before, start) = (meter(), now());
            shared.counting.set(true);
            tokio::time::sleep(length).await;
            shared.counting.set(false);
            (before, meter(), start.elapsed())
        });
        drop(tasks);
        if let Some(failure) = shared.failure.take() {
            return Err(failure.into());
        }
        Ok(Sample {
            requests: shared.requests.get(),
            reconnects: shared.reconnects.get(),
            elapsed,
            latency: shared.latency.replace(Histogram::new()),
            before,
            after,
        })
    }

    /// Sends exactly this many requests, over all connections together.
    pub(crate) fn exactly(&self, requests: u64) -> Result<(), Box<dyn Error>> {
        let shared = Rc::new(Shared::new(requests, self.connections));
        let tasks = LocalSet::new();
        let conversations: Vec<_> = (0..self.connections).map(|_| self.spawn(&tasks, &shared)).collect();
        tasks.block_on(&runtime()?, async {
            for conversation in conversations {
                conversation.await?;
            }
            Ok::<_, JoinError>(())
        })?;
        shared.failure.take().map_or(Ok(()), |failure| Err(failure.into()))
    }

    fn spawn(&self, tasks: &LocalSet, shared: &Rc<Shared>) -> JoinHandle<()> {
        let (load, shared) = (self.clone(), Rc::clone(shared));
        tasks.spawn_local(async move {
            if let Err(failure) = load.converse(&shared).await {
                shared.failure.borrow_mut().get_or_insert(failure);
            }
        })
    }

    /// Sends this load's request over each of its connections and reads nothing of the answers; then reads
    /// `meter` while the proxy holds what it has of them.
    ///
    /// The client's socket takes in little. Its segments are those of an Ethernet, because the kernel makes
    /// room for ten segments at the sender, and the ten of loopback hold more than a megabyte.
    pub(crate) fn stall<R>(&self, meter: impl Fn() -> R) -> Result<R, Box<dyn Error>> {
        let mut stalled = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
            socket.set_recv_buffer_size(LITTLE)?;
            socket.set_tcp_mss(ETHERNET)?;
            socket.set_read_timeout(Some(SETTLE))?;
            socket.connect(&self.address.into())?;
            (&socket).write_all(&self.request)?;
            stalled.push(socket);
        }
        thread::sleep(SETTLE);
        let reading = meter();
        // Who was refused would be no burden: each must have the head of a 200 to read.
        for mut socket in stalled {
            let mut start = [0; 12];
            socket.read_exact(&mut start)?;
            if start != *b"HTTP/1.1 200" {
                return Err("a stalled client was not answered with 200".into());
            }
        }
        Ok(reading)
    }

    /// Sends these requests one after the other over one connection; reads `meter` after the first `warm_up`
    /// and after all.
    pub(crate) fn each<R>(
        address: SocketAddr,
        requests: impl Iterator<Item = Vec<u8>>,
        warm_up: usize,
        meter: impl Fn() -> R,
    ) -> Result<(R, R), Box<dyn Error>> {
        let mut buffer = vec![0; READ_BUFFER];
        let readings = runtime()?.block_on(async {
            let mut stream = connect(address).await?;
            let mut before = None;
            for (sent, request) in requests.enumerate() {
                if sent == warm_up {
                    before = Some(meter());
                }
                stream.write_all(&request).await?;
                read_answer(&mut stream, &mut buffer).await?;
            }
            io::Result::Ok((before.ok_or(ErrorKind::InvalidInput)?, meter()))
        })?;
        Ok(readings)
    }

    /// Reads `meter` after one request, and again while all connections of this load are idle after one
    /// request each.
    pub(crate) fn hold<R>(&self, meter: impl Fn() -> R) -> Result<(R, R), Box<dyn Error>> {
        let mut held = Vec::with_capacity(self.connections);
        let mut buffer = vec![0; READ_BUFFER];
        let readings = runtime()?.block_on(async {
            let mut before = None;
            for _ in 0..self.connections {
                let mut stream = self.connect().await?;
                send(&mut *stream, &self.request).await?;
                read_answer(&mut *stream, &mut buffer).await?;
                held.push(stream);
                before.get_or_insert_with(&meter);
            }
            io::Result::Ok((before.ok_or(ErrorKind::InvalidInput)?, meter()))
        })?;
        Ok(readings)
    }

    async fn converse(&self, shared: &Shared) -> io::Result<()> {
        let mut kept = None;
        let mut buffer = vec![0; READ_BUFFER];
        let mut first = true;
        let mut sent = now();
        while let Some(left) = shared.left.get().checked_sub(1) {
            shared.left.set(left);
            let mut stream = match kept.take() {
                Some(stream) => stream,
                None => self.connect().await?,
            };
            let answered = match send(&mut *stream, &self.request).await {
                Ok(()) => read_answer(&mut *stream, &mut buffer).await,
                Err(failure) => Err(failure),
            };
            match answered {
                Ok(()) => {}
                Err(failure) if !self.fresh && closed_between_requests(&failure) => {
                    shared.reconnects.set(shared.reconnects.get() + 1);
                    shared.left.set(left + 1);
                    continue;
                }
                Err(failure) => return Err(failure),
            }
            kept = (!self.fresh).then_some(stream);
            if std::mem::take(&mut first) {
                shared.silent.set(shared.silent.get().saturating_sub(1));
            }
            let received = now();
            if shared.counting.get() {
                shared.requests.set(shared.requests.get() + 1);
                shared.latency.borrow_mut().record(received - sent);
            }
            sent = received;
        }
        Ok(())
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = connect(self.address).await?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some(client) => {
                let connector = TlsConnector::from(Arc::clone(client));
                Box::new(connector.connect(tls::name(self.address), stream).await?)
            }
        })
    }
}

impl Shared {
    fn new(left: u64, connections: usize) -> Self {
        Self {
            counting: Cell::new(false),
            silent: Cell::new(connections),
            left: Cell::new(left),
            requests: Cell::new(0),
            reconnects: Cell::new(0),
            latency: RefCell::new(Histogram::new()),
            failure: RefCell::new(None),
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn send(stream: &mut dyn Stream, request: &[u8]) -> io::Result<()> {
    stream.write_all(request).await?;
    // TLS keeps what it has encrypted until then.
    stream.flush().await
}

/// A server may close an idle connection at any time (RFC 9112 §9.5), so such an end is no failure of the
/// proxy.
fn closed_between_requests(failure: &io::Error) -> bool {
    matches!(
        failure.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}

/// Reads one answer framed by `Content-Length` and checks that it is a yes.
async fn read_answer(stream: &mut dyn Stream, buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    let total = loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            let kind = if filled == 0 { ErrorKind::ConnectionReset } else { ErrorKind::UnexpectedEof };
            return Err(kind.into());
        }
        filled += read;
        if let Some(total) = answer_length(&buffer[..filled])? {
            break total;
        }
    };
    let mut missing = total.checked_sub(filled).ok_or_else(|| io::Error::other("bytes after the answer"))?;
    while missing > 0 {
        let most = missing.min(buffer.len());
        match stream.read(&mut buffer[..most]).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => missing -= read,
        }
    }
    Ok(())
}

/// Head and body length of the answer that starts here; `None` while the head is incomplete.
fn answer_length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut headers);
    let head = match answer.parse(bytes).map_err(io::Error::other)? {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return Ok(None),
    };
    match answer.code {
        Some(200) => {}
        // It has no body and says no length (RFC 9110 §8.6).
        Some(204) => return Ok(Some(head)),
        _ => return Err(io::Error::other(format!("not a 200: {}", String::from_utf8_lossy(bytes)))),
    }
    let length = answer
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| str::from_utf8(header.value).ok()?.parse::<usize>().ok())
        .ok_or_else(|| io::Error::other("an answer without Content-Length"))?;
    Ok(Some(head + length))
}

#[expect(clippy::disallowed_methods, reason = "a load generator is a clock")]
fn now() -> Instant {
    Instant::now()
}
