//! What a client of HTTP/2 begins and does not end.

use std::thread;
use std::time::Duration;

use crate::support::bare::{Bare, End};
use crate::support::h2::{frame, get};
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

fn stage() -> Stage {
    let app = Upstream::with(|arrived, stream| {
        if arrived.line.contains("/open/wait") {
            thread::sleep(Duration::from_secs(25));
        }
        let _ = std::io::Write::write_all(stream, ok("hello").as_bytes());
    });
    let plan = Stage::plan().upstream(app).rule("/open/**", "public");
    Stage::on(plan.set("limits", "head_timeout = \"500ms\""))
}

#[test]
fn r_1_and_dos_3_a_head_by_http_2_that_does_not_end_ends_the_connection() {
    let stage = stage();
    let block = get(stage.host(), "/open/x");
    let half = frame(1, 1, 3, &block[..block.len() / 2]);
    for (what, bytes) in [
        ("a header block without its continuation", half.clone()),
        ("a continuation that is not the last", [half, frame(9, 0, 3, b"")].concat()),
        ("a frame whose payload does not come", frame(1, 5, 3, &block)[..12].to_vec()),
        ("half of a frame's head", frame(6, 0, 0, &[0; 8])[..5].to_vec()),
    ] {
        for beside_a_stream in [false, true] {
            let mut bare = Bare::greets(&stage, 65_535);
            if beside_a_stream {
                bare.asks(1, "/open/wait");
            }
            bare.sends(&bytes);
            assert!(bare.is_ended(), "{what}; beside a stream: {beside_a_stream}");
        }
    }
    assert!(stage.site.is_well());
}

#[test]
fn a_connection_of_http_2_may_be_silent_for_longer_than_a_head_may_take() {
    let stage = stage();
    let mut bare = Bare::greets(&stage, 65_535);
    for stream in [1, 3] {
        thread::sleep(Duration::from_millis(1200));
        bare.asks(stream, "/open/x");
        assert_eq!(bare.hears(stream), End::Whole(5));
    }
}
