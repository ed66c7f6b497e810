//! The head of a request, read once: found in what came, held to the letter of the grammar, parsed.
//!
//! **Invariant:** whether a head is refused, and why, does not depend on how it was cut into pieces on its way.

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{Method, Uri, Version};

use crate::http::fields::Fields;
use crate::http::grammar::{self, Unlike};
use crate::http::head::{Search, Unfit, skip_empty_lines};
use crate::refusal::Refusal;
use crate::server::read::Head;

/// How large a head may be.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// In bytes.
    pub(super) size: usize,
    /// In fields.
    pub(super) fields: usize,
}

/// Takes the next head off what was read, if all of it is there. It is written where it is used, because what is as
/// large as this is not moved about for nothing.
///
/// # Errors
/// [`Refusal::BadFraming`] for what is no head, [`Refusal::TargetTooLong`] and [`Refusal::HeadTooLarge`] for more than
/// its bounds allow, and [`Refusal::MalformedTarget`] for a target that is none.
pub(super) fn next(
    search: &mut Search,
    unread: &mut BytesMut,
    bounds: Bounds,
    to: &mut Head,
) -> Result<bool, Refusal> {
    if search.at_first_line() {
        skip_empty_lines(unread);
    }
    if unread.is_empty() {
        return Ok(false);
    }
    // Most heads come whole, and are then read once.
    if search.may_be_whole() {
        match parse(unread, bounds, to) {
            Ok(()) => return Ok(true),
            // It was a head.
            Err(Refusal::MalformedTarget) => return Err(Refusal::MalformedTarget),
            // Whatever is wrong is found again below.
            Err(_) => {}
        }
    }
    match search.take(unread, bounds.size) {
        Ok(Some(mut head)) => parse(&mut head, bounds, to).map(|()| true),
        Ok(None) => Ok(false),
        Err(Unfit::Line) => Err(Refusal::BadFraming),
        Err(Unfit::FirstLine) => Err(Refusal::TargetTooLong),
        Err(Unfit::Size) => Err(Refusal::HeadTooLarge),
    }
}

/// Parses the head at the beginning of what was read, and takes it off.
fn parse(unread: &mut BytesMut, bounds: Bounds, to: &mut Head) -> Result<(), Refusal> {
    let line = grammar::request_line(unread).ok_or(Refusal::BadFraming)?;
    let (places, length) = match grammar::fields(unread, line.end, bounds.fields) {
        Ok((places, length)) if length <= bounds.size => (places, length),
        Err(Unlike::Fields) => return Err(Refusal::HeadTooLarge),
        Ok(_) | Err(Unlike::Rule) => return Err(Refusal::BadFraming),
    };
    to.method = Method::from_bytes(&unread[line.method]).map_err(|_| Refusal::BadFraming)?;
    to.version = if line.modern { Version::HTTP_11 } else { Version::HTTP_10 };
    to.headers = Fields::new(unread.split_to(length), places);
    to.uri = uri(to.headers.share(line.target))?;
    Ok(())
}

/// The target. A fragment would be dropped from it in silence, and the app judged by another than it reads.
fn uri(target: Bytes) -> Result<Uri, Refusal> {
    let length = target.len();
    if target.starts_with(b"/") {
        let path = PathAndQuery::from_maybe_shared(target).map_err(|_| Refusal::MalformedTarget)?;
        return if path.as_str().len() == length { Ok(path.into()) } else { Err(Refusal::MalformedTarget) };
    }
    if target.contains(&b'#') {
        return Err(Refusal::MalformedTarget);
    }
    Uri::from_maybe_shared(target).map_err(|_| Refusal::MalformedTarget)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: usize = 500;
    const BOUNDS: Bounds = Bounds { size: LONGEST, fields: 100 };

    /// What becomes of bytes that come in these pieces: heads and refusals, in words.
    fn heard(pieces: &[&[u8]]) -> Vec<String> {
        let (mut search, mut unread, mut all) = (Search::default(), BytesMut::new(), Vec::new());
        for piece in pieces {
            unread.extend_from_slice(piece);
            loop {
                let mut head = Head::default();
                match next(&mut search, &mut unread, BOUNDS, &mut head) {
                    Ok(false) => break,
                    Ok(true) => {
                        search = Search::default();
                        let Head { method, uri, version, headers } = head;
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
