//! Uploads by HTTP/2 in very small pieces, as gRPC sends them, to an app that does not read yet: they end none of what else
//! comes on the connection, and nothing of them is lost.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Frame;
use tempfile::TempDir;

use crate::support::bare::{Bare, End};
use crate::support::h2::{H2, answered, frame, get, read_frame};
use crate::support::raw::PATIENCE;
use crate::support::stage::Stage;
use crate::support::upstream::ok;

/// More than sockets and the windows of a stream take for an app that does not read.
const PIECES: usize = 20_000;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;

fn piece(number: usize) -> Vec<u8> {
    format!("{number:030}").into_bytes()
}

/// An app that reads a body once it may.
type Reads = fn(&mut UnixStream, &Receiver<()>) -> Option<Vec<u8>>;

fn by_http1(stream: &mut UnixStream, wait: &Receiver<()>) -> Option<Vec<u8>> {
    let (mut head, mut body) = (Vec::new(), vec![0; PIECES * piece(0).len()]);
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    wait.recv_timeout(PATIENCE).ok()?;
    stream.read_exact(&mut body).ok()?;
    stream.write_all(ok("read").as_bytes()).ok()?;
    Some(body)
}

/// It waits before it takes more than the window of a stream is at first, or before it greets.
fn by_http2(stream: &mut UnixStream, wait: &Receiver<()>, greets: bool) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    stream.read_exact(&mut [0; 24]).ok()?;
    if !greets {
        wait.recv_timeout(PATIENCE).ok()?;
    }
    stream.write_all(&[frame(SETTINGS, 0, 0, b""), frame(SETTINGS, 1, 0, b"")].concat()).ok()?;
    loop {
        let (kind, flags, of, payload) = read_frame(stream)?;
        match kind {
            0 => {
                if body.is_empty() {
                    if greets {
                        wait.recv_timeout(PATIENCE).ok()?;
                    }
                    let more = 0x1000_0000_u32.to_be_bytes();
                    stream.write_all(&[frame(8, 0, 0, &more), frame(8, 0, of, &more)].concat()).ok()?;
                }
                body.extend(payload);
                if flags & END_STREAM != 0 {
                    stream.write_all(&answered(of)).ok()?;
                    return Some(body);
                }
            }
            6 if flags == 0 => stream.write_all(&frame(6, 1, 0, &payload)).ok()?,
            _ => {}
        }
    }
}

/// The app listens in the file system: of what it does not read, such a socket keeps little.
fn pass(protocol: &str, reads: Reads) {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("app.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let ((go, wait), (tell, told)) = (channel(), channel());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = tell.send(reads(&mut stream, &wait));
        // What is said is heard before the end.
        let _ = stream.read(&mut [0]);
    });
    let url = format!("url = \"unix:{}\"", path.display());
    let settings = format!("{url}\nprotocol = \"{protocol}\"\nconnect_timeout = \"30s\"");
    let stage = Stage::on(Stage::plan().set("upstream", &settings));
    let mut client = H2::connect(stage.site.address);
    let head = Request::builder()
        .method(Method::POST)
        .uri(format!("{}/notes.Notes/Write", stage.site.origin))
        .header("cookie", &stage.cookie)
        .header("content-length", PIECES * piece(0).len())
        .header("origin", &stage.site.origin);
    let (pieces, answer) = client.stream(head.body(()).expect("a request"));
    let answer = client.spawn(answer);
    for number in 0..PIECES {
        pieces.send(Frame::data(Bytes::from(piece(number)))).expect("it is sent");
    }
    drop(pieces);
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(100));
        let other = Request::get(format!("{}/auth/ok", stage.site.origin)).body(Full::default());
        assert_eq!(client.ask(other.expect("a request")).status, 200, "{protocol}");
    }
    let all: Vec<u8> = (0..PIECES).flat_map(piece).collect();
    go.send(()).expect("it waits");
    let body = told.recv_timeout(PATIENCE).expect("in time").expect("a body");
    assert!(body == all, "something was lost or came twice");
    assert_eq!(client.block_on(answer).expect("no panic").expect("an answer").status(), 200);
}

#[test]
fn small_pieces_that_an_app_by_http_1_does_not_take_end_nothing_else() {
    pass("http1", by_http1);
}

#[test]
fn small_pieces_that_an_app_by_http_2_does_not_take_end_nothing_else() {
    pass("h2c", |stream, wait| by_http2(stream, wait, true));
}

#[test]
fn small_pieces_for_which_there_is_no_connection_to_the_app_yet_end_nothing_else() {
    pass("h2c", |stream, wait| by_http2(stream, wait, false));
}

#[test]
fn small_pieces_that_all_come_at_once_end_nothing_either() {
    let stage = Stage::on(Stage::plan().rule("/open/**", "public"));
    let mut client = Bare::greets(&stage, 65_535);
    let post = [&[0x83][..], &get(stage.host(), "/open/x")[1..]].concat();
    let pieces = frame(0, 0, 1, &piece(0)).repeat(8000);
    client.sends(&[frame(1, 4, 1, &post), pieces, frame(0, END_STREAM, 1, b"")].concat());
    assert_eq!(client.hears(1), End::Whole("hello".len()));
    assert!(client.goodbyes.is_empty());
}
