//! What is seen of the instances of an app that fail: when they are passed over, and for what.

use std::io::Write as _;
use std::net::{Shutdown, TcpListener};
use std::thread;
use std::time::Duration;

use super::{Program, number};
use crate::jobs::eventually;
use crate::serve::free_port;
use crate::support::app2::App2;
use crate::support::raw::{Raw, Response};
use crate::support::upstream::{Upstream, ok};

const OPEN: &str = "[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n";

fn get(program: &Program) -> std::io::Result<Response> {
    let head = format!("GET /open/x HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", program.address);
    Raw::connect(program.address).send(head).try_answer(false)
}

/// A program whose file says this of `[upstream]`.
fn with(app: std::net::SocketAddr, upstream: &str) -> Program {
    let program = Program::start(app, OPEN);
    program.edit("[upstream]", &format!("[upstream]\n{upstream}"));
    program.reload();
    program
}

fn said(program: &Program, texts: &[&str]) -> usize {
    program.lines().iter().filter(|line| texts.iter().all(|text| line.contains(text))).count()
}

#[test]
fn one_that_cannot_be_reached_is_told_of_twice_counted_and_named() {
    let (app, dead) = (Upstream::hello(), free_port());
    let program = with(app.address, &format!("more = [\"http://{dead}\"]\nrest = \"300ms\""));
    let name = format!("instance=\"http://{dead}\"");
    let up = |address: &dyn std::fmt::Display| {
        let text = program.told("/metrics").text();
        let sample = format!("sidegate_upstream_up{{instance=\"http://{address}\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&sample)).map(str::to_owned);
        value.unwrap_or_else(|| panic!("{sample} in {text}"))
    };
    assert_eq!(up(&dead), "1");
    for _ in 0..30 {
        assert_eq!(get(&program).expect("an answer").status, 200);
        thread::sleep(Duration::from_millis(30));
    }
    let warned = || said(&program, &["WARN", "an instance of the app is not well", &name, "refused"]);
    eventually("it is told", || warned() > 0);
    assert_eq!(warned(), 1, "and once");
    assert_eq!((up(&app.address).as_str(), up(&dead).as_str()), ("1", "0"));
    let text = program.told("/metrics").text();
    assert!(number(&text, "sidegate_upstream_errors_total{kind=\"unreachable\"}") >= 2, "{text}");
    let listener = TcpListener::bind(dead).expect("the port is free");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.write_all(ok("back").as_bytes());
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
        }
    });
    eventually("it is back", || {
        let _ = get(&program);
        said(&program, &["INFO", "an instance of the app is well again", &name]) == 1
    });
    assert_eq!(up(&dead), "1");
}

#[test]
fn a_request_that_none_answered_names_the_last_that_was_asked() {
    let dead = [free_port(), free_port()];
    let program = with(dead[0], &format!("more = [\"http://{}\"]", dead[1]));
    assert_eq!(get(&program).expect("an answer").status, 502);
    let named = |port: &std::net::SocketAddr| {
        said(
            &program,
            &["could not be forwarded", &format!("instance=\"http://{port}\""), "cannot be reached"],
        )
    };
    eventually("it is said", || dead.iter().map(named).sum::<usize>() == 1);
    let text = program.told("/metrics").text();
    assert_eq!(number(&text, "sidegate_upstream_errors_total{kind=\"unreachable\"}"), 2, "each was tried");
}

#[test]
fn an_app_that_is_down_does_not_fill_the_log() {
    const REQUESTS: usize = 20;
    let program = with(free_port(), "failures = 3");
    for _ in 0..REQUESTS {
        assert_eq!(get(&program).expect("an answer").status, 502);
    }
    eventually("each is in the access log", || said(&program, &["decision=failed"]) == REQUESTS);
    let text = program.told("/metrics").text();
    assert_eq!(number(&text, "sidegate_upstream_errors_total{kind=\"unreachable\"}"), 20, "{text}");
    let warned = said(&program, &["WARN", "could not be forwarded", "count="]);
    assert!((1..REQUESTS / 2).contains(&warned), "{warned} lines");
    assert_eq!(said(&program, &["could not be forwarded"]), warned);
}

#[test]
fn one_whose_answers_break_off_is_passed_over() {
    for chunked in [true, false] {
        let broken = Upstream::with(move |_, stream| {
            let framing = if chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 100" };
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nhello\r\n");
            let _ = stream.shutdown(Shutdown::Both);
        });
        let well = Upstream::hello();
        let more = format!("more = [\"http://{}\"]\nfailures = 3\nrest = \"60s\"", broken.address);
        let program = with(well.address, &more);
        let answers = (0..30).filter(|_| get(&program).is_ok()).count();
        assert_eq!(answers, 27, "three are broken, chunked: {chunked}");
        assert_eq!(said(&program, &["an instance of the app is not well", "break off"]), 1);
    }
}

#[test]
fn one_that_resets_its_streams_is_passed_over() {
    let broken = App2::with(h2::server::Builder::new(), |mut call| async move {
        let mut stream = call.begin("text/plain");
        let _ = stream.send_data("hello".into(), false);
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.send_reset(h2::Reason::INTERNAL_ERROR);
    });
    let well = App2::hello();
    let more =
        format!("protocol = \"h2c\"\nmore = [\"http://{}\"]\nfailures = 3\nrest = \"60s\"", broken.address);
    let program = with(well.address, &more);
    assert_eq!((0..30).filter(|_| get(&program).is_ok()).count(), 27);
}
