//! The PROXY protocol, versions 1 and 2: the header before the first byte of a connection in which a proxy says who
//! connected to it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::config::Config;
use crate::http::client::Peer;

/// How a header of version 1 begins.
const TEXT: &[u8] = b"PROXY ";
/// How a header of version 2 begins.
const BINARY: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest header of version 1, in bytes, with its line end.
const LONGEST_TEXT: usize = 107;
/// The part of a header of version 2 whose length is known beforehand.
const FIXED: usize = 16;
/// Version 2 and the command by which a proxy speaks for itself.
const LOCAL: u8 = 0x20;
/// What of it is looked at: two addresses and two ports of IPv6. What follows is skipped.
const LOOKED_AT: usize = FIXED + 36;

/// Who stands before the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A client with this address.
    Client(SocketAddr),
    /// Nobody whom the proxy could name: it speaks for itself (a health check), or for somebody without an address.
    Nobody,
}

/// What came is no such header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Whose connection this is, once its header has been read. Without `listen.proxy_protocol`, whose it seems to be.
///
/// A peer that is not trusted may name nobody, and only one on this machine may begin with such a header at all: the
/// health check does.
///
/// # Errors
/// If the header is not there, is malformed, or names somebody and comes from a peer that is not trusted; and if the
/// connection ends.
pub(super) async fn peer(stream: &mut TcpStream, peer: Peer, config: &Config) -> io::Result<Peer> {
    if !config.listen.proxy_protocol {
        return Ok(peer);
    }
    let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    if !peer.trusted && !peer.ip().is_loopback() {
        return refused("a peer that is not in `proxies.trusted` cannot say who it speaks for");
    }
    match read(stream).await? {
        Source::Client(_) if !peer.trusted => {
            refused("a peer that is not in `proxies.trusted` said who it speaks for")
        }
        Source::Client(address) => Ok(Peer::new(address, &config.proxies.trusted)),
        Source::Nobody => Ok(peer.for_itself()),
    }
}

/// Reads the header, and nothing of what follows it.
async fn read(stream: &mut TcpStream) -> io::Result<Source> {
    let mut parser = Parser::default();
    let mut seen = [0; 512];
    loop {
        let count = stream.peek(&mut seen).await?;
        let Some(bytes) = seen.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let (taken, source) = parser.feed(bytes).map_err(|Malformed| {
            io::Error::new(io::ErrorKind::InvalidData, "no header of the PROXY protocol")
        })?;
        // They are there: this does not wait.
        let mut rest = taken;
        while rest > 0 {
            let most = seen.len().min(rest);
            rest -= stream.read(&mut seen[..most]).await?;
        }
        if let Some(source) = source {
            return Ok(source);
        }
    }
}

/// Takes a header piece by piece.
pub(super) struct Parser {
    /// What was taken and is looked at.
    kept: [u8; LONGEST_TEXT],
    /// How much was taken.
    taken: usize,
    /// How long the header is; `None` while that is not known.
    length: Option<usize>,
}

impl Default for Parser {
    fn default() -> Self {
        Self { kept: [0; LONGEST_TEXT], taken: 0, length: None }
    }
}

