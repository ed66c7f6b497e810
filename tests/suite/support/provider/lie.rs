//! How the test's identity provider lies: what it does otherwise than its documentation says.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value};

use super::keys::Alg;

/// What can be asked of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/.well-known/openid-configuration`
    Discovery,
    /// Where the browser is sent.
    Authorize,
    /// Codes for tokens.
    Token,
    /// Who the token belongs to.
    Profile,
    /// GitHub's list of addresses.
    Emails,
    /// The public keys.
    Keys,
    /// Where the browser signs out.
    EndSession,
}

/// One thing that is done otherwise. Several can be told at once; they apply in their order.
#[derive(Clone, Debug)]
pub(crate) enum Lie {
    /// The ID token (or logout token) has this claim, whatever it was.
    Claim(&'static str, Value),
    /// It lacks this claim.
    NoClaim(&'static str),
    /// It has this claim once more, before all others.
    Repeats(&'static str, Value),
    /// Its header has this member, whatever it was.
    Header(&'static str, Value),
    /// Its header lacks this member.
    NoHeader(&'static str),
    /// It is signed in this way, and says so.
    Alg(Alg),
    /// It is signed with a key that is not published, under the id of one that is.
    ForeignKey,
    /// Its key has an id that nobody published, another one each time.
    UnknownKey,
    /// A claim was changed after it was signed.
    Tampered,
    /// This stands where it should be.
    Text(String),
    /// The token response has this member.
    Token(&'static str, Value),
    /// The token response lacks this member.
    NoToken(&'static str),
    /// The profile has this member.
    Profile(&'static str, Value),
    /// The profile lacks this member.
    NoProfile(&'static str),
    /// The discovery document has this member.
    Discovery(&'static str, Value),
    /// The discovery document lacks this member.
    NoDiscovery(&'static str),
    /// The callback has this parameter instead.
    Callback(&'static str, String),
    /// The callback has this parameter once more.
    CallbackAlso(&'static str, String),
    /// The callback lacks this parameter.
    NoCallback(&'static str),
    /// The person is sent back with an error and a description (RFC 6749 §4.1.2.1).
    Denies(&'static str, &'static str),
    /// This endpoint answers so.
    Answers(Endpoint, Answer),
}

/// An answer that is none.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Go elsewhere, with this status.
    Redirect(u16, String),
    /// This status, type and body.
    With(u16, &'static str, String),
    /// So many bytes of JSON, said in advance.
    Giant(usize),
    /// A body that goes on until the reader has had enough.
    Endless,
    /// A few kilobytes that become so many bytes when they are unpacked.
    GzipBomb(usize),
    /// The head, and then a byte now and then.
    Drip,
    /// Nothing at all, for as long as the reader waits.
    Silence,
    /// The connection ends.
    Hangup,
}

impl Answer {
    /// Writes it, as far as the reader takes it.
    pub(super) fn write(&self, stream: &mut TcpStream) {
        let head = |status: u16, fields: &str| {
            format!("HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\n{fields}\r\n")
        };
        let _ = match self {
            Self::Redirect(status, to) => stream
                .write_all(head(*status, &format!("Location: {to}\r\nContent-Length: 0\r\n")).as_bytes()),
            Self::With(status, kind, body) => write!(
                stream,
                "HTTP/1.1 {status} Whatever\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
            Self::Giant(size) => {
                let body = format!("{{\"padding\":\"{}\"}}", "x".repeat(size.saturating_sub(14)));
                let head = head(200, &format!("Content-Length: {}\r\n", body.len()));
                stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()))
            }
            Self::Endless => {
                let _ = stream.write_all(head(200, "Connection: close\r\n").as_bytes());
                let _ = stream.write_all(b"{\"padding\":\"");
                while stream.write_all(&[b'x'; 16_384]).is_ok() {}
                Ok(())
            }
            Self::GzipBomb(size) => {
                let body = bomb(*size);
                let fields = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", body.len());
                stream.write_all(head(200, &fields).as_bytes()).and_then(|()| stream.write_all(&body))
            }
            Self::Drip => {
                let _ = stream.write_all(head(200, "Content-Length: 100000\r\n").as_bytes());
                while stream.write_all(b" ").is_ok() {
                    thread::sleep(Duration::from_millis(100));
                }
                Ok(())
            }
            Self::Silence => return,
            Self::Hangup => stream.shutdown(Shutdown::Both),
        };
    }
}

/// Sets or removes what the lies say of the members of one object.
pub(super) fn apply(
    lies: &[Lie],
    members: &mut Map<String, Value>,
    of: impl Fn(&Lie) -> Option<(&'static str, Option<Value>)>,
) {
    for (name, value) in lies.iter().filter_map(of) {
        match value {
            Some(value) => drop(members.insert(name.to_owned(), value)),
            None => drop(members.remove(name)),
        }
    }
}

/// A gzip member (RFC 1952 §2.3) of `size` spaces: one literal, and then nothing but the longest matches of
/// the fixed codes (RFC 1951 §3.2.6). Whoever unpacks it notices a wrong checksum, but only at the end.
fn bomb(size: usize) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut bits, mut count) = (0_u32, 0);
    // Huffman codes go in from their highest bit, everything else from its lowest.
    let mut put = |bit: u32| {
        bits |= bit << count;
        count += 1;
        if count == 8 {
            out.push(u8::try_from(bits).expect("eight bits"));
            (bits, count) = (0, 0);
        }
    };
    let mut code = |value: u32, length: u32| (0..length).rev().for_each(|at| put(value >> at & 1));
    // Last block, fixed codes; a space.
    code(0b110, 3);
    code(0x30 + u32::from(b' '), 8);
    for _ in 0..size / 258 {
        // Length 258, distance 1.
        code(0b1100_0101, 8);
        code(0, 5);
    }
    code(0, 7);
    code(0, 7);
    out.extend_from_slice(&[0; 8]);
    out
}
