//! Bodies pass as they come, in both directions and at the same time.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::support::database::Database;
use crate::support::raw::{PATIENCE, Raw};
use crate::support::site::Site;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

/// An app that sends the next piece of its answer only when the test says so.
fn told(head: &'static str) -> (Upstream, Sender<&'static str>) {
    let (tell, told): (Sender<&'static str>, Receiver<&'static str>) = channel();
    let told = Mutex::new(told);
    let upstream = Upstream::with(move |_, stream| {
        let _ = stream.write_all(head.as_bytes());
        let told = told.lock().expect("no panic");
        while let Ok(piece) = told.recv_timeout(PATIENCE) {
            if piece.is_empty() {
                break;
            }
            let _ = stream.write_all(piece.as_bytes());
        }
    });
    (upstream, tell)
}

#[test]
fn u_13_a_piece_of_an_answer_is_there_before_the_next_one_is_sent() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (upstream, tell) = told(head);
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /events HTTP/1.1", ""));
    assert_eq!(raw.head().expect("a head before the body").header("content-type"), Some("text/event-stream"));
    for _ in 0..3 {
        tell.send("7\r\ndata: 1\r\n").expect("the app listens");
        assert_eq!(raw.exactly(12).expect("the piece"), b"7\r\ndata: 1\r\n");
    }
    tell.send("0\r\n\r\n").expect("the app listens");
    assert_eq!(raw.exactly(5).expect("the end"), b"0\r\n\r\n");
    tell.send("").expect("the app listens");
}

/// What comes out of a program piece by piece; killed when dropped.
struct Curl(Child);

impl Drop for Curl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn u_13_a_piece_reaches_clients_by_http_2_and_by_tls_before_the_next_is_sent() {
    for (tls, how, version) in [
        (false, "--http2-prior-knowledge", "2"),
        (true, "--http2", "2"),
        (true, "--http1.1", "1.1"),
        (false, "--http1.1", "1.1"),
    ] {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (upstream, tell) = told(head);
        let plan =
            if tls { crate::tls::plan("") } else { Site::on(Database::sqlite()).rule("/open/**", "public") };
        let site = plan.upstream(upstream).start();
        let curl = Command::new("curl")
            .args(["-skN", "--max-time", "20", "-w", "%{http_version}", how])
            .arg(format!("{}/open/events", site.origin))
            .stdout(Stdio::piped())
            .spawn();
        let mut curl = Curl(curl.expect("curl is installed"));
        let out = curl.0.stdout.as_mut().expect("a pipe");
        for _ in 0..3 {
            tell.send("7\r\ndata: 1\r\n").expect("the app listens");
            let mut piece = [0; 7];
            out.read_exact(&mut piece).unwrap_or_else(|error| panic!("{how}, TLS {tls}: {error}"));
            assert_eq!(&piece, b"data: 1");
        }
        tell.send("0\r\n\r\n").expect("the app listens");
        tell.send("").expect("the app listens");
        let mut rest = String::new();
        out.read_to_string(&mut rest).expect("text");
        assert_eq!(rest, version, "{how}, TLS {tls}");
    }
}

#[test]
fn a_piece_of_an_answer_of_known_length_is_not_held_back_either() {
    let (upstream, tell) = told("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /x HTTP/1.1", ""));
    assert_eq!(raw.head().expect("a head").header("content-length"), Some("10"));
    for _ in 0..2 {
        tell.send("hello").expect("the app listens");
        assert_eq!(raw.exactly(5).expect("the piece"), b"hello");
    }
    tell.send("").expect("the app listens");
    raw.send(stage.signed("GET /x HTTP/1.1", ""));
    tell.send("0123456789").expect("the app listens");
    tell.send("").expect("the app listens");
    assert_eq!(raw.answer().text(), "0123456789");
    assert_eq!(stage.site.upstream.connections(), 1);
}

/// An app that tells the test of every read.
fn listening() -> (Upstream, Receiver<Vec<u8>>) {
    let (tell, heard) = channel();
    let upstream = Upstream::listening(move |mut stream| {
        let mut buffer = vec![0; 65_536];
        while let Ok(count) = stream.read(&mut buffer) {
            if count == 0 || tell.send(buffer[..count].to_vec()).is_err() {
                break;
            }
            if buffer[..count].ends_with(b"0\r\n\r\n") || buffer[..count].ends_with(b"END") {
                let _ = stream.write_all(ok("done").as_bytes());
            }
        }
    });
    (upstream, heard)
}

