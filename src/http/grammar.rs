//! The grammar of a message's head (RFC 9112 §2 to §5), to the letter: each line ends with CRLF, no field is folded, and
//! no white space stands where only some readers pass over it. What is not in it is no head.
//!
//! Every byte is looked at once, and names are put into lower case on the way.

use std::ops::Range;

use wide::u8x16;

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
    if head.len() > LARGEST {
        return Err(Unlike::Rule);
    }
    let mut places = Places::new();
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
        let (start, usual) = match lines.get(name + 1..)? {
            [b' ', b'!'..=0xff, ..] => (name + 2, true),
            rest => (name + 1 + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count(), false),
        };
        let end = start + text(&lines[start..]);
        if !lines[end..].starts_with(b"\r\n") {
            return None;
        }
        // Nothing below a space but a tab is in it.
        let last = start + lines[start..end].iter().rposition(|&byte| byte > b' ').map_or(0, |last| last + 1);
        let plain = usual && last == end;
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
fn lower_letters(sixteen: &mut [u8; 16]) -> usize {
    let bytes = u8x16::new(*sixteen);
    let small = bytes | u8x16::splat(0x20);
    let from_a = small - u8x16::splat(b'a');
    let letters = from_a.min(u8x16::splat(25)).simd_eq(from_a);
    let count = first(!(letters | bytes.simd_eq(u8x16::splat(b'-'))));
    let [places, ..] = count.to_le_bytes();
    *sixteen = PLACES.simd_lt(u8x16::splat(places)).bitselect(small, bytes).to_array();
    count
}

/// The numbers of sixteen bytes.
const PLACES: u8x16 = u8x16::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

/// Which of sixteen bytes is the first that is marked; 16 if none is.
fn first(marked: u8x16) -> usize {
    (marked.to_bitmask() | 1 << 16).trailing_zeros() as usize
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

/// How many bytes come before the first that is below `LEAST`, which is not 0, or DEL.
fn reach<const LEAST: u8>(bytes: &[u8]) -> usize {
    let of_sixteen = |sixteen: [u8; 16]| {
        let bytes = u8x16::new(sixteen);
        first(bytes.min(u8x16::splat(LEAST - 1)).simd_eq(bytes) | bytes.simd_eq(u8x16::splat(0x7f)))
    };
    let (whole, rest) = bytes.as_chunks();
    for (before, sixteen) in whole.iter().enumerate() {
        let good = of_sixteen(*sixteen);
        if good < 16 {
            return 16 * before + good;
        }
    }
    // What is behind the end is not good.
    let mut last = [0; 16];
    last[..rest.len()].copy_from_slice(rest);
    16 * whole.len() + of_sixteen(last)
}

#[cfg(test)]
mod tests;
