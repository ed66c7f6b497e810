//! What shows in a question only beside what it asks about: another request, another host, the handshake of a WebSocket.

use super::{ASKERS, ask, cookie, question, stage};

#[test]
fn fa_6_a_client_that_names_another_request_is_refused_in_whatever_spelling() {
    let stage = stage();
    for asker in ASKERS {
        for name in [
            "X-Original-URL",
            "X-Rewrite-URL",
            "x_rewrite_url",
            "X-HTTP-Method-Override",
            "X_HTTP.Method_Override",
            "X-HTTP-Method",
            "X-Method-Override",
            "X-Middleware-Subrequest",
            "Script_Name",
            "Path-Info",
            "X-Host",
            "X-Original-Path",
            "X-Accel-Mapping",
            "X_Original_URI",
            "X_Original-Method",
        ] {
            for target in ["/app", "/public/x"] {
                let fields = format!("{}{name}: /admin\r\n", cookie(&stage));
                assert_eq!(ask(&stage, asker, "GET", target, &fields).status, 403, "{asker} {name} {target}");
            }
        }
        // What nginx asks by is nothing that another proxy says.
        if asker != "nginx" {
            for lie in ["X-Original-URI: /admin\r\n", "X-Original-Method: DELETE\r\n"] {
                assert_eq!(ask(&stage, asker, "GET", "/public/x", lie).status, 403, "{asker} {lie}");
            }
        }
        assert_eq!(ask(&stage, asker, "GET", "/public/x", "X-Requested-With: x\r\n").status, 200);
    }
}

#[test]
fn fa_7_a_question_that_shows_another_host_is_answered_no() {
    let stage = stage();
    for asker in ["nginx", "envoy"] {
        let whole = question(&stage, asker, "GET", "/public/x", &cookie(&stage));
        assert_eq!(stage.ask(&whole).status, 200);
        for host in ["evil.example", "sidegate:8080", "127.0.0.1:1"] {
            let status =
                stage.ask(whole.replace(&format!("Host: {}", stage.host()), &format!("Host: {host}"))).status;
            assert_eq!(status, if asker == "nginx" { 403 } else { 421 }, "{asker} {host}");
        }
    }
}

#[test]
fn cs_a_handshake_of_another_site_is_known_by_whatever_says_so() {
    let stage = stage();
    for asker in ASKERS {
        for handshake in [
            "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n",
            "Upgrade: websocket\r\nConnection: upgrade\r\n",
            "Upgrade: WebSocket\r\n",
            "Sec-WebSocket-Version: 13\r\n",
            "Sec-WebSocket-Protocol: chat\r\n",
            "Sec-Fetch-Mode: websocket\r\n",
        ] {
            let with = |rest: &str| format!("{}{handshake}{rest}", cookie(&stage));
            for elsewhere in ["Origin: https://evil.test\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
                let status = ask(&stage, asker, "GET", "/socket", &with(elsewhere)).status;
                assert_eq!(status, 403, "{asker} {handshake} {elsewhere}");
            }
            let own = format!("Origin: {}\r\n", stage.site.origin);
            assert_eq!(ask(&stage, asker, "GET", "/socket", &with(&own)).status, 200, "{asker} {handshake}");
        }
    }
}

#[test]
fn cs_a_handshake_that_another_site_begins_is_refused() {
    let stage = stage();
    let handshake = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    for asker in ASKERS {
        let with = |origin: &str| format!("{}{handshake}Origin: {origin}\r\n", cookie(&stage));
        assert_eq!(ask(&stage, asker, "GET", "/socket", &with(&stage.site.origin)).status, 200, "{asker}");
        assert_eq!(ask(&stage, asker, "GET", "/socket", &with("https://evil.test")).status, 403, "{asker}");
    }
}
