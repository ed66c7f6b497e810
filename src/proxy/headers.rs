//! The head of the request to the app, written in one pass that skips what must not pass and ends with the identity.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::config::proxies::Chain;
use crate::config::{Config, Identity};
use crate::gate::Pass;
use crate::http::client::X_FORWARDED_FOR;
use crate::http::cookie;
use crate::http::fields::{Fields, put};
use crate::http::visit::Visit;
use crate::proxy::http2::fields;
use crate::proxy::reserved::{Reserved, never_late};
use crate::visitor::Session;

/// How the body of a message is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none, and nothing says so.
    None,
    /// This many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// What all request heads have in common, prepared once.
pub struct HeadWriter {
    reserved: Reserved,
    identity: Identity,
    /// `x-forwarded-proto`, `-host` and `-port` lines.
    forwarded: Vec<u8>,
    chain: Chain,
}

impl HeadWriter {
    /// Prepares what does not depend on the request.
    pub fn new(config: &Config) -> Self {
        let scheme = if config.public.https { "https" } else { "http" };
        let authority = &config.public.authority;
        let port = match authority.rsplit_once(':') {
            Some((_, port)) if port.bytes().all(|b| b.is_ascii_digit()) => port,
            _ if config.public.https => "443",
            _ => "80",
        };
        let forwarded = format!(
            "x-forwarded-proto: {scheme}\r\nx-forwarded-host: {authority}\r\nx-forwarded-port: {port}\r\n"
        );
        Self {
            reserved: Reserved::new(&config.identity),
            identity: config.identity.clone(),
            forwarded: forwarded.into_bytes(),
            chain: config.proxies.chain,
        }
    }

