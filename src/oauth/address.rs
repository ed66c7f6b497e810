//! Which addresses may be connected to: those of the public internet, and others only where the operator said so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::config::provider::Reach;

/// Where an address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Public,
    Loopback,
    Private,
    /// Where no provider is and nothing may be asked: the cloud's own services, groups, reserved ranges.
    Never,
}

/// Whether `ip` may be connected to.
pub(super) fn allowed(reach: Reach, ip: IpAddr) -> bool {
    match place(ip) {
        Place::Public => true,
        Place::Loopback => matches!(reach, Reach::Loopback | Reach::Private),
        Place::Private => reach == Reach::Private,
        Place::Never => false,
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(first: [u16; 4], prefix: u8) -> Ipv6Net {
    let [a, b, c, d] = first;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

/// The IANA registry of special-purpose addresses (RFC 6890) and, among public and private ones, the
/// addresses at which clouds tell their machines secrets.
const NEVER_4: [Ipv4Net; 12] = [
    v4(0, 0, 0, 0, 8),
    v4(100, 100, 100, 200, 32),
    v4(168, 63, 129, 16, 32),
    v4(169, 254, 0, 0, 16),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
    v4(255, 255, 255, 255, 32),
];

/// Private use (RFC 1918), shared space (RFC 6598) and benchmarking (RFC 2544).
const PRIVATE_4: [Ipv4Net; 5] = [
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(172, 16, 0, 0, 12),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
];

/// Unique local addresses (RFC 4193).
const PRIVATE_6: Ipv6Net = v6([0xfc00, 0, 0, 0], 7);
/// The metadata service of AWS, among the unique local ones.
const NEVER_6: [Ipv6Net; 5] = [
    v6([0xfd00, 0x0ec2, 0, 0], 32),
    // Protocol assignments, Teredo among them (RFC 2928, RFC 4380).
    v6([0x2001, 0, 0, 0], 23),
    // Documentation (RFC 3849, RFC 9637).
    v6([0x2001, 0x0db8, 0, 0], 32),
    v6([0x3fff, 0, 0, 0], 20),
    // 6to4 (RFC 7526).
    v6([0x2002, 0, 0, 0], 16),
];
/// Everything that has been given out as global unicast (RFC 4291 §2.4).
const GLOBAL_6: Ipv6Net = v6([0x2000, 0, 0, 0], 3);
/// The prefix under which NAT64 reaches IPv4 (RFC 6052 §2.1).
const NAT64: Ipv6Net = v6([0x0064, 0xff9b, 0, 0], 96);

fn place(ip: IpAddr) -> Place {
    match ip {
        IpAddr::V4(ip) => place_4(ip),
        IpAddr::V6(ip) => place_6(ip),
    }
}

fn place_4(ip: Ipv4Addr) -> Place {
    if NEVER_4.iter().any(|net| net.contains(&ip)) {
        Place::Never
    } else if ip.is_loopback() {
        Place::Loopback
    } else if PRIVATE_4.iter().any(|net| net.contains(&ip)) {
        Place::Private
    } else {
        Place::Public
    }
}

fn place_6(ip: Ipv6Addr) -> Place {
    let [.., a, b, c, d] = ip.octets();
    if ip.to_ipv4_mapped().is_some() || NAT64.contains(&ip) {
        // The same machine under another spelling.
        place_4(Ipv4Addr::new(a, b, c, d))
    } else if ip.is_loopback() {
        Place::Loopback
    } else if NEVER_6.iter().any(|net| net.contains(&ip)) {
        Place::Never
    } else if PRIVATE_6.contains(&ip) {
        Place::Private
    } else if GLOBAL_6.contains(&ip) {
        Place::Public
    } else {
        Place::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_allowed_is_reached_in_every_spelling() {
        let public = ["8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "2606:4700::1", "2a00:1450::1"];
        let loopback = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"];
        let private = [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "fc00::1",
            "fd12::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
        ];
        let never = [
            "0.0.0.0",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.192",
            "::",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "::7f00:1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "fd00:ec2::254",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "64:ff9b:1::7f00:1",
            "100::1",
        ];
        let [nothing, here, all] = [Reach::Internet, Reach::Loopback, Reach::Private];
        let reaches = |list: &[&str], reach: Reach| -> Vec<bool> {
            list.iter().map(|ip| allowed(reach, ip.parse().expect("an address"))).collect()
        };
        let (yes, no) = (|list: &[&str]| vec![true; list.len()], |list: &[&str]| vec![false; list.len()]);
        for reach in [nothing, here, all] {
            assert_eq!(reaches(&public, reach), yes(&public));
            assert_eq!(reaches(&never, reach), no(&never));
        }
        assert_eq!(reaches(&loopback, nothing), no(&loopback));
        assert_eq!(reaches(&loopback, here), yes(&loopback));
        assert_eq!(reaches(&loopback, all), yes(&loopback));
        assert_eq!(reaches(&private, nothing), no(&private));
        assert_eq!(reaches(&private, here), no(&private));
        assert_eq!(reaches(&private, all), yes(&private));
    }
}
