//! Who is at the other end of a connection, and the client behind it: what trusted proxies say, and nobody else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::HeaderName;
use ipnet::IpNet;

use crate::config::proxies::{Chain, Proxies};
use crate::http::fields::{Fields, Value};

mod forwarded;

/// `X-Forwarded-For`.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The other end of a connection, or who a proxy's header at its beginning says is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; an IPv4 address is never written as IPv6.
    pub address: SocketAddr,
    /// Whether it may say who stood before it.
    pub trusted: bool,
    came: Came,
}

/// What decides whether a peer is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// Its address.
    FromAfar,
    /// How it came: that says it for good.
    Otherwise,
}

impl Peer {
    /// Who has this address.
    pub fn new(address: SocketAddr, proxies: &[IpNet]) -> Self {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Self { address, trusted: proxies.iter().any(|net| net.contains(&address.ip())), came: Came::FromAfar }
    }

    /// The same where these proxies are trusted: asked when they have changed while it is connected.
    #[must_use]
    pub fn under(self, proxies: &[IpNet]) -> Self {
        match self.came {
            Came::FromAfar => Self::new(self.address, proxies),
            Came::Otherwise => self,
        }
    }

    /// A process of this machine that may open our socket in the file system. Only a proxy has a reason to, and the
    /// mode of the socket says who can, so it is trusted.
    pub fn local() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), trusted: true, came: Came::Otherwise }
    }

    /// The same, but nobody it would speak for.
    #[must_use]
    pub fn for_itself(self) -> Self {
        Self { trusted: false, came: Came::Otherwise, ..self }
    }

    /// Its address without the port.
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }
}

/// The address of the client: from a trusted peer, the chain is walked from the right over trusted addresses;
/// the first other one is the client. An entry that is not an address ends the walk at the last known one.
pub fn address(peer: Peer, headers: &Fields, proxies: &Proxies) -> IpAddr {
    if !peer.trusted {
        return peer.ip();
    }
    match proxies.chain {
        Chain::XForwardedFor => {
            let lines = values(headers, &X_FORWARDED_FOR);
            let entries = lines.iter().rev().flat_map(|line| line.rsplit(|&b| b == b','));
            walk(peer.ip(), entries.map(entry), &proxies.trusted)
        }
        Chain::Forwarded => {
            let lines = values(headers, &http::header::FORWARDED);
            let elements = lines.iter().rev().flat_map(|line| forwarded::Elements::of(line));
            walk(peer.ip(), elements.map(|element| element.and_then(forwarded::address)), &proxies.trusted)
        }
    }
}

fn values<'h>(headers: &'h Fields, name: &HeaderName) -> Vec<&'h [u8]> {
    headers.get_all(name).map(Value::as_bytes).collect()
}

fn walk(peer: IpAddr, chain: impl Iterator<Item = Option<IpAddr>>, proxies: &[IpNet]) -> IpAddr {
    let mut client = peer;
    for address in chain {
        let Some(address) = address else { break };
        client = address;
        if !proxies.iter().any(|net| net.contains(&address)) {
            break;
        }
    }
    client
}

/// One entry of `X-Forwarded-For`: an address, perhaps with a port, which for IPv6 asks for brackets.
fn entry(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    text.parse().ok().or_else(|| node(text, is_port)).map(|address: IpAddr| address.to_canonical())
}

