//! Lines of the access log, byte for byte.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::log::sink::tests::unread;

fn asked<'a>(path: &'a [u8], agent: &'a [u8]) -> Asked<'a> {
    Asked {
        at: Now::from_millis(1_700_000_000_007),
        id: RequestId::next(),
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)),
        method: "GET",
        path,
        host: None,
        http: "1.1",
        tls: None,
        session: None,
        agent: Some(agent),
        trace: None,
    }
}

const TOLD: Told = Told {
    status: Some(403),
    decision: "refused",
    reason: Some("FORBIDDEN"),
    bytes: 1234,
    took: Duration::from_micros(1_002_003),
    upstream: Some(Duration::from_micros(5)),
    grpc_status: None,
    ended: None,
};

/// The line as it goes to the thread that writes.
fn line(json: bool, asked: &Asked<'_>) -> String {
    let (sink, read) = unread(1);
    let access = Access::new(json, Some(sink));
    let begun = access.asked(asked);
    access.told(begun, &TOLD);
    access.flush();
    read()
}

#[test]
fn a_line_of_json_is_an_object_whatever_a_client_sends() {
    let every: Vec<u8> = (0..=255).collect();
    let text = line(true, &asked(b"/a\"b", &every));
    assert_eq!(text.lines().count(), 1, "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).expect("an object");
    assert_eq!(value["timestamp"], "2023-11-14T22:13:20.007Z");
    assert_eq!((&value["path"], &value["client_ip"]), (&"/a\"b".into(), &"192.0.2.10".into()));
    assert_eq!((&value["status"], &value["bytes"]), (&403.into(), &1234.into()));
    assert_eq!((&value["duration_ms"], &value["upstream_ms"]), (&1002.003.into(), &0.005.into()));
    let agent: Vec<u32> = value["user_agent"].as_str().expect("text").chars().map(u32::from).collect();
    assert_eq!(agent, (0..256).collect::<Vec<u32>>());
}

#[test]
fn a_line_of_text_has_no_byte_that_could_end_it_or_forge_a_field() {
    let text = line(false, &asked(b"/a", b"x\r\n2023 INFO access: status=200 \x1b[31m\""));
    let start = "2023-11-14T22:13:20.007Z  INFO access: request request_id=";
    assert!(text.starts_with(start) && text.ends_with('\n'), "{text}");
    assert!(text.bytes().filter(|b| !(b' '..=b'~').contains(b)).eq([b'\n']), "{text}");
    assert!(
        text.contains(r#" user_agent="x\u000d\u000a2023 INFO access: status=200 \u001b[31m\"" status=403 "#),
        "{text}"
    );
    assert!(text.contains(" reason=FORBIDDEN bytes=1234 duration_ms=1002.003 upstream_ms=0.005"), "{text}");
}

#[test]
fn an_agent_is_cut_and_each_line_of_a_batch_that_finds_no_room_is_counted() {
    let agent = vec![b'a'; 10_000];
    let text = line(true, &asked(b"/", &agent));
    assert!(text.len() < 700, "{}", text.len());
    let (sink, read) = unread(1);
    let access = Access::new(true, Some(sink.clone()));
    for lines in [1, 2] {
        for _ in 0..lines {
            let begun = access.asked(&asked(b"/", b"x"));
            access.told(begun, &TOLD);
        }
        access.flush();
    }
    assert_eq!((sink.lost(), read().lines().count()), (2, 1));
}
