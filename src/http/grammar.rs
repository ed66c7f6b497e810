//! The grammar of a message's head (RFC 9112 §2 to §5), to the letter: each line ends with CRLF, no field is folded, and
//! no white space stands where only some readers pass over it. What is not in it is no head.
//!
//! Every byte is looked at once, and names are put into lower case on the way.

use std::ops::Range;

use crate::http::fields::{LARGEST, Places};

/// Why what came is no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlike {
    /// It breaks a rule, or ends too early.
    Rule,
    /// It has more fields than are taken.
    Fields,
}

/// The first line of a request.
pub struct RequestLine {
    /// Where the method is.
    pub method: Range<usize>,
    /// Where the target is: visible, but perhaps not ASCII.
    pub target: Range<usize>,
    /// HTTP/1.1, not HTTP/1.0.
    pub modern: bool,
    /// Where the fields begin.
    pub end: usize,
}

/// The first line of an answer.
pub struct StatusLine {
    /// Three digits.
    pub status: u16,
    /// HTTP/1.1, not HTTP/1.0.
    pub modern: bool,
    /// Where the fields begin.
    pub end: usize,
}

/// What each byte of a token is in lower case (RFC 9110 §5.6.2); 0 for bytes that no token has.
const TOKEN: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = b'!';
    while byte < 0x7f {
        let delimiter = matches!(
            byte,
            b'"' | b'('
                | b')'
                | b','
                | b'/'
                | b':'
                | b';'
                | b'<'
                | b'='
                | b'>'
                | b'?'
                | b'@'
                | b'['
                | b'\\'
                | b']'
                | b'{'
                | b'}'
        );
        if !delimiter {
            table[byte as usize] = byte.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// Reads the first line of a request: method, target and version, with one space between them (RFC 9112 §3).
pub fn request_line(head: &[u8]) -> Option<RequestLine> {
    let method = head.iter().position(|&byte| TOKEN[usize::from(byte)] == 0).filter(|&length| length > 0)?;
    let start = method + 1;
    let target = start + reach::<b'!'>(head.get(start..)?);
    let modern = match head.get(target..target + 11)? {
        b" HTTP/1.1\r\n" => true,
        b" HTTP/1.0\r\n" => false,
        _ => return None,
    };
    (head[method] == b' ' && target > start).then_some(RequestLine {
        method: 0..method,
        target: start..target,
        modern,
        end: target + 11,
    })
}

/// Reads the first line of an answer: version, status, and a reason that nobody needs (RFC 9112 §4).
pub fn status_line(head: &[u8]) -> Option<StatusLine> {
    let (line, rest) = head.split_at_checked(12)?;
    let modern = match &line[..9] {
        b"HTTP/1.1 " => true,
        b"HTTP/1.0 " => false,
        _ => return None,
    };
    let digits = &line[9..];
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    // Some leave out the space when they have no reason to give.
    let reason = if rest.starts_with(b" ") { text(rest) } else { 0 };
    rest[reason..].starts_with(b"\r\n").then_some(StatusLine { status, modern, end: 12 + reason + 2 })
}

/// Finds the fields that begin at `at`, `most` of them, and the place behind the empty line that ends them; puts their
/// names into lower case (RFC 9112 §5).
///
/// # Errors
/// If they are none.
pub fn fields(head: &mut [u8], mut at: usize, most: usize) -> Result<(Places, usize), Unlike> {
    let mut places = Places::default();
    if head.len() > LARGEST {
        return Err(Unlike::Rule);
    }
    loop {
        let line = head.get_mut(at..).ok_or(Unlike::Rule)?;
        if line.starts_with(b"\r\n") {
            return Ok((places, at + 2));
        }
        if places.len() == most {
            return Err(Unlike::Fields);
        }
        let Line { name, value, plain, end } = Line::read(line).ok_or(Unlike::Rule)?;
        places.add(at, &line[..name], value, plain);
        at += end;
    }
}

/// The line of one field.
struct Line {
    /// How long its name is.
    name: usize,
    /// Where its value is, without the white space around it.
    value: Range<usize>,
    /// It has the one form in which we write them: a colon and a space between name and value, and nothing else.
    plain: bool,
    /// Where the next one begins.
    end: usize,
}

impl Line {
    /// Reads the first of these lines.
    fn read(lines: &mut [u8]) -> Option<Self> {
        let name = lower(lines)?;
        let mut start = name + 1;
        while is_space(*lines.get(start)?) {
            start += 1;
        }
        let end = start + text(&lines[start..]);
        if !lines[end..].starts_with(b"\r\n") {
            return None;
        }
        let mut last = end;
        while last > start && is_space(lines[last - 1]) {
            last -= 1;
        }
        let plain = start == name + 2 && lines[name + 1] == b' ' && last == end;
        Some(Self { name, value: start..last, plain, end: end + 2 })
    }
}

/// Puts the token at the beginning into lower case; how long it is, if a colon follows.
fn lower(line: &mut [u8]) -> Option<usize> {
    let mut length = 0;
    loop {
        length += line.get_mut(length..)?.first_chunk_mut().map_or(0, lower_letters);
        let byte = line.get_mut(length)?;
        match TOKEN[usize::from(*byte)] {
            0 => return (*byte == b':' && length > 0).then_some(length),
            lower => *byte = lower,
        }
        length += 1;
    }
}

/// Puts the letters and hyphens at the beginning, of which most names are, into lower case: one more bit makes a letter
/// small and leaves a hyphen as it is. How many they are.
fn lower_letters(eight: &mut [u8; 8]) -> usize {
    let word = u64::from_le_bytes(*eight);
    let small = word | all(0x20);
    let low = small & all(0x7f);
    let letters = (low + all(0x80 - b'a')) & !(low + all(0x7f - b'z'));
    let others = ((word & all(0x7f)) ^ all(b'-')) + all(0x7f);
    let bad = !((letters | !others) & !word) & all(0x80);
    let count = bad.trailing_zeros() / 8;
    let of_them = u64::MAX.checked_shr(64 - count * 8).unwrap_or(0);
    *eight = (small & of_them | word & !of_them).to_le_bytes();
    count as usize
}

/// Eight times the same.
const fn all(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// How many bytes may stand in a value (RFC 9110 §5.5).
fn text(bytes: &[u8]) -> usize {
    let mut length = reach::<b' '>(bytes);
    while bytes.get(length) == Some(&b'\t') {
        length += 1;
        length += reach::<b' '>(&bytes[length..]);
    }
    length
}

/// How many bytes come before the first that is below `LEAST`, or DEL.
fn reach<const LEAST: u8>(bytes: &[u8]) -> usize {
    let mut length = 0;
    let good = |byte: u8| byte >= LEAST && byte != 0x7f;
    // Sixteen at a time as long as all are good.
    while let Some(sixteen) = bytes[length..].first_chunk::<16>()
        && sixteen.iter().fold(true, |all, &byte| all & good(byte))
    {
        length += 16;
    }
    // Eight at a time: to a byte without its top bit is added what sets this bit if the byte is large enough.
    while let Some(eight) = bytes[length..].first_chunk() {
        let word = u64::from_le_bytes(*eight);
        let low = word & all(0x7f);
        let good = (low + all(0x80 - LEAST)) & !(low + all(1)) | word;
        let bad = !good & all(0x80);
        if bad != 0 {
            return length + bad.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    length + bytes[length..].iter().take_while(|byte| good(**byte)).count()
}

#[cfg(test)]
mod tests;
