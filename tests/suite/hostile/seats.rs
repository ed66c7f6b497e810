//! How many connections there may be, in all and from one address.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::jobs::eventually;
use crate::ops::{number, told};
use crate::support::bare::Bare;
use crate::support::raw::{PATIENCE, Raw};
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

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

/// A connection with a request that the app does not answer; waits until there is room for one.
fn under_way(stage: &Stage, request: &str, was_asked: &Receiver<()>) -> Raw {
    (0..500)
        .find_map(|_| {
            let mut raw = stage.connect();
            raw.send(request);
            was_asked.recv_timeout(Duration::from_millis(50)).is_ok().then_some(raw)
        })
        .expect("there is room again")
}

#[test]
fn r_6_connections_beyond_the_limit_are_closed_and_room_is_found_again() {
    let (upstream, was_asked, _go) = Upstream::held();
    let stage = Stage::on(Stage::plan().set("limits", "connections = 3").upstream(upstream));
    let request = stage.signed("GET /x HTTP/1.1", "");
    let mut held: Vec<_> = (0..3).map(|_| under_way(&stage, &request, &was_asked)).collect();
    assert!(stage.connect().send(&request).try_answer(false).is_err());
    held.pop();
    under_way(&stage, &request, &was_asked);
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
    assert!(told(site.admin(), "/metrics").text().contains("connections_refused_total 1\n"));
    drop(held);
    let again = (0..500).any(|_| {
        thread::sleep(Duration::from_millis(10));
        begin("192.0.2.1").is_some()
    });
    assert!(again, "there is room again");
}

const SHED: &str = "sidegate_connections_shed_total";

