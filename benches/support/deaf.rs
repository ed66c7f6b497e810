//! A way to PostgreSQL on which nothing is heard of what a `LISTEN` would tell.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// The type of `NotificationResponse` (PostgreSQL: Message Formats).
const NOTIFICATION: u8 = b'A';

/// Listens on loopback for as long as this process lives and passes everything on to `server`, but for notifications.
pub(crate) fn start(server: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("deaf".to_owned()).spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            if let Err(error) = relay(client, server) {
                // Whoever asks hears that from the connection that ends.
                drop(error);
            }
        }
    })?;
    Ok(address)
}

fn relay(client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let _ = messages(&server, &client);
        let _ = client.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// Each is a type, its length with itself, and what it says.
fn messages(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    loop {
        let mut head = [0; 5];
        from.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let rest = usize::try_from(length).unwrap_or(0).checked_sub(4).ok_or(io::ErrorKind::InvalidData)?;
        let mut message = head.to_vec();
        message.resize(head.len() + rest, 0);
        from.read_exact(&mut message[head.len()..])?;
        if head[0] != NOTIFICATION {
            to.write_all(&message)?;
        }
    }
}
