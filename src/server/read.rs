//! From a parsed head to a [`crate::http::visit::Visit`], or to the refusal of one that could be understood in two
//! ways.

use http::request::Parts;
use http::{HeaderValue, Method, Uri, Version};

use crate::config::host::bare;
use crate::config::{Config, Public};
use crate::http::fields::{Fields, Value};
use crate::http::path::Path;
use crate::http::wire::Length;
use crate::refusal::Refusal;

/// Most names in `Connection`.
const MOST_NOMINATED: usize = 32;

/// A head, whichever HTTP it came by.
#[derive(Default)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: Fields,
}

impl From<Parts> for Head {
    fn from(parts: Parts) -> Self {
        let headers = Fields::from(&parts.headers);
        Self { method: parts.method, uri: parts.uri, version: parts.version, headers }
    }
}

/// What a sound request asks for besides its fields.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Request {
    /// The path and query.
    pub(crate) path: Path,
    /// The protocol it wants to go on with.
    pub(crate) upgrade: Option<HeaderValue>,
    /// How its body ends.
    pub(crate) length: Length,
    /// The client waits to hear that the body is wanted (RFC 9110 §10.1.1).
    pub(crate) waits: bool,
    /// The connection is to go on after the answer (RFC 9112 §9.3).
    pub(crate) persists: bool,
    /// Trailer fields are welcome in the answer (RFC 9110 §10.1.4).
    pub(crate) takes_trailers: bool,
    /// It is for another host, which is as good as refused: a proxy may ask under any name.
    pub(crate) misdirected: bool,
}

/// Checks everything that has to do with the message rather than with what is asked, and parses the path.
///
/// # Errors
/// The refusal that the connection is closed with.
pub(crate) fn read(head: &mut Head, config: &Config) -> Result<Request, Refusal> {
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(Refusal::MethodNotAllowed);
    }
    let facts = Facts::of(&head.headers)?;
    let misdirected = match host(facts.host.ok_or(Refusal::BadHost)?, &head.uri, &config.public) {
        Err(Refusal::Misdirected) => true,
        outcome => outcome.map(|()| false)?,
    };
    let length = facts.length(head.version)?;
    let upgrade = facts.upgrade(head.version, &config.upstream.upgrades)?;
    let modern = head.version == Version::HTTP_11;
    let (waits, persists) = (modern && facts.expects, facts.persists(modern));
    let takes_trailers = facts.takes_trailers;
    let path = match target(std::mem::take(&mut head.uri), config) {
        Ok(path) => path,
        Err((refusal, uri)) => {
            head.uri = uri;
            return Err(refusal);
        }
    };
    Ok(Request { path, upgrade, length, waits, persists, takes_trailers, misdirected })
}

/// The path and query of the target, or the target again.
fn target(uri: Uri, config: &Config) -> Result<Path, (Refusal, Uri)> {
    let mut parts = uri.into_parts();
    let Some(target) = parts.path_and_query.take() else {
        let bare = parts.authority.map_or_else(Uri::default, Uri::from);
        return Err((Refusal::MalformedTarget, bare));
    };
    if target.as_str().len() > config.limits.target {
        return Err((Refusal::TargetTooLong, target.into()));
    }
    Path::read(target).map_err(|(refusal, target)| (refusal, target.into()))
}

/// The fields that say how the message is to be read, found in one pass.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is what some field says")]
struct Facts<'h> {
    host: Option<Value<'h>>,
    length: Option<u64>,
    coding: Option<Value<'h>>,
    protocol: Option<Value<'h>>,
    authorization: Option<Value<'h>>,
    /// `Expect` is there.
    expects: bool,
    /// `Connection` names `upgrade`.
    asks_to_upgrade: bool,
    /// `Connection` names `close`.
    asks_to_close: bool,
    /// `Connection` names `keep-alive`.
    asks_to_persist: bool,
    /// `TE` names `trailers`.
    takes_trailers: bool,
    /// Options in `Connection`.
    nominated: usize,
    /// More than one protocol is offered.
    several_protocols: bool,
}

