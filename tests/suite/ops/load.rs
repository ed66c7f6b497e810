//! Going down while many ask.

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::Program;
use crate::jobs::eventually;
use crate::support::raw::Raw;
use crate::support::upstream::{Upstream, ok};

/// Asks on one connection after the other until nobody new is to come; whatever is lost is told.
fn client(program: &Program, (leaving, answered): (&AtomicBool, &AtomicUsize)) -> Result<(), String> {
    let request = format!("GET /open/x HTTP/1.1\r\nHost: {}\r\n\r\n", program.address);
    while !leaving.load(Ordering::SeqCst) {
        let mut raw = Raw::try_connect(program.address).map_err(|error| format!("not taken: {error}"))?;
        for number in 0.. {
            match raw.send(&request).try_answer(false) {
                Ok(answer) if answer.text() == "hello" => {
                    answered.fetch_add(1, Ordering::SeqCst);
                    if answer.header("connection") == Some("close") {
                        break;
                    }
                }
                Ok(answer) => return Err(format!("{}: {}", answer.status, answer.text())),
                // A kept connection may end at any time; who hears nothing asks again (RFC 9112 §9.3.1).
                Err(_) if number > 0 => break,
                Err(error) => return Err(format!("a first request: {error}")),
            }
        }
    }
    Ok(())
}

#[test]
fn u_10_a_stop_under_load_loses_no_request() {
    let app = Upstream::with(|_, stream| {
        // Some are always under way.
        thread::sleep(Duration::from_millis(5));
        let _ = stream.write_all(ok("hello").as_bytes());
    });
    let open = "[limits]\ngrace = \"5s\"\n[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n";
    let mut program = Program::start(app.address, open);
    let (leaving, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let lost = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                if let Err(what) = client(&program, (&leaving, &answered)) {
                    lost.lock().expect("no panic").push(what);
                }
            });
        }
        let more = |what: &str| {
            let before = answered.load(Ordering::SeqCst);
            eventually(what, || answered.load(Ordering::SeqCst) > before + 30);
        };
        more("the load begins");
        program.signal("-TERM");
        more("the load goes on");
        // Whoever sends requests here looks at the readiness, and makes no more connections.
        leaving.store(true, Ordering::SeqCst);
    });
    assert_eq!(program.exit_code(), Some(0));
    assert!(program.says("stopping") && !program.says("are cut"), "{:#?}", program.lines());
    assert_eq!(lost.into_inner().expect("no panic"), Vec::<String>::new());
    // What was with the app was answered: no connection was closed over it.
    assert_eq!(app.arrived().len(), answered.load(Ordering::SeqCst));
}
