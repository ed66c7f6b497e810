//! Requests by HTTP/2 of somebody who is signed in and would like to be somebody else.

use super::http2::{Fields, arrives, block, field, sound};
use super::path::WAYS_TO_U2;
use crate::support::h2::{frame, preface, until_ended};
use crate::support::stage::Stage;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const GOAWAY: u8 = 7;

/// The fields of a sound request with another path.
fn at(stage: &Stage, path: &str) -> Fields<'static> {
    let mut fields = sound(stage);
    fields[3].1 = path.as_bytes().to_vec();
    fields
}

/// Sends frames and a goodbye.
fn send(stage: &Stage, frames: &[Vec<u8>]) {
    let bytes = [preface(), frames.concat(), frame(GOAWAY, 0, 0, &[0; 8])].concat();
    until_ended(stage.site.address, &bytes);
}

/// Checks that all that arrived did so in the person's own name.
fn all_are_mine(stage: &Stage, count: usize) {
    let arrived = stage.site.upstream.arrived();
    assert_eq!(arrived.len(), count);
    for request in arrived {
        assert_eq!(request.all("x-user-id"), [stage.me.as_str()], "{request:?}");
        let told = format!("{:?}{}", request.headers, String::from_utf8_lossy(&request.body));
        assert!(!told.contains("admin"), "{told}");
    }
}

#[test]
fn p_no_way_leads_from_one_users_tree_into_anothers_by_http_2() {
    let stage = Stage::on(Stage::plan().rule("/public/**", "public").rule("/admin/**", "deny"));
    let (_, other) = stage.site.member("other@example.org");
    assert_eq!(arrives(&stage, &at(&stage, &format!("/api/{}/x", stage.me))), 1, "the sound one does");
    let encoded = other.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
    for vector in WAYS_TO_U2 {
        let path = vector.replace("U1", &stage.me).replace("U2", &other).replace("ENC2", &encoded);
        for path in
            [path.clone(), format!("{}{path}", stage.site.origin), format!("//{}{path}", stage.host())]
        {
            assert_eq!(arrives(&stage, &at(&stage, &path)), 0, "{path}");
            let stranger: Fields<'_> =
                at(&stage, &path).into_iter().filter(|(name, _)| *name != "cookie").collect();
            assert_eq!(arrives(&stage, &stranger), 0, "{path}");
        }
    }
}

#[test]
fn hdr_1_hdr_2_an_identity_in_continuations_is_stripped_wherever_they_are_cut() {
    let stage = Stage::new();
    let claims = ["x-user-id", "x_user_id", "x-user_id", "x_user-id", "x.user.id", "x-user.id"]
        .map(|name| (name, b"admin".to_vec()));
    let (first, rest) = (block(&sound(&stage)), block(&claims));
    let whole = [first.clone(), rest.clone()].concat();
    let mut count = 0;
    for cut in (first.len()..whole.len()).step_by(7) {
        send(
            &stage,
            &[
                frame(HEADERS, 1, 1, &whole[..first.len() / 2]),
                frame(CONTINUATION, 0, 1, &whole[first.len() / 2..cut]),
                frame(CONTINUATION, 0, 1, b""),
                frame(CONTINUATION, 4, 1, &whole[cut..]),
            ],
        );
        count += 1;
        all_are_mine(&stage, count);
    }
    // In capitals it is none of HTTP/2, and neither is a field of a connection (RFC 9113 §8.2).
    for (name, value) in [("X-User-Id", "admin"), ("X_USER_ID", "admin"), ("connection", "x-user-id")] {
        let last = field(name, value.as_bytes());
        send(&stage, &[frame(HEADERS, 1, 1, &first), frame(CONTINUATION, 4, 1, &last)]);
        all_are_mine(&stage, count);
    }
}

#[test]
fn hdr_1_an_identity_out_of_the_dynamic_table_is_stripped_each_time() {
    let stage = Stage::new();
    // Literal with incremental indexing, then the newest entry (RFC 7541 §6.1, §6.2.1).
    let mut kept = field("x-user-id", b"admin");
    kept[0] = 0x40;
    let newest = [0x80 + 62];
    let sound = block(&sound(&stage));
    send(
        &stage,
        &[
            frame(HEADERS, 5, 1, &[&sound[..], &kept].concat()),
            frame(HEADERS, 5, 3, &[&sound[..], &newest].concat()),
            frame(HEADERS, 5, 5, &[&sound[..], &newest, &newest].concat()),
        ],
    );
    all_are_mine(&stage, 3);
}

#[test]
fn hdr_10_and_i_7_crumbs_make_no_cookie_that_nobody_sent_and_hide_none() {
    let stage = Stage::new();
    let mine = stage.cookie.split("; ").find(|it| it.starts_with("sidegate=")).expect("a session").to_owned();
    let (name, value) = mine.split_once('=').expect("a cookie");
    let (half, rest) = value.split_at(value.len() / 2);
    for crumbs in [
        // The same name twice, in one line or in several, whichever comes first.
        vec![mine.clone(), format!("{name}=other")],
        vec![format!("{name}=other"), mine.clone()],
        vec![format!("a=1; {name}=other"), mine.clone()],
        vec![mine.clone(), format!("a=1;{name}=other")],
        // One cookie in two lines is none.
        vec![format!("{name}={half}"), rest.to_owned()],
        vec![format!("{name}="), value.to_owned()],
        vec![name.to_owned(), format!("={value}")],
    ] {
        let mut fields = sound(&stage);
        fields.retain(|(name, _)| *name != "cookie");
        fields.extend(crumbs.iter().map(|crumb| ("cookie", crumb.clone().into_bytes())));
        assert_eq!(arrives(&stage, &fields), 0, "{crumbs:?}");
    }
    let mut fields = sound(&stage);
    fields.insert(4, ("cookie", b"a=1".to_vec()));
    fields.push(("x-between", b"1".to_vec()));
    fields.push(("cookie", b"b=2".to_vec()));
    assert_eq!(arrives(&stage, &fields), 1);
    assert_eq!(stage.site.upstream.last().all("cookie"), ["a=1; b=2"], "ours is not told");
}

#[test]
fn hdr_5_what_a_scheme_says_is_not_believed() {
    let stage = Stage::new();
    for scheme in ["https", "http", "HTTPS", "javascript", "x"] {
        let mut fields = sound(&stage);
        fields[1].1 = scheme.as_bytes().to_vec();
        if arrives(&stage, &fields) == 1 {
            let arrived = stage.site.upstream.last();
            assert_eq!(arrived.all("x-forwarded-proto"), ["http"], "{scheme}");
            assert_eq!(arrived.all("x-user-id"), [stage.me.as_str()]);
        }
    }
}
