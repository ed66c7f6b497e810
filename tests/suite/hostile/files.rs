//! A process that has no open files left: it waits without burning the processor, and goes on at once.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::serve::{self, Program};
use crate::support::child;
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;

/// Processor time that each of its threads has used. What the system counts for all of them together are whole
/// hundredths of a second (proc(5)), and one of those is all that there may be.
fn used(program: &Program) -> Duration {
    let threads = fs::read_dir(format!("/proc/{}/task", program.id())).expect("it runs");
    let of = |thread: fs::DirEntry| -> u64 {
        // One that has ended meanwhile was none that waits.
        let told = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        told.split(' ').next().and_then(|spent| spent.parse().ok()).unwrap_or(0)
    };
    Duration::from_nanos(threads.map(|thread| of(thread.expect("a thread"))).sum())
}

/// Sets the limit of open files: `64` for both, `64:` for the one that counts.
pub(super) fn limit_files(program: &Program, files: &str) {
    child::limit_files(program.id(), files);
}

fn open_files(program: &Program) -> usize {
    fs::read_dir(format!("/proc/{}/fd", program.id())).expect("it runs").count()
}

/// Checks that it takes no more than a hundredth of the processor, however busy the machine is.
fn rests(program: &Program) {
    const WHILE: Duration = Duration::from_secs(2);
    // What came just now is looked at.
    thread::sleep(Duration::from_millis(500));
    let before = used(program);
    thread::sleep(WHILE);
    let busy = used(program).saturating_sub(before);
    assert!(busy <= WHILE / 100, "{busy:?} of {WHILE:?}");
}

fn asks(address: SocketAddr) -> Raw {
    let mut raw = Raw::connect(address);
    raw.send(format!("GET /auth/ok HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    raw
}

#[test]
fn r_5_with_few_open_files_there_are_fewer_connections_and_requests_are_still_served() {
    let (directory, address, app) =
        (TempDir::new().expect("a directory"), serve::free_port(), Upstream::hello());
    serve::minimal(directory.path(), address, app.address, "sqlite:sidegate.db");
    let program = serve::serve_with("ulimit -n 128; exec \"$0\" \"$@\"", directory.path(), address);
    let mut held: Vec<Raw> = (0..300).map(|_| asks(address)).collect();
    let answered: Vec<bool> = held.iter_mut().map(|raw| raw.try_answer(false).is_ok()).collect();
    let seats = answered.iter().filter(|answered| **answered).count();
    assert!((10..=48).contains(&seats), "{seats} of 300");
    assert!(open_files(&program) < 120, "some are kept back: {}", open_files(&program));
    rests(&program);
    // Those that are held, but for who made room meanwhile, can still have something done that needs files: a page of
    // the app's.
    let request = format!("GET /x HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let seated = held.iter_mut().zip(&answered).filter_map(|(raw, answered)| answered.then_some(raw));
    let mut told = seated.filter_map(|raw| {
        raw.try_send(&request);
        raw.try_answer(false).ok()
    });
    assert_eq!(told.next().expect("a seat").status, 401);
    drop(told);
    drop(held);
    let again = (0..500).any(|_| {
        thread::sleep(Duration::from_millis(10));
        asks(address).try_answer(false).is_ok()
    });
    assert!(again, "there is room again");
}

#[test]
fn r_5_without_any_open_file_left_it_waits_quietly_and_goes_on_when_there_is_one() {
    let (directory, address, app) =
        (TempDir::new().expect("a directory"), serve::free_port(), Upstream::hello());
    serve::minimal(directory.path(), address, app.address, "sqlite:sidegate.db");
    let program = serve::serve(directory.path(), address, &["--config", "sidegate.toml"]);
    assert_eq!(asks(address).answer().status, 200);
    // As many as it has: the next one is one too many.
    limit_files(&program, &format!("{}:", open_files(&program)));
    let mut waiting: Vec<Raw> = (0..50).map(|_| asks(address)).collect();
    assert!(TcpStream::connect(address).is_ok(), "the system still takes connections");
    rests(&program);
    limit_files(&program, "1024:");
    for raw in &mut waiting {
        assert_eq!(raw.answer().status, 200, "nobody was lost");
    }
}

#[test]
fn r_5_without_any_open_file_left_idle_connections_make_room() {
    let (directory, address, app) =
        (TempDir::new().expect("a directory"), serve::free_port(), Upstream::hello());
    serve::minimal(directory.path(), address, app.address, "sqlite:sidegate.db");
    let program = serve::serve(directory.path(), address, &["--config", "sidegate.toml"]);
    let mut idle: Vec<Raw> = (0..20).map(|_| asks(address)).collect();
    assert!(idle.iter_mut().all(|raw| raw.answer().status == 200));
    // Long enough to be no newcomers, who are left alone.
    thread::sleep(Duration::from_millis(1500));
    limit_files(&program, &format!("{}:", open_files(&program)));
    let mut later: Vec<Raw> = (0..8).map(|_| asks(address)).collect();
    assert!(later.iter_mut().all(|raw| raw.answer().status == 200), "they are served");
}

#[test]
fn r_5_too_few_open_files_are_told_of_where_somebody_chose_more_connections_or_very_few_fit() {
    let app = Upstream::hello();
    let said = |files: u32, limits: &str| {
        let (directory, address) = (TempDir::new().expect("a directory"), serve::free_port());
        serve::minimal(directory.path(), address, app.address, "sqlite:sidegate.db");
        let file = directory.path().join("sidegate.toml");
        let text = fs::read_to_string(&file).expect("a file");
        fs::write(&file, format!("{text}{limits}")).expect("a file");
        let script = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
        serve::serve_with(&script, directory.path(), address).said.clone()
    };
    let told = "too few open files for limits.connections";
    assert!(!said(4096, "").contains(told), "nobody asked for more");
    assert!(!said(4096, "[limits]\nconnections = 1500\n").contains(told), "they fit");
    assert!(said(4096, "[limits]\nconnections = 5000\n").contains(told));
    assert!(said(1024, "").contains(told), "these are few");
}
