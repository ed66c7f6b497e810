//! WebSockets in streams of HTTP/2 whose client sends very small pieces that nobody takes: they end none of what else comes
//! on the connection, and nothing of them is lost.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::channel;
use std::thread;

use tempfile::TempDir;

use crate::support::bare::Bare;
use crate::support::frame::block;
use crate::support::h2::frame;
use crate::support::raw::PATIENCE;
use crate::support::stage::Stage;
use crate::support::upstream::{Arrived, switch};

const HEADERS: u8 = 1;
const END_HEADERS: u8 = 4;
/// More than a socket in the file system takes, and no more than the window of a stream lets in.
const LARGE: usize = 256 * 1024;
/// More than the library bears if nobody takes them.
const PIECES: usize = 8000;
const PIECE: &[u8] = b"0123456789";

/// What an app does that does not read yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    /// It has not answered the handshake.
    Waits,
    /// It says nothing.
    Listens,
    /// It says more than the client takes.
    Speaks,
    /// It has said all that it had to say.
    Ends,
}

fn handshake(stage: &Stage) -> Vec<u8> {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/open/x"),
        (":authority", stage.host()),
        ("sec-websocket-version", "13"),
    ];
    frame(HEADERS, END_HEADERS, 1, &block(&fields))
}

/// The head of a request.
fn head(stream: &mut UnixStream) -> Arrived {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.extend(byte);
    }
    let text = String::from_utf8(head).expect("text");
    let fields = text.lines().filter_map(|line| line.split_once(": "));
    let headers = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Arrived { connection: 1, line: String::new(), headers, body: Vec::new() }
}

fn pass(does: Does) {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("app.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let ((go, wait), (tell, told)) = (channel(), channel());
    let large = if does == Does::Waits { 0 } else { LARGE };
    let most = large + PIECES * PIECE.len();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let arrived = head(&mut stream);
        if does == Does::Waits {
            wait.recv_timeout(PATIENCE).expect("in time");
        }
        stream.write_all(switch(&arrived).as_bytes()).expect("it is sent");
        match does {
            Does::Waits | Does::Listens => {}
            Does::Speaks => stream.write_all(b"hello").expect("it is sent"),
            Does::Ends => stream.shutdown(Shutdown::Write).expect("a socket"),
        }
        if does != Does::Waits {
            wait.recv_timeout(PATIENCE).expect("in time");
        }
        let mut body = vec![0; most];
        let _ = tell.send(stream.read_exact(&mut body).map(|()| body));
    });
    let plan = Stage::plan().rule("/open/**", "public");
    let stage = Stage::on(plan.set("upstream", &format!("url = \"unix:{}\"", path.display())));
    let mut client = Bare::greets(&stage, if does == Does::Speaks { 0 } else { 65_535 });
    client.sends(&handshake(&stage));
    if does != Does::Waits {
        assert!(client.is_answered(1));
    }
    client.sends(&frame(0, 0, 1, &[b'x'; 16 * 1024]).repeat(large / (16 * 1024)));
    client.is_read();
    client.sends(&frame(0, 0, 1, PIECE).repeat(PIECES));
    client.is_read();
    client.asks(3, "/auth/ok");
    assert!(client.is_answered(3) && client.goodbyes.is_empty());
    go.send(()).expect("it waits");
    let body = told.recv_timeout(PATIENCE).expect("in time").expect("all of it");
    assert!(body[..large].iter().all(|&byte| byte == b'x') && body[large..] == PIECE.repeat(PIECES));
}

#[test]
fn small_pieces_of_a_tunnel_end_nothing_while_its_handshake_is_not_answered() {
    pass(Does::Waits);
}

#[test]
fn small_pieces_of_a_tunnel_end_nothing_while_the_app_only_listens() {
    pass(Does::Listens);
}

#[test]
fn small_pieces_of_a_tunnel_end_nothing_while_nobody_takes_anything() {
    pass(Does::Speaks);
}

#[test]
fn small_pieces_of_a_tunnel_end_nothing_though_the_app_has_said_all() {
    pass(Does::Ends);
}
