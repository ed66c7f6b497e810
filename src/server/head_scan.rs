//! Looks at request heads as they come off the socket, before the HTTP parser does, for what that parser lets
//! pass or hides: lines that end with a bare LF, a fragment in the target, a length beside a transfer coding,
//! a repeated or odd length.
//!
//! **Invariant:** every request that is served has had its head looked at. Where the end of a message cannot
//! be found without a doubt, nothing behind it is looked at and therefore nothing behind it is served.

use memchr::memchr;

/// What the next bytes belong to.
#[derive(Debug)]
enum Expect {
    Head,
    /// This much of a body.
    Body(u64),
    /// A chunked body.
    Chunks(ChunkWalk),
    /// Nothing that is looked at any more.
    Nothing,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Sound heads that were completed.
    pub(super) heads: u32,
    /// A head that must be refused came behind them.
    pub(super) unsound: bool,
    /// It is larger than it may be.
    pub(super) too_large: bool,
    /// Bytes of a head were among them.
    pub(super) head_bytes: bool,
}

/// The state of one connection.
pub(super) struct HeadScan {
    expect: Expect,
    /// The beginning of a head that came in several pieces.
    partial: Vec<u8>,
    longest: usize,
}

/// What a sound head says of the body behind it.
struct Sound {
    length: usize,
    next: Expect,
}

impl HeadScan {
    /// For heads of at most `longest` bytes.
    pub(super) fn new(longest: usize) -> Self {
        Self { expect: Expect::Head, partial: Vec::new(), longest }
    }

    /// The connection carries something else than HTTP from here on.
    pub(super) fn stop(&mut self) {
        self.expect = Expect::Nothing;
    }

    /// Whether all that was read are whole messages.
    pub(super) fn between_messages(&self) -> bool {
        matches!(self.expect, Expect::Head) && self.partial.is_empty()
    }

    /// Takes what was read.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Found {
        let mut found = Found::default();
        while !bytes.is_empty() {
            match &mut self.expect {
                Expect::Nothing => break,
                Expect::Body(left) => {
                    let skipped = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= skipped as u64;
                    if *left == 0 {
                        self.expect = Expect::Head;
                    }
                    bytes = &bytes[skipped..];
                }
                Expect::Chunks(walk) => match walk.feed(bytes) {
                    Ok(None) => break,
                    Ok(Some(end)) => {
                        self.expect = Expect::Head;
                        bytes = &bytes[end..];
                    }
                    Err(Unsound) => {
                        found.unsound = true;
                        self.expect = Expect::Nothing;
                    }
                },
                Expect::Head => {
                    found.head_bytes = true;
                    bytes = self.head(bytes, &mut found);
                }
            }
        }
        found
    }

    /// Takes bytes of a head; returns what follows it.
    fn head<'b>(&mut self, bytes: &'b [u8], found: &mut Found) -> &'b [u8] {
        let before = self.partial.len();
        let checked = if before == 0 {
            // Empty lines before a request are to be ignored (RFC 9112 §2.2).
            if let Some(rest) = bytes.strip_prefix(b"\r\n") {
                return rest;
            }
            check(bytes)
        } else {
            if self.partial == b"\r"
                && let Some(rest) = bytes.strip_prefix(b"\n")
            {
                self.partial.clear();
                return rest;
            }
            self.partial.extend_from_slice(bytes);
            check(&self.partial)
        };
        match checked {
            Ok(Some(sound)) if sound.length <= self.longest => {
                found.heads += 1;
                self.expect = sound.next;
                self.partial = Vec::new();
                &bytes[sound.length - before..]
            }
            Ok(None) if before + bytes.len() <= self.longest => {
                if before == 0 {
                    self.partial.extend_from_slice(bytes);
                }
                &[]
            }
            Ok(_) => {
                found.too_large = true;
                self.expect = Expect::Nothing;
                &[]
            }
            Err(Unsound) => {
                found.unsound = true;
                self.expect = Expect::Nothing;
                &[]
            }
        }
    }
}

/// Walks through a chunked body to its end (RFC 9112 §7.1). Never more lenient than the parser that decodes
/// it, so that both find the same end or this one finds none.
#[derive(Debug, Default)]
struct ChunkWalk {
    at: At,
    /// Of the chunk, as far as it is read; then what is left of its data.
    size: u64,
    digits: u8,
}

/// Where in the coding.
#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
}

/// Most digits of a chunk size, so that it cannot overflow.
const MOST_DIGITS: u8 = 15;