impl Parser {
    /// Takes what of `bytes` belongs to the header: how much that was, and whom it names once it is complete.
    ///
    /// # Errors
    /// [`Malformed`] as soon as it can be told.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(usize, Option<Source>), Malformed> {
        for (at, &byte) in bytes.iter().enumerate() {
            if let Some(source) = self.push(byte)? {
                return Ok((at + 1, Some(source)));
            }
        }
        Ok((bytes.len(), None))
    }

    fn push(&mut self, byte: u8) -> Result<Option<Source>, Malformed> {
        if let Some(slot) = self.kept.get_mut(self.taken) {
            *slot = byte;
        }
        self.taken += 1;
        let start = self.kept.get(..self.taken.min(BINARY.len())).ok_or(Malformed)?;
        if BINARY.starts_with(start) { self.binary() } else { self.text(byte) }
    }

    fn text(&self, last: u8) -> Result<Option<Source>, Malformed> {
        let line = self.kept.get(..self.taken).ok_or(Malformed)?;
        let common = line.len().min(TEXT.len());
        if line.get(..common) != TEXT.get(..common) {
            return Err(Malformed);
        }
        match last {
            b'\n' => line.strip_suffix(b"\r\n").and_then(client_in_text).ok_or(Malformed).map(Some),
            _ if line.len() == LONGEST_TEXT => Err(Malformed),
            _ => Ok(None),
        }
    }

    fn binary(&mut self) -> Result<Option<Source>, Malformed> {
        if self.taken == FIXED {
            self.length = Some(FIXED + length(&self.kept)?);
        }
        match self.length {
            Some(length) if self.taken == length => {
                let seen = self.kept.get(..length.min(LOOKED_AT)).ok_or(Malformed)?;
                client_in_binary(seen).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// What a line of version 1 says, without its end.
fn client_in_text(line: &[u8]) -> Option<Source> {
    let line = std::str::from_utf8(line).ok()?;
    let mut fields = line.split(' ').skip(1);
    let family = fields.next()?;
    // Whatever follows is to be ignored.
    if family == "UNKNOWN" {
        return Some(Source::Nobody);
    }
    let mut address = || match family {
        "TCP4" => fields.next()?.parse().ok().map(IpAddr::V4),
        "TCP6" => fields.next()?.parse().ok().map(IpAddr::V6),
        _ => None,
    };
    let (source, _) = (address()?, address()?);
    let (port, _) = (port(fields.next()?)?, port(fields.next()?)?);
    fields.next().is_none().then(|| Source::Client(SocketAddr::new(source.to_canonical(), port)))
}

fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// The length of what follows the fixed part of version 2.
fn length(head: &[u8]) -> Result<usize, Malformed> {
    match head.get(12..FIXED) {
        Some(&[LOCAL | 0x21, _, high, low]) => Ok(usize::from(u16::from_be_bytes([high, low]))),
        _ => Err(Malformed),
    }
}

/// What a header of version 2 says, of which at most [`LOOKED_AT`] bytes are shown.
fn client_in_binary(head: &[u8]) -> Result<Source, Malformed> {
    let (fixed, addresses) = head.split_at_checked(FIXED).ok_or(Malformed)?;
    if fixed.get(12) == Some(&LOCAL) {
        return Ok(Source::Nobody);
    }
    match (fixed.get(13), addresses) {
        // TCP over IPv4: two addresses, two ports.
        (Some(0x11), &[a, b, c, d, _, _, _, _, high, low, _, _, ..]) => {
            let port = u16::from_be_bytes([high, low]);
            Ok(Source::Client(SocketAddr::from((Ipv4Addr::new(a, b, c, d), port))))
        }
        // TCP over IPv6.
        (Some(0x21), addresses) => {
            let (source, rest) = addresses.split_first_chunk::<16>().ok_or(Malformed)?;
            let &[high, low, _, _] = rest.get(16..20).ok_or(Malformed)? else { return Err(Malformed) };
            let address = IpAddr::V6(Ipv6Addr::from(*source)).to_canonical();
            Ok(Source::Client(SocketAddr::new(address, u16::from_be_bytes([high, low]))))
        }
        // Not known to the proxy, or a socket in the file system.
        (Some(0x00 | 0x31), _) => Ok(Source::Nobody),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of these bytes, however they are split; all splits must agree.
    fn fed(bytes: &[u8]) -> Result<(usize, Option<Source>), Malformed> {
        let whole = Parser::default().feed(bytes);
        for cut in 0..=bytes.len().min(300) {
            let (first, second) = bytes.split_at(cut);
            let mut parser = Parser::default();
            let outcome = match parser.feed(first) {
                Ok((taken, None)) => parser.feed(second).map(|(more, source)| (taken + more, source)),
                done => done,
            };
            assert_eq!(outcome, whole, "cut at {cut}: {bytes:?}");
        }
        let mut parser = Parser::default();
        let mut outcome = Ok((0, None));
        for (at, byte) in bytes.iter().enumerate() {
            outcome = parser.feed(&[*byte]).map(|(taken, source)| (at + taken, source));
            if !matches!(outcome, Ok((_, None))) {
                break;
            }
        }
        assert_eq!(outcome, whole, "byte by byte: {bytes:?}");
        whole
    }

    fn client(address: &str) -> Source {
        Source::Client(address.parse().expect("an address"))
    }

    fn version_2(command: u8, family: u8, addresses: &[u8], more: usize) -> Vec<u8> {
        let mut header = BINARY.to_vec();
        let length = u16::try_from(addresses.len() + more).expect("it fits");
        header.extend([command, family]);
        header.extend(length.to_be_bytes());
        header.extend(addresses);
        header.extend(vec![b'\n'; more]);
        header
    }

    const V4: &[u8] = &[192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0, 80];

    fn v6(source: &str) -> Vec<u8> {
        let mut bytes = source.parse::<Ipv6Addr>().expect("an address").octets().to_vec();
        bytes.extend([0; 16]);
        bytes.extend([0x12, 0x67, 1, 0xbb]);
        bytes
    }

    #[test]
    fn version_1_names_a_client_and_leaves_what_follows() {
        for (line, named) in [
            ("PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n", client("192.0.2.1:4711")),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", client("255.255.255.255:65535")),
            ("PROXY TCP6 2001:db8::1 ::1 4711 80\r\n", client("[2001:db8::1]:4711")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 0 0\r\n", client("192.0.2.1:0")),
            ("PROXY UNKNOWN\r\n", Source::Nobody),
            ("PROXY UNKNOWN ffff:f...f:ffff anything at all\r\n", Source::Nobody),
        ] {
            assert_eq!(fed(line.as_bytes()), Ok((line.len(), Some(named))), "{line}");
            let more = format!("{line}GET / HTTP/1.1\r\n\r\n");
            assert_eq!(fed(more.as_bytes()), Ok((line.len(), Some(named))), "{line}");
            for short in 0..line.len() {
                assert_eq!(fed(&line.as_bytes()[..short]), Ok((short, None)), "{short} of {line}");
            }
        }
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
        assert_eq!(fed(longest.as_bytes()), Ok((107, Some(Source::Nobody))));
    }

    #[test]
    fn what_is_not_exactly_version_1_is_refused() {
        for bad in [
            "proxy TCP4 192.0.2.1 10.0.0.1 4711 80\r\n",
            "PROXY  TCP4 192.0.2.1 10.0.0.1 4711 80\r\n",
            "PROXY TCP4  192.0.2.1 10.0.0.1 4711 80\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 4711 80 \r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 4711 80 1\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 4711\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 04711 80\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 65536 80\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 -1 80\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 +1 80\r\n",
            "PROXY TCP4 192.0.2.01 10.0.0.1 4711 80\r\n",
            "PROXY TCP4 192.0.2 10.0.0.1 4711 80\r\n",
            "PROXY TCP4 192.0.2.1 nowhere 4711 80\r\n",
            "PROXY TCP4 ::1 ::1 4711 80\r\n",
            "PROXY TCP6 192.0.2.1 10.0.0.1 4711 80\r\n",
            "PROXY TCP6 fe80::1%lo ::1 4711 80\r\n",
            "PROXY UDP4 192.0.2.1 10.0.0.1 4711 80\r\n",
            "PROXY \r\n",
            "PROXY\r\n",
            "PROXY TCP4 192.0.2.1\0 10.0.0.1 4711 80\r\n",
            "PROXY\tTCP4 192.0.2.1 10.0.0.1 4711 80\r\n",
            "GET / HTTP/1.1\r\n",
            " PROXY UNKNOWN\r\n",
            "\u{16}\u{3}\u{1}",
            "P\r\n",
            "\n",
        ] {
            assert_eq!(fed(bad.as_bytes()), Err(Malformed), "{bad:?}");
        }
        let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        assert_eq!(fed(too_long.as_bytes()), Err(Malformed));
        assert_eq!(fed("PROXY UNKNOWN x".repeat(20).as_bytes()), Err(Malformed), "it never ends");
    }

    #[test]
    fn version_2_names_a_client_and_skips_what_it_need_not_know() {
        for more in [0, 1, 3, 200, 4000] {
            for (header, named) in [
                (version_2(0x21, 0x11, V4, more), client("192.0.2.1:4711")),
                (version_2(0x21, 0x21, &v6("2001:db8::1"), more), client("[2001:db8::1]:4711")),
                (version_2(0x21, 0x21, &v6("::ffff:192.0.2.1"), more), client("192.0.2.1:4711")),
                (version_2(0x21, 0x00, &[], more), Source::Nobody),
                (version_2(0x21, 0x31, &[b'/'; 216], more), Source::Nobody),
                (version_2(0x20, 0x00, &[], more), Source::Nobody),
                (version_2(0x20, 0x11, V4, more), Source::Nobody),
                (version_2(0x20, 0xff, V4, more), Source::Nobody),
            ] {
                assert_eq!(fed(&header), Ok((header.len(), Some(named))), "{header:?}");
                let mut followed = header.clone();
                followed.extend(b"\r\n\r\n\0\r\nQUIT\n");
                assert_eq!(fed(&followed), Ok((header.len(), Some(named))));
                let short = &header[..header.len() - 1];
                assert_eq!(fed(short), Ok((short.len(), None)));
            }
        }
        let largest = version_2(0x21, 0x11, V4, 65535 - V4.len());
        assert_eq!(Parser::default().feed(&largest), Ok((largest.len(), Some(client("192.0.2.1:4711")))));
    }

    #[test]
    fn what_is_not_exactly_version_2_is_refused() {
        for bad in [
            version_2(0x11, 0x11, V4, 0),
            version_2(0x31, 0x11, V4, 0),
            version_2(0x22, 0x11, V4, 0),
            version_2(0x2f, 0x11, V4, 0),
            version_2(0x21, 0x12, V4, 0),
            version_2(0x21, 0x10, V4, 0),
            version_2(0x21, 0x41, V4, 0),
            version_2(0x21, 0x01, V4, 0),
            version_2(0x21, 0x11, &V4[..11], 0),
            version_2(0x21, 0x11, &[], 0),
            version_2(0x21, 0x21, &v6("::1")[..35], 0),
            version_2(0x21, 0x21, V4, 0),
            b"\r\n\r\n\0\r\nQUIT\r".to_vec(),
            b"\r\n\r\nGET".to_vec(),
        ] {
            assert_eq!(fed(&bad), Err(Malformed), "{bad:?}");
        }
    }
}
