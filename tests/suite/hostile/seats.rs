//! How many connections there may be, in all and from one address.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::raw::{PATIENCE, Raw};
use crate::support::stage::Stage;
use crate::support::upstream::Upstream;

/// A connection on which this was answered; waits until there is room for one, because the server hears of
/// the end of another one a moment later than the client.
fn seated(stage: &Stage, request: &str) -> Raw {
    (0..500)
        .find_map(|_| {
            let mut raw = stage.connect();
            let answered = raw.send(request).try_answer(false).is_ok();
            if !answered {
                thread::sleep(Duration::from_millis(10));
            }
            answered.then_some(raw)
        })
        .expect("there is room again")
}

#[test]
fn r_6_connections_beyond_the_limit_are_closed_and_room_is_found_again() {
    let stage = Stage::on(Stage::plan().set("limits", "connections = 3"));
    let request = stage.signed("GET /x HTTP/1.1", "");
    let mut held: Vec<_> = (0..3).map(|_| seated(&stage, &request)).collect();
    assert!(stage.connect().send(&request).try_answer(false).is_err());
    held.pop();
    seated(&stage, &request);
}

#[test]
fn r_6_tunnels_count_as_connections() {
    let upstream = Upstream::with(|_, stream| {
        let _ = stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    });
    let stage = Stage::on(
        Stage::plan()
            .set("limits", "connections = 2")
            .set("upstream", "upgrades = [\"x\"]")
            .upstream(upstream),
    );
    let handshake = stage.signed("GET /x HTTP/1.1", "Connection: upgrade\r\nUpgrade: x\r\n");
    let mut tunnels: Vec<_> = (0..2).map(|_| seated(&stage, &handshake)).collect();
    assert!(stage.connect().send(&handshake).try_answer(false).is_err());
    tunnels.pop();
    seated(&stage, &handshake);
}

/// A connection from this address on which this was answered.
fn from(stage: &Stage, address: &str, request: &str) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let here: std::net::SocketAddr = format!("{address}:0").parse().expect("an address");
    socket.bind(&here.into()).expect("an address of this machine");
    socket.connect(&stage.site.address.into()).expect("a connection");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let _ = stream.write_all(request.as_bytes());
    let mut status = [0; 12];
    stream.read_exact(&mut status).is_ok_and(|()| status.ends_with(b"200")).then_some(stream)
}

#[test]
fn r_6_one_address_has_so_many_connections_over_all_workers_and_others_are_not_hurt() {
    let limits = "connections_per_address = 3\nuncounted = [\"127.0.0.9\"]";
    let plan = Stage::plan().set("limits", limits).set("listen", "workers = 3");
    let stage = Stage::on(plan.set("proxies", "trusted = [\"127.0.0.8\"]"));
    let request = stage.signed("GET /x HTTP/1.1", "");
    let mut held: Vec<_> = (0..3).map(|_| from(&stage, "127.0.0.2", &request).expect("room")).collect();
    for _ in 0..10 {
        assert!(from(&stage, "127.0.0.2", &request).is_none(), "one too many");
    }
    let _other = from(&stage, "127.0.0.3", &request).expect("room");
    // Behind these there may be many.
    for many in ["127.0.0.8", "127.0.0.9"] {
        let crowd: Vec<_> = (0..20).map(|_| from(&stage, many, &request)).collect();
        assert!(crowd.iter().all(Option::is_some), "{many}");
    }
    held.pop();
    let again = (0..500).find_map(|_| {
        thread::sleep(Duration::from_millis(10));
        from(&stage, "127.0.0.2", &request)
    });
    assert!(again.is_some(), "there is room again");
}

#[test]
fn r_6_behind_a_proxy_that_names_its_clients_each_of_them_is_counted() {
    let plan = Stage::plan().set("limits", "connections_per_address = 2").rule("/open/**", "public");
    let site = plan
        .set("listen", "proxy_protocol = \"required\"")
        .set("proxies", "trusted = [\"127.0.0.1\"]")
        .set("admin", "address = \"127.0.0.1:0\"")
        .start();
    let host = site.origin.split("://").nth(1).expect("a host").to_owned();
    let begin = |client: &str| {
        let mut raw = Raw::connect(site.address);
        raw.send(format!(
            "PROXY TCP4 {client} 10.0.0.1 4711 80\r\nGET /open/x HTTP/1.1\r\nHost: {host}\r\n\r\n"
        ));
        raw.try_answer(false).is_ok_and(|answer| answer.status == 200).then_some(raw)
    };
    let held = [begin("192.0.2.1"), begin("192.0.2.1")];
    assert!(held.iter().all(Option::is_some) && begin("192.0.2.1").is_none());
    assert!(begin("192.0.2.2").is_some(), "others are not hurt");
    assert!(crate::ops::told(site.admin(), "/metrics").text().contains("connections_refused_total 1\n"));
    drop(held);
    let again = (0..500).any(|_| {
        thread::sleep(Duration::from_millis(10));
        begin("192.0.2.1").is_some()
    });
    assert!(again, "there is room again");
}