    /// Appends the whole request head to `out`. The identity comes last: nothing that the client sent can
    /// take it away again.
    pub fn write(&self, out: &mut Vec<u8>, visit: &Visit, pass: &Pass, framing: Framing) {
        out.extend_from_slice(visit.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(visit.path.target().as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        if let Some(host) = visit.headers.get(&HOST) {
            put(out, b"host", host.as_bytes());
        }
        self.pass_on(out, visit);
        if let Some(upgrade) = &visit.upgrade {
            put(out, b"connection", b"upgrade");
            put(out, b"upgrade", upgrade.as_bytes());
        } else if wants_trailers(&visit.headers) {
            put(out, b"connection", b"te");
            put(out, b"te", b"trailers");
        }
        self.add(out, visit);
        match framing {
            Framing::None => {}
            Framing::Length(length) => put(out, b"content-length", length.to_string().as_bytes()),
            Framing::Chunked => put(out, b"transfer-encoding", b"chunked"),
        }
        self.identify(out, pass);
        out.extend_from_slice(b"\r\n");
    }

    /// The same fields for HTTP/2, which has `:authority` in place of `Host` and frames the body itself, and how many
    /// bytes they are as text. `None` if there is one that HTTP does not allow.
    pub(super) fn fields(
        &self,
        visit: &Visit,
        pass: &Pass,
        length: Option<u64>,
    ) -> Option<(HeaderMap, usize)> {
        let mut out = Vec::with_capacity(1024);
        self.pass_on(&mut out, visit);
        if wants_trailers(&visit.headers) {
            put(&mut out, b"te", b"trailers");
        }
        self.add(&mut out, visit);
        if let Some(length) = length {
            put(&mut out, b"content-length", length.to_string().as_bytes());
        }
        self.identify(&mut out, pass);
        let size = out.len();
        Some((fields::cut(&out.into())?, size))
    }

    /// What the client sent and may reach the app.
    fn pass_on(&self, out: &mut Vec<u8>, visit: &Visit) {
        let (nominated, trusted) = (Nominated::of(&visit.headers), visit.peer.trusted);
        visit.headers.write(out, |name, _| !self.reserved.covers(name, trusted) && !nominated.contains(name));
        cookies(out, &visit.headers);
    }

    /// What we say of the request.
    fn add(&self, out: &mut Vec<u8>, visit: &Visit) {
        self.forwarded_for(out, visit);
        out.extend_from_slice(&self.forwarded);
        put(out, b"x-request-id", visit.id.as_bytes());
        if let Some(context) = &visit.trace {
            put(out, b"traceparent", context.header().as_bytes());
        }
    }

    fn identify(&self, out: &mut Vec<u8>, pass: &Pass) {
        let Some(session) = pass.session() else { return };
        for (names, value) in [
            (&self.identity.user_id, session.user.id.as_str()),
            (&self.identity.email, session.user.email.as_str()),
            (&self.identity.name, session.user.name.as_str()),
        ] {
            for name in names {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b": ");
                header_safe(out, value);
                out.extend_from_slice(b"\r\n");
            }
        }
        if let (Some(assertion), Some(token)) = (&self.identity.assertion, session.assertion.get()) {
            put(out, assertion.header.as_bytes(), token.as_bytes());
        }
    }

    /// The chain is continued for a trusted peer and begun anew for everybody else.
    fn forwarded_for(&self, out: &mut Vec<u8>, visit: &Visit) {
        out.extend_from_slice(b"x-forwarded-for: ");
        match self.chain {
            Chain::XForwardedFor if visit.peer.trusted => {
                for before in visit.headers.get_all(&X_FORWARDED_FOR) {
                    out.extend_from_slice(before.as_bytes());
                    out.extend_from_slice(b", ");
                }
            }
            Chain::Forwarded if visit.client != visit.peer.ip() => {
                address(out, visit.client);
                out.extend_from_slice(b", ");
            }
            Chain::XForwardedFor | Chain::Forwarded => {}
        }
        address(out, visit.peer.ip());
        out.extend_from_slice(b"\r\n");
    }

    /// Whether a trailer field of a request may pass.
    pub fn trailer_may_pass(&self, name: &HeaderName) -> bool {
        let name = name.as_str().as_bytes();
        !self.reserved.covers(name, false) && !never_late(name)
    }
}

/// What the app is told of a session, where somebody else tells it.
pub fn identity(identity: &Identity, session: &Session) -> Vec<(HeaderName, HeaderValue)> {
    let facts = [
        (&identity.user_id, session.user.id.as_str()),
        (&identity.email, session.user.email.as_str()),
        (&identity.name, session.user.name.as_str()),
    ];
    let mut fields: Vec<(&str, Vec<u8>)> = Vec::new();
    for (names, value) in facts {
        let mut safe = Vec::new();
        header_safe(&mut safe, value);
        fields.extend(names.iter().map(|name| (name.as_str(), safe.clone())));
    }
    if let (Some(assertion), Some(token)) = (&identity.assertion, session.assertion.get()) {
        fields.push((&assertion.header, token.as_bytes().to_vec()));
    }
    let field = |(name, value): (&str, Vec<u8>)| {
        Some((
            HeaderName::from_bytes(name.as_bytes()).ok()?,
            HeaderValue::from_maybe_shared(Bytes::from(value)).ok()?,
        ))
    };
    fields.into_iter().filter_map(field).collect()
}

/// Whether the client takes trailer fields (RFC 9110 §10.1.4).
fn wants_trailers(headers: &Fields) -> bool {
    headers.get(&TE).is_some_and(|te| {
        te.as_bytes()
            .split(|&b| b == b',')
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

fn address(out: &mut Vec<u8>, address: IpAddr) {
    use std::io::Write as _;
    match address {
        IpAddr::V4(v4) => {
            for (place, octet) in v4.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                decimal(out, octet);
            }
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(v6) => {
            let _ = write!(out, "{v6}");
        }
    }
}

/// One number of an IPv4 address; the formatting machinery costs more than the rest of the line.
fn decimal(out: &mut Vec<u8>, number: u8) {
    if number >= 100 {
        out.push(b'0' + number / 100);
    }
    if number >= 10 {
        out.push(b'0' + number / 10 % 10);
    }
    out.push(b'0' + number % 10);
}

/// Writes a value that a user may have chosen: printable ASCII as it is, everything else and `%`
/// percent-encoded, so that no byte of it can end the line or be read in two ways.
fn header_safe(out: &mut Vec<u8>, value: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let safe = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'%';
    // To look at all of it is quicker than to stop at the first that is not.
    if value.as_bytes().iter().fold(true, |all, byte| all & safe(byte)) {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    for &byte in value.as_bytes() {
        if safe(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

/// All `Cookie` lines as one, without our cookies; no line at all if nothing is left.
fn cookies(out: &mut Vec<u8>, headers: &Fields) {
    let start = out.len();
    out.extend_from_slice(b"cookie: ");
    let first = out.len();
    for value in headers.get_all(&http::header::COOKIE) {
        if out.len() > first && !out.ends_with(b"; ") {
            out.extend_from_slice(b"; ");
        }
        cookie::without_ours(value.as_bytes(), out);
    }
    if out.ends_with(b"; ") && out.len() > first {
        out.truncate(out.len() - 2);
    }
    if out.len() == first {
        out.truncate(start);
    } else {
        out.extend_from_slice(b"\r\n");
    }
}

/// Names that the `Connection` lines of a message declare to be for this connection only.
pub(super) struct Nominated<'a>(Vec<&'a [u8]>);

impl<'a> Nominated<'a> {
    pub(super) fn of(headers: &'a Fields) -> Self {
        let mut names = Vec::new();
        for value in headers.get_all(&CONNECTION) {
            for name in value.as_bytes().split(|&b| b == b',') {
                let name = name.trim_ascii();
                // The two that every browser sends need no list.
                let usual = name.eq_ignore_ascii_case(b"keep-alive") || name.eq_ignore_ascii_case(b"close");
                if !usual && !name.is_empty() {
                    names.push(name);
                }
            }
        }
        Self(names)
    }

    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.0.iter().any(|nominated| nominated.eq_ignore_ascii_case(name))
    }
}

/// Whether the method may be sent again when a reused connection turns out to be dead (RFC 9110 §9.2.2).
pub(super) fn idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hdr_6_no_byte_of_a_display_name_can_leave_its_line() {
        for byte in 0..=255u8 {
            let mut out = Vec::new();
            header_safe(&mut out, &String::from_utf8_lossy(&[b'a', byte, b'b']));
            assert!(out.iter().all(|b| (b' '..=b'~').contains(b)), "{byte}");
        }
    }
}
