//! Requests of HTTP/2 that come in one piece, or in pieces that are none (RFC 9113 §5: streams do not wait for each
//! other).

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::Duration;

use crate::support::bare::{Bare, End};
use crate::support::h2::{frame, get};
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// An app that answers everything but `/open/never`.
fn stage() -> Stage {
    let upstream = Upstream::with(|arrived, stream| {
        if arrived.line.contains("/never") {
            // Until the request is given up.
            let _ = stream.read(&mut [0]);
        } else {
            let _ = stream.write_all(ok("quick").as_bytes());
        }
    });
    Stage::on(Stage::plan().upstream(upstream).rule("/open/**", "public"))
}

#[test]
fn a_request_behind_others_that_are_not_answered_does_not_wait_for_them() {
    let stage = stage();
    let asks =
        |stream: u32, path: &str| frame(HEADERS, END_HEADERS | END_STREAM, stream, &get(stage.host(), path));
    for before in 0..4 {
        let mut client = Bare::greets(&stage, 65_535);
        let slow = (0..before).map(|number| asks(1 + 2 * number, "/open/never"));
        let last = 1 + 2 * before;
        client.sends(&slow.chain([asks(last, "/open/quick")]).collect::<Vec<_>>().concat());
        assert_eq!(client.hears(last), End::Whole(5), "behind {before}");
    }
}

#[test]
fn where_a_head_is_cut_on_its_way_makes_no_difference() {
    let stage = stage();
    let block = get(stage.host(), "/open/quick");
    let never = frame(HEADERS, END_HEADERS | END_STREAM, 1, &get(stage.host(), "/open/never"));
    // With trailers, which are a head and no request, and with a head of two frames.
    let posts = [
        frame(HEADERS, END_HEADERS, 3, &get(stage.host(), "/open/never")),
        frame(HEADERS, END_HEADERS | END_STREAM, 3, &[0, 1, b't', 1, b'v']),
    ];
    let quick = [
        frame(HEADERS, END_STREAM, 5, &block[..block.len() / 2]),
        frame(CONTINUATION, END_HEADERS, 5, &block[block.len() / 2..]),
        frame(HEADERS, END_HEADERS | END_STREAM, 7, &block),
    ];
    let all = [vec![never], posts.to_vec(), quick.to_vec()].concat().concat();
    for cut in (1..all.len()).step_by(7) {
        let mut client = Bare::greets(&stage, 65_535);
        client.sends(&all[..cut]);
        thread::sleep(Duration::from_millis(3));
        client.sends(&all[cut..]);
        assert_eq!(client.hears(7), End::Whole(5), "cut at {cut}");
    }
}
