//! Requests whose end two readers would find in different places (RFC 9112 §6 and §11.2).

use std::io::Write as _;

use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

/// A request that must never be seen by the app.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

fn post(stage: &Stage, fields: &str, body: &str) -> String {
    format!("{}{body}", stage.signed("POST /x HTTP/1.1", fields))
}

#[test]
fn f_1_and_smug_2_a_length_beside_a_transfer_coding_is_refused() {
    let stage = Stage::new();
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "transfer-encoding: CHUNKED\r\nX: y\r\ncontent-length: 44\r\n",
    ] {
        stage.rejects(post(&stage, fields, &format!("0\r\n\r\n{HIDDEN}")), &[400]);
    }
    let old = stage.signed("POST /x HTTP/1.0", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n");
    stage.rejects(format!("{old}0\r\n\r\n{HIDDEN}"), &[400]);
}

#[test]
fn f_2_f_3_f_4_and_smug_4_a_length_is_written_in_one_way() {
    let stage = Stage::new();
    for value in [
        "+5",
        "-5",
        "-0",
        "0x5",
        "5 5",
        "5,5",
        "5, 5",
        "5, 6",
        "5;",
        "",
        " ",
        "0005",
        "05",
        "00",
        "5.0",
        "5e0",
        "18446744073709551621",
        "99999999999999999999",
        "\u{665}",
        "five",
    ] {
        stage.rejects(post(&stage, &format!("Content-Length: {value}\r\n"), "hello"), &[400]);
    }
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\ncontent-length: 0\r\n",
        "Content-Length: 0\r\nContent-Length: 44\r\n",
    ] {
        stage.rejects(post(&stage, fields, &format!("hello{HIDDEN}")), &[400]);
    }
    let arrived = stage.arrives(post(&stage, "Content-Length:  5\t\r\n", "hello"));
    assert_eq!((arrived.header("content-length"), arrived.body.as_slice()), (Some("5"), &b"hello"[..]));
}

#[test]
fn f_5_f_6_and_smug_5_there_is_no_transfer_coding_but_chunked() {
    let stage = Stage::new();
    for coding in [
        "gzip, chunked",
        "chunked, chunked",
        "chunked, identity",
        "identity",
        "gzip",
        "xchunked",
        "chunked;a=b",
        "chunked,",
        ",chunked",
        "\u{b}chunked",
        "\"chunked\"",
        "chunk\u{e9}d",
        "",
    ] {
        let fields = format!("Transfer-Encoding: {coding}\r\n");
        stage.rejects(post(&stage, &fields, &format!("0\r\n\r\n{HIDDEN}")), &[400, 501]);
    }
    for fields in [
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding\r\n: chunked\r\n",
    ] {
        stage.rejects(post(&stage, fields, &format!("0\r\n\r\n{HIDDEN}")), &[400, 501]);
    }
    let old = stage.signed("POST /x HTTP/1.0", "Transfer-Encoding: chunked\r\n");
    stage.rejects(format!("{old}0\r\n\r\n{HIDDEN}"), &[400]);
}

#[test]
fn f_7_f_9_smug_5_and_px_8_malformed_fields_are_refused() {
    let stage = Stage::new();
    for field in [
        "X: a\r\n b\r\n",
        "X: a\r\n\tb\r\n",
        "X : a\r\n",
        "X\t: a\r\n",
        ": a\r\n",
        "X(: a\r\n",
        "X\u{e9}: a\r\n",
        "no colon\r\n",
        "X: a\rb\r\n",
        "X: a\u{0}b\r\n",
        "X: a\u{1}b\r\n",
        "X: a\u{7f}b\r\n",
        "X: a\r\r\n",
        "X-A: 1\rX-User-Id: admin\r\n",
    ] {
        stage.rejects(stage.signed("GET /x HTTP/1.1", field), &[400]);
    }
    let first = format!("GET /x HTTP/1.1\r\n X: a\r\nHost: {}\r\n\r\n", stage.host());
    stage.rejects(first, &[400]);
}

