//! Requests by HTTP/2 that could become something else on their way to the app (RFC 9113 §8, §10.3).

use std::io::Write as _;
use std::net::TcpStream;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;

use crate::support::bare::{Bare, End};
use crate::support::h2::{self, H2};
use crate::support::raw::PATIENCE;
use crate::support::stage::Stage;

/// A field that is neither compressed nor indexed (RFC 7541 §6.2.2).
pub(super) fn field(name: &str, value: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| {
        // Longer ones need a second byte (RFC 7541 §5.1).
        let count = bytes.len();
        if count < 127 {
            vec![u8::try_from(count).expect("short")]
        } else {
            let rest = count - 127;
            let mut coded = vec![127];
            let low = u8::try_from(rest % 128).expect("seven bits");
            if rest < 128 {
                coded.push(low);
            } else {
                coded.extend([low | 128, u8::try_from(rest / 128).expect("short")]);
            }
            coded
        }
    };
    [&[0][..], &length(name.as_bytes()), name.as_bytes(), &length(value), value].concat()
}

pub(super) type Fields<'a> = Vec<(&'a str, Vec<u8>)>;

pub(super) fn block(fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// A sound request in somebody's name.
pub(super) fn sound(stage: &Stage) -> Fields<'static> {
    vec![
        (":method", b"GET".to_vec()),
        (":scheme", b"http".to_vec()),
        (":authority", stage.host().as_bytes().to_vec()),
        (":path", b"/x".to_vec()),
        ("cookie", stage.cookie.as_bytes().to_vec()),
    ]
}

/// How many requests reach the app of one with these fields.
pub(super) fn arrives(stage: &Stage, fields: &[(&str, Vec<u8>)]) -> usize {
    let before = stage.site.upstream.arrived().len();
    let goodbye = h2::frame(7, 0, 0, &[0; 8]);
    let bytes = [h2::preface(), h2::frame(1, 5, 1, &block(fields)), goodbye].concat();
    h2::until_ended(stage.site.address, &bytes);
    stage.site.upstream.arrived().len() - before
}

#[test]
fn smug_6_hdr_4_r_8_and_t_5_nothing_malformed_becomes_a_request_to_the_app() {
    let stage = Stage::new();
    assert_eq!(arrives(&stage, &sound(&stage)), 1, "the sound one does");
    let host = stage.host().to_owned();
    let with = |name: &'static str, value: &[u8]| {
        let mut fields = sound(&stage);
        match fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value.to_vec(),
            None => fields.push((name, value.to_vec())),
        }
        fields
    };
    let without = |name: &str| {
        let mut fields = sound(&stage);
        fields.retain(|(known, _)| *known != name);
        fields
    };
    let twice = |name: &'static str, value: &[u8]| [sound(&stage), vec![(name, value.to_vec())]].concat();
    let first = |name: &'static str, value: &[u8]| [vec![(name, value.to_vec())], sound(&stage)].concat();
    for (what, fields) in [
        ("a line in the path", with(":path", b"/x HTTP/1.1\r\nX-User-Id: admin\r\nY:")),
        ("a space in the path", with(":path", b"/x y")),
        ("NUL in the path", with(":path", b"/x\0")),
        ("no slash", with(":path", b"x")),
        ("an empty path", with(":path", b"")),
        ("another origin in the path", with(":path", b"http://evil.test/x")),
        ("a star", with(":path", b"*")),
        ("no path", without(":path")),
        ("no method", without(":method")),
        ("a space in the method", with(":method", b"GET /evil HTTP/1.1\r\n")),
        ("an empty method", with(":method", b"")),
        ("a line in the authority", with(":authority", b"a\r\nX-User-Id: admin")),
        ("a user in the authority", with(":authority", format!("u@{host}").as_bytes())),
        ("a path in the authority", with(":authority", format!("{host}/x").as_bytes())),
        ("no host at all", without(":authority")),
        ("another host", with("host", b"elsewhere.test")),
        ("two paths", twice(":path", b"/y")),
        ("two methods", twice(":method", b"POST")),
        ("a pseudo field behind the others", twice(":authority", b"elsewhere.test")),
        ("a pseudo field that is none", first(":identity", b"admin")),
        ("a status", first(":status", b"200")),
        ("a field before the pseudo fields", first("x-first", b"1")),
        ("a line in a value", with("x-note", b"1\r\nX-User-Id: admin")),
        ("LF in a value", with("x-note", b"1\nX-User-Id: admin")),
        ("CR in a value", with("x-note", b"1\rX")),
        ("NUL in a value", with("x-note", b"1\0")),
        ("a space before a value", with("x-note", b" 1")),
        ("a tab behind a value", with("x-note", b"1\t")),
        ("a space and nothing", with("x-note", b" ")),
        ("a space behind a cookie", with("cookie", b"a=b ")),
        ("a quote in a name", with("x\"note", b"1")),
        ("a name in capitals", with("X-Note", b"1")),
        ("a colon in a name", with("x-note:y", b"1")),
        ("a line in a name", with("x\r\nx-user-id", b"admin")),
        ("an empty name", with("", b"1")),
        ("connection", with("connection", b"x-user-id")),
        ("keep-alive", with("keep-alive", b"1")),
        ("proxy-connection", with("proxy-connection", b"close")),
        ("upgrade", with("upgrade", b"websocket")),
        ("transfer-encoding", with("transfer-encoding", b"chunked")),
        ("te", with("te", b"gzip")),
        ("a length without a body", with("content-length", b"5")),
        ("a length that is none", with("content-length", b"+0")),
        ("a length with a zero before it", with("content-length", b"00")),
    ] {
        assert_eq!(arrives(&stage, &fields), 0, "{what}: {:?}", stage.site.upstream.last());
    }
    // Cut off before anybody judges: what is judged is what is forwarded.
    assert_eq!(arrives(&stage, &with(":path", b"/x#/y")), 1);
    assert_eq!(stage.site.upstream.last().line, "GET /x HTTP/1.1");
    assert!(stage.site.is_well());
}

