//! The access log and what stands out in the log, as the program writes them.

use serde_json::{Value, json};

use super::{Program, signed_in};
use crate::jobs::eventually;
use crate::support::raw::Raw;
use crate::support::site::PASSWORD;
use crate::support::upstream::Upstream;

pub(super) const JSON: &str = "[log]\nformat = \"json\"\n";

/// The first line of JSON whose `target` is this and that `fits`.
pub(super) fn line(program: &Program, target: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let find = || {
        program
            .lines()
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .find(|line| line["target"] == target && fits(line))
    };
    eventually("the line is written", || find().is_some());
    find().expect("it is there")
}

#[test]
fn a_line_of_json_says_who_asked_for_what_and_what_became_of_it() {
    let app = Upstream::hello();
    let program = Program::start(
        app.address,
        &format!("{JSON}[[rules]]\npath = \"/shop/**\"\naccess = \"optional\"\n"),
    );
    let (mut ada, id) = signed_in(&program);
    assert_eq!(ada.ask("GET", "/shop/x?token=hush").header("User-Agent", "Test/1 \"q\"").send().status, 200);
    let line = line(&program, "access", |line| line["path"] == "/shop/x");
    assert_eq!((&line["method"], &line["status"], &line["bytes"]), (&"GET".into(), &200.into(), &5.into()));
    assert_eq!((&line["user_id"], &line["client_ip"]), (&id.into(), &"127.0.0.1".into()));
    assert_eq!((&line["decision"], &line["rule"]), (&"forwarded".into(), &1.into()));
    assert_eq!((&line["http"], &line["user_agent"]), (&"1.1".into(), &"Test/1 \"q\"".into()));
    assert_eq!((&line["level"], &line["message"]), (&"INFO".into(), &"request".into()));
    assert_eq!(line["request_id"].as_str(), app.arrived().last().expect("it came").header("x-request-id"));
    assert_eq!(line["session"].as_str().expect("a handle").len(), 8);
    let (took, upstream) = (line["duration_ms"].as_f64(), line["upstream_ms"].as_f64());
    assert!(took.expect("a number") >= upstream.expect("a number"), "{line}");
    assert!(!program.says("hush"), "a query is logged nowhere");
}

#[test]
fn the_line_of_a_proxys_question_says_what_it_is_about() {
    let app = Upstream::hello();
    let program = Program::start(
        app.address,
        &format!(
            "{JSON}[proxies]\ntrusted = [\"127.0.0.1\"]\n[forward_auth]\nenabled = true\n\
             [[rules]]\npath = \"/open/**\"\naccess = \"public\"\n"
        ),
    );
    let ask = |method: &str, target: &str, fields: &str| {
        let host = program.address;
        let question = format!(
            "GET /auth/verify/nginx HTTP/1.1\r\nHost: {host}\r\nX-Original-Method: {method}\r\n\
             X-Original-URI: {target}\r\n{fields}\r\n"
        );
        Raw::connect(host).send(question).answer().status
    };
    let long = format!("/open/{}", "x".repeat(2000));
    for (method, target, fields, path, status) in [
        ("POST", "/open/x?token=hush", "", "/open/x", 200),
        ("GET", "/closed/%22", "", "/closed/%22", 401),
        ("GET", "/open/y", "X-Rewrite-URL: /z\r\n", "/open/y", 403),
        ("GET", long.as_str(), "", &long[..512], 200),
    ] {
        assert_eq!(ask(method, target, fields), status, "{target}");
        let line = line(&program, "access", |line| line["asked_path"] == path);
        assert_eq!((&line["path"], &line["status"]), (&"/auth/verify/nginx".into(), &status.into()));
        assert_eq!((&line["method"], &line["asked_method"]), (&"GET".into(), &method.into()));
    }
    assert_eq!(
        Raw::connect(program.address)
            .send(format!("GET /auth/ok HTTP/1.1\r\nHost: {}\r\n\r\n", program.address))
            .answer()
            .status,
        200
    );
    assert!(line(&program, "access", |line| line["path"] == "/auth/ok").get("asked_path").is_none());
    assert!(!program.says("hush"), "a query is logged nowhere");
}

