//! `Forwarded` (RFC 7239), read from its end: what a client wrote at its beginning cannot change what the proxies
//! behind it said.

use std::net::IpAddr;

use super::{is_port, node};

/// The elements of one line, the last one first; `None` for what is no element, after which nothing is believed.
pub(super) struct Elements<'l> {
    /// What is left of the line; `None` when its first element is gone.
    rest: Option<&'l [u8]>,
}

impl<'l> Elements<'l> {
    pub(super) fn of(line: &'l [u8]) -> Self {
        Self { rest: Some(line) }
    }
}

impl<'l> Iterator for Elements<'l> {
    type Item = Option<&'l str>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let mut quoted = false;
        let comma = rest.iter().enumerate().rev().find(|&(at, &byte)| {
            quoted ^= byte == b'"' && !escaped(rest, at);
            byte == b',' && !quoted
        });
        let element = match comma {
            Some((at, _)) => {
                self.rest = rest.get(..at);
                rest.get(at + 1..)
            }
            None => Some(rest),
        };
        Some(element.and_then(|element| std::str::from_utf8(element).ok()))
    }
}

/// Whether the byte at this place is the second half of a quoted pair (RFC 9110 §5.6.4).
fn escaped(line: &[u8], at: usize) -> bool {
    line.iter().take(at).rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

/// The address in `for`; `None` where the element says none: `unknown`, an obfuscated identifier, anything that
/// is not of the grammar.
pub(super) fn address(element: &str) -> Option<IpAddr> {
    let mut rest = element.trim_matches([' ', '\t']);
    let mut client = None;
    loop {
        let (name, value, after) = pair(rest)?;
        if name.eq_ignore_ascii_case("for") && client.replace(value).is_some() {
            return None;
        }
        if after.is_empty() {
            break;
        }
        rest = after.strip_prefix(';')?;
    }
    node(&client?, is_node_port)
}

/// `token "=" ( token / quoted-string )`, and what follows it.
fn pair(text: &str) -> Option<(&str, String, &str)> {
    let (name, rest) = text.split_once('=')?;
    if name.is_empty() || !name.bytes().all(is_token) {
        return None;
    }
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.bytes().position(|b| !is_token(b)).unwrap_or(rest.len());
        let (value, after) = rest.split_at(end);
        return (!value.is_empty()).then(|| (name, value.to_owned(), after));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((name, value, quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

/// A character of a token (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A port, or an obfuscated one (RFC 7239 §6).
fn is_node_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(hidden) => {
            !hidden.is_empty() && hidden.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        }
        None => is_port(text),
    }
}
