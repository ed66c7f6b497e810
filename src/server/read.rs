//! From a parsed request to a [`crate::http::visit::Visit`], or to the refusal of one that could be
//! understood in two ways.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use crate::config::Public;
use crate::http::path::Path;
use crate::refusal::Refusal;

/// Most names in `Connection`.
const MOST_NOMINATED: usize = 32;

/// What a sound request asks for besides its fields.
pub(crate) struct Request {
    /// The path and query.
    pub(crate) path: Path,
    /// The protocol it wants to go on with.
    pub(crate) upgrade: Option<HeaderValue>,
}

/// Checks everything that has to do with the message rather than with what is asked, and parses the path.
///
/// # Errors
/// The refusal that the connection is closed with.
pub(crate) fn read(parts: &mut Parts, public: &Public, longest_target: usize) -> Result<Request, Refusal> {
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Err(Refusal::MethodNotAllowed);
    }
    let fields = Fields::of(&parts.headers)?;
    host(fields.host.ok_or(Refusal::BadHost)?, &parts.uri, public)?;
    fields.check_framing()?;
    let upgrade = fields.upgrade(parts.version)?;
    let target =
        std::mem::take(&mut parts.uri).into_parts().path_and_query.ok_or(Refusal::MalformedTarget)?;
    if target.as_str().len() > longest_target {
        return Err(Refusal::TargetTooLong);
    }
    Ok(Request { path: Path::parse(target)?, upgrade })
}

/// The fields that say how the message is to be read, found in one pass.
#[derive(Default)]
struct Fields<'h> {
    host: Option<&'h HeaderValue>,
    length: Option<&'h HeaderValue>,
    coding: Option<&'h HeaderValue>,
    protocol: Option<&'h HeaderValue>,
    authorization: Option<&'h HeaderValue>,
    /// `Connection` names `upgrade`.
    asks_to_upgrade: bool,
    /// Commas in `Connection`.
    nominated: usize,
    /// More than one protocol is offered.
    several_protocols: bool,
}

impl<'h> Fields<'h> {
    /// Fails with what is repeated, and with an expectation that is not met (RFC 9110 §10.1.1).
    fn of(headers: &'h HeaderMap) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for (name, value) in headers {
            match name.as_str() {
                "host" if fields.host.replace(value).is_some() => return Err(Refusal::BadHost),
                "content-length" => fields.length = Some(value),
                "transfer-encoding" if fields.coding.replace(value).is_some() => {
                    return Err(Refusal::NotImplemented);
                }
                "expect" if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
                    return Err(Refusal::ExpectationFailed);
                }
                // Two readers could believe different ones.
                "authorization" if fields.authorization.replace(value).is_some() => {
                    return Err(Refusal::RepeatedAuthorization);
                }
                "upgrade" => fields.several_protocols = fields.protocol.replace(value).is_some(),
                "connection" => {
                    fields.nominated += memchr::memchr_iter(b',', value.as_bytes()).count();
                    fields.asks_to_upgrade |= names_upgrade(value);
                }
                _ => {}
            }
        }
        // Each name is held against every field.
        if fields.nominated > MOST_NOMINATED { Err(Refusal::HeadTooLarge) } else { Ok(fields) }
    }

    /// One way to know where the body ends (RFC 9112 §6).
    fn check_framing(&self) -> Result<(), Refusal> {
        if let Some(coding) = self.coding {
            if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::NotImplemented);
            }
            if self.length.is_some() {
                return Err(Refusal::BadFraming);
            }
        }
        Ok(())
    }

    /// The protocol in `Upgrade`, only where it can be meant: in HTTP/1.1 (RFC 9110 §7.8), named in
    /// `Connection`, one protocol, without a body, and not HTTP/2, whose requests would pass here unseen.
    fn upgrade(&self, version: Version) -> Result<Option<HeaderValue>, Refusal> {
        let Some(protocol) = self.protocol else { return Ok(None) };
        let meant = version == Version::HTTP_11 && self.asks_to_upgrade && !self.several_protocols;
        if !meant || !may_be_spoken(protocol) {
            return Ok(None);
        }
        if self.coding.is_some() || self.length.is_some_and(|length| length != "0") {
            return Err(Refusal::BadFraming);
        }
        Ok(Some(protocol.clone()))
    }
}

fn names_upgrade(connection: &HeaderValue) -> bool {
    connection
        .as_bytes()
        .split(|&b| b == b',')
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// Our `Host`, and no other authority in the target (RFC 9112 §3.2).
fn host(host: &HeaderValue, uri: &Uri, public: &Public) -> Result<(), Refusal> {
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
    let same = host.eq_ignore_ascii_case(&public.authority) || with_default_port(host, public);
    let both_loopback = is_loopback(name) && host_name(&public.authority).is_some_and(is_loopback);
    if same || both_loopback { Ok(()) } else { Err(Refusal::Misdirected) }
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

fn with_default_port(host: &str, public: &Public) -> bool {
    let port = if public.https { ":443" } else { ":80" };
    host.strip_suffix(port).is_some_and(|name| name.eq_ignore_ascii_case(&public.authority))
}

fn is_loopback(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn may_be_spoken(protocol: &HeaderValue) -> bool {
    let bytes = protocol.as_bytes();
    let token = bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(b));
    let http = bytes.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"http"))
        || bytes.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"h2"));
    token && !http
}

#[cfg(test)]
mod tests {
    use super::*;

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
