//! The head of the app's answer, parsed strictly, and what of it passes.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, UPGRADE};
use http::{Method, StatusCode};

use crate::http::chunked::Chunked;
use crate::http::cookie;
use crate::http::fields::Fields;
use crate::http::grammar;
use crate::http::head::{Search, Unfit};
use crate::proxy::failure::Failure;
use crate::proxy::reserved::hop_by_hop;

/// Most fields of an answer.
const MOST_FIELDS: usize = 128;
/// Most names that `Connection` may give.
const MOST_NOMINATED: usize = 64;

/// The head of an answer.
pub(in crate::proxy) struct Head {
    pub(in crate::proxy) status: StatusCode,
    /// Those of its fields that pass.
    pub(in crate::proxy) fields: Fields,
    /// Which protocol the app switches to; none if its `Connection` does not say that it does.
    pub(in crate::proxy) protocol: Option<Bytes>,
    /// How its body ends.
    pub(super) body: Delimited,
    /// The connection can carry another answer behind it.
    pub(super) keep: bool,
}

/// How the body ends.
#[derive(Debug)]
pub(super) enum Delimited {
    /// After this many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked(Chunked),
    /// With the connection.
    Close,
}

/// Takes the next head off what was read, if all of it is there.
pub(super) fn next(
    search: &mut Search,
    unread: &mut BytesMut,
    largest: usize,
    method: &Method,
) -> Result<Option<Head>, Failure> {
    if unread.is_empty() {
        return Ok(None);
    }
    // Most heads come whole, and are then read once. Whatever is wrong is found again below.
    if search.may_be_whole()
        && let Ok(parsed) = parse(unread, largest)
    {
        return Head::of(parsed, method).map(Some);
    }
    match search.take(unread, largest) {
        Ok(Some(mut head)) => Head::of(parse(&mut head, largest)?, method).map(Some),
        Ok(None) => Ok(None),
        Err(Unfit::Line) => Err(Failure::Invalid("a line of the head does not end with CRLF")),
        Err(Unfit::FirstLine | Unfit::Size) => Err(Failure::Invalid("head too large")),
    }
}

/// A head as it came.
struct Parsed {
    status: StatusCode,
    /// By HTTP/1.1.
    modern: bool,
    fields: Fields,
}

/// Parses the head at the beginning of what was read, and takes it off.
fn parse(unread: &mut BytesMut, largest: usize) -> Result<Parsed, Failure> {
    let malformed = || Failure::Invalid("malformed head");
    let line = grammar::status_line(unread).ok_or_else(malformed)?;
    let (places, length) = match grammar::fields(unread, line.end, MOST_FIELDS) {
        Ok((places, length)) if length <= largest => (places, length),
        Ok(_) | Err(_) => return Err(malformed()),
    };
    let status = StatusCode::from_u16(line.status).map_err(|_| Failure::Invalid("no status"))?;
    Ok(Parsed { status, modern: line.modern, fields: Fields::new(unread.split_to(length), places) })
}

impl Head {
    /// Reads how the message is delimited, and leaves the fields that pass: not those of the app's connection, and no
    /// cookies under our names.
    fn of(parsed: Parsed, method: &Method) -> Result<Self, Failure> {
        let Parsed { status, modern, mut fields } = parsed;
        let facts = Facts::take(&mut fields)?;
        // RFC 9110 §8.6.
        if status.is_informational() || status == StatusCode::NO_CONTENT {
            fields.remove(&CONTENT_LENGTH);
        }
        let bodiless = *method == Method::HEAD
            || status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        let body = match (facts.chunked, facts.length) {
            (true, Some(_)) => {
                return Err(Failure::Invalid("both Content-Length and Transfer-Encoding"));
            }
            (true, None) if !modern => return Err(Failure::Invalid("Transfer-Encoding in HTTP/1.0")),
            _ if bodiless => Delimited::Length(0),
            (true, None) => Delimited::Chunked(Chunked::default()),
            (false, Some(length)) => Delimited::Length(length),
            (false, None) => Delimited::Close,
        };
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        let keep = if modern { !facts.close } else { facts.keep_alive };
        let keep = keep && !matches!(body, Delimited::Close) && !switches;
        // Some apps send the body that they announce all the same, and it would begin the next answer.
        let announced = facts.chunked || facts.length.is_some_and(|length| length > 0);
        let keep = keep && !(bodiless && announced && !status.is_informational());
        let protocol = facts.protocol.filter(|_| switches && facts.upgrade);
        Ok(Self { status, fields, protocol, body, keep })
    }
}

/// What the fields say of the message and its connection (RFC 9112 §6.3, §9).
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are what single fields say, and independent")]
struct Facts {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    /// What `Upgrade` names first.
    protocol: Option<Bytes>,
}

impl Facts {
    /// Finds them in one pass, and takes out what does not pass.
    fn take(fields: &mut Fields) -> Result<Self, Failure> {
        let mut facts = Self::default();
        let mut trouble = None;
        let mut nominated = Vec::new();
        let protocol = fields.get(&UPGRADE).map(|protocol| fields.keep(protocol));
        fields.retain(|name, value| {
            let value = value.as_bytes();
            match name {
                b"content-length" => {
                    // Once, and without leading zeros.
                    let passes = facts.length.is_none() && (value == b"0" || !value.starts_with(b"0"));
                    trouble = trouble.or(facts.measure(value));
                    passes
                }
                b"transfer-encoding" => {
                    if facts.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                        trouble = Some("a transfer coding other than chunked");
                    }
                    facts.chunked = true;
                    false
                }
                b"connection" => {
                    facts.nominate(value, &mut nominated);
                    false
                }
                b"set-cookie" => !cookie::sets_ours(value),
                // Only trailers that were announced are passed on.
                b"trailer" => true,
                name => !hop_by_hop(name),
            }
        });
        if nominated.len() > MOST_NOMINATED {
            trouble = Some("too many options of the connection");
        } else if !nominated.is_empty() {
            fields.retain(|name, _| !nominated.iter().any(|nominated| nominated == name));
        }
        facts.protocol = protocol;
        trouble.map_or(Ok(facts), |trouble| Err(Failure::Invalid(trouble)))
    }

    /// Reads a length; what is wrong with it.
    fn measure(&mut self, value: &[u8]) -> Option<&'static str> {
        let plain = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(value).ok().filter(|_| plain).and_then(|text| text.parse().ok());
        let single = length.is_some() && self.length.is_none_or(|before| Some(before) == length);
        self.length = length;
        (!single).then_some("no single Content-Length")
    }

    /// Reads the options of a `Connection` line; the names of fields among them are for this connection only.
    fn nominate(&mut self, options: &[u8], nominated: &mut Vec<Vec<u8>>) {
        // What most say.
        if options == b"keep-alive" {
            self.keep_alive = true;
            return;
        }
        for option in options.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if !option.is_empty() && !option.eq_ignore_ascii_case(b"content-length") {
                // Framing is ours to keep: without its length the body would end with the connection.
                self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                if nominated.len() <= MOST_NOMINATED {
                    nominated.push(option.to_ascii_lowercase());
                }
            }
        }
    }
}
