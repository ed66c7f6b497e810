//! The head of a request, read once: found in what came, held to the letter of the grammar, parsed.
//!
//! **Invariant:** whether a head is refused, and why, does not depend on how it was cut into pieces on its way.

use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{Method, Uri, Version};
use httparse::{ParserConfig, Status};
use memchr::memchr;

use crate::config::limits::MOST_HEADERS;
use crate::http::fields::{Fields, Place};
use crate::refusal::Refusal;
use crate::server::read::Head;

/// The search for the end of one head, as far as it has come.
#[derive(Default)]
pub(super) struct Search {
    /// Where the line begins whose end has not come.
    line: usize,
}

impl Search {
    /// Cuts the next head off what was read, if all of it is there. Every line ends with CRLF: a bare LF is the
    /// end of a line to some and a part of it to others.
    ///
    /// # Errors
    /// [`Refusal::BadFraming`] for a line that ends otherwise, [`Refusal::HeadTooLarge`] and
    /// [`Refusal::TargetTooLong`] for more than `longest` bytes.
    pub(super) fn take(
        &mut self,
        unread: &mut BytesMut,
        longest: usize,
    ) -> Result<Option<BytesMut>, Refusal> {
        // An empty line before a request is to be ignored (RFC 9112 §2.2).
        while self.line == 0 && unread.starts_with(b"\r\n") {
            unread.advance(2);
        }
        while let Some(length) = memchr(b'\n', &unread[self.line..]) {
            let end = self.line + length;
            if length == 0 || unread[end - 1] != b'\r' {
                return Err(Refusal::BadFraming);
            }
            if end >= longest {
                return Err(self.too_large());
            }
            if length == 1 {
                self.line = 0;
                return Ok(Some(unread.split_to(end + 1)));
            }
            self.line = end + 1;
        }
        if unread.len() > longest { Err(self.too_large()) } else { Ok(None) }
    }

    fn too_large(&self) -> Refusal {
        if self.line == 0 { Refusal::TargetTooLong } else { Refusal::HeadTooLarge }
    }
}

/// Parses a whole head.
///
/// # Errors
/// [`Refusal::BadFraming`] if it is none, [`Refusal::HeadTooLarge`] for more than `most` fields, and
/// [`Refusal::MalformedTarget`] for a target that is none.
pub(super) fn parse(head: BytesMut, most: usize) -> Result<Head, Refusal> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let fields = &mut fields[..most.min(MOST_HEADERS)];
    let mut request = httparse::Request::new(&mut []);
    match ParserConfig::default().parse_request_with_uninit_headers(&mut request, &head, fields) {
        Ok(Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
        Ok(_) | Err(_) => return Err(Refusal::BadFraming),
    }
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return Err(Refusal::BadFraming);
    };
    let places = request.headers.iter().map(|field| Place::of(&head, field.name.as_bytes(), field.value));
    let places = places.collect::<Option<Vec<_>>>().ok_or(Refusal::BadFraming)?;
    // The line is: method, space, target.
    let (start, length) = (method.len() + 1, target.len());
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::BadFraming)?;
    let version = if request.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let headers = Fields::new(head, places);
    let uri = uri(headers.share(start..start + length))?;
    Ok(Head { method, uri, version, headers })
}

