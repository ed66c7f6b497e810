//! A request's body on its way to an app that is slow or busy with its answer, and one that breaks off.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use h2::server::Builder;
use rustls::{ServerConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use crate::proxy::http2_ways::server_config;
use crate::support::app2::App2;
use crate::support::bare::Bare;
use crate::support::h2::{frame, get};
use crate::support::raw::PATIENCE;
use crate::support::site::Plan;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

/// More than the sockets on the way hold.
const LARGE: usize = 10_000_000;

/// What a slow app is sent.
const MUCH: usize = 256 * 1024;

/// An app at the end of a narrow way: small packets and a small window keep the buffers of both sides small, so that
/// nearly every piece finds them full.
fn narrow(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_tcp_mss(1024).expect("small packets");
    socket.set_recv_buffer_size(8 * 1024).expect("a small window");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    socket.listen(16).expect("it listens");
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().expect("an address");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Reads a head and says how long the body behind it is. `None` if nothing comes any more.
pub(super) fn head(stream: &mut impl Read) -> Option<usize> {
    let (mut byte, mut seen) = ([0], Vec::new());
    while !seen.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        seen.push(byte[0]);
    }
    let text = String::from_utf8(seen).expect("a head");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    Some(length.map_or(0, |length| length.parse().expect("a length")))
}

/// Answers uploads, which are read more slowly than they come.
fn digest(mut stream: impl Read + Write) {
    let mut bite = vec![0; 64 * 1024];
    while let Some(mut left) = head(&mut stream) {
        while left > 0 {
            let most = left.min(bite.len());
            let Ok(count @ 1..) = stream.read(&mut bite[..most]) else { return };
            left -= count;
            thread::sleep(Duration::from_millis(10));
        }
        let _ = stream.write_all(ok("all of it").as_bytes());
    }
}

/// Whatever is sent last finds the way full too, and must arrive all the same.
fn arrives_whole(plan: Plan) {
    let stage = Stage::on(plan);
    let mut raw = stage.connect();
    // Whatever the pieces are cut to, the last one is a large one now and then.
    for length in (0..6).map(|more| MUCH + more * 8 * 1024) {
        raw.send(stage.signed("POST /x HTTP/1.1", &format!("Content-Length: {length}\r\n")));
        raw.send(vec![b'x'; length]);
        let answer = raw.answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "all of it"));
    }
}

#[test]
fn an_upload_reaches_an_app_that_reads_slowly_to_its_last_byte() {
    arrives_whole(Stage::plan().set("upstream", &format!("url = \"http://{}\"", narrow(digest))));
}

#[test]
fn an_upload_reaches_an_app_that_reads_slowly_by_tls_to_its_last_byte() {
    let (config, authority) = server_config();
    let config = Arc::new(config);
    let app = narrow(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
        digest(StreamOwned::new(connection, stream));
    });
    let lines = format!("url = \"https://{app}\"\nca_file = \"{authority}\"");
    arrives_whole(Stage::plan().set("upstream", &lines));
}

#[test]
fn an_upload_goes_on_while_its_answer_is_not_being_read() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let app = Upstream::listening(move |mut stream| {
        if head(&mut stream).is_none() {
            return;
        }
        let mut answers = stream.try_clone().expect("a second handle");
        thread::spawn(move || {
            let _ = write!(answers, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
            let _ = answers.write_all(&vec![b'y'; LARGE]);
        });
        if stream.read_exact(&mut vec![0; LARGE]).is_ok() {
            let _ = tell.lock().expect("no panic").send(());
        }
    });
    let stage = Stage::on(Stage::plan().upstream(app));
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /x HTTP/1.1", &format!("Content-Length: {LARGE}\r\n")));
    // Until the answer has filled all that lies between.
    thread::sleep(Duration::from_millis(500));
    raw.send(vec![b'x'; LARGE]);
    told.recv_timeout(PATIENCE).expect("the whole upload, before a byte of the answer is read");
    assert_eq!(raw.answer().body.len(), LARGE);
}

/// `POST /x` with so much of a body, the rest of which never comes: the stream is reset with this code.
fn breaks_off(stage: &Stage, code: u32, arrived: impl FnOnce()) -> Bare {
    let mut bare = Bare::greets(stage, 65_535);
    let mut block = get(stage.host(), "/open/x");
    // `:method POST` (RFC 7541 A).
    block[0] = 0x83;
    bare.sends(&frame(1, 4, 1, &block));
    bare.sends(&frame(0, 0, 1, b"half"));
    arrived();
    bare.resets(1, code);
    bare
}

/// Codes with which a client can say that all is well, that it does not care, and that it is broken.
const CODES: [u32; 3] = [0, 8, 2];

#[test]
fn f_10_and_u_8_a_body_by_http_2_that_is_reset_never_looks_complete() {
    for code in CODES {
        let ((tell, told), (start, seen)) = (channel(), channel());
        let ways = Mutex::new((tell, start));
        let app = Upstream::listening(move |mut stream| {
            if head(&mut stream).is_none() {
                return;
            }
            let mut first = [0; 9];
            let half = stream.read_exact(&mut first).is_ok() && first == *b"4\r\nhalf\r\n";
            let _ = ways.lock().expect("no panic").1.send(());
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            if half {
                let _ = ways.lock().expect("no panic").0.send(rest);
            }
        });
        let stage = Stage::on(Stage::plan().upstream(app).rule("/open/**", "public"));
        let _client =
            breaks_off(&stage, code, || seen.recv_timeout(PATIENCE).expect("half of the body arrives"));
        let rest = told.recv_timeout(PATIENCE).expect("the connection ends");
        assert_eq!(String::from_utf8_lossy(&rest), "", "after code {code}");
    }
}

#[test]
fn f_10_nor_to_an_app_that_speaks_http_2() {
    for code in CODES {
        let (tell, told) = channel();
        let (start, seen) = channel();
        let app = App2::with(Builder::new(), move |mut call| {
            let (tell, start) = (tell.clone(), start.clone());
            async move {
                let first = call.body.data().await.expect("a piece").expect("sound");
                let _ = start.send(first);
                let next = call.body.data().await;
                let _ = tell.send(next.is_some_and(|next| next.is_err()));
            }
        });
        let stage = Stage::on(Stage::plan().set("upstream", &app.toml()).rule("/open/**", "public"));
        let _client = breaks_off(&stage, code, || {
            let first = seen.recv_timeout(PATIENCE).expect("half of the body arrives");
            assert_eq!(first, "half");
        });
        assert!(told.recv_timeout(PATIENCE).expect("the stream ends"), "broken off, after code {code}");
    }
}
