//! Header fields in the form that HTTP/2 has for them.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http::cookie;
use crate::proxy::reserved::{HOP_BY_HOP, hop_by_hop};

/// The fields in these lines, of which we have written each. Values share `lines`.
pub(in crate::proxy) fn cut(lines: &Bytes) -> Option<HeaderMap> {
    let mut fields = HeaderMap::with_capacity(32);
    let mut start = 0;
    while let Some(length) = memchr::memchr(b'\r', &lines[start..]) {
        let line = lines.slice(start..start + length);
        let colon = memchr::memchr(b':', &line)?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        fields.append(name, HeaderValue::from_maybe_shared(line.slice(colon + 2..)).ok()?);
        start += length + 2;
    }
    Some(fields)
}

/// Takes from the fields of an answer by HTTP/2 what does not pass: those of a connection, which are malformed there
/// (RFC 9113 §8.2.2), cookies under our names, and every `Content-Length` but one.
pub(in crate::proxy) fn clean(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP.iter().filter(|name| **name != "trailer") {
        headers.remove(*name);
    }
    if headers.get_all(SET_COOKIE).iter().any(|line| cookie::sets_ours(line.as_bytes()))
        && let http::header::Entry::Occupied(entry) = headers.entry(SET_COOKIE)
    {
        let lines: Vec<HeaderValue> = entry.remove_entry_mult().1.collect();
        for line in lines.into_iter().filter(|line| !cookie::sets_ours(line.as_bytes())) {
            headers.append(SET_COOKIE, line);
        }
    }
    if let Some(length) = headers.get(CONTENT_LENGTH).cloned() {
        headers.insert(CONTENT_LENGTH, length);
    }
}

/// Whether a trailer field of an answer may pass: fields that frame or route a message have no place there (RFC 9110
/// §6.5.1).
pub(in crate::proxy) fn answer_trailer_may_pass(name: &HeaderName) -> bool {
    ![CONTENT_LENGTH, HOST, SET_COOKIE].contains(name) && !hop_by_hop(name.as_str().as_bytes())
}