/// The last part of an address of this machine.
fn here(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// A site with few places, and a request for it that needs nobody's session.
fn few_places(limits: &str, workers: usize) -> (Stage, String) {
    let plan = Stage::plan().set("limits", &format!("{limits}\nuncounted = []")).rule("/open/**", "public");
    let plan = plan.set("listen", &format!("workers = {workers}")).set("admin", "address = \"127.0.0.1:0\"");
    let stage = Stage::on(plan);
    let request = stage.strange("GET /open/x HTTP/1.1", "");
    (stage, request)
}

fn asks_from(stage: &Stage, last: u8, request: &str) -> Raw {
    let mut raw = Raw::connect_from(here(last), stage.site.address);
    raw.send(request);
    raw
}

#[test]
fn r_6_whoever_holds_all_places_idle_keeps_nobody_out_and_loses_them_first() {
    let (stage, request) = few_places("connections = 120", 2);
    let mut few: Vec<Raw> = (4..10).map(|last| asks_from(&stage, last, &request)).collect();
    assert!(few.iter_mut().all(|raw| raw.answer().status == 200));
    // Long enough to be no newcomers, who are left alone.
    thread::sleep(Duration::from_millis(1300));
    // Some have asked for something, some have not said a word, and all want to have all there is.
    let mut many = Vec::new();
    for n in 0..200 {
        let mut raw = Raw::connect_from(here(2 + n % 2), stage.site.address);
        if n % 3 > 0 {
            let _ = raw.send(&request).try_answer(false);
        }
        many.push(raw);
    }
    for last in 20..60 {
        let mut raw = asks_from(&stage, last, &request);
        assert_eq!(raw.try_answer(false).expect("it is served at once").status, 200);
        few.push(raw);
    }
    for raw in &mut few {
        assert_eq!(raw.send(&request).try_answer(false).expect("it is still there").status, 200);
    }
    let numbers = told(stage.site.admin(), "/metrics").text();
    assert!(number(&numbers, SHED) >= 126, "{numbers}");
    assert_eq!(number(&numbers, "sidegate_connections_refused_total"), 0);
}

#[test]
fn r_6_the_idlest_makes_room_and_nobody_with_a_request_under_way() {
    let (stage, request) = few_places("connections = 4", 1);
    eventually("the sign-up has gone", || {
        number(&told(stage.site.admin(), "/metrics").text(), "sidegate_connections_open") == 0
    });
    // It has begun to say what it wants.
    let mut begins = asks_from(&stage, 2, &request[..20]);
    let mut idle: Vec<Raw> = (3..5)
        .map(|last| {
            let mut raw = asks_from(&stage, last, &request);
            assert_eq!(raw.answer().status, 200);
            // Long enough to be no newcomer, who is left alone.
            thread::sleep(Duration::from_millis(1300));
            raw
        })
        .collect();
    assert_eq!(idle[0].send(&request).answer().status, 200);
    assert_eq!(asks_from(&stage, 5, &request).answer().status, 200);
    let mut last = asks_from(&stage, 6, &request);
    assert_eq!(last.answer().status, 200);
    assert!(idle[1].is_closed(), "the idlest");
    assert_eq!(begins.send(&request[20..]).answer().status, 200);
    assert_eq!(idle[0].send(&request).answer().status, 200);
}

#[test]
fn r_6_an_idle_connection_by_http_2_is_told_that_it_makes_room() {
    let (stage, request) = few_places("connections = 20", 1);
    let greets = || {
        let mut client = Bare::greets(&stage, 65_535);
        client.asks(1, "/open/x");
        assert!(client.is_answered(1));
        client
    };
    let mut idlest = greets();
    thread::sleep(Duration::from_millis(600));
    let _others: Vec<Bare> = (0..17).map(|_| greets()).collect();
    let mut held: Vec<Raw> = (20..28).map(|last| asks_from(&stage, last, &request)).collect();
    assert!(held.iter_mut().all(|raw| raw.try_answer(false).is_ok_and(|answer| answer.status == 200)));
    assert!(number(&told(stage.site.admin(), "/metrics").text(), SHED) > 0);
    assert_eq!(idlest.is_told_to_leave(), (1, 0), "what it asked for was looked at, and nothing else");
    assert!(idlest.is_ended());
}

/// Waits until so many connections are open.
fn open(stage: &Stage, count: u64) {
    eventually("so many are open", || {
        number(&told(stage.site.admin(), "/metrics").text(), "sidegate_connections_open") == count
    });
}

#[test]
fn r_6_a_request_that_crosses_the_word_to_go_is_served() {
    let (stage, request) = few_places("connections = 24", 1);
    open(&stage, 0);
    // So many of one address are no newcomers.
    let mut idle: Vec<Raw> = Vec::new();
    let served = (0..10).any(|_| {
        while idle.len() < 23 {
            let mut raw = asks_from(&stage, 2, &request);
            assert_eq!(raw.answer().status, 200);
            idle.push(raw);
        }
        open(&stage, 23);
        // With this one there is no place free, and before it is answered one of them is told.
        let mut last = asks_from(&stage, 3, &request);
        assert_eq!(last.answer().status, 200);
        let before = idle.len();
        idle.retain_mut(|raw| raw.send(&request).try_answer(false).is_ok_and(|answer| answer.status == 200));
        let served = idle.len() == before;
        if !served {
            // It may have been too late by chance. Nobody else is told for a while.
            drop(last);
            thread::sleep(Duration::from_millis(1300));
        }
        served
    });
    assert!(served, "one of them is lost whenever it is told");
}

#[test]
fn r_6_where_all_are_busy_the_idle_ones_of_other_workers_are_waited_for() {
    const TRIALS: usize = 12;
    let (stage, request) = few_places("connections = 20\nhead_timeout = \"60s\"", 2);
    open(&stage, 0);
    let _busy: Vec<Raw> = (0..18).map(|_| asks_from(&stage, 2, &request[..20])).collect();
    let served = (0..TRIALS).filter(|_| {
        open(&stage, 18);
        let mut idle = asks_from(&stage, 2, &request);
        assert_eq!(idle.answer().status, 200);
        // For one of them there is a place. The other may well come to the worker that has nobody idle.
        let mut two = [3, 4].map(|last| asks_from(&stage, last, &request));
        let both = two.iter_mut().all(|raw| raw.try_answer(false).is_ok_and(|answer| answer.status == 200));
        if !both {
            // For a while nobody is kept waiting.
            thread::sleep(Duration::from_millis(1300));
        }
        both
    });
    assert!(served.count() + 1 >= TRIALS, "they are refused");
}

#[test]
fn r_6_who_reads_nothing_and_makes_room_by_http_2_is_not_waited_for() {
    let upstream = Upstream::answering(ok(&"x".repeat(60_000)));
    let limits = "connections = 3\nhead_timeout = \"60s\"\nbody_idle = \"60s\"\nuncounted = []";
    let plan = Stage::plan().set("limits", limits).set("listen", "workers = 1").upstream(upstream);
    let plan = plan.set("admin", "address = \"127.0.0.1:0\"").rule("/open/**", "public");
    let stage = Stage::on(plan);
    open(&stage, 0);
    let mut client = Bare::greets_narrow(&stage, 65_535);
    for stream in (1..96).step_by(2) {
        client.asks(stream, "/open/x");
    }
    client.opens(1, 16 << 20);
    eventually("all was handed over", || {
        let numbers = told(stage.site.admin(), "/metrics").text();
        stage.site.upstream.arrived().len() >= 48 && number(&numbers, "sidegate_requests_in_flight") == 0
    });
    // Long enough to be no newcomer, who is left alone.
    thread::sleep(Duration::from_millis(1300));
    let request = stage.strange("GET /open/x HTTP/1.1", "");
    let _begins: Vec<Raw> = (5..7).map(|last| asks_from(&stage, last, &request[..20])).collect();
    eventually("it has gone", || number(&told(stage.site.admin(), "/metrics").text(), SHED) == 1);
    open(&stage, 2);
}
