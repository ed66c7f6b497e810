//! Requests are told apart by the rule that speaks of them, in the log and in the numbers, and stay so over a reload.

use serde_json::Value;

use super::access::{JSON, line};
use super::{Program, number, signed_in};
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;

const RULES: &str = "[[rules]]\nname = \"files\"\npath = \"/css/**\"\naccess = \"public\"\n\
                     [[rules]]\nname = \"files\"\npath = \"/js/**\"\naccess = \"public\"\n\
                     [[rules]]\npath = \"/inside/*\"\naccess = \"deny\"\n";

/// How often this was counted of a route.
fn of(program: &Program, route: &str, labels: &str) -> u64 {
    let text = program.told("/metrics").text();
    number(&text, &format!("sidegate_requests_total{{route=\"{route}\",{labels}}}"))
}

fn get(program: &Program, path: &str) -> u16 {
    let host = program.address;
    Raw::connect(host).send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).answer().status
}

#[test]
fn each_request_is_counted_and_logged_under_its_rule() {
    let app = Upstream::hello();
    let program = Program::start(app.address, &format!("{JSON}{RULES}"));
    let (mut ada, id) = signed_in(&program);
    let own = format!("/api/{id}/x");
    for path in [own.as_str(), "/nowhere/in/particular"] {
        assert_eq!(ada.get(path).status, 200);
    }
    let ambiguous = "/css/..%252finside/x;v=1/y";
    for (path, status) in [
        ("/css/a", 200),
        ("/js/a", 200),
        ("/inside/a", 403),
        ("/api/somebody/x", 401),
        ("/auth/ok", 200),
        (ambiguous, 400),
        ("/zero%00", 400),
    ] {
        assert_eq!(get(&program, path), status, "{path}");
    }
    for (path, route, rule, counted) in [
        ("/css/a", "files", Some(1), "outcome=\"forwarded\",method=\"GET\",code=\"2xx\""),
        ("/js/a", "files", Some(2), "outcome=\"forwarded\",method=\"GET\",code=\"2xx\""),
        ("/inside/a", "/inside/*", Some(3), "outcome=\"refused\",method=\"GET\",code=\"4xx\""),
        (&own, "owner", None, "outcome=\"forwarded\",method=\"GET\",code=\"2xx\""),
        ("/api/somebody/x", "owner", None, "outcome=\"refused\",method=\"GET\",code=\"4xx\""),
        ("/nowhere/in/particular", "default", None, "outcome=\"forwarded\",method=\"GET\",code=\"2xx\""),
        ("/auth/ok", "auth", None, "outcome=\"answered\",method=\"GET\",code=\"2xx\""),
        (ambiguous, "none", None, "outcome=\"refused\",method=\"GET\",code=\"4xx\""),
        ("/zero%00", "none", None, "outcome=\"refused\",method=\"GET\",code=\"4xx\""),
    ] {
        let line = line(&program, "access", |line| line["path"] == path);
        let told = (line.get("route").and_then(Value::as_str), line.get("rule").and_then(Value::as_u64));
        assert_eq!(told, ((route != "none").then_some(route), rule), "{path}: {line}");
        let expected = if ["files", "none"].contains(&route) { 2 } else { 1 };
        assert_eq!(of(&program, route, counted), expected, "{path}");
    }
}

#[test]
fn over_a_reload_no_number_goes_back_and_none_counts_for_another() {
    let app = Upstream::hello();
    let rule = |name: &str, path: &str| {
        format!("[[rules]]\nname = \"{name}\"\npath = \"{path}\"\naccess = \"public\"\n")
    };
    let program = Program::start(app.address, &[rule("one", "/one"), rule("two", "/two")].concat());
    let told = "outcome=\"forwarded\",method=\"GET\",code=\"2xx\"";
    let numbers = || ["one", "two", "three"].map(|route| of(&program, route, told));
    for path in ["/one", "/two", "/two"] {
        assert_eq!(get(&program, path), 200);
    }
    assert_eq!(numbers(), [1, 2, 0]);
    // Taken by a connection before the reload, and asked on after it.
    let host = program.address;
    let mut raw = Raw::connect(host);
    assert_eq!(raw.send(format!("GET /one HTTP/1.1\r\nHost: {host}\r\n\r\n")).answer().status, 200);
    program.configure(app.address, &[rule("three", "/three"), rule("two", "/one")].concat());
    assert!(program.reload().contains("was read again"));
    assert_eq!(numbers(), [2, 2, 0]);
    assert_eq!(raw.send(format!("GET /one HTTP/1.1\r\nHost: {host}\r\n\r\n")).answer().status, 200);
    for (path, status) in [("/three", 200), ("/one", 200), ("/two", 401)] {
        assert_eq!(get(&program, path), status, "{path}");
    }
    assert_eq!(numbers(), [2, 4, 1]);
    let told = |route: &str| program.says(&format!(" path=/one http=1.1 route={route} rule="));
    crate::jobs::eventually("both are told", || told("one") && told("two"));
}

#[test]
fn what_may_go_to_the_app_is_counted_with_the_reason() {
    let app = Upstream::hello();
    let more = format!("[proxies]\ntrusted = [\"127.0.0.1\"]\n[forward_auth]\nenabled = true\n{RULES}");
    let program = Program::start(app.address, &more);
    let (mut ada, _) = signed_in(&program);
    let count = |outcome: &str, reason: &str| {
        let text = program.told("/metrics").text();
        number(&text, &format!("sidegate_auth_decisions_total{{outcome=\"{outcome}\",reason=\"{reason}\"}}"))
    };
    assert_eq!(ada.get("/x").status, 200);
    assert_eq!(ada.get("/api/somebody/x").status, 403);
    // A person is led to the sign-in, which is a refusal all the same.
    assert_eq!(program.visitor().ask("GET", "/x").header("Accept", "text/html").send().status, 302);
    for (path, status) in [("/css/a", 200), ("/inside/a", 403), ("/x", 401), ("/auth/nothing", 404)] {
        assert_eq!(get(&program, path), status, "{path}");
    }
    let counts = [
        ("allowed", "session"),
        ("allowed", "anonymous"),
        ("denied", "FORBIDDEN"),
        ("denied", "UNAUTHORIZED"),
    ];
    assert_eq!(counts.map(|(outcome, reason)| count(outcome, reason)), [1, 1, 2, 2]);
    // What a proxy asks about is decided here too.
    for (path, status) in [("/css/a", 200), ("/inside/a", 403), ("/x", 401)] {
        let host = program.address;
        let question = format!(
            "GET /auth/verify/nginx HTTP/1.1\r\nHost: {host}\r\nX-Original-Method: GET\r\nX-Original-URI: {path}\r\n\r\n"
        );
        assert_eq!(Raw::connect(host).send(question).answer().status, status, "{path}");
    }
    assert_eq!(counts.map(|(outcome, reason)| count(outcome, reason)), [1, 2, 3, 3]);
    assert_eq!(of(&program, "files", "outcome=\"answered\",method=\"GET\",code=\"2xx\""), 1);
    assert_eq!(count("denied", "NOT_FOUND"), 0, "our own endpoints are no way to the app");
}