#[test]
fn hdr_9_and_f_12_trailers_by_http_2_cannot_claim_what_headers_cannot() {
    let stage = Stage::new();
    let mut fields = sound(&stage);
    fields[0].1 = b"POST".to_vec();
    let trailers =
        [("x-user-id", "admin"), ("x-forwarded-for", "admin"), ("cookie", "admin"), ("x-sum", "7")];
    let trailers: Fields<'_> = trailers.map(|(name, value)| (name, value.as_bytes().to_vec())).into();
    let bytes = [
        h2::preface(),
        h2::frame(1, 4, 1, &block(&fields)),
        h2::frame(0, 0, 1, b"abc"),
        h2::frame(1, 5, 1, &block(&trailers)),
        h2::frame(7, 0, 0, &[0; 8]),
    ]
    .concat();
    h2::until_ended(stage.site.address, &bytes);
    let arrived = stage.site.upstream.only();
    let body = String::from_utf8_lossy(&arrived.body);
    assert!(body.starts_with("3\r\nabc\r\n0\r\n") && body.ends_with("\r\n\r\n"), "{body}");
    assert!(!body.contains("admin"), "{body}");
    assert_eq!(arrived.all("x-user-id"), [stage.me.as_str()]);
}

#[test]
fn hdr_4_and_f_12_malformed_trailers_by_http_2_do_not_reach_the_app() {
    let stage = Stage::new();
    let mut fields = sound(&stage);
    fields[0].1 = b"POST".to_vec();
    let mut arrived = 0;
    for (name, value, passes) in [("x-sum", "7", true), ("x\"sum", "7", false), ("x-sum", "7 ", false)] {
        let bytes = [
            h2::preface(),
            h2::frame(1, 4, 1, &block(&fields)),
            h2::frame(0, 0, 1, b"abc"),
            h2::frame(1, 5, 1, &field(name, value.as_bytes())),
            h2::frame(7, 0, 0, &[0; 8]),
        ];
        h2::until_ended(stage.site.address, &bytes.concat());
        // Whole only with its end.
        arrived += usize::from(passes);
        assert_eq!(stage.site.upstream.arrived().len(), arrived, "{name}: {value:?}");
    }
    assert!(stage.site.upstream.last().body.ends_with(b"x-sum: 7\r\n\r\n") && stage.site.is_well());
}

