//! Header fields that claim to be somebody else's or that try to take ours away.

use std::io::Write as _;

use crate::support::database::Database;
use crate::support::site::Site;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok, switch};

/// Spellings that some app behind CGI, WSGI, Rails or PHP reads as `X-User-Id`.
const ALIASES: [&str; 8] =
    ["X-User-Id", "x-user-id", "X-USER-ID", "X_User_Id", "X-User_Id", "X.User.Id", "x.user-id", "X_USER.ID"];

/// Routes of every kind, signed in and not, before an app that takes WebSockets.
fn mixed_site() -> Stage {
    let app = Upstream::with(|arrived, stream| {
        let takes = arrived.header("sec-websocket-key").is_some();
        let _ = stream.write_all(if takes { switch(arrived) } else { ok("hello") }.as_bytes());
    });
    Stage::on(Stage::plan().rule("/open/**", "public").rule("/maybe/**", "optional").upstream(app))
}

#[test]
fn hdr_1_and_i_2_no_alias_of_the_identity_header_passes() {
    let stage = Stage::new();
    for alias in ALIASES {
        let arrived = stage.arrives(stage.signed("GET /x HTTP/1.1", &format!("{alias}: admin\r\n")));
        assert_eq!(arrived.all("x-user-id"), [stage.me.as_str()], "{alias}");
        assert!(arrived.headers.iter().all(|(_, value)| value != "admin"), "{alias}: {arrived:?}");
    }
    // Not a token (RFC 9110 §5.1), so not a field at all.
    stage.rejects(stage.signed("GET /x HTTP/1.1", "X User Id: admin\r\n"), &[400]);
}

#[test]
fn i_1_repeated_identity_headers_become_the_one_of_ours() {
    let stage = Stage::new();
    let fields = "X-User-Id: admin\r\nx-user-id: root\r\nX-User-Id: \r\n";
    let arrived = stage.arrives(stage.signed("GET /x HTTP/1.1", fields));
    assert_eq!(arrived.all("x-user-id"), [stage.me.as_str()]);
    assert_eq!(arrived.headers.last().expect("fields").0, "x-user-id", "the identity comes last");
}

#[test]
fn hdr_2_hdr_5_i_3_and_px_1_a_claimed_identity_is_absent_on_every_kind_of_route_and_method() {
    let stage = mixed_site();
    let fields = "X-User-Id: admin\r\nX_Forwarded_User: admin\r\nRemote-User: admin\r\nX-Authentik-Uid: admin\r\n\
                  X-Auth-Request-User: admin\r\nX-Webauth-User: admin\r\nX-Forwarded-Email: admin\r\n";
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PROPFIND"] {
        for path in ["/open/x", "/maybe/x"] {
            for version in ["1.1", "1.0"] {
                let line = format!("{method} {path} HTTP/{version}");
                let before = stage.site.upstream.arrived().len();
                let mut raw = stage.connect();
                raw.send(stage.strange(&line, fields));
                let response = if method == "HEAD" { raw.answer_to_head() } else { raw.answer() };
                assert_eq!(response.status, 200, "{line}");
                assert_eq!(stage.site.upstream.arrived().len(), before + 1, "{line}");
                let arrived = stage.site.upstream.last();
                assert!(arrived.headers.iter().all(|(_, value)| value != "admin"), "{line}: {arrived:?}");
                assert_eq!(arrived.all("x-user-id").len(), 0, "{line}");
            }
        }
    }
    // A WebSocket is opened, and so is one by whoever leaves out the key.
    let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (key, status) in [(key, 101), ("", 200)] {
        let handshake = format!("Connection: upgrade\r\nUpgrade: websocket\r\n{key}{fields}");
        for path in ["/open/socket", "/maybe/socket"] {
            let before = stage.site.upstream.arrived().len();
            let answer = stage.ask(stage.strange(&format!("GET {path} HTTP/1.1"), &handshake));
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(stage.site.upstream.arrived().len(), before + 1, "{path}");
            let arrived = stage.site.upstream.last();
            assert!(arrived.headers.iter().all(|(_, value)| value != "admin"), "{arrived:?}");
            assert_eq!(arrived.all("x-user-id").len(), 0, "{path}");
        }
    }
}

