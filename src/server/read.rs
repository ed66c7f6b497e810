//! From a parsed request to a [`Visit`], or to the refusal of one that could be understood in two ways.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use crate::config::Public;
use crate::http::path::Path;
use crate::refusal::Refusal;

/// Checks everything that has to do with the message rather than with what is asked, and parses the path.
///
/// # Errors
/// The refusal that the connection is closed with.
pub(crate) fn read(parts: &mut Parts, public: &Public, longest_target: usize) -> Result<Path, Refusal> {
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Err(Refusal::MethodNotAllowed);
    }
    host(&parts.headers, &parts.uri, public)?;
    framing(&parts.headers)?;
    upgrade(&mut parts.headers, parts.version)?;
    let target =
        std::mem::take(&mut parts.uri).into_parts().path_and_query.ok_or(Refusal::MalformedTarget)?;
    if target.as_str().len() > longest_target {
        return Err(Refusal::TargetTooLong);
    }
    Path::parse(target)
}

/// Exactly one `Host`, ours, and no other authority in the target (RFC 9112 §3.2).
fn host(headers: &HeaderMap, uri: &Uri, public: &Public) -> Result<(), Refusal> {
    let mut lines = headers.get_all(HOST).iter();
    let (Some(host), None) = (lines.next(), lines.next()) else { return Err(Refusal::BadHost) };
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
fn host_name(host: &str) -> Option<&str> {
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

/// One way to know where the body ends (RFC 9112 §6), and no expectation but the one that is met (RFC 9110 §10.1.1).
fn framing(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => {}
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            if headers.contains_key(CONTENT_LENGTH) {
                return Err(Refusal::BadFraming);
            }
        }
        _ => return Err(Refusal::NotImplemented),
    }
    match headers.get(EXPECT) {
        Some(expectation) if !expectation.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Err(Refusal::ExpectationFailed)
        }
        _ => Ok(()),
    }
}

/// Keeps `Upgrade` only where it can be meant: in HTTP/1.1 (RFC 9110 §7.8), named in `Connection`, to one protocol,
/// without a body, and not to HTTP/2, whose requests would pass here unseen.
fn upgrade(headers: &mut HeaderMap, version: Version) -> Result<(), Refusal> {
    let Some(protocol) = headers.get(UPGRADE) else { return Ok(()) };
    let asked = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|option| option.trim().eq_ignore_ascii_case("upgrade")));
    let one = headers.get_all(UPGRADE).iter().count() == 1;
    if version != Version::HTTP_11 || !asked || !one || !may_be_spoken(protocol) {
        headers.remove(UPGRADE);
        return Ok(());
    }
    let length = headers.get(CONTENT_LENGTH);
    if headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != "0") {
        return Err(Refusal::BadFraming);
    }
    Ok(())
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