/// Waits until what was heard ends like this.
fn hear(heard: &Receiver<Vec<u8>>, end: &str) {
    let mut all = Vec::new();
    while !all.ends_with(end.as_bytes()) {
        all.extend(
            heard.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&all))),
        );
    }
}

#[test]
fn a_piece_of_a_request_is_there_before_the_next_one_is_sent() {
    let (upstream, heard) = listening();
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /x HTTP/1.1", "Transfer-Encoding: chunked\r\n"));
    for _ in 0..3 {
        raw.send("5\r\nhello\r\n");
        hear(&heard, "5\r\nhello\r\n");
    }
    raw.send("0\r\n\r\n");
    hear(&heard, "0\r\n\r\n");
    assert_eq!(raw.answer().text(), "done");

    raw.send(stage.signed("POST /x HTTP/1.1", "Content-Length: 13\r\n"));
    for _ in 0..2 {
        raw.send("hello");
        hear(&heard, "hello");
    }
    assert_eq!(raw.send("END").answer().text(), "done");
}

#[test]
fn both_directions_flow_at_the_same_time() {
    let upstream = Upstream::listening(|mut stream| {
        let mut buffer = vec![0; 65_536];
        let mut begun = false;
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if !begun {
                begun = true;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            }
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            for number in ["one", "two", "three"].iter().filter(|number| text.contains(**number)) {
                let _ = write!(stream, "{:x}\r\n{number}\r\n", number.len());
            }
            // The head ends alike when the user id ends with a zero.
            if text.ends_with("\r\n0\r\n\r\n") || text == "0\r\n\r\n" {
                begun = false;
                let _ = stream.write_all(b"0\r\n\r\n");
            }
        }
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /x HTTP/1.1", "Transfer-Encoding: chunked\r\n"));
    assert_eq!(raw.head().expect("the answer begins before the request ends").status, 200);
    for word in ["one", "two", "three"] {
        let chunk = format!("{:x}\r\n{word}\r\n", word.len());
        raw.send(&chunk);
        assert_eq!(raw.exactly(chunk.len()).expect("the echo"), chunk.as_bytes());
    }
    raw.send("0\r\n\r\n");
    assert_eq!(raw.exactly(5).expect("the end"), b"0\r\n\r\n");
    raw.send(stage.signed("POST /x HTTP/1.1", "Transfer-Encoding: chunked\r\n"));
    assert_eq!(raw.send("3\r\none\r\n0\r\n\r\n").answer().text(), "one");
    assert_eq!(stage.site.upstream.connections(), 1, "all of it was clean");
}

#[test]
fn trailers_pass_in_both_directions() {
    let answer = "HTTP/1.1 200 OK\r\nTrailer: grpc-status, X-Sum, Set-Cookie, Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nhello\r\n0\r\ngrpc-status: 0\r\nX-Sum: 7\r\nSet-Cookie: sidegate=evil\r\nContent-Length: 3\r\n\r\n";
    let stage = Stage::on(Stage::plan().upstream(Upstream::answering(answer)));
    let mut raw = stage.connect();
    for _ in 0..2 {
        let fields = "TE: trailers\r\nTransfer-Encoding: chunked\r\n";
        raw.send(stage.signed("POST /x HTTP/1.1", fields));
        let response = raw.send("3\r\nabc\r\n0\r\nX-Md5: 1\r\n\r\n").answer();
        assert_eq!(response.text(), "hello");
        let trailers: Vec<(&str, &str)> =
            response.trailers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(trailers, [("grpc-status", "0"), ("x-sum", "7")]);
        let body = stage.site.upstream.last().body;
        assert_eq!(String::from_utf8_lossy(&body), "3\r\nabc\r\n0\r\nx-md5: 1\r\n\r\n");
    }
    assert_eq!(stage.site.upstream.connections(), 1);
}

#[test]
fn trailers_that_nobody_announced_or_asked_for_are_dropped_and_the_body_still_ends() {
    for (announced, asked) in [("", "TE: trailers\r\n"), ("Trailer: X-Sum\r\n", "")] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\n{announced}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"
        );
        let stage = Stage::on(Stage::plan().upstream(Upstream::answering(answer)));
        let mut raw = stage.connect();
        for _ in 0..2 {
            let response = raw.send(stage.signed("GET /x HTTP/1.1", asked)).answer();
            assert_eq!((response.text().as_str(), response.trailers.len()), ("hello", 0));
        }
    }
}

/// Bytes without a pattern that a shift would hide.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}

