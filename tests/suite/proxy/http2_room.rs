//! As many connections to the app as may be, by HTTP/2: those that are idle make room, and what is open to another
//! instance is used.

use std::fs;
use std::net::SocketAddr;

use h2::Reason;
use h2::server::Builder;
use tempfile::TempDir;
use tokio::sync::watch::{Receiver, channel};

use crate::jobs::eventually;
use crate::serve::{Program, free_port, minimal, serve_with};
use crate::support::app2::App2;
use crate::support::bare::Bare;
use crate::support::raw::Raw;

/// Connections to the app that 128 open files leave.
const PLACES: u32 = 40;

/// Takes so many streams on a connection. `/open/held` is answered once that is allowed, `/open/broken` not.
fn instance(streams: u32, breaks: bool, go: &Receiver<bool>) -> App2 {
    let (mut builder, go) = (Builder::new(), go.clone());
    builder.max_concurrent_streams(streams);
    App2::with(builder, move |mut call| {
        let mut go = go.clone();
        async move {
            let path = call.head.uri.path();
            if path == "/open/broken" && breaks {
                call.reply.send_reset(Reason::INTERNAL_ERROR);
                return;
            }
            if path == "/open/held" {
                let _ = go.wait_for(|go| *go).await;
            }
            call.say("hello");
        }
    })
}

/// A program with few open files in front of both.
fn before(one: &App2, other: &App2) -> (Program, SocketAddr, TempDir) {
    let (directory, address) = (TempDir::new().expect("a directory"), free_port());
    minimal(directory.path(), address, one.address, "sqlite:sidegate.db");
    let file = directory.path().join("sidegate.toml");
    let more =
        format!("protocol = \"h2c\"\nmore = [\"http://{}\"]\nfailures = 1\nrest = \"10m\"", other.address);
    let text = fs::read_to_string(&file).expect("a file");
    let text =
        text.replace("[store]", &format!("{more}\n[store]")).replace("[listen]\n", "[listen]\nworkers = 1\n");
    fs::write(&file, format!("{text}[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n")).expect("a file");
    let program = serve_with("ulimit -n 128; exec \"$0\" \"$@\"", directory.path(), address);
    (program, address, directory)
}

/// Asks for `/open/held` so often, and waits until the apps were asked so often more.
fn hold(address: SocketAddr, apps: [&App2; 2], count: u32) -> Bare {
    let mut client = Bare::connects(address, &address.to_string(), 65_535);
    let arrived = || apps.map(|app| app.arrived().len()).iter().sum::<usize>();
    let before = arrived();
    for number in 0..count {
        client.asks(2 * number + 1, "/open/held");
    }
    eventually("the app is asked", || arrived() == before + count as usize);
    client
}

fn status(address: SocketAddr, path: &str) -> u16 {
    Raw::connect(address).send(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")).answer().status
}

#[test]
fn r_5_idle_connections_to_one_instance_make_room_for_those_to_another() {
    let (_go, wait) = channel(false);
    let (one, other) = (instance(1, true, &wait), instance(1, false, &wait));
    let (_program, address, _directory) = before(&one, &other);
    // They go, and leave connections behind that are idle.
    drop(hold(address, [&one, &other], PLACES));
    // From then on it is passed over.
    while status(address, "/open/broken") == 200 {}
    let _client = hold(address, [&one, &other], PLACES - 2);
}

#[test]
fn r_5_where_no_connection_can_be_made_to_one_instance_a_stream_to_another_is_used() {
    let (_go, wait) = channel(false);
    let (one, other) = (instance(1, false, &wait), instance(100, false, &wait));
    let (_program, address, _directory) = before(&one, &other);
    let _client = hold(address, [&one, &other], 2 * (PLACES - 1));
    for _ in 0..4 {
        assert_eq!(status(address, "/open/x"), 200);
    }
}
