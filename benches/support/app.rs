//! An app for load that is hostile or long: answers small and large, swallows uploads, echoes `WebSocket` bytes,
//! and closes connections when it is asked to.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

/// Bytes of the answer to `/large`.
const LARGE: usize = 1024 * 1024;

/// Starts it on a thread of its own; it ends with this process.
///
/// * `/large…`: 1 MiB
/// * `/close…`: answers, and closes the connection without saying so, sometimes a little later
/// * a handshake: says back what it is told
/// * anything else: how many bytes of body came
pub(crate) fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("app".to_owned()).spawn(move || {
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    #[expect(clippy::disallowed_methods, reason = "this app has one runtime and no office")]
                    tokio::spawn(async move { serve(stream).await.ok() });
                }
            }
        });
    })?;
    Ok(address)
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
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
        let path = head.split(' ').nth(1).unwrap_or_default();
        if let Some(key) = field(&head, "sec-websocket-key") {
            return echo(stream, key).await;
        }
        if path.starts_with("/large") {
            stream
                .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes())
                .await?;
            stream.write_all(&vec![b'x'; LARGE]).await?;
            continue;
        }
        let text = body.to_string();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        stream.write_all(answer.as_bytes()).await?;
        if path.starts_with("/close") {
            // 0 to 50 ms, by the port, so that it falls now before and now under the next request.
            let later = u64::from(stream.peer_addr()?.port() % 6) * 10;
            tokio::time::sleep(std::time::Duration::from_millis(later)).await;
            return Ok(());
        }
    }
}

/// Reads a body to its end and says how long it was.
async fn swallow(stream: &mut TcpStream, unread: &mut Vec<u8>, head: &str) -> io::Result<usize> {
    let length: usize = field(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while unread.len() < length {
        if stream.read_buf(unread).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    unread.drain(..length);
    Ok(length)
}

async fn echo(mut stream: TcpStream, key: &str) -> io::Result<()> {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()));
    let switch = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(switch.as_bytes()).await?;
    let mut buffer = vec![0; 16 * 1024];
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
