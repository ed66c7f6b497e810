//! Answers of an app that is broken or has been taken over: none of them may be read in two ways or reach the
//! wrong client.

use std::io::Write as _;
use std::net::Shutdown;

use crate::support::bare::{Bare, End};
use crate::support::raw::PATIENCE;
use crate::support::raw::Response;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

/// The answer of a site whose app says these bytes and then closes its side.
fn answer_to(bytes: &str, line: &str) -> (Stage, std::io::Result<Response>) {
    let bytes = bytes.to_owned();
    let upstream = Upstream::with(move |_, stream| {
        let _ = stream.write_all(bytes.as_bytes());
        let _ = stream.shutdown(Shutdown::Both);
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    raw.send(stage.signed(line, ""));
    let response = raw.try_answer(line.starts_with("HEAD"));
    (stage, response)
}

#[test]
fn f_20_and_u_3_heads_that_can_be_read_in_two_ways_are_502() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\n\n",
        "HTTP/1.1 200 OK\r\nX: 1\nSet-Cookie: a=b\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\u{0}b\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
        "HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 099 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\n",
        "ICY 200 OK\r\nContent-Length: 5\r\n\r\n",
        "hello, I am not HTTP\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
    ] {
        let (stage, response) = answer_to(&format!("{head}hello"), "GET /x HTTP/1.1");
        let response = response.expect("an answer");
        assert_eq!((response.status, response.code().as_str()), (502, "UPSTREAM_INVALID"), "{head:?}");
        assert_eq!(response.header("set-cookie"), None);
        assert!(stage.site.is_well());
    }
}

#[test]
fn f_20_a_head_that_never_ends_is_502() {
    let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(answer_to(&head, "GET /x HTTP/1.1").1.expect("an answer").status, 502);
    let many = (0..200).map(|i| format!("X-{i}: 1\r\n")).collect::<Vec<_>>().concat();
    let (_, response) = answer_to(&format!("HTTP/1.1 200 OK\r\n{many}\r\n"), "GET /x HTTP/1.1");
    assert_eq!(response.expect("an answer").status, 502);
}

#[test]
fn f_20_and_u_6_bytes_behind_an_answer_are_never_the_next_ones() {
    for extra in ["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "x", "\r\n"] {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\n\r\n",
        ] {
            let stage = Stage::on(Stage::plan().upstream(Upstream::answering(format!("{head}{extra}"))));
            for count in 1..=3 {
                let response = stage.ask(stage.signed("GET /x HTTP/1.1", ""));
                assert!(matches!(response.status, 200 | 204 | 304), "{}", response.status);
                assert!(matches!(response.text().as_str(), "good" | ""), "{}", response.text());
                assert_eq!(stage.site.upstream.connections(), count, "{head:?} was followed by {extra:?}");
            }
        }
    }
}

#[test]
fn u_6_an_app_that_speaks_on_an_idle_connection_is_not_heard() {
    let (speaks, spoken) = std::sync::mpsc::channel();
    let upstream = Upstream::with(move |_, stream| {
        let _ = stream.write_all(ok("good").as_bytes());
        let (mut later, speaks) = (stream.try_clone().expect("a socket"), speaks.clone());
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(30));
            let _ = later.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
            let _ = speaks.send(());
        });
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    for count in 1..=3 {
        assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).text(), "good");
        assert_eq!(stage.site.upstream.connections(), count);
        spoken.recv_timeout(PATIENCE).expect("the app says too much");
    }
}

#[test]
fn f_21_answers_without_a_body_are_not_waited_for() {
    for (head, line, status) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "HEAD /x HTTP/1.1", 200),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD /x HTTP/1.1", 200),
        ("HTTP/1.1 200 OK\r\n\r\n", "HEAD /x HTTP/1.1", 200),
        ("HTTP/1.1 204 No Content\r\n\r\n", "GET /x HTTP/1.1", 204),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "POST /x HTTP/1.1", 204),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", "GET /x HTTP/1.1", 304),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", "GET /x HTTP/1.1", 304),
    ] {
        let stage = Stage::on(Stage::plan().upstream(Upstream::answering(head)));
        let mut raw = stage.connect();
        for _ in 0..3 {
            raw.send(stage.signed(line, ""));
            let response = raw.try_answer(line.starts_with("HEAD")).expect("an answer");
            assert_eq!(response.status, status, "{head:?}");
            if line.starts_with("HEAD") && head.contains("100") {
                assert_eq!(response.header("content-length"), Some("100"));
            }
        }
        // One that announces a body may send it all the same.
        let announced = head.contains("100") || head.contains("chunked");
        assert_eq!(stage.site.upstream.connections(), if announced { 3 } else { 1 }, "{head:?}");
    }
}

#[test]
fn f_22_interim_answers_are_no_final_ones_and_endless_ones_are_refused() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let (_, response) = answer_to(
        &format!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n{}{}",
            interim.repeat(5),
            ok("done")
        ),
        "GET /x HTTP/1.1",
    );
    assert_eq!(response.expect("an answer").text(), "done");
    let (_, response) = answer_to(&format!("{}{}", interim.repeat(9), ok("done")), "GET /x HTTP/1.1");
    assert_eq!(response.expect("an answer").status, 502);
    let (_, response) = answer_to(&format!("{interim}{}", ok("done")), "GET /x HTTP/1.0");
    assert_eq!(response.expect("an answer").text(), "done");
}

