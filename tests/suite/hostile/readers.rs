//! Clients that take what they asked for slowly, and are no attackers.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::raw::PATIENCE;
use crate::support::stage::Stage;
use crate::support::upstream::Upstream;

#[test]
fn r_3_who_takes_a_little_each_time_is_waited_for_by_http_1_too() {
    // Far more than both systems keep between us, and several times as long as a pause may be.
    const SIZE: usize = 20_000_000;
    let upstream = Upstream::with(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
        let _ = stream.write_all(&vec![b'x'; SIZE]);
    });
    let stage = Stage::on(Stage::plan().set("limits", "body_idle = \"2s\"").upstream(upstream));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(65_536).expect("a small buffer");
    socket.connect(&stage.site.address.into()).expect("a connection");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(stage.signed("GET /x HTTP/1.1", "").as_bytes()).expect("it is sent");
    let (mut read, mut buffer) = (0, vec![0; 250_000]);
    while read < SIZE {
        thread::sleep(Duration::from_millis(100));
        let most = buffer.len();
        let mut taken = 0;
        while taken < most && read + taken < SIZE {
            match stream.read(&mut buffer[taken..]).expect("the connection stays") {
                0 => panic!("it was cut after {read} bytes"),
                count => taken += count,
            }
        }
        read += taken;
    }
}

#[test]
fn r_3_a_client_that_reads_slowly_but_steadily_is_not_taken_for_one_that_does_not_read() {
    const SIZE: usize = 8_000_000;
    let upstream = Upstream::with(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
        let _ = stream.write_all(&vec![b'x'; SIZE]);
    });
    let stage = Stage::on(Stage::plan().set("limits", "body_idle = \"2s\"").upstream(upstream));
    let mut stream = TcpStream::connect(stage.site.address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(stage.signed("GET /x HTTP/1.1", "").as_bytes()).expect("it is sent");
    let (mut read, mut buffer) = (0, vec![0; 32 * 1024]);
    // Some 600 KiB a second, for several times as long as somebody who does not read is borne.
    for piece in 0.. {
        let Ok(count @ 1..) = stream.read(&mut buffer) else { break };
        read += count;
        if read >= SIZE {
            break;
        }
        if piece < 120 {
            thread::sleep(Duration::from_millis(50));
        }
    }
    assert!(read >= SIZE, "{read} bytes came");
}