impl<'h> Facts<'h> {
    /// Fails with what is repeated, and with an expectation that is not met (RFC 9110 §10.1.1).
    fn of(headers: &'h Fields) -> Result<Self, Refusal> {
        let mut facts = Self::default();
        for (name, value) in headers.iter() {
            match name {
                b"host" if facts.host.replace(value).is_some() => return Err(Refusal::BadHost),
                b"content-length" => {
                    let length = digits(value.as_bytes()).ok_or(Refusal::BadFraming)?;
                    if facts.length.replace(length).is_some() {
                        return Err(Refusal::BadFraming);
                    }
                }
                b"transfer-encoding" if facts.coding.replace(value).is_some() => {
                    return Err(Refusal::NotImplemented);
                }
                b"expect" => {
                    if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
                        return Err(Refusal::ExpectationFailed);
                    }
                    facts.expects = true;
                }
                // Two readers could believe different ones.
                b"authorization" if facts.authorization.replace(value).is_some() => {
                    return Err(Refusal::RepeatedAuthorization);
                }
                b"upgrade" => facts.several_protocols = facts.protocol.replace(value).is_some(),
                b"connection" => facts.nominate(value.as_bytes()),
                b"te" => facts.takes_trailers |= names(value.as_bytes(), b"trailers"),
                _ => {}
            }
        }
        // Each name is held against every field.
        if facts.nominated > MOST_NOMINATED { Err(Refusal::HeadTooLarge) } else { Ok(facts) }
    }

    fn nominate(&mut self, options: &[u8]) {
        // What most say.
        if options == b"keep-alive" {
            self.nominated += 1;
            self.asks_to_persist = true;
            return;
        }
        for option in options.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            self.nominated += 1;
            self.asks_to_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
            self.asks_to_close |= option.eq_ignore_ascii_case(b"close");
            self.asks_to_persist |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// The one way to know where the body ends (RFC 9112 §6).
    fn length(&self, version: Version) -> Result<Length, Refusal> {
        let Some(coding) = self.coding else { return Ok(Length::Exactly(self.length.unwrap_or(0))) };
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::NotImplemented);
        }
        // HTTP/1.0 has no chunks (RFC 9112 §6.1).
        if self.length.is_some() || version == Version::HTTP_10 {
            return Err(Refusal::BadFraming);
        }
        Ok(Length::Chunked)
    }

    fn persists(&self, modern: bool) -> bool {
        !self.asks_to_close && (modern || self.asks_to_persist)
    }

    /// The protocol in `Upgrade`, only where it can be meant: in HTTP/1.1 (RFC 9110 §7.8), named in
    /// `Connection`, one of those that are `allowed`, without a body.
    fn upgrade(&self, version: Version, allowed: &[String]) -> Result<Option<HeaderValue>, Refusal> {
        let Some(protocol) = self.protocol else { return Ok(None) };
        let meant = version == Version::HTTP_11 && self.asks_to_upgrade && !self.several_protocols;
        if !meant || !allowed.iter().any(|name| protocol.as_bytes().eq_ignore_ascii_case(name.as_bytes())) {
            return Ok(None);
        }
        if self.coding.is_some() || self.length.is_some_and(|length| length != 0) {
            return Err(Refusal::BadFraming);
        }
        Ok(HeaderValue::from_bytes(protocol.as_bytes()).ok())
    }
}

/// Whether a list has this member.
fn names(list: &[u8], member: &[u8]) -> bool {
    list.split(|&b| b == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(member))
}

/// A length as everybody reads it: digits without a sign or a leading zero.
fn digits(value: &[u8]) -> Option<u64> {
    let plain = value.iter().all(u8::is_ascii_digit) && (value.len() == 1 || !value.starts_with(b"0"));
    std::str::from_utf8(value).ok().filter(|_| plain).and_then(|text| text.parse().ok())
}

/// Our `Host`, and no other authority in the target (RFC 9112 §3.2).
fn host(host: Value<'_>, uri: &Uri, public: &Public) -> Result<(), Refusal> {
    if let Some(authority) = uri.authority()
        && (uri.scheme_str() != Some(if public.https { "https" } else { "http" })
            || !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()))
    {
        return Err(Refusal::MalformedTarget);
    }
    if host == public.authority.as_str() {
        return Ok(());
    }
    let host = host.to_str().map_err(|_| Refusal::BadHost)?;
    let name = host_name(host).ok_or(Refusal::BadHost)?;
    let both_loopback = is_loopback(name) && host_name(&public.authority).is_some_and(is_loopback);
    if public.is_host(host) || both_loopback { Ok(()) } else { Err(Refusal::Misdirected) }
}

/// The name in `host[:port]`; `None` if it is not one (RFC 9110 §7.2).
pub(super) fn host_name(host: &str) -> Option<&str> {
    let (name, port) = match host.rfind(':') {
        Some(at) if !host.ends_with(']') => (&host[..at], Some(&host[at + 1..])),
        _ => (host, None),
    };
    let port_is_good =
        port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0) && !port.starts_with('+'));
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let name_is_good = match literal {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        }
    };
    (port_is_good && name_is_good).then_some(name)
}

fn is_loopback(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || bare(name).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f_2_f_4_a_length_has_one_spelling() {
        for bad in ["", "05", "00", "+5", "-0", "5, 5", "5 5", "0x5", "18446744073709551616"] {
            assert_eq!(digits(bad.as_bytes()), None, "{bad}");
        }
        for (good, length) in [("0", 0), ("5", 5), ("18446744073709551615", u64::MAX)] {
            assert_eq!(digits(good.as_bytes()), Some(length));
        }
    }

    #[test]
    fn smug_5_hosts_that_are_none_are_found() {
        for bad in
            ["", "a/b", "u@a", "a, b", "a:0", "a:99999", "a:+1", "a:b", "[::1", "::1", "[x]", "a b", "é"]
        {
            assert!(host_name(bad).is_none(), "{bad}");
        }
        for good in ["a", "a.b:80", "[::1]", "[::1]:8080", "127.0.0.1:1"] {
            assert!(host_name(good).is_some(), "{good}");
        }
    }
}