#[test]
fn large_bodies_arrive_whole_in_both_directions() {
    let body = noise(5_000_000);
    let upstream = Upstream::with(|arrived, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", arrived.body.len());
        let _ = stream.write_all(&arrived.body);
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /x HTTP/1.1", &format!("Content-Length: {}\r\n", body.len()))).send(&body);
    assert!(raw.answer().body == body);
    let chunked: Vec<u8> = body[..200_000]
        .chunks(777)
        .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
        .chain(*b"0\r\n\r\n")
        .collect();
    raw.send(stage.signed("POST /x HTTP/1.1", "Transfer-Encoding: chunked\r\n")).send(&chunked);
    let echoed = String::from_utf8_lossy(&raw.answer().body).len();
    assert!(echoed > 200_000, "the chunks arrived: {echoed}");
    assert_eq!(unchunked(&stage.site.upstream.last().body), body[..200_000]);
}

#[test]
fn large_answers_arrive_whole_at_clients_that_do_not_read_at_once() {
    let body = noise(3_000_000);
    let chunks = |sizes: usize| -> Vec<u8> {
        let chunk = |data: &[u8]| [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
        body.chunks(sizes).flat_map(chunk).chain(*b"0\r\n\r\n").collect()
    };
    let head = |framing: &str| format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").into_bytes();
    let answers = [
        [head(&format!("Content-Length: {}", body.len())), body.clone()].concat(),
        [head("Transfer-Encoding: chunked"), chunks(70_001)].concat(),
        [head("Transfer-Encoding: chunked"), chunks(5_003)].concat(),
        [head("Connection: close"), body.clone()].concat(),
    ];
    let upstream = Upstream::with(move |arrived, stream| {
        let place = arrived.line.find("/x").and_then(|at| arrived.line[at + 2..].get(..1)?.parse().ok());
        let answer: &Vec<u8> = &answers[place.unwrap_or(0_usize)];
        let _ = stream.write_all(answer);
        if answer.windows(17).take(64).any(|window| window == b"Connection: close") {
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    std::thread::scope(|scope| {
        for first in 0..12 {
            let (stage, body) = (&stage, &body);
            scope.spawn(move || {
                let mut raw = Raw::connect_narrow(stage.site.address);
                for step in 0..4 {
                    // The last of each ends with its connection.
                    let path = if step == 3 { 3 } else { (first + step) % 3 };
                    raw.send(stage.signed(&format!("GET /x{path} HTTP/1.1"), ""));
                    std::thread::sleep(Duration::from_millis(30));
                    assert!(raw.answer().body == *body, "/x{path}");
                }
            });
        }
    });
}

/// What these chunks carry.
pub(super) fn unchunked(mut wire: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = wire.windows(2).position(|window| window == b"\r\n").expect("a chunk line");
        let size =
            usize::from_str_radix(std::str::from_utf8(&wire[..end]).expect("text"), 16).expect("a size");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&wire[end + 2..end + 2 + size]);
        wire = &wire[end + size + 4..];
    }
}

#[test]
fn an_answer_framed_by_the_apps_goodbye_ends_for_the_client_too() {
    let upstream = Upstream::with(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
        for _ in 0..3 {
            let _ = stream.write_all(b"piece ");
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = stream.shutdown(Shutdown::Both);
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).text(), "piece piece piece ");
}

#[test]
fn an_expectation_is_met_even_if_the_app_answers_without_reading() {
    let upstream = Upstream::listening(|mut stream| {
        let mut buffer = [0; 4096];
        while let Ok(1..) = stream.read(&mut buffer) {
            let _ = stream.write_all(ok("no need").as_bytes());
        }
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /x HTTP/1.1", "Expect: 100-continue\r\nContent-Length: 5\r\n"));
    assert_eq!(raw.head().expect("an interim answer").status, 100);
    assert_eq!(raw.answer().text(), "no need");
    assert!(stage.site.is_well());
}

#[test]
fn lif_10_an_event_stream_ends_soon_after_its_session() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (upstream, tell) = told(head);
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /events HTTP/1.1", ""));
    tell.send("7\r\ndata: 1\r\n").expect("the app listens");
    raw.head().expect("a head");
    raw.exactly(12).expect("the piece");
    stage.sign_out();
    let ended = raw.exactly(1).expect_err("nothing more comes");
    assert_eq!(ended.kind(), std::io::ErrorKind::UnexpectedEof, "cut, not merely silent");
    tell.send("").expect("the app listens");
}