/// The target. A fragment would be dropped from it in silence, and the app judged by another than it reads.
fn uri(target: Bytes) -> Result<Uri, Refusal> {
    if memchr(b'#', &target).is_some() {
        return Err(Refusal::MalformedTarget);
    }
    if target.starts_with(b"/") {
        let path = PathAndQuery::from_maybe_shared(target).map_err(|_| Refusal::MalformedTarget)?;
        return Ok(Uri::from(path));
    }
    Uri::from_maybe_shared(target).map_err(|_| Refusal::MalformedTarget)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: usize = 500;

    /// What becomes of bytes that come in these pieces: heads and refusals, in words.
    fn heard(pieces: &[&[u8]]) -> Vec<String> {
        let (mut search, mut unread, mut all) = (Search::default(), BytesMut::new(), Vec::new());
        for piece in pieces {
            unread.extend_from_slice(piece);
            loop {
                let read = match search.take(&mut unread, LONGEST) {
                    Ok(None) => break,
                    Ok(Some(head)) => parse(head, 100),
                    Err(refusal) => Err(refusal),
                };
                match read {
                    Ok(Head { method, uri, version, headers }) => {
                        let fields: Vec<_> = headers.iter().collect();
                        all.push(format!("{method} {uri} {version:?} {fields:?}"));
                    }
                    Err(refusal) => {
                        all.push(format!("{refusal:?}"));
                        return all;
                    }
                }
            }
        }
        all
    }

    const WIRES: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\nPOST /x?y HTTP/1.0\r\nHost:\t a \r\nX:\r\nx: 1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n",
        b"\r\n\r\nget /a HTTP/1.1\r\nA: caf\xe9\r\n\r\n\r\nGET /2 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\nhost: a\r\n\r\n",
        b"\nGET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: 1\nx-user-id: admin\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n\n",
        b"GET /a#b HTTP/1.1\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.2\r\n\r\n",
        b"GET / http/1.1\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /  HTTP/1.1\r\n\r\n",
        b"GET\t/ HTTP/1.1\r\n\r\n",
        b" GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\n x: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: 1\r\n 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nx : 1\r\n\r\n",
        b"GET / HTTP/1.1\r\n: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nx\r\n\r\n",
        b"GET / HTTP/1.1\r\nx(: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: a\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: a\0b\r\n\r\n",
    ];

    #[test]
    fn the_same_is_heard_however_the_bytes_are_cut() {
        for wire in WIRES {
            let whole = heard(&[wire]);
            assert!(!whole.is_empty());
            let single: Vec<&[u8]> = wire.chunks(1).collect();
            assert_eq!(heard(&single), whole, "{}", String::from_utf8_lossy(wire));
            for first in 1..wire.len() {
                for second in [first + 1, first + 2, usize::midpoint(first, wire.len())] {
                    let second = second.min(wire.len());
                    let pieces = [&wire[..first], &wire[first..second], &wire[second..]];
                    assert_eq!(heard(&pieces), whole, "{} at {first}", String::from_utf8_lossy(wire));
                }
            }
        }
    }

    #[test]
    fn f_7_f_8_f_9_and_f_19_only_what_is_a_head_is_one() {
        for (number, wire) in WIRES.iter().enumerate() {
            let heard = heard(&[wire]);
            match number {
                0 => assert_eq!(heard.len(), 3, "{heard:?}"),
                1 => assert_eq!(heard.len(), 2, "{heard:?}"),
                6 => assert_eq!(heard, ["MalformedTarget"]),
                _ => assert_eq!(heard, ["BadFraming"], "{}", String::from_utf8_lossy(wire)),
            }
        }
    }

    #[test]
    fn t_6_what_is_too_long_is_refused_before_its_end_has_come() {
        let long = vec![b'x'; LONGEST + 1];
        let line = [b"GET / HTTP/1.1\r\n", &long[..]].concat();
        for (wire, refusal) in [(&long, "TargetTooLong"), (&line, "HeadTooLarge")] {
            assert_eq!(heard(&[wire]), [refusal]);
            assert_eq!(heard(&wire.chunks(1).collect::<Vec<_>>()), [refusal]);
        }
        let head = |field: usize| format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(field)).into_bytes();
        let most = LONGEST - head(0).len();
        assert_ne!(heard(&[&head(most)]), ["HeadTooLarge"]);
        for field in [most + 1, most + 2, most + 3, most + 100] {
            assert_eq!(heard(&[&head(field)]), ["HeadTooLarge"]);
        }
        let many = |count: usize| format!("G / HTTP/1.1\r\n{}\r\n", "a:\r\n".repeat(count)).into_bytes();
        assert_ne!(heard(&[&many(100)]), ["HeadTooLarge"]);
        assert_eq!(heard(&[&many(101)]), ["HeadTooLarge"]);
    }
}
