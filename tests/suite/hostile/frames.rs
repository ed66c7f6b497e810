//! HTTP/2 frame by frame: malformed requests and floods, each with the section or the advisory it is from.

use crate::support::frame::block;
use crate::support::h2::{frame, preface, until_ended};
use crate::support::stage::Stage;

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

/// What was said: of each frame its type, its stream, and its payload.
fn framed(mut bytes: &[u8]) -> Vec<(u8, u32, &[u8])> {
    let mut frames = Vec::new();
    while bytes.len() >= 9 {
        let length = number(&bytes[..3]) as usize;
        frames.push((bytes[3], number(&bytes[5..9]), bytes.get(9..9 + length).unwrap_or_default()));
        bytes = bytes.get(9 + length..).unwrap_or_default();
    }
    frames
}

/// The same with the code of a reset or a goodbye in place of the payload.
fn said(bytes: &[u8]) -> Vec<(u8, u32, u32)> {
    let code = |kind, payload: &[u8]| match kind {
        RST_STREAM => number(payload),
        GOAWAY => number(payload.get(4..8).unwrap_or_default()),
        _ => 0,
    };
    framed(bytes).into_iter().map(|(kind, of, payload)| (kind, of, code(kind, payload))).collect()
}

const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const HEADERS: u8 = 1;
/// HEADERS that are complete, and end the request or not.
const WHOLE: u8 = 5;
const OPEN: u8 = 4;
/// `:status` out of the static table (RFC 7541, appendix A).
const INDEXED_200: u8 = 0x88;
const INDEXED_400: u8 = 0x8c;

/// A stage, and what a good request of the signed-in person has.
struct Hostile {
    stage: Stage,
}

impl Hostile {
    fn new() -> Self {
        Self { stage: Stage::new() }
    }

    /// The fields of `GET /x` with these in place of its own: a value of `-` takes one away.
    fn request(&self, changed: &[(&str, &str)]) -> Vec<u8> {
        let own = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", self.stage.host()),
            (":path", "/x"),
            ("cookie", &self.stage.cookie),
        ];
        let mut fields: Vec<(&str, &str)> = own
            .into_iter()
            .map(|(name, value)| (name, changed.iter().find(|it| it.0 == name).map_or(value, |it| it.1)))
            .filter(|(_, value)| *value != "-")
            .collect();
        fields.extend(changed.iter().filter(|it| own.iter().all(|own| own.0 != it.0)));
        block(&fields)
    }

    /// What is said to these frames, with which the client says goodbye.
    fn ask(&self, frames: &[Vec<u8>]) -> Vec<(u8, u32, u32)> {
        let bytes = [preface(), frames.concat(), frame(GOAWAY, 0, 0, &[0; 8])].concat();
        said(&until_ended(self.stage.site.address, &bytes))
    }

    /// How the block begins that these frames are answered with, which is with `:status`.
    fn status(&self, frames: &[Vec<u8>]) -> Option<u8> {
        let bytes = [preface(), frames.concat(), frame(GOAWAY, 0, 0, &[0; 8])].concat();
        let answer = until_ended(self.stage.site.address, &bytes);
        framed(&answer).into_iter().find(|(kind, ..)| *kind == HEADERS).map(|(_, _, payload)| payload[0])
    }

    /// Checks that a request is not answered but reset, or the connection ended, and nothing of it reaches the app.
    fn is_malformed(&self, what: &str, frames: &[Vec<u8>]) {
        let answer = self.ask(frames);
        let refused = answer.iter().any(|(kind, stream, code)| {
            (*kind == RST_STREAM && *stream == 1 && *code != 0) || (*kind == GOAWAY && *code != 0)
        });
        assert!(refused && !answer.iter().any(|(kind, ..)| *kind == HEADERS), "{what}: {answer:?}");
        assert!(self.stage.site.upstream.arrived().is_empty(), "{what} reached the app");
    }

    /// Checks that these frames, sent again and again, end the connection, and that the site is well.
    fn is_shown_out(&self, what: &str, start: &[Vec<u8>], again: impl Fn(u32) -> Vec<u8>, times: u32) {
        let mut bytes = [preface(), start.concat()].concat();
        for number in 0..times {
            bytes.extend(again(number));
        }
        // It fails if the connection goes on.
        until_ended(self.stage.site.address, &bytes);
        assert!(self.stage.site.is_well(), "{what}");
    }
}

#[test]
fn what_is_sound_passes_so_that_the_rest_of_this_file_means_something() {
    let hostile = Hostile::new();
    let answer = hostile.ask(&[frame(HEADERS, WHOLE, 1, &hostile.request(&[("te", "trailers")]))]);
    assert!(answer.iter().any(|(kind, stream, _)| (*kind, *stream) == (HEADERS, 1)), "{answer:?}");
    assert_eq!(hostile.stage.site.upstream.arrived().len(), 1);
}

