//! An app that is away, silent or broken, and what the client is told of it.

use std::io::Write as _;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::h2::H2;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

/// An address at which nobody listens, as long as the socket is kept.
fn nobody() -> (Socket, std::net::SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    let address = socket.local_addr().expect("bound").as_socket().expect("an address");
    (socket, address)
}

#[test]
fn u_1_an_app_that_is_not_there_is_502_as_json_and_as_a_page() {
    let (_port, address) = nobody();
    let stage = Stage::on(Stage::plan().set("upstream", &format!("url = \"http://{address}\"")));
    let response = stage.ask(stage.signed("GET /x HTTP/1.1", ""));
    assert_eq!((response.status, response.code().as_str()), (502, "UPSTREAM_UNREACHABLE"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.json()["request_id"].as_str(), response.header("x-request-id"));
    assert!(!response.text().contains("127.0.0.1"), "{}", response.text());

    let response =
        stage.ask(stage.signed("GET /x HTTP/1.1", "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n"));
    assert_eq!((response.status, response.header("content-type")), (502, Some("text/html; charset=utf-8")));
    assert!(response.text().contains(response.header("x-request-id").expect("an id")));

    let response = stage
        .ask(stage.signed("POST /x HTTP/1.1", "Content-Type: application/grpc\r\nContent-Length: 0\r\n"));
    assert_eq!((response.status, response.header("grpc-status")), (200, Some("14")));
}

#[test]
fn u_1_a_connection_that_is_not_made_in_time_is_504() {
    // A full queue of connections that nobody accepts: the next one is not answered at all.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    socket.listen(0).expect("it listens");
    let address = socket.local_addr().expect("bound").as_socket().expect("an address");
    let queue: Vec<_> =
        (0..4).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200))).collect();
    assert!(queue.iter().any(Result::is_err), "the queue is full");
    let lines = format!("url = \"http://{address}\"\nconnect_timeout = \"100ms\"");
    let stage = Stage::on(Stage::plan().set("upstream", &lines));
    let response = stage.ask(stage.signed("GET /x HTTP/1.1", ""));
    assert_eq!((response.status, response.code().as_str()), (504, "UPSTREAM_TIMEOUT"));
}

#[test]
fn u_1_a_name_that_leads_nowhere_is_502() {
    // A label of more than 63 bytes: nobody needs to be asked to know that there is none (RFC 1035 §2.3.4).
    let lines = format!("url = \"http://{}.invalid:1\"", "x".repeat(64));
    let stage = Stage::on(Stage::plan().set("upstream", &lines));
    let response = stage.ask(stage.signed("GET /x HTTP/1.1", ""));
    assert_eq!((response.status, response.code().as_str()), (502, "UPSTREAM_UNREACHABLE"));
    assert!(stage.site.is_well());
}

#[test]
fn u_2_an_app_that_does_not_answer_in_time_is_504_and_its_connection_is_given_up() {
    let upstream = Upstream::with(|arrived, stream| {
        if arrived.line.contains("half") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-");
        }
        if arrived.line.contains("interim") {
            let _ = stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n");
        }
    });
    let stage = Stage::on(Stage::plan().upstream(upstream).set("upstream", "response_timeout = \"200ms\""));
    for (count, path) in ["/silent", "/half", "/interim"].iter().enumerate() {
        let response = stage.ask(stage.signed(&format!("GET {path} HTTP/1.1"), ""));
        assert_eq!((response.status, response.code().as_str()), (504, "UPSTREAM_TIMEOUT"), "{path}");
        assert_eq!(stage.site.upstream.connections(), count + 1, "{path}");
    }
    let page = stage.ask(stage.signed("GET /silent HTTP/1.1", "Accept: text/html\r\n"));
    assert_eq!((page.status, page.header("content-type")), (504, Some("text/html; charset=utf-8")));
}

