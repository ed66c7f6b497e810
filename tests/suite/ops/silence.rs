//! Nobody reads what the program says, and nobody else notices.

use std::fs;
use std::io::Write as _;
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use super::{Program, number};
use crate::serve::{minimal, run};
use crate::support::raw::Raw;
use crate::support::site::PASSWORD;
use crate::support::upstream::{Upstream, ok};

/// Of requests that could not be forwarded each is told.
const OPEN: &str = "[log]\nlevel = \"info,sidegate::server::front=debug\"\naccess = false\n\
    [[rules]]\npath = \"/open/**\"\naccess = \"public\"\n";

/// An app that breaks off instead of answering what is asked for as broken.
fn app() -> Upstream {
    Upstream::with(|arrived, stream| {
        let _ = if arrived.line.contains("broken") {
            stream.shutdown(Shutdown::Both)
        } else {
            stream.write_all(ok("hello").as_bytes())
        };
    })
}

#[test]
fn whoever_does_not_read_the_lines_holds_up_neither_requests_nor_flows_nor_the_end() {
    let app = app();
    let mut program = Program::start(app.address, OPEN);
    let lost = |program: &Program| number(&program.told("/metrics").text(), "sidegate_lost_log_lines_total");
    let ask = |program: &Program, path: &str| {
        let host = program.address;
        Raw::connect(host).send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).answer()
    };
    let lines = Arc::clone(&program.lines);
    let reader_waits = lines.lock().expect("no panic");
    // The pipe fills, then what is kept in memory: a line of each worker for each of these.
    let mut asked = 0;
    while lost(&program) == 0 {
        asked += 1;
        assert!(asked < 50, "nothing is counted");
        for _ in 0..200 {
            assert_eq!(ask(&program, "/open/broken").status, 502);
        }
    }
    let before = lost(&program);
    let wrong = json!({ "email": "nobody@example.com", "password": PASSWORD });
    assert_eq!(program.visitor().post("/auth/sign-in/email", &wrong).status, 401);
    assert!(lost(&program) > before, "the flow's line is counted");
    for _ in 0..4 {
        assert_eq!(ask(&program, "/auth/ok").status, 200);
        assert_eq!(ask(&program, "/open/x").text(), "hello");
        assert_eq!(program.told("/healthz").status, 200);
    }
    program.signal("-TERM");
    assert_eq!(program.exit_code(), Some(0));
    drop(reader_waits);
    // What was written was written in whole lines.
    let cut = |line: &&String| ![" WARN ", " INFO ", "DEBUG "].iter().any(|level| line.contains(level));
    let all = program.lines();
    assert!(all[..all.len() - 1].iter().filter(cut).count() == 0, "{all:?}");
}

#[test]
fn a_failure_at_the_start_comes_behind_the_lines_before_it() {
    let directory = TempDir::new().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    minimal(directory.path(), address, app().address, "sqlite:sidegate.db");
    let file = directory.path().join("sidegate.toml");
    let text = fs::read_to_string(&file).expect("a file");
    fs::write(&file, format!("{text}[access]\ndanger_cross_site_writes = true\n")).expect("a file");
    let ended = run(directory.path(), &["serve", "--config", "sidegate.toml"]);
    let said = String::from_utf8(ended.stderr).expect("UTF-8");
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() >= 2 && lines[0].contains(" WARN "), "{said}");
    assert!(lines[lines.len() - 1].starts_with("cannot listen on "), "{said}");
}