#[test]
fn r_08_names_and_values_that_http_2_does_not_allow() {
    let hostile = Hostile::new();
    for (name, value) in [
        ("X-Upper", "1"),
        ("x user", "1"),
        ("x:user", "1"),
        ("", "1"),
        ("x-a", "1\r\nx-user-id: u2"),
        ("x-a", "1\nx"),
        ("x-a", "1\0"),
        (":path", "/x\r\nx-user-id: u2"),
        (":path", "/x y"),
    ] {
        let request = hostile.request(&[(name, value)]);
        hostile.is_malformed(&format!("{name:?}: {value:?}"), &[frame(HEADERS, WHOLE, 1, &request)]);
    }
}

#[test]
fn rfc_9113_8_2_2_fields_of_a_connection() {
    let hostile = Hostile::new();
    for (name, value) in [
        ("connection", "close"),
        ("connection", "x-user-id"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
    ] {
        let request = hostile.request(&[(name, value)]);
        hostile.is_malformed(&format!("{name}: {value}"), &[frame(HEADERS, WHOLE, 1, &request)]);
    }
}

#[test]
fn rfc_9113_8_3_pseudo_header_fields_that_are_missing_repeated_late_or_unknown() {
    let hostile = Hostile::new();
    let host = hostile.stage.host().to_owned();
    let good = |changed: &[(&str, &str)]| hostile.request(changed);
    let twice = |name: &str, value: &str| [block(&[(name, value)]), good(&[])].concat();
    for (what, request) in [
        ("no method", good(&[(":method", "-")])),
        ("no scheme", good(&[(":scheme", "-")])),
        ("no path", good(&[(":path", "-")])),
        ("an empty path", good(&[(":path", "")])),
        ("two methods", twice(":method", "GET")),
        ("two schemes", twice(":scheme", "http")),
        ("two paths", twice(":path", "/y")),
        ("two authorities", twice(":authority", &host)),
        ("one behind the fields", [good(&[(":path", "-")]), block(&[(":path", "/x")])].concat()),
        ("one of an answer", good(&[(":status", "200")])),
        ("one that nobody knows", good(&[(":user", "u2")])),
        ("a protocol without CONNECT", good(&[(":protocol", "websocket")])),
    ] {
        hostile.is_malformed(what, &[frame(HEADERS, WHOLE, 1, &request)]);
    }
    // Behind the body they are nothing.
    let trailers = block(&[(":path", "/y")]);
    let post = good(&[(":method", "POST")]);
    hostile.ask(&[
        frame(HEADERS, OPEN, 1, &post),
        frame(0, 0, 1, b"four"),
        frame(HEADERS, WHOLE, 1, &trailers),
    ]);
    let arrived = hostile.stage.site.upstream.arrived();
    assert!(arrived.iter().all(|it| it.line == "POST /x HTTP/1.1" && it.body == b"4\r\nfour\r\n0\r\n\r\n"));
}

#[test]
fn t_05_one_host_and_nothing_but_a_host() {
    let hostile = Hostile::new();
    let host = hostile.stage.host().to_owned();
    for (name, value) in
        [("host", "elsewhere.example"), (":authority", "user@elsewhere.example"), (":authority", "-")]
    {
        let value = if value.starts_with("user@") { format!("user@{host}") } else { value.to_owned() };
        let request = frame(HEADERS, WHOLE, 1, &hostile.request(&[(name, &value)]));
        assert_eq!(hostile.status(&[request]), Some(INDEXED_400), "{name}: {value}");
        assert!(hostile.stage.site.upstream.arrived().is_empty(), "{name}: {value}");
    }
    // A Host that says the same is one host, and so is one without `:authority`.
    for changed in [&[("host", &*host)][..], &[(":authority", "-"), ("host", &*host)]] {
        let request = frame(HEADERS, WHOLE, 1, &hostile.request(changed));
        assert_eq!(hostile.status(&[request]), Some(INDEXED_200), "{changed:?}");
        assert_eq!(hostile.stage.site.upstream.last().all("host"), [host.as_str()]);
    }
}

#[test]
fn rfc_9113_8_1_1_a_length_that_is_not_kept() {
    let hostile = Hostile::new();
    let post = |length: &str| hostile.request(&[(":method", "POST"), ("content-length", length)]);
    for (what, frames) in [
        ("no data at all", vec![frame(HEADERS, WHOLE, 1, &post("4"))]),
        ("more data", vec![frame(HEADERS, OPEN, 1, &post("3")), frame(0, 1, 1, b"four")]),
        (
            "two lengths",
            vec![
                frame(HEADERS, OPEN, 1, &[post("4"), block(&[("content-length", "5")])].concat()),
                frame(0, 1, 1, b"four"),
            ],
        ),
        ("no number", vec![frame(HEADERS, OPEN, 1, &post("+4")), frame(0, 1, 1, b"four")]),
        ("less data", vec![frame(HEADERS, OPEN, 1, &post("9")), frame(0, 1, 1, b"four")]),
    ] {
        let answer = hostile.ask(&frames);
        assert!(
            !answer.iter().any(|(kind, ..)| *kind == HEADERS) || what == "less data" || what == "more data",
            "{what}: {answer:?}"
        );
        let whole = hostile
            .stage
            .site
            .upstream
            .arrived()
            .into_iter()
            .filter(|it| it.body.len() != 9 && !it.body.is_empty());
        assert_eq!(whole.count(), 0, "{what} looked complete to the app");
    }
}

#[test]
fn r_09_connect_without_a_protocol_leads_nowhere() {
    let hostile = Hostile::new();
    let request = hostile.request(&[
        (":method", "CONNECT"),
        (":scheme", "-"),
        (":path", "-"),
        (":authority", "internal:22"),
    ]);
    hostile.ask(&[frame(HEADERS, OPEN, 1, &request)]);
    assert!(hostile.stage.site.upstream.arrived().is_empty());
    assert!(hostile.stage.site.is_well());
}

#[test]
fn r_07_a_header_list_that_is_too_large_is_refused_and_the_connection_goes_on() {
    let hostile = Hostile::new();
    let large = "a".repeat(12_000);
    let many: Vec<(&str, &str)> = ["x-a", "x-b", "x-c", "x-d"].map(|name| (name, large.as_str())).to_vec();
    let request = hostile.request(&many);
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for (number, part) in request.chunks(16_000).enumerate() {
        let last = (number + 1) * 16_000 >= request.len();
        let flags = u8::from(number == 0) | if last { 4 } else { 0 };
        frames.push(frame(if number == 0 { HEADERS } else { 9 }, flags, 1, part));
    }
    frames.push(frame(HEADERS, WHOLE, 3, &hostile.request(&[])));
    let answer = hostile.ask(&frames);
    assert!(answer.iter().any(|(kind, stream, _)| (*kind, *stream) == (HEADERS, 3)), "{answer:?}");
    assert_eq!(hostile.stage.site.upstream.arrived().len(), 1);
}

#[test]
fn cve_2023_44487_rapid_reset_of_requests_that_reach_the_app() {
    let hostile = Hostile::new();
    let request = hostile.request(&[]);
    let again = |number: u32| {
        let stream = 2 * number + 1;
        [frame(HEADERS, WHOLE, stream, &request), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    hostile.is_shown_out("rapid reset", &[], again, 20_000);
    assert!(hostile.stage.site.upstream.arrived().len() < 2000, "most of them never reach the app");
}

#[test]
fn cve_2025_8671_made_you_reset() {
    let hostile = Hostile::new();
    let request = hostile.request(&[(":method", "POST")]);
    // Each of these makes the server reset the stream: an increment of nothing, and more data than was announced.
    let again = |number: u32| {
        let stream = 2 * number + 1;
        [frame(HEADERS, OPEN, stream, &request), frame(8, 0, stream, &[0; 4])].concat()
    };
    hostile.is_shown_out("window updates of nothing", &[], again, 5000);
    let short = hostile.request(&[(":method", "POST"), ("content-length", "1")]);
    let again = |number: u32| {
        let stream = 2 * number + 1;
        [frame(HEADERS, OPEN, stream, &short), frame(0, 0, stream, b"four")].concat()
    };
    hostile.is_shown_out("too much data", &[], again, 5000);
}

#[test]
fn cve_2024_27316_a_head_that_never_ends() {
    let hostile = Hostile::new();
    let more = block(&[("x-a", &"b".repeat(100))]);
    let start = [frame(HEADERS, 1, 1, &hostile.request(&[]))];
    hostile.is_shown_out("fields without end", &start, |_| frame(9, 0, 1, &more), 20_000);
    hostile.is_shown_out("empty frames without end", &start, |_| frame(9, 0, 1, b""), 100_000);
    assert!(hostile.stage.site.upstream.arrived().is_empty());
}

#[test]
fn cve_2019_9518_data_that_carries_nothing() {
    let hostile = Hostile::new();
    let start = [frame(HEADERS, OPEN, 1, &hostile.request(&[(":method", "POST")]))];
    hostile.is_shown_out("empty data", &start, |_| frame(0, 0, 1, b""), 100_000);
}

#[test]
fn cve_2019_9512_and_9515_frames_that_want_an_answer_each() {
    let hostile = Hostile::new();
    for (what, flood) in [
        ("pings", frame(6, 0, 0, &[7; 8])),
        ("settings", frame(4, 0, 0, b"")),
        ("settings that change", frame(4, 0, 0, &[0, 4, 0, 1, 0, 0])),
        ("priorities", frame(2, 0, 1, &[0, 0, 0, 0, 16])),
        ("unknown frames", frame(0xbe, 0, 0, b"")),
    ] {
        hostile.is_shown_out(what, &[], |_| flood.clone(), 200_000);
    }
}
