//! For how long an answer is waited for, and goes on.

use std::io::{Read as _, Write as _};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use h2::server::Builder;

use crate::support::app2::App2;
use crate::support::raw::PATIENCE;
use crate::support::site::Plan;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

/// Longer than an answer is taken for a short one, whose session is not looked at again.
const LONG: Duration = Duration::from_millis(2500);

/// What waits for its answer when its session ends is refused, whether the app is silent or `speaks` right then.
fn a_long_poll_ends_with_its_session(plan: Plan, speaks: Option<&dyn Fn()>) {
    let stage = Stage::on(plan);
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /news HTTP/1.1", ""));
    thread::sleep(LONG);
    stage.sign_out();
    if let Some(speak) = speaks {
        speak();
    }
    let answer = raw.answer();
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert!(!answer.text().contains("for her alone"));
}

#[test]
fn lif_10_a_long_poll_that_waits_when_its_session_ends_is_not_answered_by_the_app() {
    for speaks in [true, false] {
        let (speak, spoken) = channel::<()>();
        let spoken = Mutex::new(spoken);
        let app = Upstream::with(move |_, stream| {
            let _ = spoken.lock().expect("no panic").recv_timeout(PATIENCE);
            let _ = stream.write_all(ok("for her alone").as_bytes());
        });
        let say = || speak.send(()).expect("the app listens");
        a_long_poll_ends_with_its_session(Stage::plan().upstream(app), speaks.then_some(&say));
        drop(speak);
    }
}

#[test]
fn lif_10_nor_by_an_app_that_speaks_http_2() {
    for speaks in [true, false] {
        let (speak, spoken) = tokio::sync::watch::channel(false);
        let app = App2::with(Builder::new(), move |call| {
            let mut spoken = spoken.clone();
            async move {
                let _ = spoken.wait_for(|spoken| *spoken).await;
                call.say("for her alone");
            }
        });
        let plan = Stage::plan().set("upstream", &app.toml());
        a_long_poll_ends_with_its_session(
            plan,
            speaks.then_some(&|| {
                let _ = speak.send(true);
            }),
        );
    }
}

#[test]
fn u_13_an_upload_that_goes_on_keeps_a_silent_answer_open() {
    const PIECES: usize = 5;
    let app = Upstream::listening(|mut stream| {
        let (mut piece, mut seen) = ([0; 4096], Vec::new());
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            if seen.is_empty() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            }
            seen.extend_from_slice(&piece[..count]);
            if seen.ends_with(b"0\r\n\r\n") {
                let _ = stream.write_all(b"4\r\ndone\r\n0\r\n\r\n");
                seen.clear();
            }
        }
    });
    let stage = Stage::on(Stage::plan().upstream(app).set("upstream", "idle_timeout = \"3s\""));
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /x HTTP/1.1", "Transfer-Encoding: chunked\r\n"));
    raw.send("1\r\nx\r\n");
    assert_eq!(raw.head().expect("a head before the body has ended").status, 200);
    for _ in 0..PIECES {
        thread::sleep(Duration::from_millis(1400));
        raw.send("1\r\nx\r\n");
    }
    raw.send("0\r\n\r\n");
    assert_eq!(raw.exactly(14).expect("the rest of the answer"), b"4\r\ndone\r\n0\r\n\r\n");
}