#[test]
fn a_public_route_is_told_nothing_of_who_is_signed_in_and_an_optional_one_is() {
    let stage = mixed_site();
    assert_eq!(stage.arrives(stage.signed("GET /open/x HTTP/1.1", "")).header("x-user-id"), None);
    let arrived = stage.arrives(stage.signed("GET /maybe/x HTTP/1.1", ""));
    assert_eq!(arrived.header("x-user-id"), Some(stage.me.as_str()));
}

#[test]
fn hdr_3_hdr_4_i_4_and_px_2_a_connection_header_cannot_erase_the_identity() {
    let stage = Stage::new();
    for nominated in [
        "close, X-User-Id, Cookie, X-Forwarded-For, Host",
        "X-User-Id",
        "Keep-Alive, x-user-id, x-forwarded-proto, x-request-id",
        "cookie",
        "content-length, host, x-forwarded-host",
    ] {
        let fields = format!("Connection: {nominated}\r\nX-User-Id: admin\r\nCookie: theme=dark\r\n");
        let arrived = stage.arrives(stage.signed("GET /x HTTP/1.1", &fields));
        assert_eq!(arrived.all("x-user-id"), [stage.me.as_str()], "{nominated}");
        assert_eq!(arrived.header("x-forwarded-for"), Some("127.0.0.1"), "{nominated}");
        assert_eq!(arrived.header("x-forwarded-proto"), Some("http"), "{nominated}");
        assert_eq!(arrived.header("cookie"), Some("theme=dark"), "{nominated}");
        assert_eq!(arrived.header("host"), Some(stage.host()), "{nominated}");
        assert!(arrived.header("x-request-id").is_some() && arrived.header("connection").is_none());
    }
}

#[test]
fn h_2_every_connection_line_is_honoured() {
    let stage = Stage::new();
    let fields =
        "Connection: keep-alive\r\nX-Foo: 1\r\nX-Bar: 2\r\nConnection: x-foo ,\tX-BAR\r\nX-Baz: 3\r\n";
    let arrived = stage.arrives(stage.signed("GET /x HTTP/1.1", fields));
    assert_eq!(arrived.own_fields(), [("x-baz".to_owned(), "3".to_owned())]);
}

#[test]
fn h_3_close_wins_over_keep_alive() {
    let stage = Stage::new();
    for fields in [
        "Connection: close\r\nConnection: keep-alive\r\n",
        "Connection: keep-alive\r\nConnection: close\r\n",
        "Connection: close, keep-alive\r\n",
        "Connection: keep-alive, close\r\n",
    ] {
        let mut raw = stage.connect();
        assert_eq!(raw.send(stage.signed("GET /x HTTP/1.1", fields)).answer().status, 200);
        assert!(raw.is_closed(), "{fields}");
    }
    assert_eq!(stage.site.upstream.connections(), 1, "the client's close is not the app's");
}

#[test]
fn h_4_and_f_17_hop_by_hop_fields_stay_on_their_hop() {
    let stage = Stage::new();
    let fields = "Connection: keep-alive, HTTP2-Settings, Upgrade\r\nKeep-Alive: timeout=5\r\n\
        Proxy-Connection: keep-alive\r\nTE: trailers, gzip\r\nTrailer: X-Sum\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\
        Proxy-Authorization: Basic eA==\r\nProxy-Authenticate: Basic\r\nExpect: 100-continue\r\nX-Kept: yes\r\n";
    let arrived = stage.arrives(stage.signed("GET /x HTTP/1.1", fields));
    // That it takes trailers, a recipient may say of itself (RFC 9110 §10.1.4).
    let expected = [("x-kept", "yes"), ("connection", "te"), ("te", "trailers")];
    assert_eq!(arrived.own_fields(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));

    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
        Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\n\
        Proxy-Authenticate: Basic\r\nX-Kept: yes\r\n\r\nok";
    let stage = Stage::on(Stage::plan().upstream(Upstream::answering(answer)));
    let response = stage.ask(stage.signed("GET /x HTTP/1.1", ""));
    assert_eq!((response.text().as_str(), response.header("x-kept")), ("ok", Some("yes")));
    for gone in ["x-hop", "keep-alive", "proxy-connection", "te", "upgrade", "proxy-authenticate"] {
        assert_eq!(response.header(gone), None, "{gone}");
    }
}

