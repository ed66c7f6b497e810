//! How much an app that speaks HTTP/2 may send ahead of clients that do not read: more where few share its connection.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use h2::server::Builder;

use crate::jobs::eventually;
use crate::proxy::http2_apart::before;
use crate::support::app2::App2;
use crate::support::raw::Raw;
use crate::support::stage::Stage;

/// What there is of a window where many streams share a connection, and where few do.
const WINDOWS: (usize, usize) = (32 * 1024, 128 * 1024);
/// How many are few.
const FEW: usize = 8;

/// An app that begins answers and notes for each how much it could send ahead at most.
fn noting() -> (App2, Arc<Mutex<Vec<usize>>>) {
    let most = Arc::<Mutex<Vec<usize>>>::default();
    let noted = Arc::clone(&most);
    let app = App2::with(Builder::new(), move |mut call| {
        let noted = Arc::clone(&noted);
        async move {
            let place = {
                let mut noted = noted.lock().expect("no panic");
                noted.push(0);
                noted.len() - 1
            };
            let mut body = call.begin("text/plain");
            body.reserve_capacity(1 << 20);
            while let Some(Ok(capacity)) = poll_fn(|cx| body.poll_capacity(cx)).await {
                let mut noted = noted.lock().expect("no panic");
                noted[place] = noted[place].max(capacity);
            }
        }
    });
    (app, most)
}

fn asks(stage: &Stage, count: usize) -> Vec<Raw> {
    let requests = (0..count).map(|_| {
        let mut raw = stage.connect();
        raw.send(stage.strange("GET /open/x HTTP/1.1", ""));
        raw
    });
    requests.collect()
}

#[test]
fn r_04_an_app_sends_more_ahead_where_few_streams_share_its_connection() {
    let (app, most) = noting();
    let noted = || most.lock().expect("no panic").clone();
    let stage = before(&app.toml());
    let one = asks(&stage, 1);
    eventually("the app may send more", || noted() == [WINDOWS.1]);
    let many = asks(&stage, 40);
    eventually("all may send something", || noted().len() == 41 && noted().iter().all(|&most| most > 0));
    thread::sleep(Duration::from_millis(500));
    let wide = noted().into_iter().filter(|&most| most > WINDOWS.0).count();
    assert!(wide <= FEW, "{wide} of {:?}", noted());
    drop((one, many));
    assert_eq!(app.connections(), 1);
}
