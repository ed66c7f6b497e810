//! Several instances of one app, and the ways to reach one: TLS, sockets in the file system.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::jobs::eventually;
use crate::support::app2::App2;
use crate::support::child::Child;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

/// A port where nobody listens.
fn deserted() -> String {
    format!("http://{}", crate::serve::free_port())
}

fn get(stage: &Stage) -> u16 {
    stage.ask(stage.signed("GET / HTTP/1.1", "Connection: close\r\n")).status
}

#[test]
fn equals_take_turns_and_the_busy_one_is_spared() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let slow = Upstream::with(move |_, stream| {
        let _ = wait.lock().expect("not poisoned").recv();
        let _ = stream.write_all(ok("slow").as_bytes());
    });
    let other = Upstream::hello();
    let more = format!("more = [\"http://{}\"]", other.address);
    let stage = Stage::on(Stage::plan().upstream(slow).set("upstream", &more));
    std::thread::scope(|scope| {
        let held = scope.spawn(|| get(&stage));
        let first = (0..500).find(|_| {
            std::thread::sleep(Duration::from_millis(10));
            stage.site.upstream.arrived().len() + other.arrived().len() > 0
        });
        assert!(first.is_some());
        // Whoever got the first request: as long as the slow one is busy, all go to the other.
        while stage.site.upstream.arrived().is_empty() {
            assert!(held.is_finished() || get(&stage) == 200);
        }
        let before = other.arrived().len();
        for _ in 0..10 {
            assert_eq!(get(&stage), 200);
        }
        assert_eq!(other.arrived().len(), before + 10);
        for _ in 0..20 {
            let _ = go.send(());
        }
        assert_eq!(held.join().expect("an answer"), 200);
    });
    let before = stage.site.upstream.arrived().len();
    for _ in 0..10 {
        assert_eq!(get(&stage), 200);
    }
    let taken = stage.site.upstream.arrived().len() - before;
    assert!((3..=7).contains(&taken), "{taken} of 10");
}

#[test]
fn an_instance_that_cannot_be_reached_costs_no_request_and_is_passed_over() {
    let more = format!("more = [\"{}\", \"{}\"]\nrest = \"5s\"", deserted(), deserted());
    let stage = Stage::on(Stage::plan().set("upstream", &more));
    for _ in 0..30 {
        let body = stage.signed("POST / HTTP/1.1", "Content-Length: 4\r\nConnection: close\r\n") + "four";
        assert_eq!(stage.ask(body).status, 200);
    }
    assert_eq!(stage.site.upstream.arrived().len(), 30);
    assert!(stage.site.upstream.arrived().iter().all(|arrived| arrived.body == b"four"));
}

#[test]
fn only_when_none_can_be_reached_the_answer_is_502() {
    let more = format!("url = \"{}\"\nmore = [\"{}\"]", deserted(), deserted());
    let stage = Stage::on(Stage::plan().set("upstream", &more));
    assert_eq!(get(&stage), 502);
}

#[test]
fn an_app_is_reached_through_the_file_system() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("app.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(1..) = stream.read(&mut buffer) {
                    let _ = stream.write_all(ok("by file").as_bytes());
                }
            });
        }
    });
    let url = format!("url = \"unix:{}\"", path.display());
    let stage = Stage::on(Stage::plan().set("upstream", &url));
    for _ in 0..3 {
        let answer = stage.ask(stage.signed("GET / HTTP/1.1", ""));
        assert_eq!((answer.status, answer.text().as_str()), (200, "by file"));
    }
}

#[test]
fn an_app_behind_tls_must_show_the_certificate_of_its_authority() {
    let files = crate::tls::certificates();
    let port = crate::serve::free_port().port();
    let mut openssl = Command::new("openssl");
    openssl
        .args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-cert", "app.pem", "-key", "app.key"])
        .args(["-CAfile", "second.pem", "-Verify", "1", "-www"])
        .current_dir(files)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _app = Child::start(&mut openssl);
    for _ in 0..400 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let status = |authority: &str, client: &str, more: &str| {
        let file = |name: &str| files.join(name).display().to_string();
        let mut lines = format!("url = \"https://{more}\nca_file = \"{}\"", file(authority));
        if !client.is_empty() {
            let (certificate, key) = (file(&format!("{client}.pem")), file(&format!("{client}.key")));
            let _ = write!(lines, "\nclient_certificate = \"{certificate}\"\nclient_key = \"{key}\"");
        }
        let stage = Stage::on(Stage::plan().set("upstream", &lines));
        get(&stage)
    };
    let here = format!("127.0.0.1:{port}\"");
    assert_eq!(status("second.pem", "client", &here), 200);
    assert_eq!(status("first.pem", "client", &here), 502, "another authority");
    assert_eq!(status("second.pem", "", &here), 502, "the app asks for a certificate of ours");
    let elsewhere = format!("localhost:{port}\"");
    assert_eq!(status("second.pem", "client", &elsewhere), 502, "its certificate names another host");
    let called =
        |name: &str| status("second.pem", "client", &format!("{elsewhere}\nserver_name = \"{name}\""));
    assert_eq!(called("127.0.0.1"), 200, "which is the one that was said");
    assert_eq!(called("app.test"), 502, "neither is that");
}

/// Somebody who takes connections and says nothing.
fn silent() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

/// Has eight requests go to two instances, one of which never becomes connected, and counts what the other one gets.
fn shared_evenly(stage: &Stage, arrived: impl Fn() -> usize) {
    let asks = |_| {
        let mut raw = stage.connect();
        raw.send(stage.signed("GET /x HTTP/1.1", ""));
        raw
    };
    let first = asks(1);
    eventually("the first one arrives", || arrived() == 1);
    let waiting: Vec<_> = (2..=8).map(asks).collect();
    eventually("half of them arrive", || arrived() == 4);
    drop((first, waiting));
}

const NEVER_CONNECTED: &str = "connect_timeout = \"50s\"";

#[test]
fn requests_that_are_being_connected_count_as_under_way_by_http_1() {
    let (silent, (go, wait)) = (silent(), std::sync::mpsc::channel::<()>());
    let wait = std::sync::Mutex::new(wait);
    let app = Upstream::with(move |_, stream| {
        let _ = wait.lock().expect("not poisoned").recv();
        let _ = stream.write_all(ok("at last").as_bytes());
    });
    let address = silent.local_addr().expect("an address");
    let lines = format!("more = [\"https://{address}\"]\n{NEVER_CONNECTED}");
    let stage = Stage::on(Stage::plan().set("upstream", &lines).upstream(app));
    shared_evenly(&stage, || stage.site.upstream.arrived().len());
    drop(go);
}

#[test]
fn requests_that_are_being_connected_count_as_under_way_by_http_2() {
    let silent = silent();
    let app = App2::with(h2::server::Builder::new(), |call| async move {
        let _held = call.reply;
        std::future::pending::<()>().await;
    });
    let address = silent.local_addr().expect("an address");
    let lines = format!("{}\nmore = [\"http://{address}\"]\n{NEVER_CONNECTED}", app.toml());
    let stage = Stage::on(Stage::plan().set("upstream", &lines));
    shared_evenly(&stage, || app.arrived().len());
}