#[test]
fn f_8_and_px_8_a_bare_line_feed_ends_nothing() {
    let stage = Stage::new();
    let signed = stage.signed("GET /x HTTP/1.1", "X-A: 1\r\nX-B: 2\r\n");
    let ends: Vec<usize> = signed.match_indices("\r\n").map(|(at, _)| at).collect();
    for end in ends {
        let mut request = signed.clone();
        request.remove(end);
        // The end of a head that never comes would be waited for.
        request.push_str("\r\n\r\n");
        stage.rejects(request, &[400]);
    }
    stage.rejects(stage.signed("GET /x HTTP/1.1", "X-A: 1\nX-User-Id: admin\r\n"), &[400]);
    stage.rejects(format!("\n{signed}"), &[400]);
}

#[test]
fn f_10_broken_chunks_never_reach_the_app_as_a_whole_body() {
    let stage = Stage::new();
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5;\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX\r\n\r\n",
        "5\r\nhello\r\n0\r\n: y\r\n\r\n",
    ] {
        let mut raw = stage.connect();
        raw.send(post(&stage, "Transfer-Encoding: chunked\r\n", &format!("{body}{HIDDEN}")));
        if let Ok(response) = raw.try_answer(false) {
            assert_eq!(response.status, 400, "{body:?}");
        }
        assert!(raw.is_closed(), "{body:?}");
        assert!(stage.site.upstream.arrived().is_empty(), "{body:?}: {:?}", stage.site.upstream.arrived());
    }
    // No connection that carried half a request is used again.
    assert_eq!(stage.arrives(stage.signed("GET /after HTTP/1.1", "")).line, "GET /after HTTP/1.1");
}

#[test]
fn f_11_legal_chunk_extensions_are_dropped_and_endless_ones_refused() {
    let stage = Stage::new();
    let fields = "Transfer-Encoding: chunked\r\n";
    let arrived = stage.arrives(post(&stage, fields, "5;a=\"b;c\";d\r\nhello\r\n0;e\r\n\r\n"));
    assert_eq!(String::from_utf8_lossy(&arrived.body), "5\r\nhello\r\n0\r\n\r\n");
    let mut raw = stage.connect();
    let endless = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(100_000));
    raw.send(post(&stage, fields, &endless));
    assert!(raw.try_answer(false).map_or(400, |response| response.status) == 400);
    assert_eq!(stage.site.upstream.arrived().len(), 1);
    assert!(stage.site.is_well());
}

/// A body whose chunks have extensions of 100 bytes each, the semicolon included.
fn extended(chunks: usize) -> String {
    format!("{}0\r\n\r\n", format!("1;{}\r\nx\r\n", "a".repeat(99)).repeat(chunks))
}

#[test]
fn f_11_and_cve_2023_39326_the_extensions_of_all_chunks_together_have_a_largest_size() {
    // 16 KiB are 163 of them and 84 bytes more.
    let fields = "Transfer-Encoding: chunked\r\n";
    let stage = Stage::new();
    let arrived = stage.arrives(post(&stage, fields, &extended(163)));
    let body = String::from_utf8_lossy(&arrived.body).into_owned();
    assert!(body.matches('x').count() == 163 && !body.contains(';'), "{body}");
    let mut raw = stage.connect();
    let response = raw.send(post(&stage, fields, &extended(164))).answer();
    assert_eq!((response.status, response.header("connection")), (400, Some("close")));
    assert!(raw.is_closed());
    assert_eq!(stage.site.upstream.arrived().len(), 1, "no half request was completed");
    // The app's are counted too.
    for (chunks, whole) in [(163, true), (164, false)] {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = format!("{head}{}", extended(chunks));
        let stage = Stage::on(Stage::plan().upstream(Upstream::answering(answer)));
        let mut raw = stage.connect();
        let answer = raw.send(stage.signed("GET /x HTTP/1.1", "")).try_answer(false);
        assert_eq!(answer.is_ok_and(|answer| answer.body.len() == chunks), whole, "{chunks} chunks");
    }
}