/// `IPv4` or `[IPv6]`, perhaps with `:` and a port behind it (RFC 7239 §6).
fn node(text: &str, port: fn(&str) -> bool) -> Option<IpAddr> {
    let (address, after) = if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        (IpAddr::V6(address.parse().ok()?), after)
    } else {
        let (address, after) = text.split_at(text.find(':').unwrap_or(text.len()));
        (IpAddr::V4(address.parse().ok()?), after)
    };
    let fine = after.is_empty() || after.strip_prefix(':').is_some_and(port);
    fine.then(|| address.to_canonical())
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn proxies(chain: Chain, trusted: &[&str]) -> Proxies {
        let trusted = trusted.iter().map(|net| net.parse().expect("a network")).collect();
        Proxies { trusted, chain }
    }

    fn found(peer: &str, (name, lines): (HeaderName, &[&str]), proxies: &Proxies) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            let line = HeaderValue::from_bytes(line.as_bytes()).expect("a header value");
            headers.append(name.clone(), line);
        }
        let peer = SocketAddr::new(peer.parse().expect("an address"), 4711);
        address(Peer::new(peer, &proxies.trusted), &Fields::from(&headers), proxies).to_string()
    }

    fn x_forwarded_for(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        found(peer, (X_FORWARDED_FOR, lines), &proxies(Chain::XForwardedFor, trusted))
    }

    fn forwarded(lines: &[&str]) -> String {
        found("10.0.0.1", (http::header::FORWARDED, lines), &proxies(Chain::Forwarded, &["10.0.0.0/8"]))
    }

    #[test]
    fn rl_3_i_06_an_untrusted_peer_cannot_name_another_client() {
        assert_eq!(x_forwarded_for("9.9.9.9", &["1.1.1.1"], &[]), "9.9.9.9");
        assert_eq!(x_forwarded_for("9.9.9.9", &["1.1.1.1"], &["10.0.0.0/8"]), "9.9.9.9");
        let nobody = proxies(Chain::Forwarded, &[]);
        assert_eq!(found("9.9.9.9", (http::header::FORWARDED, &["for=1.1.1.1"]), &nobody), "9.9.9.9");
        let peer =
            Peer::new("10.0.0.1:1".parse().expect("an address"), &["10.0.0.0/8".parse().expect("a net")]);
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_static("1.1.1.1"));
        let headers = Fields::from(&headers);
        let speaks_for_itself = peer.for_itself();
        let trusting = proxies(Chain::XForwardedFor, &["10.0.0.0/8"]);
        assert_eq!(address(speaks_for_itself, &headers, &trusting).to_string(), "10.0.0.1");
        assert_eq!(address(peer, &headers, &trusting).to_string(), "1.1.1.1");
    }

    #[test]
    fn i_06_only_the_header_that_was_agreed_on_is_believed() {
        let trusted = &["10.0.0.0/8"];
        let (x, rfc) = (X_FORWARDED_FOR, http::header::FORWARDED);
        let (of_x, of_rfc) = (proxies(Chain::XForwardedFor, trusted), proxies(Chain::Forwarded, trusted));
        assert_eq!(found("10.0.0.1", (rfc, &["for=1.1.1.1"]), &of_x), "10.0.0.1");
        assert_eq!(found("10.0.0.1", (x, &["1.1.1.1"]), &of_rfc), "10.0.0.1");
    }

    #[test]
    fn i_06_other_proxies_are_others_whose_address_it_is() {
        let nets = |text: &str| [text.parse::<IpNet>().expect("a network")];
        let (ours, others) = (nets("10.0.0.0/8"), nets("192.0.2.0/24"));
        let peer = Peer::new("10.0.0.1:1".parse().expect("an address"), &ours);
        assert!(peer.trusted && !peer.under(&others).trusted && peer.under(&others).under(&ours).trusted);
        assert!(!peer.for_itself().under(&ours).trusted, "it speaks for nobody");
        assert!(Peer::local().under(&[]).trusted, "the mode of the socket says who can be there");
    }

    #[test]
    fn rl_4_i_06_the_chain_is_walked_from_the_right_over_trusted_addresses_only() {
        let trusted = &["10.0.0.0/8"];
        assert_eq!(x_forwarded_for("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.2"], trusted), "1.1.1.1");
        assert_eq!(x_forwarded_for("10.0.0.1", &["6.6.6.6", "1.1.1.1"], trusted), "1.1.1.1");
        assert_eq!(x_forwarded_for("10.0.0.1", &["1.1.1.1, unknown"], trusted), "10.0.0.1");
        assert_eq!(x_forwarded_for("10.0.0.1", &["6.6.6.6", "é, 1.1.1.1"], trusted), "1.1.1.1");
        assert_eq!(x_forwarded_for("10.0.0.1", &["6.6.6.6", "é"], trusted), "10.0.0.1");
        assert_eq!(x_forwarded_for("10.0.0.1", &["[2001:db8::1]:443"], trusted), "2001:db8::1");
        assert_eq!(x_forwarded_for("::ffff:10.0.0.1", &["1.1.1.1:80"], trusted), "1.1.1.1");
        assert_eq!(x_forwarded_for("10.0.0.1", &["::ffff:1.1.1.1"], trusted), "1.1.1.1");
        let many = vec!["6.6.6.6"; 999].join(",");
        assert_eq!(x_forwarded_for("10.0.0.1", &[&format!("{many},10.0.0.7")], trusted), "6.6.6.6");
        let own = vec!["10.0.0.9"; 1000].join(", ");
        assert_eq!(x_forwarded_for("10.0.0.1", &[&own], trusted), "10.0.0.9");
        assert_eq!(x_forwarded_for("10.0.0.1", &[&format!("1.1.1.1, {own}")], trusted), "1.1.1.1");
    }

    #[test]
    fn i_06_what_is_no_address_is_none() {
        for bad in [
            "",
            " ",
            "1.1.1",
            "1.1.1.1.1",
            "01.1.1.1",
            "256.1.1.1",
            "1.1.1.1:",
            "1.1.1.1:x",
            "1.1.1.1:99999",
            "1.1.1.1:+80",
            "1.1.1.1 x",
            "[1.1.1.1]",
            "[::1",
            "::1]",
            "[::1]80",
            "[::1]:",
            "[::1]:-1",
            "[::1%lo]",
            "::1%lo",
            "fe80::1%25eth0",
            "unknown",
            "_hidden",
            "\"1.1.1.1\"",
            "for=1.1.1.1",
            "0x7f.1",
            "1.1.1.1/8",
            "localhost",
            "\u{0}",
            "1.1.1.1\u{a0}",
        ] {
            assert_eq!(entry(bad.as_bytes()), None, "{bad:?}");
        }
        for good in ["1.1.1.1", " 1.1.1.1\t", "1.1.1.1:65535", "::1", "[::1]", "[::1]:1", "2001:db8::1"] {
            assert!(entry(good.as_bytes()).is_some(), "{good:?}");
        }
    }

    #[test]
    fn i_06_forwarded_is_read_as_rfc_7239_says() {
        assert_eq!(forwarded(&["for=6.6.6.6, for=1.1.1.1;proto=https;by=10.0.0.1"]), "1.1.1.1");
        assert_eq!(forwarded(&["For=\"[2001:db8:cafe::17]:4711\""]), "2001:db8:cafe::17");
        assert_eq!(forwarded(&["proto=http;for=\"1.1.1.1:80\";by=_gate"]), "1.1.1.1");
        assert_eq!(forwarded(&["for=1.1.1.1;host=\"a,b\\\"c;d\", for=10.0.0.2"]), "1.1.1.1");
        assert_eq!(forwarded(&["for=6.6.6.6", "for=\"1.1.1.1:_obf.us-ca_ted\"", "for=10.3.3.3"]), "1.1.1.1");
        assert_eq!(forwarded(&["for=\"\\1.1.1.1\""]), "1.1.1.1");
        let many = vec!["for=6.6.6.6"; 1000].join(", ");
        assert_eq!(forwarded(&[&many, "for=1.1.1.1, for=10.0.0.4"]), "1.1.1.1");
    }

    #[test]
    fn i_06_what_forwarded_does_not_say_is_not_guessed() {
        for last in [
            "for=unknown",
            "for=_hidden",
            "for=\"_SEVKISEK\"",
            "by=1.1.1.1",
            "proto=https",
            "for=1.1.1.1;for=2.2.2.2",
            "for=1.1.1.1:80",
            "for=[::1]",
            "for=\"::1\"",
            "for=\"[::1\"",
            "for=",
            "for=\"\"",
            "for =1.1.1.1",
            "for= 1.1.1.1",
            "for=1.1.1.1; proto=http",
            "for=1.1.1.1 x",
            "for=\"1.1.1.1\"x",
            "for=\"1.1.1.1",
            "for=1.1.1.1\"",
            "=1.1.1.1",
            "1.1.1.1",
            "for=1.1.1.1;;=",
            "é=1.1.1.1",
            "for=\"1.1.1.1:123456\"",
            "for=\"1.1.1.1:_\"",
            "for=\"1.1.1.1:_a b\"",
            "\"",
            "",
            ",",
        ] {
            assert_eq!(forwarded(&["for=6.6.6.6", last]), "10.0.0.1", "{last:?}");
        }
    }

    #[test]
    fn i_06_what_a_client_wrote_first_cannot_swallow_what_a_proxy_added() {
        for start in [
            "for=\"",
            "for=\"x\\",
            "\"",
            "for=\"\\\"",
            "for=\"1.1.1.1",
            ";;;",
            "\\",
            "\"\"\"",
            "for=x;host=\"a",
        ] {
            for added in ["for=1.1.1.1", "for=\"1.1.1.1:80\"", "proto=https;for=\"1.1.1.1\""] {
                assert_eq!(forwarded(&[&format!("{start}, {added}")]), "1.1.1.1", "{start} {added}");
            }
        }
    }
}
