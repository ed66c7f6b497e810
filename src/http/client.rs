//! The client's address: the peer's, or what trusted proxies say of who stood before them.

use std::net::IpAddr;

use http::HeaderName;
use ipnet::IpNet;

use crate::http::fields::{Fields, Value};

/// `X-Forwarded-For`.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whether `peer` may tell us who stood before it.
pub fn trusted(peer: IpAddr, proxies: &[IpNet]) -> bool {
    proxies.iter().any(|net| net.contains(&peer))
}

/// The address of the client: from a trusted peer, the chain is walked from the right over trusted addresses;
/// the first other one is the client. An entry that is not an address ends the walk at the last known one.
pub fn address(peer: IpAddr, headers: &Fields, proxies: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if proxies.is_empty() || !trusted(peer, proxies) {
        return peer;
    }
    let mut client = peer;
    let lines: Vec<&[u8]> = headers.get_all(&X_FORWARDED_FOR).map(Value::as_bytes).collect();
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(|&b| b == b',')) {
        let Some(address) = parse(entry) else { break };
        client = address;
        if !trusted(address, proxies) {
            break;
        }
    }
    client
}

/// One entry: an address, perhaps with a port, IPv6 perhaps in brackets.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let bare = entry.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(entry);
    bare.parse::<IpAddr>()
        .ok()
        .or_else(|| entry.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn client(peer: &str, chain: &[&str], proxies: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in chain {
            let line = HeaderValue::from_bytes(line.as_bytes()).expect("a header value");
            headers.append(X_FORWARDED_FOR, line);
        }
        let proxies: Vec<IpNet> = proxies.iter().map(|p| p.parse().expect("a network")).collect();
        address(peer.parse().expect("an address"), &Fields::from(&headers), &proxies).to_string()
    }

    #[test]
    fn rl_3_an_untrusted_peer_cannot_name_another_client() {
        assert_eq!(client("9.9.9.9", &["1.1.1.1"], &[]), "9.9.9.9");
        assert_eq!(client("9.9.9.9", &["1.1.1.1"], &["10.0.0.0/8"]), "9.9.9.9");
    }

    #[test]
    fn rl_4_the_chain_is_walked_from_the_right_over_trusted_addresses_only() {
        let trusted = &["10.0.0.0/8"];
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.2"], trusted), "1.1.1.1");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "1.1.1.1"], trusted), "1.1.1.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1, unknown"], trusted), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "é, 1.1.1.1"], trusted), "1.1.1.1");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "é"], trusted), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:443"], trusted), "2001:db8::1");
        assert_eq!(client("::ffff:10.0.0.1", &["1.1.1.1:80"], trusted), "1.1.1.1");
    }
}