#[test]
fn f_13_a_body_on_any_method_is_framed_and_what_follows_is_the_next_request() {
    let stage = Stage::on(Stage::plan().upstream(Upstream::with(|arrived, stream| {
        let answer = ok("hello");
        let length = answer.len() - if arrived.line.starts_with("HEAD ") { "hello".len() } else { 0 };
        let _ = stream.write_all(&answer.as_bytes()[..length]);
    })));
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "X"] {
        for (fields, body, arrives) in [
            (
                "Content-Length: 44\r\n".to_owned(),
                "GET /hidden HTTP/1.1\r\nHost: evil\r\nX: yyyy\r\n\r\n",
                None,
            ),
            ("Content-Length: 0\r\n".to_owned(), "", None),
            (String::new(), "", None),
            (
                "Transfer-Encoding: chunked\r\n".to_owned(),
                "3\r\nabc\r\n0\r\n\r\n",
                Some("3\r\nabc\r\n0\r\n\r\n"),
            ),
        ] {
            let body = if fields.contains("44") { &body[..44] } else { body };
            let before = stage.site.upstream.arrived().len();
            let first = format!("{}{body}", stage.signed(&format!("{method} /first HTTP/1.1"), &fields));
            let second = stage.signed("GET /second HTTP/1.1", "");
            let mut raw = stage.connect();
            raw.send(format!("{first}{second}"));
            // An answer to HEAD has no body, whatever length it names.
            let answer = raw.try_answer(method == "HEAD").expect("an answer");
            assert_eq!((answer.status, raw.answer().status), (200, 200), "{method} {fields}");
            let arrived = &stage.site.upstream.arrived()[before..];
            let lines: Vec<&str> = arrived.iter().map(|arrived| arrived.line.as_str()).collect();
            assert_eq!(lines, [&format!("{method} /first HTTP/1.1"), "GET /second HTTP/1.1"]);
            assert_eq!(
                String::from_utf8_lossy(&arrived[0].body),
                arrives.unwrap_or(body),
                "{method} {fields}"
            );
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_wherever_the_reads_end() {
    let stage = Stage::new();
    let wire = [
        stage.signed("GET /1 HTTP/1.1", ""),
        post(&stage, "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"),
        "\r\n".to_owned(),
        post(&stage, "Content-Length: 5\r\n", "hello"),
        stage.signed("GET /4 HTTP/1.1", ""),
    ]
    .concat();
    for piece in [wire.len(), 1, 7, 100] {
        let before = stage.site.upstream.arrived().len();
        let mut raw = stage.connect();
        for bytes in wire.as_bytes().chunks(piece) {
            raw.send(bytes);
        }
        for number in 1..=4 {
            assert_eq!(raw.answer().status, 200, "answer {number} in pieces of {piece}");
        }
        assert_eq!(stage.site.upstream.arrived().len(), before + 4);
    }
}

#[test]
fn a_head_behind_a_chunked_body_is_looked_at_like_any_other() {
    let stage = Stage::new();
    let first = post(&stage, "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n");
    for second in [
        stage.signed("GET /a#b HTTP/1.1", ""),
        post(&stage, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        stage.signed("GET /x HTTP/1.1", "X: 1\nY: 2\r\n"),
    ] {
        for cut in
            [first.len() + second.len(), first.len(), first.len() + 8, first.len() - 3, first.len() + 18]
        {
            let before = stage.site.upstream.arrived().len();
            let wire = format!("{first}{second}");
            let mut raw = stage.connect();
            raw.send(&wire[..cut.min(wire.len())]);
            // The rest must come in another read of the server's.
            std::thread::sleep(std::time::Duration::from_millis(20));
            raw.send(&wire[cut.min(wire.len())..]);
            assert_eq!((raw.answer().status, raw.answer().status), (200, 400), "cut at {cut}");
            assert!(raw.is_closed());
            assert_eq!(stage.site.upstream.arrived().len(), before + 1, "cut at {cut}");
        }
    }
}