#[test]
fn refusals_and_failed_sign_ins_stand_out() {
    let app = Upstream::hello();
    let program = Program::start(app.address, JSON);
    let (mut ada, id) = signed_in(&program);
    assert_eq!(program.visitor().get("/private").status, 401);
    let refused = line(&program, "access", |line| line["path"] == "/private");
    assert_eq!((&refused["decision"], &refused["reason"]), (&"refused".into(), &"UNAUTHORIZED".into()));
    let wrong = json!({ "email": "ada@example.com", "password": "not the right one" });
    assert_eq!(program.visitor().post("/auth/login", &wrong).status, 401);
    let failed = line(&program, "security", |line| line["outcome"] == "failure");
    assert_eq!((&failed["event"], &failed["way"]), (&"login".into(), &"password".into()));
    assert_eq!(
        (&failed["reason"], &failed["client_ip"]),
        (&"INVALID_EMAIL_OR_PASSWORD".into(), &"127.0.0.1".into())
    );
    assert_eq!(failed["user_id"], id.as_str());
    assert_eq!(ada.post("/auth/revoke-sessions", &json!({})).status, 200);
    line(&program, "security", |line| line["event"] == "revoke" && line["outcome"] == "success");
    assert!(!program.says(PASSWORD) && !program.says("not the right one"));
}

#[test]
fn no_byte_of_a_client_forges_a_line_and_what_is_malformed_is_logged_too() {
    let app = Upstream::hello();
    let program = Program::start(app.address, "[proxies]\ntrusted = [\"127.0.0.1\"]\n");
    let host = program.address;
    let forged = b"x\xff\x09 2026-01-01T00:00:00.000Z  INFO access: request status=200";
    let head = format!("GET /forged HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ");
    let bytes = [head.as_bytes(), forged, b"\r\n\r\n"].concat();
    assert_eq!(Raw::connect(host).send(bytes).answer().status, 401);
    assert_eq!(
        Raw::connect(host).send("GET /two HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").answer().status,
        400
    );
    let long = format!("/long/{}", "x".repeat(9000));
    for (path, host, status) in [
        (&*long, &*host.to_string(), 414),
        ("/elsewhere", "other.example", 421),
        ("/zero%00", &host.to_string(), 400),
    ] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 192.0.2.77\r\n\r\n");
        assert_eq!(Raw::connect(program.address).send(head).answer().status, status, "{path}");
    }
    assert_eq!(Raw::connect(host).send("GET /three\r\nHost: a\r\n\r\n").answer().status, 400);
    for (path, says) in [
        ("client_ip=192.0.2.77 method=GET path=/long/xxx", "x http=1.1 status=414 decision=refused"),
        ("client_ip=192.0.2.77 method=GET path=/elsewhere ", "status=421 decision=refused"),
        ("client_ip=192.0.2.77 method=GET path=/zero%00 ", "status=400 decision=refused"),
        ("client_ip=127.0.0.1 method=- path=- ", "status=400 decision=refused"),
        (
            "path=/forged ",
            r#"user_agent="x\u00ff\u0009 2026-01-01T00:00:00.000Z  INFO access: request status=200" route=default status=401"#,
        ),
        ("path=/two ", "status=400 decision=refused reason=BAD_HOST"),
    ] {
        eventually("the line is written", || program.says(path));
        let line = program.lines().into_iter().find(|line| line.contains(path)).expect("it is there");
        assert!(line.contains(says) && line.contains("  INFO access: request request_id="), "{line}");
        assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b)), "{line}");
    }
}

#[test]
fn the_last_lines_are_written_before_the_end_and_none_where_none_are_wanted() {
    for (log, expected) in [("", 200), ("[log]\naccess = false\n", 0), ("[log]\nlevel = \"error\"\n", 200)] {
        let app = Upstream::hello();
        // What says that it serves is no error, so this one is told by the port.
        let mut program = if log.contains("error") {
            let program = Program::start(app.address, "");
            program.configure(app.address, log);
            program.reload();
            program
        } else {
            Program::start(app.address, log)
        };
        let host = program.address;
        let mut raw = Raw::connect(host);
        for n in 0..200 {
            let status = raw.send(format!("GET /n/{n} HTTP/1.1\r\nHost: {host}\r\n\r\n")).answer().status;
            assert_eq!(status, 401);
        }
        program.signal("-TERM");
        assert_eq!(program.exit_code(), Some(0));
        let count = || program.lines().iter().filter(|line| line.contains(" path=/n/")).count();
        eventually("all that is wanted is there", || count() == expected);
    }
}
