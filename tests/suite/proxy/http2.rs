//! HTTP/2 from clients: the same judgement and the same request towards the app as by HTTP/1.1.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;
use std::{iter, thread};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::ext::Protocol;

use crate::jobs::eventually;
use crate::support::bare::{Bare, End};
use crate::support::h2::{self, H2};
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, switch};

/// A request of somebody who is signed in.
fn signed(stage: &Stage, method: Method, path: &str, body: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(format!("{}{path}", stage.site.origin))
        .header("cookie", &stage.cookie)
        .body(Full::from(body.to_owned()))
        .expect("a request")
}

#[test]
fn a_request_reaches_the_app_as_one_of_http_1_with_the_identity_last() {
    let stage = Stage::new();
    let mut client = H2::connect(stage.site.address);
    let mut request = signed(&stage, Method::POST, "/things?x=1", "four");
    for (name, value) in [("x-user-id", "u2"), ("x_user_id", "u3"), ("cookie", "a=b"), ("te", "trailers")] {
        request.headers_mut().append(name, value.parse().expect("a value"));
    }
    let answer = client.ask(request);
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hello"[..]));
    assert!(!answer.headers.contains_key("connection") && !answer.headers.contains_key("keep-alive"));
    let arrived = stage.site.upstream.only();
    assert_eq!(arrived.line, "POST /things?x=1 HTTP/1.1");
    assert_eq!(arrived.header("host"), Some(stage.host()));
    assert_eq!(arrived.header("x-user-id"), Some(stage.me.as_str()));
    assert_eq!(arrived.header("cookie"), Some("a=b"));
    assert_eq!(arrived.header("te"), Some("trailers"));
    assert_eq!((arrived.header("content-length"), arrived.body.as_slice()), (Some("4"), &b"four"[..]));
    assert!(arrived.all("x_user_id").is_empty());
}

#[test]
fn many_requests_share_a_connection_and_each_is_judged() {
    let stage = Stage::new();
    let mut client = H2::connect(stage.site.address);
    for _ in 0..200 {
        assert_eq!(client.ask(signed(&stage, Method::GET, "/", "")).status, 200);
        let other = client.ask(signed(&stage, Method::GET, "/api/somebody-else/x", ""));
        assert_eq!(other.status, 403);
    }
    let strange = Request::get(format!("{}/", stage.site.origin)).body(Full::default()).expect("a request");
    assert_eq!(client.ask(strange).status, 401);
    assert_eq!(stage.site.upstream.arrived().len(), 200);
}

#[test]
fn trailers_come_through() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n",
    );
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let answer = H2::connect(stage.site.address).ask(signed(&stage, Method::GET, "/", ""));
    assert_eq!(answer.body, b"abc");
    assert_eq!(answer.trailers.expect("trailers")["x-sum"], "7");
}

#[test]
fn t_05_two_hosts_in_one_request_are_refused() {
    let stage = Stage::new();
    let mut client = H2::connect(stage.site.address);
    let mut request = signed(&stage, Method::GET, "/", "");
    request.headers_mut().insert("host", "elsewhere.example".parse().expect("a value"));
    assert_eq!(client.ask(request).status, 400);
    let port = stage.site.address.port();
    let elsewhere =
        Request::get(format!("http://elsewhere.example:{port}/")).body(Full::default()).expect("a request");
    assert_eq!(client.ask(elsewhere).status, 421);
    assert!(stage.site.upstream.arrived().is_empty());
    assert_eq!(client.ask(signed(&stage, Method::GET, "/", "")).status, 200, "the connection goes on");
}

#[test]
fn r_09_a_tunnel_to_anywhere_is_refused() {
    let stage = Stage::new();
    let mut client = H2::connect(stage.site.address);
    let connect = Request::builder()
        .method(Method::CONNECT)
        .uri("internal.example:22")
        .header("cookie", &stage.cookie)
        .body(Full::default())
        .expect("a request");
    assert_eq!(client.begin(connect).expect("an answer").status(), 405);
    let mut other = signed(&stage, Method::CONNECT, "/x", "");
    other.extensions_mut().insert(Protocol::from_static("connect-udp"));
    assert_eq!(client.begin(other).expect("an answer").status(), 501);
    assert!(stage.site.upstream.arrived().is_empty());
}

#[test]
fn http2_that_was_not_negotiated_is_known_by_its_first_bytes_however_they_are_cut() {
    let stage = Stage::new();
    let block = h2::get(stage.host(), "/auth/ok");
    let bytes = [h2::preface(), h2::frame(1, 5, 1, &block), h2::frame(7, 0, 0, &[0; 8])].concat();
    for cut in [1, 3, 4, 5, 24, bytes.len()] {
        let mut stream = TcpStream::connect(stage.site.address).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        stream.write_all(&bytes[..cut]).expect("it reads");
        thread::sleep(Duration::from_millis(50));
        stream.write_all(&bytes[cut..]).expect("it reads");
        let answer = iter::from_fn(|| h2::read_frame(&mut stream));
        let status =
            answer.into_iter().find(|(kind, _, on, _)| (*kind, *on) == (1, 1)).map(|frame| frame.3[0]);
        assert_eq!(status, Some(0x88), "cut at {cut}");
    }
}