#[test]
fn smug_6_trailers_behind_a_body_of_known_length_are_not_the_next_request() {
    let stage = Stage::new();
    let mut fields = sound(&stage);
    fields[0].1 = b"POST".to_vec();
    fields.push(("content-length", b"3".to_vec()));
    let trailers: Fields<'_> = vec![("x-sum", b"7".to_vec())];
    let bytes = [
        h2::preface(),
        h2::frame(1, 4, 1, &block(&fields)),
        h2::frame(0, 0, 1, b"abc"),
        h2::frame(1, 5, 1, &block(&trailers)),
    ]
    .concat();
    let mut stream = TcpStream::connect(stage.site.address).expect("it listens");
    stream.write_all(&bytes).expect("it is sent");
    while h2::read_frame(&mut stream).is_some_and(|(_, flags, of, _)| of != 1 || flags & 1 == 0) {}
    assert_eq!(stage.site.upstream.only().body, b"abc");
    // On the same connection, were it used again with something left in it.
    assert_eq!(stage.ask(stage.signed("GET /after HTTP/1.1", "")).status, 200);
    let arrived = stage.site.upstream.arrived();
    assert_eq!(arrived.iter().map(|it| it.line.as_str()).collect::<Vec<_>>()[1..], ["GET /after HTTP/1.1"]);
    assert_eq!(stage.site.upstream.connections(), 1);
}

fn signed(stage: &Stage, method: Method, body: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(format!("{}/x", stage.site.origin))
        .header("cookie", &stage.cookie)
        .body(Full::from(body.to_owned()))
        .expect("a request")
}

#[test]
fn hdr_10_and_i_7_crumbs_of_two_session_cookies_are_nobody() {
    let stage = Stage::new();
    let mut client = H2::connect(stage.site.address);
    let mut request = signed(&stage, Method::GET, "");
    request.headers_mut().append("cookie", "sidegate=other".parse().expect("a value"));
    assert_eq!(client.ask(request).status, 401);
    let mut request = signed(&stage, Method::GET, "");
    for crumb in ["a=1", "b=2"] {
        request.headers_mut().append("cookie", crumb.parse().expect("a value"));
    }
    assert_eq!(client.ask(request).status, 200);
    assert_eq!(stage.site.upstream.only().header("cookie"), Some("a=1; b=2"));
}

#[test]
fn smug_6_a_body_on_any_method_by_http_2_arrives_framed() {
    let stage = Stage::new();
    let mut client = H2::connect(stage.site.address);
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE, Method::POST] {
        for length in [false, true] {
            let mut request = signed(&stage, method.clone(), "four");
            if length {
                request.headers_mut().insert("content-length", "4".parse().expect("a value"));
            }
            assert_eq!(client.ask(request).status, 200, "{method}");
            let arrived = stage.site.upstream.last();
            let body = String::from_utf8_lossy(&arrived.body).into_owned();
            assert!(["four", "4\r\nfour\r\n0\r\n\r\n"].contains(&body.as_str()), "{method}: {arrived:?}");
        }
    }
    // One spelling of a length, as by HTTP/1.1: others could read octal digits.
    let before = stage.site.upstream.arrived().len();
    for length in ["04", "0004"] {
        let mut request = signed(&stage, Method::POST, "four");
        request.headers_mut().insert("content-length", length.parse().expect("a value"));
        assert_eq!(client.ask(request).status, 400, "{length}");
    }
    assert_eq!(stage.site.upstream.arrived().len(), before);
}