#[test]
fn smug_1_only_a_websocket_leaves_http_and_every_other_upgrade_is_stripped() {
    let stage = Stage::new();
    for protocol in [
        "h2c",
        "H2C",
        "h2",
        "HTTP/2.0",
        "h2c, websocket",
        "websocket, h2c",
        "foo",
        "TLS/1.0",
        "tcp",
        "websocket/13",
    ] {
        let fields = format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\n");
        let arrived = stage.arrives(stage.signed("GET /x HTTP/1.1", &fields));
        assert!(arrived.own_fields().is_empty(), "{protocol}: {arrived:?}");
    }
    let two = "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n";
    assert!(stage.arrives(stage.signed("GET /x HTTP/1.1", two)).own_fields().is_empty());
    let not_named = "Connection: keep-alive\r\nUpgrade: websocket\r\n";
    assert!(stage.arrives(stage.signed("GET /x HTTP/1.1", not_named)).own_fields().is_empty());
    let old = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    assert!(stage.arrives(stage.signed("GET /x HTTP/1.0", old)).own_fields().is_empty());
    let stage = Stage::on(Stage::plan().set("upstream", "upgrades = [\"Tcp\"]"));
    for (protocol, passes) in [("tcp", true), ("TCP", true), ("websocket", false), ("h2c", false)] {
        let fields = format!("Connection: Upgrade\r\nUpgrade: {protocol}\r\n");
        let arrived = stage.arrives(stage.signed("GET /x HTTP/1.1", &fields));
        assert_eq!(arrived.header("upgrade"), passes.then_some(protocol));
    }
}

#[test]
fn hdr_6_no_byte_of_a_display_name_can_begin_a_line_of_its_own() {
    let site = Stage::plan().set("identity", "name = \"x-user-name\"\nemail = \"x-user-email\"").start();
    site.sign_up("zoe@example.org");
    // Names may come from elsewhere: an import, a provider, an older version.
    let name = "'Zo\u{eb} %0d' || char(13) || char(10) || 'x-user-id: admin' || char(133) || '\u{2028}'";
    site.block_on(site.database.execute(&format!("UPDATE \"user\" SET \"name\" = {name}")));
    let (mut zoe, id) = site.signed_in("zoe@example.org");
    assert_eq!(zoe.get("/x").status, 200);
    let arrived = site.upstream.last();
    let encoded = "Zo%C3%AB %250d%0D%0Ax-user-id: admin%C2%85%E2%80%A8";
    assert_eq!(arrived.header("x-user-name"), Some(encoded));
    assert_eq!(arrived.header("x-user-email"), Some("zoe@example.org"));
    assert_eq!(arrived.all("x-user-id"), [id.as_str()]);
}

#[test]
fn hdr_7_hdr_8_and_i_5_fields_that_change_what_the_app_believes_was_asked_are_dropped() {
    let stage = Stage::new();
    for name in [
        "X_Forwarded_Proto",
        "X.Forwarded.Host",
        "X-Forwarded-Prefix",
        "X-Forwarded-Uri",
        "X-Forwarded-Path",
        "X-Forwarded-Method",
        "X-Forwarded-Server",
        "X-Forwarded-Ssl",
        "X-Original-URL",
        "X_Original_Url",
        "X-Original-Uri",
        "X-Original-Method",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "Script-Name",
        "SCRIPT_NAME",
        "Path-Info",
        "PATH_INFO",
        "Forwarded",
        "X-Real-IP",
        "X_Real_Ip",
        "X-Client-Ip",
        "True-Client-Ip",
        "X-Request-Id",
        "X-Sidegate-Anything",
    ] {
        let arrived = stage.arrives(stage.signed("GET /x HTTP/1.1", &format!("{name}: evil\r\n")));
        assert!(arrived.headers.iter().all(|(_, value)| !value.contains("evil")), "{name}: {arrived:?}");
    }
}