#[test]
fn f_22_and_u_12_a_switch_that_was_not_asked_for_is_502() {
    for (asked, switched) in [
        ("", "Upgrade: websocket\r\nConnection: upgrade\r\n"),
        ("Connection: upgrade\r\nUpgrade: websocket\r\n", "Upgrade: h2c\r\nConnection: upgrade\r\n"),
        ("Connection: upgrade\r\nUpgrade: websocket\r\n", ""),
        ("Connection: upgrade\r\nUpgrade: h2c\r\n", "Upgrade: h2c\r\nConnection: upgrade\r\n"),
    ] {
        let head = format!("HTTP/1.1 101 Switching Protocols\r\n{switched}\r\n");
        let stage = Stage::on(Stage::plan().upstream(Upstream::answering(head)));
        assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", asked)).status, 502, "{asked:?} {switched:?}");
        assert!(stage.site.is_well());
    }
}

/// Answers whose end does not come.
const CUT_SHORT: [&str; 7] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
];

#[test]
fn f_23_and_u_4_an_answer_that_is_cut_short_looks_cut_short() {
    for bytes in CUT_SHORT {
        let (stage, response) = answer_to(bytes, "GET /x HTTP/1.1");
        assert!(response.is_err(), "{bytes:?} came as a whole: {response:?}");
        assert!(stage.site.is_well());
    }
}

/// A client of HTTP/2 of a site whose app says these bytes and then closes its side.
fn asked_by_http_2(bytes: &'static str) -> (Stage, Bare) {
    let upstream = Upstream::with(move |_, stream| {
        let _ = stream.write_all(bytes.as_bytes());
        let _ = stream.shutdown(Shutdown::Both);
    });
    let stage = Stage::on(Stage::plan().rule("/open/**", "public").upstream(upstream));
    let client = Bare::greets(&stage, 65_535);
    (stage, client)
}

#[test]
fn f_23_an_answer_cut_short_is_a_reset_by_http_2_and_the_other_streams_go_on() {
    for bytes in CUT_SHORT {
        let (stage, mut client) = asked_by_http_2(bytes);
        for stream in [1, 3] {
            client.asks(stream, "/open/x");
            let end = client.hears(stream);
            // Not NO_ERROR, which says that all there is was sent (RFC 9113 §8.1).
            assert!(matches!(end, End::Reset(1..)), "{bytes:?} ended as {end:?}");
        }
        client.asks(5, "/auth/ok");
        assert_eq!(client.hears(5), End::Whole("{\"ok\":true}".len()));
        assert!(client.goodbyes.is_empty() && stage.site.is_well());
    }
}

#[test]
fn f_24_an_answer_that_ends_with_its_connection_ends_its_stream_and_no_more() {
    for bytes in ["HTTP/1.1 200 OK\r\n\r\nto the end", "HTTP/1.0 200 OK\r\n\r\nto the end"] {
        let (stage, mut client) = asked_by_http_2(bytes);
        for count in 1..=3 {
            let stream = 2 * u32::try_from(count).expect("small") - 1;
            client.asks(stream, "/open/x");
            assert_eq!(client.hears(stream), End::Whole("to the end".len()));
            assert_eq!(stage.site.upstream.connections(), count, "never pooled");
        }
        assert!(client.goodbyes.is_empty());
    }
}

#[test]
fn f_24_an_answer_that_ends_with_its_connection_is_framed_anew_and_never_pooled() {
    let upstream = Upstream::with(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nto the end");
        let _ = stream.shutdown(Shutdown::Both);
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    for count in 1..=2 {
        let response = raw.send(stage.signed("GET /x HTTP/1.1", "")).answer();
        assert_eq!(
            (response.text().as_str(), response.header("transfer-encoding")),
            ("to the end", Some("chunked"))
        );
        assert_eq!(stage.site.upstream.connections(), count);
    }
    let mut raw = stage.connect();
    let response = raw.send(stage.signed("GET /x HTTP/1.0", "")).answer();
    assert_eq!((response.text().as_str(), response.header("transfer-encoding")), ("to the end", None));

    for head in ["HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"] {
        let (_, response) = answer_to(&format!("{head}of an old app"), "GET /x HTTP/1.1");
        assert_eq!(response.expect("an answer").text(), "of an old app");
    }
}

#[test]
fn f_20_heads_have_a_largest_size_that_can_be_chosen() {
    let answer =
        |size: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: {}\r\n\r\nok", "x".repeat(size));
    for (lines, size, status) in [
        ("head = \"8KiB\"", 7_000, 200),
        ("head = \"8KiB\"", 9_000, 502),
        ("head = \"256KiB\"", 200_000, 200),
        ("head = \"256KiB\"", 300_000, 502),
    ] {
        let plan = Stage::plan().set("upstream", lines).upstream(Upstream::answering(answer(size)));
        let stage = Stage::on(plan);
        assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, status, "{lines}: {size}");
        assert!(stage.site.is_well());
    }
}

#[test]
fn a_length_or_204_with_a_body_of_the_apps_confuses_nobody() {
    let stage = Stage::on(
        Stage::plan()
            .upstream(Upstream::answering("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil")),
    );
    let mut raw = stage.connect();
    for _ in 0..2 {
        let response = raw.send(stage.signed("GET /x HTTP/1.1", "")).answer();
        assert_eq!((response.status, response.header("content-length")), (204, None));
    }
}