#[test]
fn f_19_a_body_that_is_given_up_never_looks_complete_to_the_app() {
    use std::io::{Read as _, Write as _};
    let (tell, told) = std::sync::mpsc::channel();
    let upstream = crate::support::upstream::Upstream::listening(move |mut stream| {
        let (mut all, mut piece) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            all.extend_from_slice(&piece[..count]);
            if all.ends_with(b"four\r\n") {
                let _ = tell.send(Vec::new());
            }
        }
        let _ = tell.send(all);
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut fields = sound(&stage);
    fields[0].1 = b"POST".to_vec();
    fields.push(("origin", stage.site.origin.clone().into_bytes()));
    for code in [0_u32, 2, 8] {
        let mut client = TcpStream::connect(stage.site.address).expect("it listens");
        let begun = [h2::preface(), h2::frame(1, 4, 1, &block(&fields)), h2::frame(0, 0, 1, b"four")];
        client.write_all(&begun.concat()).expect("it is sent");
        assert!(told.recv_timeout(PATIENCE).expect("the app hears of it").is_empty());
        client.write_all(&h2::frame(3, 0, 1, &code.to_be_bytes())).expect("it is sent");
        let all = told.recv_timeout(PATIENCE).expect("the app is let go");
        assert!(all.ends_with(b"four\r\n"), "{}", String::from_utf8_lossy(&all));
    }
}

#[test]
fn rfc_9110_9_3_2_an_answer_to_head_has_the_length_of_a_body_and_none() {
    let stage = Stage::new();
    for path in ["/auth/ok", "/auth/sign-in", "/auth/nowhere", "/x"] {
        let of = |method: Method| {
            let uri = format!("{}{path}", stage.site.origin);
            let request = Request::builder().method(method).uri(uri).header("cookie", &stage.cookie);
            H2::connect(stage.site.address).ask(request.body(Full::default()).expect("a request"))
        };
        let (head, whole) = (of(Method::HEAD), of(Method::GET));
        assert_eq!((head.status, head.body.len()), (whole.status, 0), "{path}");
        assert_eq!(head.headers.get("content-length"), whole.headers.get("content-length"), "{path}");
        assert!(!whole.body.is_empty());
    }
}

#[test]
fn rfc_9110_8_6_an_answer_without_content_has_no_length() {
    let bytes = "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n";
    let stage = Stage::on(Stage::plan().upstream(crate::support::upstream::Upstream::answering(bytes)));
    let answer = H2::connect(stage.site.address).ask(signed(&stage, Method::GET, ""));
    assert_eq!((answer.status, answer.headers.get("content-length")), (204, None));
}

#[test]
fn u_8_a_stream_that_is_given_up_takes_its_request_along() {
    use std::io::{Read as _, Write as _};
    let (told, ended) = std::sync::mpsc::channel();
    let upstream = crate::support::upstream::Upstream::with(move |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        let _ = told.send(stream.read(&mut [0]).unwrap_or(0));
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut client = H2::connect(stage.site.address);
    let answer = client.begin(signed(&stage, Method::GET, "")).expect("a head");
    drop(answer);
    assert_eq!(ended.recv_timeout(PATIENCE), Ok(0));
    assert!(client.is_open(), "the others go on");
}

/// The value of a setting that a connection begins with (RFC 9113 §6.5.1), and what is added to its window.
fn promised(stage: &Stage) -> (std::collections::BTreeMap<u16, u32>, u32) {
    let goodbye = h2::frame(7, 0, 0, &[0; 8]);
    let answer = h2::until_ended(stage.site.address, &[h2::preface(), goodbye].concat());
    let (mut rest, mut settings, mut window) = (answer.as_slice(), std::collections::BTreeMap::new(), 65_535);
    while let [high, middle, low, kind, flags, _, _, _, _, payload @ ..] = rest {
        let length = usize::try_from(u32::from_be_bytes([0, *high, *middle, *low])).expect("short");
        match kind {
            4 if flags & 1 == 0 => settings.extend(payload[..length].chunks(6).map(|pair| {
                (
                    u16::from_be_bytes([pair[0], pair[1]]),
                    u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]),
                )
            })),
            8 => window += u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]),
            _ => {}
        }
        rest = &payload[length..];
    }
    (settings, window)
}

#[test]
fn dos_1_what_a_client_may_have_under_way_and_send_ahead_is_bounded_and_can_be_chosen() {
    // SETTINGS_MAX_CONCURRENT_STREAMS, SETTINGS_INITIAL_WINDOW_SIZE, SETTINGS_MAX_HEADER_LIST_SIZE.
    let (settings, window) = promised(&Stage::new());
    assert_eq!([3, 4, 6].map(|id| settings.get(&id).copied()), [Some(128), Some(262_144), Some(32_768)]);
    assert_eq!(window, 1_048_576);
    let lines = "streams = 7\nstream_window = \"128KiB\"\nconnection_window = \"192KiB\"\nhead = \"16KiB\"";
    let stage = Stage::on(Stage::plan().set("limits", lines));
    let (settings, window) = promised(&stage);
    assert_eq!([3, 4, 6].map(|id| settings.get(&id).copied()), [Some(7), Some(131_072), Some(16_384)]);
    assert_eq!(window, 196_608);
}

#[test]
fn r_7_fewer_streams_that_are_given_up_are_put_up_with_if_so_chosen() {
    let stage = Stage::on(Stage::plan().set("limits", "resets = 2"));
    let few = |stage: &Stage| {
        let given_up = |stream| {
            let asked = h2::frame(1, 5, stream, &h2::get(stage.host(), "/auth/ok"));
            [asked, h2::frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
        };
        (1..20).step_by(2).flat_map(given_up).collect::<Vec<_>>()
    };
    let answer = h2::until_ended(stage.site.address, &[h2::preface(), few(&stage)].concat());
    assert!(!answer.is_empty() && stage.site.is_well());
    let stage = Stage::new();
    let mut client = Bare::greets(&stage, 65_535);
    client.sends(&few(&stage));
    client.asks(21, "/auth/ok");
    assert!(matches!(client.hears(21), End::Whole(1..)), "unless told otherwise, these few are put up with");
}
