//! Closed-loop HTTP/1.1 load from one thread: every connection sends its next request when it has the last
//! answer.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, JoinHandle, LocalSet};

/// Long enough for 64 fresh connections to be made and for caches to be warm.
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
}

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
    /// Any answer that is not a complete 200 ends the run with an error: a proxy that refuses is fast for no
    /// merit.
    pub(crate) fn run<R>(
        &self,
        length: Duration,
        meter: impl Fn() -> R,
    ) -> Result<Sample<R>, Box<dyn Error>> {
        let shared = Rc::new(Shared::new(u64::MAX));
        let runtime = runtime()?;
        let tasks = LocalSet::new();
        for _ in 0..self.connections {
            self.spawn(&tasks, &shared);
        }
        let (before, after, elapsed) = tasks.block_on(&runtime, async {
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
        let shared = Rc::new(Shared::new(requests));
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
                let mut stream = connect(self.address).await?;
                stream.write_all(&self.request).await?;
                read_answer(&mut stream, &mut buffer).await?;
                held.push(stream);
                before.get_or_insert_with(&meter);
            }
            io::Result::Ok((before.ok_or(ErrorKind::InvalidInput)?, meter()))
        })?;
        Ok(readings)
    }

    async fn converse(&self, shared: &Shared) -> io::Result<()> {
        let mut stream = connect(self.address).await?;
        let mut buffer = vec![0; READ_BUFFER];
        let mut sent = now();
        while let Some(left) = shared.left.get().checked_sub(1) {
            shared.left.set(left);
            let answered = match stream.write_all(&self.request).await {
                Ok(()) => read_answer(&mut stream, &mut buffer).await,
                Err(failure) => Err(failure),
            };
            match answered {
                Ok(()) => {}
                Err(failure) if closed_between_requests(&failure) => {
                    shared.reconnects.set(shared.reconnects.get() + 1);
                    shared.left.set(left + 1);
                    stream = connect(self.address).await?;
                    continue;
                }
                Err(failure) => return Err(failure),
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
}

impl Shared {
    fn new(left: u64) -> Self {
        Self {
            counting: Cell::new(false),
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

/// A server may close an idle connection at any time (RFC 9112 §9.5), so such an end is no failure of the
/// proxy.
fn closed_between_requests(failure: &io::Error) -> bool {
    matches!(
        failure.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}

/// Reads one answer framed by `Content-Length` and checks that it is a 200.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
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
    if answer.code != Some(200) {
        return Err(io::Error::other(format!("not a 200: {}", String::from_utf8_lossy(bytes))));
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

/// Latencies in log-linear buckets: 64 to each power of two nanoseconds, so within 1.6 % up to eight seconds.
pub(crate) struct Histogram {
    buckets: Vec<u64>,
}

impl Histogram {
    const STEPS: u64 = 64;
    const LONGEST: u64 = (1 << 33) - 1;

    fn new() -> Self {
        Self { buckets: vec![0; Self::bucket(Self::LONGEST) + 1] }
    }

    fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).min(Self::LONGEST);
        self.buckets[Self::bucket(nanos)] += 1;
    }

    /// The latency that this share (0 to 1) of the requests did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let total = self.buckets.iter().sum::<u64>() as f64;
        let mut seen = 0.0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
            let count = *count as f64;
            seen += count;
            if count > 0.0 && seen >= total * share {
                return Self::middle(bucket);
            }
        }
        Duration::ZERO
    }

    fn bucket(nanos: u64) -> usize {
        let shift = nanos.max(Self::STEPS).ilog2() - Self::STEPS.ilog2();
        let bucket = u64::from(shift) * Self::STEPS + (nanos >> shift);
        usize::try_from(bucket).unwrap_or(usize::MAX)
    }

    fn middle(bucket: usize) -> Duration {
        let bucket = bucket as u64;
        let shift = (bucket / Self::STEPS).saturating_sub(1);
        let low = (bucket - shift * Self::STEPS) << shift;
        Duration::from_nanos(low + (1 << shift) / 2)
    }
}
