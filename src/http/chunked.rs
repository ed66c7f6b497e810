//! Decodes the chunked transfer coding (RFC 9112 §7.1) of requests and answers, refusing every deviation.

use std::io;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HOST, SET_COOKIE, TRANSFER_ENCODING};

use crate::http::fields::Fields;
use crate::http::grammar;
use crate::http::head::{Search, Unfit};

/// Longest line with a chunk size and extensions, in bytes.
const LONGEST_LINE: usize = 1024;
/// Largest trailer section, in bytes.
const LARGEST_TRAILERS: usize = 16 * 1024;
/// Largest extensions of all chunks of a body together, in bytes (CVE-2023-39326).
const LARGEST_EXTENSIONS: usize = 16 * 1024;
/// Most trailer fields.
const MOST_TRAILERS: usize = 64;
/// A chunk of fewer bytes is passed on together with those that follow it.
const SMALL: usize = 2 * 1024;
/// How many bytes such a piece needs to be passed on without looking for more.
const GATHERED: usize = 16 * 1024;

/// One body on its way.
#[derive(Debug, Default)]
pub struct Chunked {
    at: At,
    /// Bytes of extensions so far.
    extensions: usize,
}

/// Where in the coding we are.
#[derive(Debug, Default)]
enum At {
    /// Before a chunk's size.
    #[default]
    Size,
    /// Inside a chunk, with this much of it to come.
    Data(u64),
    /// Behind a chunk's data.
    DataEnd,
    /// Behind the last chunk.
    Trailers,
}