#[test]
fn r_07_a_client_that_gives_up_one_request_after_the_other_is_shown_out() {
    let stage = Stage::new();
    let block = h2::get(stage.host(), "/auth/ok");
    let mut bytes = h2::preface();
    for number in 0..20_000_u32 {
        let stream = 2 * number + 1;
        bytes.extend(h2::frame(1, 5, stream, &block));
        bytes.extend(h2::frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    let answer = h2::until_ended(stage.site.address, &bytes);
    assert!(!answer.is_empty() && stage.site.is_well());
}

#[test]
fn dos_a_head_that_never_ends_ends_the_connection() {
    let stage = Stage::new();
    let mut bytes = h2::preface();
    bytes.extend(h2::frame(1, 1, 1, &h2::get(stage.host(), "/auth/ok")));
    for _ in 0..20_000 {
        bytes.extend(h2::frame(9, 0, 1, &[0x40; 1]));
        bytes.extend(h2::frame(9, 0, 1, &[&[0x40, 1, b'a', 120][..], &[b'b'; 120]].concat()));
    }
    h2::until_ended(stage.site.address, &bytes);
    assert!(stage.site.is_well());
}

#[test]
fn f_19_a_length_that_is_not_kept_never_looks_complete_to_the_app() {
    let stage = Stage::new();
    let block = [
        &[0x83, 0x86][..],
        &h2::get(stage.host(), "/open")[2..],
        // cookie, content-length: 9
        &[0x0f, 0x11, u8::try_from(stage.cookie.len()).expect("short")],
        stage.cookie.as_bytes(),
        &[0x0f, 0x0d, 1, b'9'],
    ]
    .concat();
    let bytes =
        [h2::preface(), h2::frame(1, 4, 1, &block), h2::frame(0, 1, 1, b"four"), h2::frame(7, 0, 0, &[0; 8])]
            .concat();
    h2::until_ended(stage.site.address, &bytes);
    assert!(stage.site.is_well());
    assert!(stage.site.upstream.arrived().iter().all(|arrived| arrived.body.len() != 9));
    assert!(stage.site.upstream.arrived().is_empty(), "nothing whole arrived");
}

/// A key as a client of HTTP/1.1 sends it.
const THEIRS: &str = "dGhlIHNhbXBsZSBub25jZQ==";

#[test]
fn rfc_8441_a_websocket_over_http_2_is_a_handshake_towards_the_app() {
    let upstream = Upstream::with(|arrived, stream| {
        use std::io::{Read as _, Write as _};
        assert_eq!(arrived.header("upgrade"), Some("websocket"));
        let switch = switch(arrived).replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\nhi");
        let _ = stream.write_all(switch.as_bytes());
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let _ = stream.write_all(&buffer[..count]);
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut client = H2::connect(stage.site.address);
    let mut request = signed(&stage, Method::CONNECT, "/socket", "");
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    request.headers_mut().insert("sec-websocket-version", "13".parse().expect("a value"));
    // Here it means nothing, and must not stand for ours.
    request.headers_mut().insert("sec-websocket-key", THEIRS.parse().expect("a value"));
    let response = client.begin(request).expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    let echoed = client.block_on(async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let upgraded = hyper::upgrade::on(response).await.expect("a tunnel");
        let mut tunnel = hyper_util::rt::TokioIo::new(upgraded);
        tunnel.write_all(b"there").await.expect("sent");
        let mut echoed = [0; 7];
        tunnel.read_exact(&mut echoed).await.expect("the echo");
        echoed
    });
    assert_eq!(&echoed, b"hithere");
    let arrived = stage.site.upstream.only();
    assert_eq!(arrived.line, "GET /socket HTTP/1.1");
    assert!(arrived.header("sec-websocket-key").is_some_and(|key| key.len() == 24 && key != THEIRS));
    assert_eq!(arrived.header("x-user-id"), Some(stage.me.as_str()));
    // A stranger's is refused before anything is said to the app.
    let mut strange = signed(&stage, Method::CONNECT, "/socket", "");
    strange.headers_mut().remove("cookie");
    strange.extensions_mut().insert(Protocol::from_static("websocket"));
    let refused = client.begin(strange).expect("an answer");
    assert_eq!(refused.status(), 401);
    drop(client.block_on(refused.into_body().collect()));
    assert_eq!(stage.site.upstream.arrived().len(), 1);
}

#[test]
fn a_stop_lets_a_running_answer_finish_and_takes_nothing_new() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::with(move |_, stream| {
        use std::io::Write as _;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
        let _ = wait.lock().expect("not poisoned").recv();
        let _ = stream.write_all(b"llo");
    });
    let mut stage = Stage::on(Stage::plan().rule("/open/**", "public").upstream(upstream));
    let server = stage.site.take_server();
    let mut client = Bare::greets(&stage, 65_535);
    client.asks(1, "/open/x");
    eventually("the app is asked", || !stage.site.upstream.arrived().is_empty());
    let stopping = thread::spawn(move || server.stop());
    assert_eq!(client.is_told_to_leave(), (1, 0), "the running one still counts, and there is no error");
    client.asks(3, "/open/late");
    go.send(()).expect("it waits");
    // What has come of it before that may have been heard above.
    assert!(matches!(client.hears(1), End::Whole(3 | 5)));
    assert!(!matches!(client.hears(3), End::Whole(_)), "nothing new");
    stopping.join().expect("it stops");
    assert_eq!(stage.site.upstream.arrived().len(), 1);
}
