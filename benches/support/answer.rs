//! Answers read off a socket one at a time, and nothing of the next one.

use std::io::{self, Read};

/// Reads one answer whose body has a length, or none: its status and its body.
///
/// One byte at a time up to the body: what follows it is somebody else's.
pub(crate) fn read(stream: &mut impl Read) -> io::Result<(u16, Vec<u8>)> {
    let mut head = Vec::with_capacity(512);
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, body))
}