#[test]
fn u_2_a_long_poll_is_waited_for_as_long_as_was_chosen_and_by_no_other_limit() {
    let upstream = Upstream::with(|_, stream| {
        thread::sleep(Duration::from_millis(1500));
        let _ = stream.write_all(ok("news").as_bytes());
    });
    let limits = "head_timeout = \"300ms\"\nkeep_alive = \"300ms\"\nbody_idle = \"300ms\"";
    let plan = |timeout: &str| {
        let upstream = format!("response_timeout = \"{timeout}\"\nidle_timeout = \"300ms\"");
        Stage::plan().set("limits", limits).set("upstream", &upstream)
    };
    let stage = Stage::on(plan("30s").upstream(upstream));
    let asked = |stage: &Stage| {
        let request = http::Request::get(format!("{}/x", stage.site.origin)).header("cookie", &stage.cookie);
        let request = request.body(http_body_util::Full::default()).expect("a request");
        let by_http_2 = H2::connect(stage.site.address).ask(request);
        let by_http_1 = stage.ask(stage.signed("GET /x HTTP/1.1", ""));
        let with_body = stage.ask(stage.signed("POST /x HTTP/1.1", "Content-Length: 4\r\n") + "four");
        [by_http_2.status, by_http_1.status, with_body.status]
    };
    assert_eq!(asked(&stage), [200; 3]);
    let address = format!("url = \"http://{}\"", stage.site.upstream.address);
    assert_eq!(asked(&Stage::on(plan("500ms").set("upstream", &address))), [504; 3]);
}

#[test]
fn u_2_an_app_that_takes_connections_and_reads_nothing_is_504() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let lines = format!("url = \"http://{address}\"\nresponse_timeout = \"300ms\"");
    let plan = Stage::plan().set("upstream", &lines).set("limits", "body = \"1GiB\"\nbody_idle = \"60s\"");
    let stage = Stage::on(plan);
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /x HTTP/1.1", "Content-Length: 100000000\r\n"));
    let answered = thread::scope(|scope| {
        let answer = {
            let mut reader = raw.try_clone();
            scope.spawn(move || reader.answer())
        };
        let piece = vec![b'x'; 1 << 16];
        // Until nothing more is taken, which is the end of the connection.
        while raw.try_send(&piece) {}
        answer.join().expect("no panic")
    });
    assert_eq!(answered.status, 504);
}

#[test]
fn u_13_a_pause_in_an_answer_longer_than_allowed_cuts_it() {
    let upstream = Upstream::with(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        thread::sleep(Duration::from_secs(3));
        let _ = stream.write_all(b"0\r\n\r\n");
    });
    let stage = Stage::on(Stage::plan().upstream(upstream).set("upstream", "idle_timeout = \"200ms\""));
    let mut raw = stage.connect();
    assert!(raw.send(stage.signed("GET /x HTTP/1.1", "")).try_answer(false).is_err());
    assert!(raw.is_closed());
}

#[test]
fn u_7_an_answer_that_comes_before_the_body_is_passed_on_and_the_upload_ends() {
    let upstream = Upstream::listening(|mut stream| {
        let mut head = [0; 4096];
        let _ = std::io::Read::read(&mut stream, &mut head);
        let _ = stream.write_all(ok("enough").replace("200 OK", "413 Enough").as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        // It stays until the other side goes.
        while std::io::Read::read(&mut stream, &mut head).is_ok_and(|count| count > 0) {}
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    for count in 1..=2 {
        let mut raw = stage.connect();
        raw.send(stage.signed("POST /x HTTP/1.1", "Content-Length: 1000000\r\n"));
        raw.send("begin");
        let response = raw.answer();
        assert_eq!((response.status, response.text().as_str()), (413, "enough"));
        raw.send("x".repeat(999_995)).send(stage.signed("GET /hidden HTTP/1.1", ""));
        let _ = raw.rest();
        assert_eq!(stage.site.upstream.connections(), count, "half a request's connection is not used again");
    }
    assert!(stage.site.is_well());
}
