//! The admin listener: health and readiness, on a port of its own.

use serde_json::json;

use super::{Program, told};
use crate::serve::run;
use crate::support::database::{Database, on_both_databases};
use crate::support::raw::{Raw, ask};
use crate::support::site::Site;
use crate::support::upstream::Upstream;

const ADMIN: &str = "address = \"127.0.0.1:0\"";

on_both_databases! {
    fn health_readiness_and_version_are_told_on_a_port_of_their_own(database) {
        let site = Site::on(database).set("admin", ADMIN).start();
        let admin = site.admin();
        for path in ["/healthz", "/ping"] {
            assert_eq!(told(admin, path).status, 200);
        }
        for path in ["/readyz", "/ready"] {
            let ready = told(admin, path);
            assert_eq!(ready.status, 200);
            let expected = json!({ "status": "ready", "checks": { "store": "ok", "serving": "ok" } });
            assert_eq!(ready.json(), expected);
            assert_eq!(ready.header("cache-control"), Some("no-store"));
        }
        let version = told(admin, "/version").json();
        assert_eq!(version, json!({ "name": "sidegate", "version": env!("CARGO_PKG_VERSION") }));
        assert_eq!(told(admin, "/").status, 404);
        let posted = Raw::connect(admin).send("POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").answer();
        assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
    }

    fn without_a_store_it_lives_and_is_not_ready(database) {
        let site = Site::on(database).set("admin", ADMIN).start();
        site.block_on(site.app.store.close());
        let ready = told(site.admin(), "/readyz");
        assert_eq!((ready.status, &ready.json()["checks"]["store"]), (503, &json!("failed")));
        assert_eq!(told(site.admin(), "/healthz").status, 200);
        // What is remembered can be told without it.
        assert_eq!(told(site.admin(), "/metrics").status, 200);
    }
}

#[test]
fn dos_5_nothing_of_it_is_reached_where_the_app_is() {
    let site = Site::on(Database::sqlite()).set("admin", ADMIN).rule("/open/**", "public").start();
    let (mut member, _) = site.member("me@example.org");
    for path in ["/healthz", "/readyz", "/metrics", "/version"] {
        assert_eq!(site.stranger().get(path).status, 401, "{path}");
        assert_eq!(member.get(path).text(), "hello", "{path} is the app's");
        assert_eq!(member.get(&format!("/auth{path}")).status, 404, "{path}");
    }
    for path in ["/auth/ok", "/open/x", "/auth/sign-in"] {
        assert_eq!(told(site.admin(), path).status, 404, "{path}");
    }
}

#[test]
fn whoever_is_going_down_says_so_while_everything_is_served() {
    let mut site = Site::on(Database::sqlite()).set("admin", ADMIN).rule("/open/**", "public").start();
    let admin = site.admin();
    let server = site.take_server();
    server.announce_end();
    let ready = told(admin, "/readyz");
    assert_eq!((ready.status, &ready.json()["checks"]["serving"]), (503, &json!("draining")));
    assert_eq!(told(admin, "/healthz").status, 200);
    assert_eq!(site.stranger().get("/open/x").text(), "hello");
    server.stop();
    crate::jobs::eventually("it ends with the server", || std::net::TcpStream::connect(admin).is_err());
}

#[test]
fn silence_keeps_no_probe_out_and_no_page_of_another_name_reads_the_numbers() {
    let site = Site::on(Database::sqlite()).set("admin", ADMIN).start();
    let admin = site.admin();
    let silent: Vec<_> = (0..64).map(|_| std::net::TcpStream::connect(admin).expect("it listens")).collect();
    assert_eq!(told(admin, "/healthz").status, 200);
    drop(silent);
    for (host, status) in [
        ("evil.test", 421),
        ("evil.test:9180", 421),
        ("a+b.evil.test", 421),
        ("localhost:9180", 200),
        ("[::1]:9180", 200),
    ] {
        let answer =
            ask(admin, format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        assert_eq!(answer.status, status, "{host}");
    }
}

#[test]
fn dos_5_whoever_does_not_take_its_answers_makes_room_for_a_probe() {
    let site = Site::on(Database::sqlite()).set("admin", ADMIN).start();
    let admin = site.admin();
    // Each could keep its place for longer than any test has patience.
    let questions = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(400);
    let deaf: Vec<_> = (0..64)
        .map(|_| {
            let mut deaf = Raw::connect_narrow(admin);
            deaf.send(&questions);
            deaf
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(told(admin, "/healthz").status, 200);
    }
    drop(deaf);
}

#[test]
fn the_health_check_asks_the_admin_listener_if_there_is_one() {
    let app = Upstream::hello();
    let program = Program::start(app.address, "[limits]\ngrace = \"60s\"\n");
    let check = || run(program.directory.path(), &["healthcheck", "--config", "sidegate.toml"]);
    assert!(check().status.success());
    // Nor does it depend on the name that visitors know.
    let file = program.directory.path().join("sidegate.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    let (before, rest) = text.split_once("url = \"").expect("the public URL");
    let (_, rest) = rest.split_once('"').expect("its end");
    std::fs::write(&file, format!("{before}url = \"https://app.example\"{rest}")).expect("a file");
    assert!(check().status.success(), "{:?}", check());
    program.signal("-TERM");
    crate::jobs::eventually("it is not ready any more", || !check().status.success());
    let said = String::from_utf8_lossy(&check().stderr).into_owned();
    assert!(said.contains("/readyz") && said.contains("503"), "{said}");
}

#[test]
fn an_address_that_others_can_reach_is_warned_of_and_the_visitors_port_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    for (address, code, says) in [
        ("0.0.0.0:9180", 0, "admin.address: whoever can reach 0.0.0.0:9180 can read the metrics"),
        ("127.0.0.1:8080", 64, "admin.address: has a port of `[listen]`"),
        ("here", 64, "admin.address: \"here\" is not an IP address and a port"),
    ] {
        let text = format!("[upstream]\nurl = \"http://127.0.0.1:1\"\n[admin]\naddress = \"{address}\"\n");
        std::fs::write(directory.path().join("sidegate.toml"), text).expect("a file");
        let output = run(directory.path(), &["check", "--config", "sidegate.toml"]);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(says), "{said}");
    }
}
