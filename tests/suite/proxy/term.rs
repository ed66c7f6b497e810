//! For how long an answer is waited for, and goes on.

use std::io::{Read as _, Write as _};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::Builder;

use crate::proxy::upload::head;
use crate::support::app2::App2;
use crate::support::bare::{Bare, End};
use crate::support::frame::{block, frame};
use crate::support::raw::{PATIENCE, Raw};
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

/// An app that answers at once and at length, and tells when what it is sent has come to an end.
fn talkative() -> (Plan, Receiver<()>) {
    let (tell, told) = channel();
    let app = Upstream::listening(move |mut stream| {
        if head(&mut stream).is_none() {
            return;
        }
        let mut answers = stream.try_clone().expect("a second handle");
        thread::spawn(move || {
            let _ = answers.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n");
            let more = vec![b'y'; 1 << 16];
            while answers.write_all(&more).is_ok() {}
        });
        while let Ok(1..) = stream.read(&mut [0; 4096]) {}
        let _ = tell.send(());
    });
    (Stage::plan().upstream(app), told)
}

/// The same by HTTP/2.
fn talkative_by_http_2() -> (Plan, Receiver<()>, App2) {
    let (tell, told) = channel();
    let app = App2::with(Builder::new(), move |mut call| {
        let tell = tell.clone();
        async move {
            let mut answer = call.begin("text/plain");
            let _ = answer.send_data(Bytes::from(vec![b'y'; 10_000_000]), false);
            while let Some(Ok(data)) = call.body.data().await {
                let _ = call.body.flow_control().release_capacity(data.len());
            }
            let _ = tell.send(());
        }
    });
    (Stage::plan().set("upstream", &app.toml()), told, app)
}

/// Sends on and on what nobody is to get once the session has ended; nothing of the answer is read.
#[expect(clippy::disallowed_methods, reason = "how long a test goes on")]
fn what_is_sent_ends_with_its_session(stage: &Stage, told: &Receiver<()>, send: &mut Sends<'_>) {
    let mut sends_for = |time: Duration| {
        let begun = Instant::now();
        while begun.elapsed() < time {
            send("more");
            if told.recv_timeout(Duration::from_millis(100)).is_ok() {
                return true;
            }
        }
        false
    };
    assert!(!sends_for(LONG), "the app gets what is sent");
    stage.sign_out();
    assert!(sends_for(PATIENCE / 2), "the app still gets what is sent");
}

/// What a client does who sends a body piece by piece.
type Sends<'s> = dyn FnMut(&str) + 's;

fn by_http_1(plan: Plan, client: impl FnOnce(&Stage, &mut Sends<'_>)) {
    let stage = Stage::on(plan);
    let mut raw = Raw::connect_narrow(stage.site.address);
    raw.send(stage.signed("POST /x HTTP/1.1", "Transfer-Encoding: chunked\r\n"));
    client(&stage, &mut |piece| {
        let _ = raw.try_send(format!("{:x}\r\n{piece}\r\n", piece.len()));
    });
}

fn by_http_2(plan: Plan, client: impl FnOnce(&Stage, &mut Sends<'_>)) {
    let stage = Stage::on(plan);
    let mut bare = Bare::greets(&stage, 65_535);
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/x"),
        (":authority", stage.host()),
        ("cookie", &stage.cookie),
    ];
    bare.sends(&frame(1, 4, 1, &block(&fields)));
    client(&stage, &mut |piece| bare.sends(&frame(0, 0, 1, piece.as_bytes())));
}

#[test]
fn lif_10_an_upload_whose_answer_is_not_being_read_ends_with_its_session() {
    let (plan, told) = talkative();
    by_http_1(plan, |stage, send| what_is_sent_ends_with_its_session(stage, &told, send));
}

#[test]
fn lif_10_nor_does_one_by_http_2_outlive_it() {
    let (plan, told) = talkative();
    by_http_2(plan, |stage, send| what_is_sent_ends_with_its_session(stage, &told, send));
}

#[test]
fn lif_10_nor_one_to_an_app_that_speaks_http_2() {
    let (plan, told, _app) = talkative_by_http_2();
    by_http_1(plan, |stage, send| what_is_sent_ends_with_its_session(stage, &told, send));
}

#[test]
fn lif_10_nor_one_that_is_http_2_on_both_sides() {
    let (plan, told, _app) = talkative_by_http_2();
    by_http_2(plan, |stage, send| what_is_sent_ends_with_its_session(stage, &told, send));
}

/// Of a body only what is sent before its session ends reaches the app.
fn the_rest_comes_too_late(stage: &Stage, told: &Receiver<Vec<u8>>, send: &mut Sends<'_>) {
    send("in time");
    thread::sleep(LONG);
    stage.sign_out();
    send("too late");
    let seen = told.recv_timeout(PATIENCE).expect("it comes to an end");
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("in time") && !seen.contains("too late"), "{seen}");
}

