//! The head that reaches the app and the head that reaches the client, byte for byte.

use std::io::Write as _;
use std::time::Duration;

use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

/// A site with these lines under `[identity]`, and the fields that carry the identity there.
fn identity(lines: &str) -> (Stage, Vec<(String, String)>) {
    let stage = Stage::on(Stage::plan().set("identity", lines));
    let arrived = stage.arrives(stage.signed("GET /x HTTP/1.1", ""));
    let from = arrived.headers.iter().position(|(name, _)| name == "x-user-id").expect("the user id");
    let fields = arrived.headers[from..].to_vec();
    (stage, fields)
}

#[test]
fn a_request_arrives_as_it_was_with_our_fields_behind_it() {
    let stage = Stage::new();
    let fields = "Accept: */*\r\nX-Empty:\r\nX-Twice: 1\r\nX-Twice:  2 \r\nX-Bytes: caf\u{e9}\r\n";
    let arrived = stage.arrives(stage.signed("GET /x?y=1 HTTP/1.1", fields));
    let request_id = arrived.header("x-request-id").expect("an id").to_owned();
    let port = stage.host().split(':').nth(1).expect("a port");
    let expected = [
        ("host", stage.host()),
        ("accept", "*/*"),
        ("x-empty", ""),
        ("x-twice", "1"),
        ("x-twice", "2"),
        ("x-bytes", "caf\u{e9}"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", stage.host()),
        ("x-forwarded-port", port),
        ("x-request-id", &request_id),
        ("x-user-id", &stage.me),
    ];
    let found: Vec<(&str, &str)> = arrived.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!((arrived.line.as_str(), found.as_slice()), ("GET /x?y=1 HTTP/1.1", &expected[..]));
    assert!(arrived.body.is_empty());
}

#[test]
fn every_preset_names_the_person_as_apps_for_that_product_read_it() {
    for (preset, id, email, name) in [
        ("none", &[][..], &[][..], &[][..]),
        (
            "oauth2-proxy",
            &["x-forwarded-user"][..],
            &["x-forwarded-email"][..],
            &["x-forwarded-preferred-username"][..],
        ),
        ("authelia", &["remote-user"][..], &["remote-email"][..], &["remote-name"][..]),
        (
            "authentik",
            &["x-authentik-uid", "x-authentik-username"][..],
            &["x-authentik-email"][..],
            &["x-authentik-name"][..],
        ),
    ] {
        let (stage, fields) = identity(&format!("preset = \"{preset}\""));
        let mut expected = vec![("x-user-id".to_owned(), stage.me.clone())];
        expected.extend(id.iter().map(|&field| (field.to_owned(), stage.me.clone())));
        expected.extend(email.iter().map(|&field| (field.to_owned(), "me@example.org".to_owned())));
        expected.extend(name.iter().map(|&field| (field.to_owned(), "Someone".to_owned())));
        assert_eq!(fields, expected, "{preset}");
        // What the preset uses, a client cannot claim, nor what another one uses.
        let claim = "X-Forwarded-User: a\r\nRemote_User: a\r\nX-authentik-uid: a\r\nX-authentik-groups: a\r\n\
            X-Forwarded-Groups: a\r\nRemote-Groups: a\r\n";
        let arrived = stage.arrives(stage.signed("GET /x HTTP/1.1", claim));
        assert!(arrived.headers.iter().all(|(_, value)| value != "a"), "{preset}: {arrived:?}");
    }
}

#[test]
fn own_names_carry_the_identity_and_cannot_be_claimed_in_any_spelling() {
    let (stage, fields) =
        identity("user_id = [\"X-Who\", \"x-webauth-user\"]\nemail = \"x-mail\"\ngroups = \"x-team\"");
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-user-id", "x-who", "x-webauth-user", "x-mail"]);
    let claim = "X_Who: a\r\nx.mail: a\r\nX-TEAM: a\r\nX_Team: a\r\n";
    let arrived = stage.arrives(stage.signed("GET /x HTTP/1.1", claim));
    assert!(arrived.headers.iter().all(|(_, value)| value != "a"), "{arrived:?}");
}

#[test]
fn an_answer_arrives_as_it_was() {
    let answer = "HTTP/1.1 418 Teapot\r\nContent-Length: 5\r\nX-A: 1\r\nx-a: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
        Location: /auth/\r\nCache-Control: no-cache\r\n\r\nshort";
    let stage = Stage::on(Stage::plan().upstream(Upstream::answering(answer)));
    let response = stage.ask(stage.signed("GET /x HTTP/1.1", ""));
    assert_eq!((response.status, response.text().as_str()), (418, "short"));
    assert_eq!(response.all("x-a"), ["1", "2"]);
    assert_eq!(response.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(response.all("location"), ["/auth/"]);
    assert_eq!(response.all("cache-control"), ["no-cache"]);
    assert_eq!(response.all("content-length"), ["5"]);
}

#[test]
fn the_client_is_told_the_name_of_a_request_by_the_app_if_it_likes_and_by_our_refusals() {
    let upstream = Upstream::with(|arrived, stream| {
        let id = arrived.header("x-request-id").filter(|_| arrived.line.contains("told")).unwrap_or("");
        let field = if id.is_empty() { String::new() } else { format!("X-Request-Id: {id}\r\n") };
        let _ = stream.write_all(ok("hello").replacen("\r\n", &format!("\r\n{field}"), 1).as_bytes());
    });
    let stage = Stage::on(Stage::plan().upstream(upstream));
    let told = stage.ask(stage.signed("GET /told HTTP/1.1", ""));
    let id = stage.site.upstream.last().header("x-request-id").expect("an id").to_owned();
    assert_eq!(told.all("x-request-id"), [id]);
    assert!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).all("x-request-id").is_empty());
    assert_eq!(stage.ask(stage.strange("GET /x HTTP/1.1", "")).all("x-request-id").len(), 1);
}