impl ChunkWalk {
    /// How many of `bytes` belong to the body if it ends in them.
    fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, Unsound> {
        let mut next = 0;
        while let Some(&byte) = bytes.get(next) {
            if matches!(self.at, At::Data) {
                let rest = bytes.len() - next;
                let skipped = usize::try_from(self.size).unwrap_or(usize::MAX).min(rest);
                self.size -= skipped as u64;
                next += skipped;
                if self.size == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            next += 1;
            self.at = match (self.at, byte) {
                (At::Size, b'\r') if self.digits > 0 => At::SizeLf,
                (At::Size, b';') if self.digits > 0 => At::Extension,
                (At::Size, digit) if self.digits < MOST_DIGITS => {
                    let digit = char::from(digit).to_digit(16).ok_or(Unsound)?;
                    self.size = self.size * 16 + u64::from(digit);
                    self.digits += 1;
                    At::Size
                }
                (At::Extension, b'\r') => At::SizeLf,
                (At::SizeLf, b'\n') => {
                    self.digits = 0;
                    if self.size == 0 { At::TrailerStart } else { At::Data }
                }
                (At::DataCr, b'\r') => At::DataLf,
                (At::DataLf, b'\n') => At::Size,
                (At::TrailerStart, b'\r') => At::EndLf,
                (At::Trailer, b'\r') => At::TrailerLf,
                (At::TrailerLf, b'\n') => At::TrailerStart,
                (At::EndLf, b'\n') => return Ok(Some(next)),
                (At::Extension, byte) if byte != b'\n' => At::Extension,
                (At::TrailerStart | At::Trailer, byte) if byte != b'\n' => At::Trailer,
                _ => return Err(Unsound),
            };
        }
        Ok(None)
    }
}

struct Unsound;

/// Looks through a head line by line; `None` if its end is not there yet.
fn check(bytes: &[u8]) -> Result<Option<Sound>, Unsound> {
    let mut start = 0;
    let mut length: Option<u64> = None;
    let mut chunked = false;
    loop {
        let Some(at) = memchr(b'\n', &bytes[start..]) else { return Ok(None) };
        let line = &bytes[start..start + at];
        let Some(line) = line.strip_suffix(b"\r") else { return Err(Unsound) };
        if start == 0 {
            if memchr(b'#', line).is_some() {
                return Err(Unsound);
            }
        } else if line.is_empty() {
            let next = match (length, chunked) {
                (Some(_), true) => return Err(Unsound),
                (_, true) => Expect::Chunks(ChunkWalk::default()),
                (Some(length), _) if length > 0 => Expect::Body(length),
                _ => Expect::Head,
            };
            return Ok(Some(Sound { length: start + at + 1, next }));
        } else {
            match line[0] {
                b'c' | b'C' => {
                    if let Some(value) = value_of(line, b"content-length:") {
                        let value = digits(value).ok_or(Unsound)?;
                        if length.replace(value).is_some() {
                            return Err(Unsound);
                        }
                    }
                }
                b't' | b'T' => chunked |= value_of(line, b"transfer-encoding:").is_some(),
                _ => {}
            }
        }
        start += at + 1;
    }
}

fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(value)
}

/// A length as everybody reads it: digits without a sign or a leading zero.
fn digits(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let plain = value.iter().all(u8::is_ascii_digit) && (value.len() == 1 || !value.starts_with(b"0"));
    std::str::from_utf8(value).ok().filter(|_| plain).and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(pieces: &[&[u8]]) -> Found {
        let mut scan = HeadScan::new(1000);
        let mut all = Found::default();
        for piece in pieces {
            let found = scan.feed(piece);
            all.heads += found.heads;
            all.unsound |= found.unsound;
        }
        all
    }

    #[test]
    fn sound_heads_are_counted_wherever_the_reads_end() {
        let wire: &[u8] = b"\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\nPOST /x HTTP/1.1\r\ncontent-length: 5\r\n\r\nGET\n\nGET / HTTP/1.1\r\n\r\n";
        assert_eq!(scan(&[wire]).heads, 3);
        for cut in 2..wire.len() {
            let found = scan(&[&wire[..cut], &wire[cut..]]);
            assert!(found.heads == 3 && !found.unsound, "cut at {cut}: {found:?}");
        }
    }

    #[test]
    fn smug_2_and_f_8_unsound_heads_are_found() {
        for head in [
            &b"GET / HTTP/1.1\nhost: a\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nx: 1\nx-user-id: admin\r\n\r\n",
            b"GET /a#b HTTP/1.1\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-length: 5\r\n\r\n",
            b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n",
            b"POST / HTTP/1.1\r\ncontent-length: 05\r\n\r\n",
            b"POST / HTTP/1.1\r\ncontent-length: +5\r\n\r\n",
            b"POST / HTTP/1.1\r\ncontent-length: 5, 5\r\n\r\n",
            b"POST / HTTP/1.1\r\ncontent-length:\r\n\r\n",
            b"POST / HTTP/1.1\r\ncontent-length: 18446744073709551616\r\n\r\n",
        ] {
            assert!(scan(&[head]).unsound, "{}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn what_follows_a_chunked_body_is_looked_at_wherever_the_reads_end() {
        let wire: &[u8] = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n\
            5;a=\"b\"\r\nab\r\nc\r\n00\r\nx-sum: 1\r\n\r\nGET /a#b HTTP/1.1\r\n\r\n";
        for cut in 1..wire.len() {
            let found = scan(&[&wire[..cut], &wire[cut..]]);
            assert!(found.heads == 1 && found.unsound, "cut at {cut}: {found:?}");
        }
    }

    #[test]
    fn f_10_nothing_is_counted_behind_a_chunked_body_whose_end_is_in_doubt() {
        for body in [
            &b"5\nhello\r\n0\r\n\r\n"[..],
            b"5 \r\nhello\r\n0\r\n\r\n",
            b"5;a\nb\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello\r\n0\r\nx: 1\ny: 2\r\n\r\n",
            b"5\r\nhello\r\n0\r\n\n",
            b"\r\n0\r\n\r\n",
            b"0x0\r\n\r\n",
            b"10000000000000000\r\n0\r\n\r\n",
        ] {
            let head = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
            let found = scan(&[head, body, b"GET / HTTP/1.1\r\n\r\n"]);
            assert!(found.heads == 1 && found.unsound, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn an_empty_line_in_two_pieces_neither_counts_nor_hides_the_request_line() {
        let found = scan(&[b"\r", b"\n\r", b"\nGET /a#b HTTP/1.1\r\nhost: a\r\n\r\n"]);
        assert!(found.heads == 0 && found.unsound, "{found:?}");
    }
}
