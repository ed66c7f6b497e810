//! An app for load that is hostile or long, by HTTP/1.1: answers small and large, events, echoes of `WebSocket` bytes,
//! uploads of which it knows the sum, and connections that it closes when it is asked to.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::pattern::{self, LARGE};
use crate::restarts::Restarts;

/// How long it listens to a connection that it has closed for what was sent in the belief that it was open.
const LINGER: Duration = Duration::from_millis(500);

/// What the kernel keeps of a large answer.
const SMALL: usize = 64 * 1024;

/// How many events there are, and how long it is until the next.
pub(crate) const EVENTS: usize = 10;
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// Who it is, and what it did.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    pub(crate) restarts: Restarts,
    unanswered: Unanswered,
}

/// The requests that came on a connection which it was closing, by their target.
type Unanswered = Arc<Mutex<HashMap<String, Met>>>;

/// When such a request came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// Before the end was said: nobody could have known.
    Before,
    /// After that: it crossed the end on the way, or was sent in spite of it.
    After,
}

impl App {
    /// Whether this target was asked for on a connection that was being closed.
    pub(crate) fn met(&self, target: &str) -> Option<Met> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).get(target).copied()
    }
}

/// Starts it on a thread of its own; it ends with this process.
///
/// * `/large?n`: 1 MiB, the `n`-th
/// * `/events?n`: events, each in a chunk
/// * `/close…`: answers, and closes the connection without saying so, sometimes a little later; what comes all the
///   same is not answered, and remembered
/// * a handshake: says back what it is told
/// * anything else: what came, from whom
pub(crate) fn start() -> io::Result<App> {
    let unanswered = Unanswered::default();
    let kept = Arc::clone(&unanswered);
    let restarts = Restarts::start(move |stream| serve(stream, Arc::clone(&kept)))?;
    Ok(App { address: restarts.address, restarts, unanswered })
}

async fn serve(mut stream: TcpStream, unanswered: Unanswered) -> io::Result<()> {
    let mut unread: Vec<u8> = Vec::with_capacity(4096);
    loop {
        let Some(end) = memchr::memmem::find(&unread, b"\r\n\r\n") else {
            if stream.read_buf(&mut unread).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let head = String::from_utf8_lossy(&unread[..end + 2]).into_owned();
        unread.drain(..end + 4);
        let body = swallow(&mut stream, &mut unread, &head).await?;
        let target = head.split(' ').nth(1).unwrap_or_default();
        let user = field(&head, "x-user-id").unwrap_or("nobody");
        if let Some(key) = field(&head, "sec-websocket-key") {
            return echo(stream, key).await;
        }
        if target.starts_with("/large") {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\nX-Said: {user}\r\n\r\n");
            // What is not read on is not to lie in the kernel, where it costs this thread its time.
            SockRef::from(&stream).set_send_buffer_size(SMALL)?;
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(pattern::large(pattern::number(target))).await?;
            continue;
        }
        if target.starts_with("/events") {
            events(&mut stream, target, user).await?;
            continue;
        }
        let text = pattern::said(target, user, &body);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        stream.write_all(answer.as_bytes()).await?;
        if target.starts_with("/close") {
            return close(stream, &unanswered).await;
        }
    }
}

async fn events(stream: &mut TcpStream, target: &str, user: &str) -> io::Result<()> {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head).await?;
    for number in 0..EVENTS {
        let event = pattern::event(target, user, number);
        stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
        tokio::time::sleep(PAUSE).await;
    }
    stream.write_all(b"0\r\n\r\n").await
}

/// Closes without a word, 0 to 50 ms later, by the port, so that it falls now before and now under the next request.
async fn close(mut stream: TcpStream, unanswered: &Unanswered) -> io::Result<()> {
    tokio::time::sleep(Duration::from_millis(u64::from(stream.peer_addr()?.port() % 6) * 10)).await;
    let mut came = vec![0; 4096];
    let met = match stream.try_read(&mut came) {
        Ok(count) => Some((count, Met::Before)),
        Err(_) => None,
    };
    stream.shutdown().await?;
    let met = match met {
        Some(met) => met,
        None => match timeout(LINGER, stream.read(&mut came)).await {
            Ok(Ok(count)) => (count, Met::After),
            Ok(Err(_)) | Err(_) => return Ok(()),
        },
    };
    let head = String::from_utf8_lossy(&came[..met.0]);
    if let Some(target) = head.split(' ').nth(1) {
        unanswered.lock().unwrap_or_else(PoisonError::into_inner).insert(target.to_owned(), met.1);
    }
    Ok(())
}

/// Reads a body to its end.
async fn swallow(stream: &mut TcpStream, unread: &mut Vec<u8>, head: &str) -> io::Result<Vec<u8>> {
    let length: usize = field(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while unread.len() < length {
        if stream.read_buf(unread).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let rest = unread.split_off(length);
    Ok(std::mem::replace(unread, rest))
}

async fn echo(mut stream: TcpStream, key: &str) -> io::Result<()> {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()));
    let switch = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(switch.as_bytes()).await?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count]).await?,
        }
    }
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let named = |line: &'h str| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    };
    head.lines().find_map(named)
}
