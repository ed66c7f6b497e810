//! What one client may have under way by HTTP/2 (streams multiply connections, RFC 9113 §10.5), and what is remembered
//! of it.

use std::fs;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::edge::host;
use crate::jobs::eventually;
use crate::serve;
use crate::support::bare::{Bare, End};
use crate::support::h2::{frame, get};
use crate::support::raw::{PATIENCE, Raw};
use crate::support::stage::Stage;
use crate::support::upstream::Upstream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// `END_HEADERS`.
const OPEN: u8 = 4;
const REFUSED_STREAM: u32 = 7;
const HELLO: End = End::Whole("hello".len());

#[test]
fn r_6_the_streams_of_all_connections_of_an_address_are_counted_together() {
    let (upstream, was_asked, go) = Upstream::held();
    let limits = "requests_per_address = 10\nuncounted = []\nstreams = 100";
    let stage = Stage::on(Stage::plan().rule("/open/**", "public").set("limits", limits).upstream(upstream));
    let mut first = Bare::greets(&stage, 65_535);
    let mut second = Bare::greets(&stage, 65_535);
    // One that is the connection's own, and ten.
    let streams: Vec<u32> = (0..11).map(|n| 2 * n + 1).collect();
    for stream in &streams {
        first.asks(*stream, "/open/x");
        was_asked.recv_timeout(PATIENCE).expect("the app is asked");
    }
    first.asks(23, "/open/x");
    assert_eq!(first.hears(23), End::Reset(REFUSED_STREAM));
    second.asks(1, "/open/x");
    was_asked.recv_timeout(PATIENCE).expect("the app is asked");
    second.asks(3, "/open/x");
    assert_eq!(second.hears(3), End::Reset(REFUSED_STREAM));
    assert!(first.goodbyes.is_empty() && second.goodbyes.is_empty());
    for _ in 0..200 {
        go.send(()).expect("it waits");
    }
    assert_eq!(second.hears(1), HELLO);
    // Those that are answered make room, for others too.
    drop((first, second));
    eventually("there is room", || {
        let mut third = Bare::greets(&stage, 65_535);
        third.asks(1, "/open/x");
        third.asks(3, "/open/x");
        third.hears(3) == HELLO
    });
}

#[test]
fn r_6_who_has_many_networks_of_ipv6_has_no_more_than_so_many_requests_either() {
    let (upstream, _was_asked, go) = Upstream::held();
    let plan = Stage::plan()
        .set("listen", "proxy_protocol = \"required\"")
        .set("proxies", "trusted = [\"127.0.0.1\"]")
        .set("limits", "connections_per_address = 3\nrequests_per_address = 2")
        .rule("/open/**", "public");
    let site = plan.upstream(upstream).start();
    // One that is the connection's own, and two.
    let asks = |client: &str| {
        let mut client = Bare::connects_for(site.address, host(&site), client);
        for stream in [1, 3, 5] {
            client.asks(stream, "/open/x");
        }
        client.is_read();
        client
    };
    let mut held: Vec<_> = (0..20).map(|network| asks(&format!("2001:db8:1:{network:x}::1"))).collect();
    // Each of them its own, and eight times as many as one address.
    eventually("the app is asked", || site.upstream.arrived().len() >= 20 + 16);
    let last = held.last_mut().expect("many");
    last.asks(7, "/open/x");
    assert_eq!(last.hears(7), End::Reset(REFUSED_STREAM));
    assert_eq!(site.upstream.arrived().len(), 20 + 16);
    // Somebody else has as much as ever, and who is answered makes room.
    let _other = asks("2001:db8:2::1");
    eventually("the app is asked", || site.upstream.arrived().len() == 20 + 16 + 3);
    drop(held);
    for _ in 0..200 {
        go.send(()).expect("it waits");
    }
    let mut next = Bare::connects_for(site.address, host(&site), "2001:db8:1:ff::1");
    let mut streams = (1..).step_by(4);
    eventually("there is room", || {
        let first = streams.next().expect("no end");
        let ask = |stream| frame(HEADERS, OPEN | 1, stream, &get(host(&site), "/open/x"));
        next.sends(&[ask(first), ask(first + 2)].concat());
        next.hears(first + 2) == HELLO
    });
}

#[test]
fn r_5_requests_by_http_2_leave_files_for_others() {
    let (directory, address) = (TempDir::new().expect("a directory"), serve::free_port());
    let (app, _was_asked, go) = Upstream::held();
    serve::minimal(directory.path(), address, app.address, "sqlite:sidegate.db");
    let file = directory.path().join("sidegate.toml");
    let text = fs::read_to_string(&file).expect("a file");
    let rule = "[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n";
    fs::write(&file, format!("{text}{rule}")).expect("a file");
    let _program = serve::serve_with("ulimit -n 128; exec \"$0\" \"$@\"", directory.path(), address);
    let host = address.to_string();
    let mut client = Bare::connects(address, &host, 65_535);
    for n in 0..100 {
        client.asks(2 * n + 1, "/open/x");
    }
    // What 128 files leave beside those of ours, but for as many connections of clients.
    eventually("the app is asked", || app.arrived().len() >= 40);
    let get = |path: &str| {
        Raw::connect(address).send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).answer()
    };
    let refused = get("/open/y");
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true));
    assert_eq!(refused.code(), "OVERLOADED");
    assert_eq!(get("/auth/ok").status, 200);
    assert_eq!(app.arrived().len(), 40);
    for _ in 0..60 {
        go.send(()).expect("it waits");
    }
    eventually("there is room again", || get("/open/y").status == 200);
}

#[test]
fn what_is_on_its_way_of_refused_uploads_ends_no_connection() {
    let stage = Stage::on(Stage::plan().rule("/open/**", "public"));
    let mut client = Bare::greets(&stage, 65_535);
    let streams: Vec<u32> = (0..60).map(|n| 2 * n + 1).collect();
    let post = [&[0x83][..], &get(stage.host(), "/x")[1..]].concat();
    for stream in &streams {
        client.sends(&frame(HEADERS, OPEN, *stream, &post));
        assert!(matches!(client.hears(*stream), End::Whole(_)), "a refusal");
    }
    // Longer than the library would remember them.
    thread::sleep(Duration::from_millis(1100));
    for stream in &streams {
        client.sends(&frame(DATA, 0, *stream, &[b'x'; 300]));
    }
    client.asks(301, "/open/x");
    assert_eq!(client.hears(301), HELLO);
    assert!(client.goodbyes.is_empty());
}
