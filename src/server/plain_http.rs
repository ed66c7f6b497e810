//! Plain http where TLS is spoken: whoever sends it is told so, rather than left with a connection that ends.

use std::io;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::server::linger::linger;

/// The answer to whatever was asked; nothing of it is read as a request.
const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 66\r\n\
    Connection: close\r\n\r\n\
    A plain HTTP request was sent to an HTTPS port: write https://...\n";

/// Whether that is what a client has begun to send. A method begins with a letter (RFC 9110 §9.1), which no record of
/// TLS does (RFC 8446 §5.1). Waits for the first byte.
///
/// # Errors
/// If the connection breaks.
pub(super) async fn is_spoken(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase())
}

/// Answers and ends the connection; what is returned is why there is none.
pub(super) async fn refuse(mut stream: TcpStream) -> io::Error {
    if let Err(error) = stream.write_all(ANSWER).await {
        return error;
    }
    linger(stream).await;
    io::Error::other("plain http where TLS is spoken")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = str::from_utf8(ANSWER).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
