//! The app behind the site: records what arrived byte for byte, and answers as the test tells it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::raw::PATIENCE;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    /// Which connection it came on, counted from 1.
    pub(crate) connection: usize,
    /// The request line.
    pub(crate) line: String,
    /// Names as they were written, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// The body as it stood on the wire, chunk lines and trailers included.
    pub(crate) body: Vec<u8>,
}

impl Arrived {
    /// All values under a name, whatever its case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
            .collect()
    }

    /// The value under a name; it must be there at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} arrived {} times", all.len());
        all.first().copied()
    }

    /// The body without chunk lines and trailers, however it was cut into chunks.
    pub(crate) fn content(&self) -> Vec<u8> {
        if self.header("transfer-encoding").is_none() {
            return self.body.clone();
        }
        let (mut content, mut rest) = (Vec::new(), &self.body[..]);
        loop {
            let end = rest.windows(2).position(|two| two == b"\r\n").expect("a line");
            let line = std::str::from_utf8(&rest[..end]).expect("text");
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16).expect("a size");
            if size == 0 {
                return content;
            }
            content.extend_from_slice(&rest[end + 2..][..size]);
            rest = &rest[end + 2 + size + 2..];
        }
    }
}

type Script = dyn Fn(&Arrived, &mut TcpStream) + Send + Sync;

/// A server that answers with what a closure writes.
pub(crate) struct Upstream {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    connections: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
}

/// `200` with this body and a length.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: text/plain\r\n\r\n{body}", body.len())
}

/// `101` to a `WebSocket` handshake, with the proof that it was read (RFC 6455 §4.2.2).
pub(crate) fn switch(arrived: &Arrived) -> String {
    let key = arrived.header("sec-websocket-key").unwrap_or_default();
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let accept = STANDARD.encode(hash);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

impl Upstream {
    /// Answers `200` and `hello` to everything.
    pub(crate) fn hello() -> Self {
        Self::answering(ok("hello"))
    }

    /// Answers everything with these bytes.
    pub(crate) fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::with(move |_, stream| {
            let _ = stream.write_all(&bytes);
        })
    }

    /// Tells of every request, and answers one with `hello` for each word that it may.
    pub(crate) fn held() -> (Self, Receiver<()>, Sender<()>) {
        let (asked, was_asked) = channel();
        let (go, wait) = channel();
        let wait = Mutex::new(wait);
        let upstream = Self::with(move |_, stream| {
            let _ = asked.send(());
            let _ = wait.lock().expect("no panic").recv_timeout(PATIENCE);
            let _ = stream.write_all(ok("hello").as_bytes());
        });
        (upstream, was_asked, go)
    }

    /// Leaves every connection to `script`, unread and unrecorded.
    pub(crate) fn listening(script: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let script = Arc::new(script);
        Self::accepting(move |_, stream, _| {
            let script = Arc::clone(&script);
            thread::spawn(move || script(stream));
        })
    }

    /// Runs `script` for every request; a script that shuts the stream down ends the connection.
    pub(crate) fn with(script: impl Fn(&Arrived, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let script: Arc<Script> = Arc::new(script);
        Self::accepting(move |number, stream, arrived| {
            let (script, arrived) = (Arc::clone(&script), Arc::clone(arrived));
            thread::spawn(move || serve(number, stream, &script, &arrived));
        })
    }

    fn accepting(take: impl Fn(usize, TcpStream, &Arc<Mutex<Vec<Arrived>>>) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let arrived = Arc::<Mutex<Vec<Arrived>>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let stopping = Arc::<AtomicBool>::default();
        let upstream = Self {
            address,
            arrived: Arc::clone(&arrived),
            connections: Arc::clone(&connections),
            stopping: Arc::clone(&stopping),
        };
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopping.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let number = connections.fetch_add(1, Ordering::SeqCst) + 1;
                take(number, stream, &arrived);
            }
        });
        upstream
    }

    /// Everything that arrived so far.
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().expect("no panic").clone()
    }

    /// The only request that arrived.
    pub(crate) fn only(&self) -> Arrived {
        let mut all = self.arrived();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// The latest request that arrived.
    pub(crate) fn last(&self) -> Arrived {
        self.arrived().pop().expect("a request arrived")
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(number: usize, mut stream: TcpStream, script: &Arc<Script>, arrived: &Mutex<Vec<Arrived>>) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
    let _ = stream.set_nodelay(true);
    let mut unread = Vec::new();
    while let Some(request) = read(number, &mut stream, &mut unread) {
        arrived.lock().expect("no panic").push(request.clone());
        script(&request, &mut stream);
    }
}

/// Reads one request; `None` at the end of the connection.
fn read(connection: usize, stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<Arrived> {
    let end = loop {
        if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, unread)?;
    };
    let head: Vec<u8> = unread.drain(..end).collect();
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.strip_prefix(' ').unwrap_or(value).to_owned()))
        .collect();
    let mut request = Arrived { connection, line, headers, body: Vec::new() };
    if request.header("transfer-encoding").is_some() {
        // To the end of the last chunk and its trailers.
        let mut at = 0;
        loop {
            let line_end = position(stream, unread, at)?;
            let text = String::from_utf8_lossy(&unread[at..line_end]).into_owned();
            let size = usize::from_str_radix(text.split(';').next()?, 16).ok()?;
            at = line_end + 2;
            if size == 0 {
                break;
            }
            while unread.len() < at + size + 2 {
                more(stream, unread)?;
            }
            at += size + 2;
        }
        loop {
            let line_end = position(stream, unread, at)?;
            let empty = line_end == at;
            at = line_end + 2;
            if empty {
                break;
            }
        }
        request.body = unread.drain(..at).collect();
    } else if let Some(length) = request.header("content-length") {
        let length: usize = length.parse().ok()?;
        while unread.len() < length {
            more(stream, unread)?;
        }
        request.body = unread.drain(..length).collect();
    }
    Some(request)
}

fn position(stream: &mut TcpStream, unread: &mut Vec<u8>, from: usize) -> Option<usize> {
    loop {
        if let Some(at) = unread[from..].windows(2).position(|window| window == b"\r\n") {
            return Some(from + at);
        }
        more(stream, unread)?;
    }
}

fn more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 16_384];
    match stream.read(&mut buffer) {
        Ok(0) | Err(_) => None,
        Ok(count) => {
            unread.extend_from_slice(&buffer[..count]);
            Some(())
        }
    }
}
