//! Large bodies that are moved from socket to socket: each reaches its own reader whole, ends where its head says, and
//! leaves nothing behind for anybody else.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::support::raw::{PATIENCE, Raw};
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

/// More than one pipe takes.
pub(super) const LARGE: usize = 1_000_000;
/// More clients at a time than pipes are lent.
const CLIENTS: usize = 40;

/// A body that is nobody else's.
pub(super) fn body(number: usize) -> Vec<u8> {
    (0..LARGE).map(|place| (place * 31 + number * 7 + place / 251).to_le_bytes()[0]).collect()
}

/// The head of an answer of so many bytes.
fn head(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")
}

/// From this number on the body is sent so often: more than the sockets on the way hold.
const LONG: usize = 500;
const TIMES: usize = 6;

/// An app that answers `/{number}` with the body of that number.
fn numbered() -> Upstream {
    Upstream::with(|arrived, stream| {
        let number = arrived.line.split(['/', ' ']).find_map(|word| word.parse().ok()).unwrap_or(0);
        let (body, times) = (body(number), if number < LONG { 1 } else { TIMES });
        let _ = stream.write_all(head(times * LARGE).as_bytes());
        (0..times).try_for_each(|_| stream.write_all(&body)).unwrap_or_default();
    })
}

#[test]
fn what_a_client_did_not_take_reaches_nobody_else() {
    let stage = Stage::on(Stage::plan().upstream(numbered()));
    for round in 0..3 {
        // They read a little and go while the rest of it is under way.
        let gone: Vec<Raw> = (0..CLIENTS)
            .map(|number| {
                let mut raw = Raw::connect_narrow(stage.site.address);
                raw.send(stage.signed(&format!("GET /{} HTTP/1.1", LONG + number), ""));
                raw.exactly(200_000).expect("a part of it");
                raw
            })
            .collect();
        thread::sleep(Duration::from_millis(50));
        drop(gone);
        thread::scope(|scope| {
            for number in 0..CLIENTS {
                let stage = &stage;
                scope.spawn(move || {
                    let mut raw = stage.connect();
                    let number = round * CLIENTS + number;
                    raw.send(stage.signed(&format!("GET /{number} HTTP/1.1"), ""));
                    assert!(raw.answer().body == body(number), "{number}");
                });
            }
        });
    }
}

#[test]
fn clients_that_stop_reading_do_not_keep_others_from_large_answers() {
    let stage = Stage::on(Stage::plan().set("limits", "body_idle = \"5m\"").upstream(numbered()));
    let mut slow: Vec<Raw> = (LONG..LONG + CLIENTS / 2)
        .map(|number| {
            let mut raw = Raw::connect_narrow(stage.site.address);
            raw.send(stage.signed(&format!("GET /{number} HTTP/1.1"), ""));
            raw
        })
        .collect();
    thread::sleep(Duration::from_millis(100));
    let mut quick = stage.connect();
    for number in 100..103 {
        quick.send(stage.signed(&format!("GET /{number} HTTP/1.1"), ""));
        assert!(quick.answer().body == body(number), "{number}");
    }
    for (number, raw) in (LONG..).zip(&mut slow) {
        assert!(raw.answer().body == body(number).repeat(TIMES), "{number}");
    }
}

#[test]
fn f_1_a_large_answer_ends_where_its_head_says() {
    let upstream = Upstream::with(|_, stream| {
        let surplus = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nsurplus";
        let all = [head(LARGE).into_bytes(), body(1), surplus.as_bytes().repeat(9_000)].concat();
        let _ = stream.write_all(&all);
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    for _ in 0..3 {
        raw.send(stage.signed("GET /x HTTP/1.1", ""));
        assert!(raw.answer().body == body(1));
    }
}

#[test]
fn a_large_answer_that_is_cut_short_is_seen_to_be() {
    let upstream = Upstream::with(|_, stream| {
        let _ = stream.write_all(head(LARGE).as_bytes()).and_then(|()| stream.write_all(&body(1)[1..]));
        let _ = stream.shutdown(Shutdown::Both);
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /x HTTP/1.1", ""));
    assert_eq!(raw.head().expect("a head").status, 200);
    assert_eq!(raw.rest().expect("the end").len(), LARGE - 1);
}

#[test]
fn lif_10_a_large_answer_ends_with_its_session() {
    let (tell, told) = channel::<()>();
    let told = Mutex::new(told);
    let upstream = Upstream::with(move |_, stream| {
        let _ = stream.write_all(head(10 * LARGE).as_bytes());
        let told = told.lock().expect("no panic");
        // Without an end as long as somebody reads it.
        while stream.write_all(&[b'x'; 10_000]).is_ok() {
            thread::sleep(Duration::from_millis(20));
            if told.try_recv().is_ok() {
                break;
            }
        }
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    raw.send(stage.signed("GET /x HTTP/1.1", ""));
    assert_eq!(raw.head().expect("a head").status, 200);
    raw.exactly(LARGE).expect("it flows");
    stage.sign_out();
    let rest = raw.rest().expect("it ends").len();
    assert!(rest < 9 * LARGE, "{rest}");
    let _ = tell.send(());
}

#[test]
fn f_1_a_large_request_ends_where_its_head_says() {
    let stage = Stage::on(Stage::plan().upstream(Upstream::with(|_, stream| {
        let _ = stream.write_all(ok("done").as_bytes());
    })));
    let mut raw = stage.connect();
    let post = stage.signed("POST /x HTTP/1.1", &format!("Content-Length: {LARGE}\r\n"));
    let get = stage.signed("GET /behind HTTP/1.1", "");
    for _ in 0..3 {
        raw.send([post.as_bytes(), &body(1)[..], get.as_bytes()].concat());
        assert_eq!((raw.answer().text(), raw.answer().text()), ("done".to_owned(), "done".to_owned()));
        let arrived = stage.site.upstream.arrived();
        let [.., large, behind] = &arrived[..] else { panic!("{} arrived", arrived.len()) };
        assert!(large.body == body(1));
        assert!(behind.line.starts_with("GET /behind "), "{}", behind.line);
    }
}

#[test]
fn f_10_a_large_request_that_is_cut_short_never_looks_complete() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let upstream = Upstream::listening(move |mut stream| {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let _ = tell.lock().expect("no panic").send(all);
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let mut raw = stage.connect();
    raw.send(stage.signed("POST /x HTTP/1.1", &format!("Content-Length: {LARGE}\r\n")));
    raw.send(&body(1)[1..]).end();
    let came = told.recv_timeout(PATIENCE).expect("the app hears of the end");
    assert!(came.ends_with(&body(1)[1..]) && came.len() < LARGE + 1000, "{}", came.len());
}