/// An app that listens, before or behind the head of its answer, and tells what it has heard.
fn listens(answers: bool) -> (Plan, Receiver<Vec<u8>>) {
    let (tell, told) = channel();
    let app = Upstream::listening(move |mut stream| {
        if head(&mut stream).is_none() {
            return;
        }
        if answers {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n");
        }
        let mut seen = Vec::new();
        let _ = stream.read_to_end(&mut seen);
        let _ = tell.send(seen);
    });
    (Stage::plan().upstream(app), told)
}

/// The same by HTTP/2.
fn listens_by_http_2(answers: bool) -> (Plan, Receiver<Vec<u8>>, App2) {
    let (tell, told) = channel();
    let app = App2::with(Builder::new(), move |mut call| {
        let tell = tell.clone();
        async move {
            let _answer = answers.then(|| call.begin("text/plain"));
            let _ = tell.send(call.collect().await.0);
        }
    });
    (Stage::plan().set("upstream", &app.toml()), told, app)
}

#[test]
fn lif_10_no_piece_of_an_upload_reaches_the_app_behind_the_end_of_its_session() {
    for answers in [false, true] {
        let (plan, told) = listens(answers);
        by_http_1(plan, |stage, send| the_rest_comes_too_late(stage, &told, send));
        let (plan, told) = listens(answers);
        by_http_2(plan, |stage, send| the_rest_comes_too_late(stage, &told, send));
    }
}

#[test]
fn lif_10_nor_does_one_reach_an_app_that_speaks_http_2() {
    for answers in [false, true] {
        let (plan, told, _app) = listens_by_http_2(answers);
        by_http_1(plan, |stage, send| the_rest_comes_too_late(stage, &told, send));
        let (plan, told, _app) = listens_by_http_2(answers);
        by_http_2(plan, |stage, send| the_rest_comes_too_late(stage, &told, send));
    }
}

/// A download of which nothing is read, by HTTP/2.
fn is_cut_though_nothing_is_read(plan: Plan) {
    let stage = Stage::on(plan.set("limits", "body_idle = \"10m\""));
    let mut bare = Bare::greets(&stage, 0);
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/x"),
        (":authority", stage.host()),
        ("cookie", &stage.cookie),
    ];
    bare.sends(&frame(1, 5, 1, &block(&fields)));
    assert!(bare.is_answered(1));
    thread::sleep(LONG);
    stage.sign_out();
    assert!(matches!(bare.hears(1), End::Reset(_)));
}

#[test]
fn lif_10_a_download_that_nobody_reads_ends_with_its_session() {
    is_cut_though_nothing_is_read(talkative().0);
}

#[test]
fn lif_10_nor_does_one_from_an_app_that_speaks_http_2_outlive_it() {
    let app = App2::with(Builder::new(), |mut call| async move {
        let mut answer = call.begin("text/plain");
        let _ = answer.send_data(Bytes::from(vec![b'y'; 10_000_000]), false);
        std::future::pending::<()>().await;
    });
    is_cut_though_nothing_is_read(Stage::plan().set("upstream", &app.toml()));
}