#[test]
fn hdr_9_and_f_12_trailers_cannot_claim_what_headers_cannot() {
    let stage = Stage::new();
    let fields = "Transfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X-User-Id, X-Sum\r\n";
    let trailers = "X-User-Id: admin\r\nx_user_id: admin\r\nX-Forwarded-For: admin\r\nContent-Length: 3\r\nHost: admin\r\n\
        Authorization: admin\r\nTransfer-Encoding: admin\r\nCookie: admin\r\nX-Sum: 7\r\n";
    let request = format!("{}3\r\nabc\r\n0\r\n{trailers}\r\n", stage.signed("POST /x HTTP/1.1", fields));
    let arrived = stage.arrives(request);
    assert_eq!(String::from_utf8_lossy(&arrived.body), "3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n");
    assert_eq!(arrived.all("x-user-id"), [stage.me.as_str()]);
    let names: Vec<String> = arrived.own_fields().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["connection", "te", "transfer-encoding"]);
}

#[test]
fn i_6_what_a_client_says_of_the_way_it_came_is_replaced() {
    let stage = Stage::new();
    let fields = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Host: evil.test\r\nX-Forwarded-Port: 1\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n";
    let arrived = stage.arrives(stage.signed("GET /x HTTP/1.1", fields));
    assert_eq!(arrived.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(arrived.header("x-forwarded-proto"), Some("http"));
    assert_eq!(arrived.header("x-forwarded-host"), Some(stage.host()));
    assert_eq!(arrived.header("x-forwarded-port"), stage.host().split(':').nth(1));
    assert!(arrived.own_fields().is_empty(), "{arrived:?}");
}

#[test]
fn i_6_a_trusted_proxy_continues_the_chain_and_garbage_in_it_harms_nobody() {
    let site = Site::on(Database::sqlite()).set("proxies", "trusted = [\"127.0.0.0/8\"]").start();
    let (mut me, _) = site.member("me@example.org");
    for (chain, expected) in [
        ("1.1.1.1", "1.1.1.1, 127.0.0.1"),
        ("6.6.6.6, 1.1.1.1", "6.6.6.6, 1.1.1.1, 127.0.0.1"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443, 127.0.0.1"),
        ("unknown", "unknown, 127.0.0.1"),
        ("_hidden, ,;=\"", "_hidden, ,;=\", 127.0.0.1"),
    ] {
        assert_eq!(me.ask("GET", "/x").header("X-Forwarded-For", chain).send().status, 200, "{chain}");
        assert_eq!(site.upstream.last().header("x-forwarded-for"), Some(expected));
        assert_eq!(site.upstream.last().header("x-forwarded-proto"), Some("http"));
    }
    let long = vec!["10.0.0.1"; 1000].join(", ");
    assert_eq!(me.ask("GET", "/x").header("X-Forwarded-For", &long).send().status, 200);
}

#[test]
fn own_request_ids_replace_those_of_clients_and_differ() {
    let stage = Stage::new();
    let ids: Vec<String> = (0..3)
        .map(|_| stage.arrives(stage.signed("GET /x HTTP/1.1", "X-Request-Id: mine\r\n")))
        .map(|arrived| arrived.header("x-request-id").expect("an id").to_owned())
        .collect();
    assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())), "{ids:?}");
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
}

#[test]
fn px_4_the_app_cannot_set_our_cookies() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: sidegate=evil; Path=/\r\nSet-Cookie: theme=dark\r\n\
        Set-Cookie: __Host-sidegate-device=evil; Path=/\r\nset-cookie:  sidegate-pending =evil\r\nSet-Cookie: sidegate\r\n\r\n";
    let stage = Stage::on(Stage::plan().upstream(Upstream::answering(answer)));
    let response = stage.ask(stage.signed("GET /x HTTP/1.1", ""));
    assert_eq!(response.all("set-cookie"), ["theme=dark"]);
}

#[test]
fn a_signed_in_answer_that_says_nothing_of_caching_is_private() {
    let stage = Stage::on(Stage::plan().rule("/open/**", "public"));
    let caching = |request| stage.ask(request).header("cache-control").map(str::to_owned);
    assert_eq!(caching(stage.signed("GET /x HTTP/1.1", "")).as_deref(), Some("private"));
    assert_eq!(caching(stage.strange("GET /open/x HTTP/1.1", "")), None);

    let answer = ok("x").replace("\r\n\r\n", "\r\nCache-Control: max-age=5\r\n\r\n");
    let stage = Stage::on(Stage::plan().upstream(Upstream::answering(answer)));
    let response = stage.ask(stage.signed("GET /x HTTP/1.1", ""));
    assert_eq!(response.all("cache-control"), ["max-age=5"]);
}
