//! More by HTTP/2 than was offered: frames and streams beyond the limits (RFC 9113 §4.2, §5.1.2), and header lists that
//! are small on the wire and large behind it (RFC 7541 §7.3).

use crate::hostile::memory::Measured;
use crate::support::bare::{Bare, End};
use crate::support::frame::{AGAIN, kept};
use crate::support::h2::{frame, get};
use crate::support::raw::PATIENCE;
use crate::support::stage::Stage;
use crate::support::upstream::Upstream;

const HEADERS: u8 = 1;
/// `END_STREAM` and `END_HEADERS`.
const WHOLE: u8 = 5;
const REFUSED_STREAM: u32 = 7;
const FRAME_SIZE_ERROR: u32 = 6;
/// `SETTINGS_MAX_FRAME_SIZE` of who says nothing of it.
const LARGEST_FRAME: usize = 16_384;

#[test]
fn dos_1_a_bomb_of_references_costs_nothing_and_is_refused() {
    let site = Measured::start("");
    let host = site.address.to_string();
    let ask = |client: &mut Bare, stream: u32, path: &str| {
        client.asks(stream, path);
        client.hears(stream)
    };
    // A connection, and a refusal: whatever is made once is made.
    let mut client = Bare::connects(site.address, &host, 65_535);
    assert_eq!(ask(&mut client, 1, "/open/x"), End::Whole("hello".len()));
    let before = site.peak();
    for _ in 0..3 {
        let mut client = Bare::connects(site.address, &host, 65_535);
        for stream in [1, 3] {
            // 16 KiB each time, and some 50 MB for who writes it all down.
            let mut block = get(&host, "/open/bomb");
            if stream == 1 {
                block.extend(kept());
            }
            block.resize(LARGEST_FRAME, AGAIN);
            client.sends(&frame(HEADERS, WHOLE, stream, &block));
            let _ = client.hears(stream);
        }
    }
    let grown = site.peak() - before;
    assert!(grown < 12 * 1024, "{grown} KiB");
    let arrived = site.app.arrived();
    assert!(arrived.iter().all(|arrived| !arrived.line.contains("bomb")), "{} arrived", arrived.len());
    assert_eq!(ask(&mut client, 3, "/open/x"), End::Whole("hello".len()));
}

#[test]
fn r_07_a_frame_too_large_ends_the_connection_and_is_no_request() {
    let plan = Stage::plan().rule("/open/**", "public").set("limits", "headers = 256");
    let stage = Stage::on(plan);
    // A block of this size: fields of 100 bytes, and one more that fills it.
    let block = |size: usize| {
        let field = |length: u8| [&[0, 1][..], b"a", &[length], &vec![b'b'; usize::from(length)]].concat();
        let mut block = get(stage.host(), "/open/x");
        while size - block.len() > 120 {
            block.extend(field(100));
        }
        block.extend(field(u8::try_from(size - block.len() - 4).expect("short")));
        assert_eq!(block.len(), size);
        block
    };
    for (size, end) in [(LARGEST_FRAME, End::Whole("hello".len())), (LARGEST_FRAME + 1, End::Lost)] {
        let mut client = Bare::greets(&stage, 65_535);
        client.sends(&frame(HEADERS, WHOLE, 1, &block(size)));
        assert_eq!(client.hears(1), end, "{size} bytes");
        let codes: Vec<u32> = client.goodbyes.iter().map(|(_, code)| *code).collect();
        assert_eq!(codes, if end == End::Lost { vec![FRAME_SIZE_ERROR] } else { vec![] });
    }
    assert_eq!(stage.site.upstream.arrived().len(), 1);
    // DATA is held to it as well.
    let mut client = Bare::greets(&stage, 65_535);
    let post = [&[0x83][..], &get(stage.host(), "/open/x")[1..]].concat();
    client.sends(&frame(HEADERS, 4, 1, &post));
    client.sends(&frame(0, 1, 1, &vec![b'x'; LARGEST_FRAME + 1]));
    assert_eq!(client.hears(1), End::Lost);
    assert_eq!(client.goodbyes.last().map(|(_, code)| *code), Some(FRAME_SIZE_ERROR));
    assert!(stage.site.upstream.arrived().len() == 1 && stage.site.is_well());
}

#[test]
fn r_07_a_stream_too_many_is_refused_and_there_is_room_again() {
    let (upstream, was_asked, go) = Upstream::held();
    let plan = Stage::plan().rule("/open/**", "public").set("limits", "streams = 3").upstream(upstream);
    let stage = Stage::on(plan);
    let mut client = Bare::greets(&stage, 65_535);
    for stream in [1, 3, 5] {
        client.asks(stream, "/open/x");
        was_asked.recv_timeout(PATIENCE).expect("the app is asked");
    }
    for stream in [7, 9] {
        client.asks(stream, "/open/x");
        assert_eq!(client.hears(stream), End::Reset(REFUSED_STREAM));
    }
    // One that is given up makes room, and so does one that is answered.
    client.resets(3, 8);
    client.asks(11, "/open/x");
    was_asked.recv_timeout(PATIENCE).expect("the app is asked");
    for _ in 0..4 {
        go.send(()).expect("it waits");
    }
    assert_eq!(client.hears(11), End::Whole("hello".len()));
    assert_eq!(stage.site.upstream.arrived().len(), 4);
    assert!(client.goodbyes.is_empty());
}