#[test]
fn an_answer_with_a_renewed_cookie_of_ours_is_stored_by_nobody() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: public, max-age=600\r\n\r\nok";
    let plan = Stage::plan().upstream(Upstream::answering(answer));
    let site = plan.start();
    site.sign_up("me@example.org");
    let mut me = site.stranger();
    let body = serde_json::json!({
        "email": "me@example.org", "password": crate::support::site::PASSWORD, "rememberMe": true,
    });
    assert_eq!(me.post("/auth/sign-in/email", &body).status, 200);
    assert_eq!(me.get("/x").all("cache-control"), ["public, max-age=600"]);
    site.pass(Duration::from_hours(48));
    let response = me.get("/x");
    assert_eq!(response.status, 200);
    assert!(response.all("set-cookie").iter().any(|cookie| cookie.starts_with("sidegate=")), "{response:?}");
    assert_eq!(response.all("cache-control"), ["no-store"]);
    assert_eq!(me.get("/x").all("cache-control"), ["public, max-age=600"], "once is enough");
}

#[test]
fn ses_12_no_cache_of_any_kind_is_told_to_keep_an_answer_with_a_cookie_of_ours() {
    let told = [
        ("cache-control", "public, max-age=600"),
        ("expires", "Fri, 01 Jan 2100 00:00:00 GMT"),
        ("surrogate-control", "max-age=600"),
        ("edge-control", "cache-maxage=10m"),
        ("x-accel-expires", "600"),
        ("cdn-cache-control", "max-age=600"),
        ("cloudflare-cdn-cache-control", "max-age=600"),
    ];
    let lines = told.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{lines}ETag: \"a\"\r\n\r\nok");
    let stage = Stage::on(Stage::plan().upstream(Upstream::answering(answer)).rule("/open/**", "public"));
    let ask = |path: &str| stage.ask(stage.signed(&format!("GET {path} HTTP/1.1"), ""));
    let as_it_came = |response: &crate::support::raw::Response| {
        assert!(response.all("set-cookie").is_empty(), "{response:?}");
        for (name, value) in told {
            assert_eq!(response.all(name), [value]);
        }
    };
    as_it_came(&ask("/x"));
    stage.site.pass(Duration::from_secs(24 * 3600 - 5));
    as_it_came(&ask("/x"));
    stage.site.pass(Duration::from_secs(10));
    as_it_came(&ask("/open/x"));
    let renewed = ask("/x");
    assert_eq!(renewed.all("set-cookie").len(), 1, "where nobody is named, nothing was renewed");
    assert_eq!((renewed.all("cache-control"), renewed.all("etag")), (vec!["no-store"], vec!["\"a\""]));
    for (name, _) in &told[1..] {
        assert!(renewed.all(name).is_empty(), "{name}: {renewed:?}");
    }
    as_it_came(&ask("/x"));
}
