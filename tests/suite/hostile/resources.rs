//! Clients that take their time, send too much, or come in crowds.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::ops::number;
use crate::support::raw::PATIENCE;
use crate::support::site::PASSWORD;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

#[test]
fn r_1_and_dos_3_a_head_that_does_not_come_ends_the_connection() {
    let stage = Stage::on(Stage::plan().set("limits", "head_timeout = \"1s\""));
    let mut silent = stage.connect();
    let mut slow = stage.connect();
    slow.send("GET /x HTTP/1.1\r\nHost: ");
    let mut second = stage.connect();
    assert_eq!(second.send(stage.signed("GET /x HTTP/1.1", "")).answer().status, 200);
    second.send("GET /x HT");
    assert!(silent.is_closed() && slow.is_closed() && second.is_closed());
    assert!(stage.site.is_well());
}

#[test]
fn r_1_a_head_that_trickles_in_is_no_better() {
    let stage = Stage::on(Stage::plan().set("limits", "head_timeout = \"300ms\""));
    let mut stream = TcpStream::connect(stage.site.address).expect("a connection");
    let started = (0..400).take_while(|_| {
        thread::sleep(Duration::from_millis(25));
        stream.write_all(b"X").is_ok()
    });
    assert!(started.count() < 400, "it could go on for ever");
}

#[test]
fn an_idle_connection_is_closed_whatever_was_answered_on_it() {
    for answer in [
        ok("hello"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_owned(),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
    ] {
        let plan =
            Stage::plan().set("limits", "keep_alive = \"200ms\"").upstream(Upstream::answering(answer));
        let stage = Stage::on(plan);
        for line in ["GET /x HTTP/1.1", "POST /x HTTP/1.1", "GET /auth/ok HTTP/1.1", "GET /auth/me HTTP/1.1"]
        {
            let mut raw = stage.connect();
            let fields = if line.starts_with("POST") { "Content-Length: 0\r\n" } else { "" };
            let status = raw.send(stage.signed(line, fields)).answer().status;
            assert!(matches!(status, 200 | 204), "{line}: {status}");
            assert!(raw.is_closed(), "{line}");
        }
    }
}

#[test]
fn r_2_and_dos_3_a_body_that_pauses_ends_the_request() {
    let stage = Stage::on(Stage::plan().set("limits", "body_idle = \"200ms\""));
    for fields in ["Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"] {
        let body = if fields.starts_with('C') { "hello" } else { "5\r\nhello\r\n" };
        let mut raw = stage.connect();
        raw.send(format!("{}{body}", stage.signed("POST /x HTTP/1.1", fields)));
        let response = raw.answer();
        assert_eq!((response.status, response.header("connection")), (408, Some("close")));
        assert!(raw.is_closed());
        let mut raw = stage.connect();
        raw.send(format!(
            "{}{body}",
            stage.signed("POST /auth/sign-out HTTP/1.1", &format!("Sec-Fetch-Site: none\r\n{fields}"))
        ));
        assert_eq!(raw.answer().status, 408);
        assert!(raw.is_closed());
    }
    assert!(stage.site.upstream.arrived().is_empty(), "no half request was completed");
}

#[test]
fn r_3_and_dos_2_a_client_that_never_reads_is_let_go_and_the_app_is_not_read_on() {
    let upstream = Upstream::with(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let piece = vec![b'x'; 1 << 20];
        let mut sent = 0_usize;
        while sent < 1_000_000_000 && stream.write_all(&piece).is_ok() {
            sent += piece.len();
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
    });
    let stage = Stage::on(Stage::plan().set("limits", "body_idle = \"300ms\"").upstream(upstream));
    let mut stream = TcpStream::connect(stage.site.address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(stage.signed("GET /x HTTP/1.1", "").as_bytes()).expect("it is sent");
    thread::sleep(Duration::from_millis(1500));
    // What was under way comes, then the end: far from all of it.
    let mut read = 0_u64;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => read += count as u64,
        }
    }
    assert!(read < 100_000_000, "{read} bytes came");
    assert!(stage.site.is_well());
}

