//! The grammar beside another reader of it.

use bytes::BytesMut;

use super::*;
use crate::http::fields::Fields;

/// What was read of a head: its first line, its fields, and how long it is.
type Read = (String, Vec<(String, Vec<u8>)>, usize);

const MOST: usize = 6;

fn named(fields: &Fields) -> Vec<(String, Vec<u8>)> {
    let text = |name: &[u8]| String::from_utf8(name.to_vec()).expect("a token");
    fields.iter().map(|(name, value)| (text(name), value.as_bytes().to_vec())).collect()
}

fn shown(part: &[u8]) -> String {
    String::from_utf8_lossy(part).into_owned()
}

/// As a request, if `request`, else as an answer.
fn read(head: &[u8], request: bool) -> Result<Read, Unlike> {
    let (first, end) = if request {
        let line = request_line(head).ok_or(Unlike::Rule)?;
        // The other one refuses at once what no target may be.
        let target = str::from_utf8(&head[line.target]).map_err(|_| Unlike::Rule)?;
        (format!("{} {target} {}", shown(&head[line.method]), line.modern), line.end)
    } else {
        let line = status_line(head).ok_or(Unlike::Rule)?;
        (format!("{} {}", line.status, line.modern), line.end)
    };
    let mut buffer = BytesMut::from(head);
    let (places, length) = fields(&mut buffer, end, MOST)?;
    Ok((first, named(&Fields::new(buffer.split_to(length), places)), length))
}

/// The same as `httparse` reads it, which takes more than we do: ends of lines without CR, and empty lines before a head.
fn read_by_another(head: &[u8], request: bool) -> Result<Read, Unlike> {
    let unlike = |error| if error == httparse::Error::TooManyHeaders { Unlike::Fields } else { Unlike::Rule };
    let mut headers = [httparse::EMPTY_HEADER; MOST];
    let (first, length, headers) = if request {
        let mut read = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(length) = read.parse(head).map_err(unlike)? else {
            return Err(Unlike::Rule);
        };
        let (method, target) = (read.method.unwrap_or_default(), read.path.unwrap_or_default());
        (format!("{method} {target} {}", read.version == Some(1)), length, &*read.headers)
    } else {
        let mut read = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = read.parse(head).map_err(unlike)? else {
            return Err(Unlike::Rule);
        };
        (format!("{} {}", read.code.unwrap_or_default(), read.version == Some(1)), length, &*read.headers)
    };
    let mut lines = head[..length].split_inclusive(|&byte| byte == b'\n');
    let strict = !head.starts_with(b"\r\n") && lines.all(|line| line.ends_with(b"\r\n"));
    let fields = headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec()));
    if strict { Ok((first, fields.collect(), length)) } else { Err(Unlike::Rule) }
}

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn of<'p>(&mut self, pieces: &[&'p [u8]]) -> &'p [u8] {
        pieces[self.below(pieces.len())]
    }
}

const FIRST: [&[&[u8]]; 2] = [
    &[
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 404 Not Found\r\n",
        b"HTTP/1.1 204\r\n",
        b"HTTP/1.1 101 \r\n",
        b"HTTP/1.1 500 \xe9\t!\r\n",
        b"HTTP/1.1  200 OK\r\n",
        b"HTTP/1.1 20 OK\r\n",
        b"HTTP/1.1 2000 OK\r\n",
        b"HTTP/2.0 200 OK\r\n",
        b"http/1.1 200 OK\r\n",
        b"HTTP/1.1 2x0 OK\r\n",
    ],
    &[
        b"GET / HTTP/1.1\r\n",
        b"POST /a?b=c HTTP/1.0\r\n",
        b"x-Y! http://a/ HTTP/1.1\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n",
        b"GET / HTTP/1.2\r\n",
        b"GET /\r\n",
        b"G(T / HTTP/1.1\r\n",
        b"GET /\t HTTP/1.1\r\n",
        b"\r\nGET / HTTP/1.1\r\n",
        b"GET /a%20-long/target/that/has/many/words?x=1&y=2 HTTP/1.1\r\n",
    ],
];

const NAMES: &[&[u8]] = &[
    b"Host",
    b"a",
    b"X-Forwarded-For",
    b"COOKIE",
    b"x_y",
    b"Sec-CH-UA-Platform-Version",
    b"",
    b" a",
    b"a ",
    b"a\tb",
    b"\xe9",
    b"a@b",
    b"[a",
    b"a\0",
    b"!#$%&'*+-.^_`|~",
    b"{",
];