/// What could be decoded.
pub enum Piece {
    /// Data of the body.
    Data(Bytes),
    /// The end of the body.
    Trailers(HeaderMap),
    /// More must be read first.
    Nothing,
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Chunked {
    /// Decodes the next piece of what was read. Small chunks that are there together are one piece: what is passed on
    /// must not cost more for being cut up, nor end a connection of HTTP/2 by the number of its frames.
    ///
    /// # Errors
    /// If it is not in the coding, to the letter.
    pub fn take(&mut self, unread: &mut BytesMut) -> io::Result<Piece> {
        if !self.advance(unread)? {
            return Ok(Piece::Nothing);
        }
        let Some(mut data) = self.cut(unread, usize::MAX) else {
            return if matches!(self.at, At::Trailers) { trailers(unread) } else { Ok(Piece::Nothing) };
        };
        let mut most = if data.len() < SMALL { GATHERED } else { 0 };
        while data.len() < most && self.advance(unread)? {
            let Some(more) = self.cut(unread, SMALL) else { break };
            most = if more.len() < SMALL { most } else { 0 };
            data.extend_from_slice(&more);
        }
        Ok(Piece::Data(data.freeze()))
    }

    /// Goes on to the data of a chunk, or to the trailers. False if more must be read first.
    fn advance(&mut self, unread: &mut BytesMut) -> io::Result<bool> {
        loop {
            match self.at {
                At::Size => {
                    let Some(line) = line(unread, LONGEST_LINE)? else { return Ok(false) };
                    let (size, extension) = size_of(&line)?;
                    self.extensions += extension;
                    if self.extensions > LARGEST_EXTENSIONS {
                        return Err(broken("too many chunk extensions"));
                    }
                    self.at = if size == 0 { At::Trailers } else { At::Data(size) };
                }
                At::DataEnd => {
                    if unread.len() < 2 {
                        return Ok(false);
                    }
                    if &unread.split_to(2)[..] != b"\r\n" {
                        return Err(broken("chunk data is not followed by CRLF"));
                    }
                    self.at = At::Size;
                }
                At::Data(_) | At::Trailers => return Ok(true),
            }
        }
    }

    /// What is there of a chunk's data, and no more than so much.
    fn cut(&mut self, unread: &mut BytesMut, most: usize) -> Option<BytesMut> {
        let At::Data(left) = &mut self.at else { return None };
        let count = usize::try_from(*left).unwrap_or(usize::MAX).min(unread.len()).min(most);
        *left -= count as u64;
        if *left == 0 {
            self.at = At::DataEnd;
        }
        (count > 0).then(|| unread.split_to(count))
    }

    /// Consumes the end of the body if it is there whole and without trailers.
    pub fn at_bare_end(&self, unread: &mut BytesMut) -> bool {
        let end: &[u8] = match self.at {
            At::DataEnd => b"\r\n0\r\n\r\n",
            At::Trailers => b"\r\n",
            At::Size | At::Data(_) => return false,
        };
        let end = unread[..] == *end;
        if end {
            unread.clear();
        }
        end
    }
}

/// Cuts off one line without its CRLF.
fn line(unread: &mut BytesMut, longest: usize) -> io::Result<Option<BytesMut>> {
    let Some(end) = memchr::memchr(b'\n', unread) else {
        return if unread.len() > longest { Err(broken("line too long")) } else { Ok(None) };
    };
    if end == 0
        || end > longest
        || unread[end - 1] != b'\r'
        || memchr::memchr(b'\r', &unread[..end - 1]).is_some()
    {
        return Err(broken("line does not end with CRLF"));
    }
    let mut line = unread.split_to(end + 1);
    line.truncate(end - 1);
    Ok(Some(line))
}

/// The size in a line, and the length of what follows it there.
fn size_of(line: &[u8]) -> io::Result<(u64, usize)> {
    let digits = line.split(|&b| b == b';').next().unwrap_or_default();
    let extension = line.len() - digits.len();
    // A space before an extension is bad white space (RFC 9110 §5.6.3): only ever behind the digits.
    let digits = if digits.len() < line.len() { digits.trim_ascii_end() } else { digits };
    let plain = !digits.is_empty() && digits.len() <= 15 && digits.iter().all(u8::is_ascii_hexdigit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| plain)
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .map(|size| (size, extension))
        .ok_or_else(|| broken("no chunk size"))
}

fn trailers(unread: &mut BytesMut) -> io::Result<Piece> {
    if unread.starts_with(b"\r\n") {
        let _ = unread.split_to(2);
        return Ok(Piece::Trailers(HeaderMap::new()));
    }
    let mut section = match Search::default().take(unread, LARGEST_TRAILERS) {
        Ok(Some(section)) => section,
        Ok(None) => return Ok(Piece::Nothing),
        Err(Unfit::Line) => return Err(broken("a trailer does not end with CRLF")),
        Err(Unfit::FirstLine | Unfit::Size) => return Err(broken("trailers too large")),
    };
    let (places, _) =
        grammar::fields(&mut section, 0, MOST_TRAILERS).map_err(|_| broken("malformed trailers"))?;
    let mut map = HeaderMap::from(&Fields::new(section, places));
    // Fields that frame or route a message have no place here (RFC 9110 §6.5.1).
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, HOST, SET_COOKIE] {
        map.remove(name);
    }
    Ok(Piece::Trailers(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(wire: &[u8]) -> io::Result<(Vec<u8>, Option<HeaderMap>)> {
        let mut unread = BytesMut::new();
        let mut chunked = Chunked::default();
        let mut body = Vec::new();
        // One byte at a time: no decision may depend on where a read ended.
        for &byte in wire {
            unread.extend_from_slice(&[byte]);
            loop {
                match chunked.take(&mut unread)? {
                    Piece::Data(data) => body.extend_from_slice(&data),
                    Piece::Trailers(trailers) => return Ok((body, Some(trailers))),
                    Piece::Nothing => break,
                }
            }
        }
        Ok((body, None))
    }

    #[test]
    fn a_whole_body_with_extensions_and_trailers_is_decoded() {
        let (body, trailers) =
            decode(b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nx-sum: 1\r\nhost: evil\r\n\r\n").expect("valid");
        let trailers = trailers.expect("an end");
        assert_eq!(body, b"hello!");
        assert!(trailers.len() == 1 && trailers["x-sum"] == "1");
    }

    #[test]
    fn small_chunks_are_one_piece_and_what_follows_a_large_one_is_not_copied() {
        let pieces = |wire: &[u8]| {
            let (mut unread, mut chunked, mut pieces) =
                (BytesMut::from(wire), Chunked::default(), Vec::new());
            loop {
                match chunked.take(&mut unread).expect("valid") {
                    Piece::Data(data) => pieces.push(data.len()),
                    Piece::Trailers(trailers) => return (pieces, Some(trailers.len())),
                    Piece::Nothing => return (pieces, None),
                }
            }
        };
        let small = b"1\r\nx\r\n".repeat(20_000);
        assert_eq!(pieces(&small), (vec![16 * 1024, 20_000 - 16 * 1024], None));
        assert_eq!(pieces(&[&small[..18], b"0\r\nx: y\r\n\r\n"].concat()), (vec![3], Some(1)));
        assert_eq!(pieces(&[&small[..18], b"2\r\ny"].concat()), (vec![4], None));
        let large = [b"4000\r\n", &[b'x'; 0x4000][..], b"\r\n"].concat();
        let wire = [&large[..], &small[..12], &large].concat();
        assert_eq!(pieces(&wire), (vec![0x4000, 2 + SMALL, 0x4000 - SMALL], None));
    }

    #[test]
    fn f_10_deviations_are_refused() {
        for wire in [
            &b"5\nhello\r\n"[..],
            b"0x5\r\n",
            b"+5\r\n",
            b" 5\r\n",
            b"5 \r\n",
            b"\r\n",
            b"fffffffffffffffff\r\n",
            b"5\r\nhelloXX",
            b"5\r\nhello\n\r",
            b"5;a\rb\r\n",
            b"g\r\n",
        ] {
            assert!(decode(wire).is_err(), "{}", String::from_utf8_lossy(wire));
        }
    }
}