#[test]
fn r_2_a_body_that_trickles_in_ends_the_request_whatever_it_calls_itself() {
    let limits = "min_rate = \"64KiB\"\nmin_rate_grace = \"1s\"";
    let stage = Stage::on(Stage::plan().set("limits", limits));
    let trickle = |fields: &str, piece: &str, most: usize| {
        let mut raw = stage.connect();
        raw.send(stage.signed("POST /x HTTP/1.1", &format!("{fields}Transfer-Encoding: chunked\r\n")));
        for _ in 0..most {
            if !raw.try_send(format!("{:x}\r\n{piece}\r\n", piece.len())) {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        raw.send("0\r\n\r\n").try_answer(false).map_or(408, |answer| answer.status)
    };
    assert_eq!(trickle("", "x", 400), 408);
    assert!(stage.site.upstream.arrived().is_empty(), "no half request was completed");
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(trickle("", &"x".repeat(65_536), 60), 200, "slow, but not too slow");
        });
        trickle("Content-Type: application/grpc\r\n", "x", 400);
    });
    assert_eq!(stage.site.upstream.arrived().len(), 1, "gRPC needs HTTP/2");
}

#[test]
fn r_3_a_client_that_reads_too_slowly_is_let_go_and_one_behind_a_slow_app_is_not() {
    const SIZE: usize = 40_000_000;
    let upstream = Upstream::with(|arrived, stream| {
        if arrived.line.contains("large") {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
            let _ = stream.write_all(&vec![b'x'; SIZE]);
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n");
        for _ in 0..30 {
            thread::sleep(Duration::from_millis(100));
            let _ = stream.write_all(b"x");
        }
    });
    let limits = "min_rate = \"1MiB\"\nmin_rate_grace = \"1s\"";
    let stage = Stage::on(Stage::plan().set("limits", limits).upstream(upstream));
    assert_eq!(stage.ask(stage.signed("GET /slow HTTP/1.1", "")).text().len(), 30);
    let mut stream = TcpStream::connect(stage.site.address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(stage.signed("GET /large HTTP/1.1", "").as_bytes()).expect("it is sent");
    let (mut read, mut buffer) = (0, vec![0; 20_000]);
    // Six times as long as is borne; what then lies between us is read at once.
    for piece in 0.. {
        let Ok(count @ 1..) = stream.read(&mut buffer) else { break };
        read += count;
        if piece < 120 {
            thread::sleep(Duration::from_millis(50));
        }
    }
    assert!(read < SIZE / 2, "{read} bytes came");
    assert!(stage.site.is_well());
}

#[test]
fn a_connection_ends_in_order_after_as_many_requests_as_were_chosen() {
    let stage = Stage::on(Stage::plan().set("limits", "requests_per_connection = 3"));
    let mut raw = stage.connect();
    for close in [None, None, Some("close")] {
        let answer = raw.send(stage.signed("GET /x HTTP/1.1", "")).answer();
        assert_eq!((answer.status, answer.header("connection")), (200, close));
    }
    assert!(raw.is_closed());
    let stage = Stage::on(Stage::plan().set("limits", "requests_per_connection = 0"));
    let mut raw = stage.connect();
    for _ in 0..50 {
        assert_eq!(raw.send(stage.signed("GET /x HTTP/1.1", "")).answer().header("connection"), None);
    }
}

/// Requests that are under way at a time.
const LOT: usize = 100;

#[test]
fn r_11_invented_cookies_ask_the_store_nothing_and_push_nobody_out() {
    let plan = Stage::plan().set("session", "cache_entries = 2").set("admin", "address = \"127.0.0.1:0\"");
    let stage = Stage::on(plan);
    let request = stage.signed("GET /x HTTP/1.1", "");
    assert_eq!(stage.ask(&request).status, 200);
    let numbers = || {
        let text = crate::ops::told(stage.site.admin(), "/metrics").text();
        let of = |name: &str| number(&text, &format!("sidegate_session_cache_{name}"));
        (of("misses_total"), of("entries"))
    };
    let misses = numbers().0;
    let length =
        stage.cookie.split("sidegate=").nth(1).and_then(|rest| rest.split(';').next()).map_or(0, str::len);
    let noise = |number: u64| -> String {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits = |i: u64| (number * 64 + i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        (0..length as u64).map(|i| char::from(letters[usize::try_from(bits(i)).expect("six bits")])).collect()
    };
    // Many at a time on every connection, as a flood comes.
    let invent = |numbers: std::ops::Range<u64>| {
        let mut raw = stage.connect();
        for number in numbers.step_by(LOT) {
            let ask =
                |n| stage.strange("GET /x HTTP/1.1", &format!("Cookie: sidegate={}\r\n", noise(number + n)));
            raw.send((0..LOT as u64).map(ask).collect::<String>());
            (0..LOT).for_each(|_| assert_eq!(raw.answer().status, 401));
        }
    };
    // While the store could answer, and memory would keep what it says.
    invent(0..5_000);
    assert_eq!(numbers(), (misses, 1), "nobody is looked up, and nothing is remembered of them");
    // Whoever asked the store would now hear of it: 503, and a line of the log that fails this test.
    stage.site.block_on(stage.site.database.execute("ALTER TABLE \"session\" RENAME TO \"gone\""));
    assert_eq!(stage.ask(&request).status, 200, "whoever is signed in is still remembered");
    for lot in 1..4 {
        invent(lot * 5_000..(lot + 1) * 5_000);
        assert_eq!(stage.ask(&request).status, 200, "and now");
    }
    assert_eq!(numbers(), (misses, 1));
}

#[test]
fn r_10_a_body_beyond_the_limit_is_413_before_or_while_it_is_sent() {
    let stage = Stage::on(Stage::plan().set("limits", "body = \"1KiB\""));
    let sized = |size: usize| {
        let head = stage.signed("POST /x HTTP/1.1", &format!("Content-Length: {size}\r\n"));
        format!("{head}{}", "x".repeat(size))
    };
    assert_eq!(stage.arrives(sized(1024)).body.len(), 1024);
    stage.rejects(sized(1025), &[413]);
    stage.rejects(sized(1_000_000), &[413]);

    let chunked = |count: usize| {
        let head = stage.signed("POST /x HTTP/1.1", "Transfer-Encoding: chunked\r\n");
        format!("{head}{}0\r\n\r\n", format!("40\r\n{}\r\n", "x".repeat(64)).repeat(count))
    };
    stage.arrives(chunked(16));
    let before = stage.site.upstream.arrived().len();
    let mut raw = stage.connect();
    let response = raw.send(chunked(17)).answer();
    assert_eq!((response.status, response.header("connection")), (413, Some("close")));
    assert!(raw.is_closed());
    assert_eq!(stage.site.upstream.arrived().len(), before, "the app saw no whole request");
}

#[test]
fn a_body_for_our_own_endpoints_is_limited_too() {
    let stage = Stage::new();
    let fields = format!(
        "Origin: {}\r\nContent-Type: application/json\r\nContent-Length: 70000\r\n",
        stage.site.origin
    );
    let request =
        format!("{}{}", stage.strange("POST /auth/sign-in/email HTTP/1.1", &fields), " ".repeat(70_000));
    stage.rejects(request, &[413]);
}

#[test]
fn dos_4_a_flood_of_sign_ins_does_not_stop_the_proxy() {
    let limits = "attempts_per_address = 10000\nattempts_per_account = 10000";
    let stage = Stage::on(Stage::plan().set("limits", limits).set("password", "concurrency = 1"));
    let body = serde_json::json!({ "email": "me@example.org", "password": PASSWORD });
    // One is computed and 64 wait.
    let (full, is_full) = channel();
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..100 {
            let full = full.clone();
            let request = stage.site.stranger().ask("POST", "/auth/sign-in/email").json(&body).bytes();
            let done = &done;
            let mut raw = stage.connect();
            scope.spawn(move || {
                // Whoever waits too long on a slow machine has learnt nothing.
                let Ok(response) = raw.send(request).try_answer(false) else { return };
                match response.status {
                    200 => _ = done.fetch_add(1, Ordering::SeqCst),
                    503 => {
                        assert!(response.header("retry-after").is_some());
                        let _ = full.send(());
                    }
                    _ => panic!("{}", response.text()),
                }
            });
        }
        is_full.recv_timeout(PATIENCE).expect("somebody is sent away");
        let before = done.load(Ordering::SeqCst);
        for _ in 0..10 {
            assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 200);
        }
        let meanwhile = done.load(Ordering::SeqCst) - before;
        assert!(meanwhile < 50, "requests for the app wait for nobody's hash: {meanwhile} came first");
    });
}