const GAPS: &[&[u8]] = &[b":", b": ", b":\t", b":  \t ", b" :", b"", b"\r\n: "];

const VALUES: &[&[u8]] = &[
    b"",
    b"a",
    b"a b",
    b"a\tb",
    b"12345678",
    b"123456789",
    b"a; b=\"c\", d",
    b"caf\xe9 \xff",
    b"a ",
    b"a\t \t",
    b"a\x7fb",
    b"a\0b",
    b"a\rb",
    b"a\x1bb",
    b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    b"\x80",
    b":",
];

const ENDS: &[&[u8]] = &[b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n", b"\r\n ", b""];

/// One head, mostly good.
fn made(numbers: &mut Numbers, request: bool) -> Vec<u8> {
    // Of a list, the first are the good ones.
    let mut pick = |list: &[&'static [u8]], good: usize| {
        let most = if numbers.below(12) == 0 { list.len() } else { good };
        numbers.of(&list[..most])
    };
    let mut head = pick(FIRST[usize::from(request)], 3).to_vec();
    for _ in 0..pick(VALUES, 8).len() % (MOST + 2) {
        for part in [pick(NAMES, 6), pick(GAPS, 4), pick(VALUES, 10), pick(ENDS, 5)] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(pick(&[b"\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"", b"\r"], 3));
    head.extend_from_slice(pick(&[b"", b"", b"GET / HTTP/1.1\r\n\r\n", b"\r\n", b"x"], 3));
    if numbers.below(6) == 0 && !head.is_empty() {
        let (at, byte) = (numbers.below(head.len()), numbers.below(256));
        head[at] = u8::try_from(byte).unwrap_or_default();
    }
    if numbers.below(10) == 0 {
        head.truncate(numbers.below(head.len() + 1));
    }
    head
}

#[test]
fn another_reader_of_the_grammar_reads_the_same() {
    let (mut numbers, mut good) = (Numbers(1), [0, 0]);
    for round in 0..200_000 {
        let request = round % 2 == 0;
        let head = made(&mut numbers, request);
        let (ours, another) = (read(&head, request), read_by_another(&head, request));
        // Which of two rules was broken is nobody's business.
        let (ours, another) = (ours.ok(), another.ok());
        good[usize::from(request)] += usize::from(ours.is_some());
        assert_eq!(ours, another, "{request} {}", head.escape_ascii());
    }
    assert!(good.iter().all(|&good| (30_000..80_000).contains(&good)), "{good:?}");
}

#[test]
fn every_byte_is_judged_as_the_grammar_has_it() {
    for byte in 0..=255_u8 {
        let is_token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert_eq!(TOKEN[usize::from(byte)], if is_token { byte.to_ascii_lowercase() } else { 0 }, "{byte}");
        for before in 0..36 {
            let mut bytes = vec![b'y'; before];
            bytes.extend(&[&[byte, b'x'], &[0; 32][..before % 19]].concat());
            let may_be = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            assert_eq!(text(&bytes), if may_be { before + 2 } else { before }, "{byte} {before}");
            let visible = byte > b' ' && byte != 0x7f;
            assert_eq!(reach::<b'!'>(&bytes), if visible { before + 2 } else { before }, "{byte} {before}");
        }
    }
}

#[test]
fn every_byte_of_a_name_is_put_into_lower_case_and_nothing_behind_it() {
    for byte in 0..=255_u8 {
        for before in 0..36 {
            for behind in 0..36 {
                let name = [&b"Ab-CdE-1Z_"[..], &[b'Q'; 26], &[byte], b"Y"].concat();
                let name = &name[36 - before..];
                let mut line = [name, b":", &[b'V'; 35][..behind]].concat();
                let expected = [&name.to_ascii_lowercase()[..], &line[name.len()..]].concat();
                let length = lower(&mut line);
                if byte == b':' {
                    assert_eq!(length, (before > 0).then_some(before), "{before} {behind}");
                } else if TOKEN[usize::from(byte)] == 0 {
                    assert_eq!(length, None, "{byte} {before} {behind}");
                } else {
                    assert_eq!((length, line), (Some(name.len()), expected), "{byte} {before} {behind}");
                }
            }
        }
    }
}

#[test]
fn so_many_fields_and_no_more() {
    let head = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count)).into_bytes();
    assert!(read(&head(MOST), true).is_ok());
    assert_eq!(read(&head(MOST + 1), true), Err(Unlike::Fields));
}
