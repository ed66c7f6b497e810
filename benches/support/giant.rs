//! Much through one tunnel: what goes in comes back, and memory is looked at meanwhile.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use crate::churn::framed;
use crate::ordeal::{self, mebibytes, now};
use crate::pattern;
use crate::world::House;

/// Bytes of a message.
const MESSAGE: usize = 64_000;

/// Sends so many bytes through one `WebSocket` and takes them back; prints a line.
pub(crate) fn pass(house: &House, bytes: usize) -> io::Result<()> {
    let person = house.somebody();
    let mut stream = ordeal::connect(house.address, Duration::from_secs(30))?;
    let request = format!(
        "GET /socket HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        house.address, person.cookie
    );
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
    }
    let messages = bytes.div_ceil(MESSAGE);
    let (before, files, begun) = (house.process.resident(), house.process.open_files(), now());
    let mut most = before;
    let mut writer = stream.try_clone()?;
    thread::scope(|scope| {
        let sent = scope.spawn(move || -> io::Result<()> {
            for number in 0..messages {
                writer.write_all(&framed(&pattern::large(number)[..MESSAGE]))?;
            }
            Ok(())
        });
        let mut came = vec![0; framed(&pattern::large(0)[..MESSAGE]).len()];
        for number in 0..messages {
            stream.read_exact(&mut came)?;
            if came != framed(&pattern::large(number)[..MESSAGE]) {
                return Err(io::Error::other(format!("message {number} is not what was said")));
            }
            if number.is_multiple_of(64) {
                most = most.max(house.look());
            }
        }
        sent.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    })?;
    let took = begun.elapsed();
    stream.shutdown(Shutdown::Both)?;
    thread::sleep(Duration::from_secs(2));
    println!(
        "{} through one WebSocket and back in {:.1} s: RSS {} before, {} at most, {} after; open files {files}, then {}\n",
        mebibytes(u64::try_from(bytes / 1024).unwrap_or(0)),
        took.as_secs_f64(),
        mebibytes(before),
        mebibytes(most),
        mebibytes(house.process.resident()),
        house.process.open_files(),
    );
    Ok(())
}
