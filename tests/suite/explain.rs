//! `sidegate explain`: what it says of a request is what the server does with it.

use std::process::Command;

const CONFIG: &str = r#"
[public]
url = "http://127.0.0.1:8080"
[upstream]
url = "http://127.0.0.1:3000"
[identity]
preset = "authelia"
[[rules]]
path = "/assets/**"
name = "static"
methods = ["GET"]
access = "public"
[[rules]]
path = "/team/{user_id}/**"
access = "required"
[[rules]]
path = "/internal/**"
access = "deny"
[[rules]]
path = "/notes/private"
access = "required"
[[rules]]
path = "/notes/**"
methods = ["DELETE"]
access = "deny"
[[rules]]
path = "/notes/**"
access = "public"
"#;

/// Exit code, standard output and standard error.
fn explain(arguments: &[&str]) -> (Option<i32>, String, String) {
    let home = tempfile::tempdir().expect("a directory");
    std::fs::write(home.path().join("s.toml"), CONFIG).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_sidegate"))
        .args(["explain", "--config", "s.toml"])
        .args(arguments)
        .env_clear()
        .current_dir(home.path())
        .output()
        .expect("the program starts");
    assert_eq!(std::fs::read_dir(home.path()).expect("a directory").count(), 1, "it left a file");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_verdict_and_the_rule_behind_it_are_named() {
    let long = "/".repeat(9000);
    for (arguments, why, verdict) in [
        (
            &["GET", "/"][..],
            "no rule: required",
            "people are led to /auth/sign-in, programs get 401 UNAUTHORIZED",
        ),
        (&["GET", "/", "--as", "ada"], "no rule: required", "forwarded with identity"),
        (
            &["GET", "/assets/a.css", "--as", "ada"],
            "rule 1, /assets/**: public",
            "forwarded without identity",
        ),
        (&["POST", "/assets/a.css"], "no rule: required", "401"),
        (&["GET", "/api/ada/tasks", "--as", "ada"], "the visitor's own path", "forwarded with identity"),
        (&["GET", "/api/bob/tasks", "--as", "ada"], "not the visitor's own path", "refused: 403 FORBIDDEN"),
        (&["GET", "/team/bob/x", "--as", "ada"], "rule 2, /team/{user_id}/**", "refused: 403 FORBIDDEN"),
        (&["GET", "/internal/x", "--as", "ada"], "rule 3, /internal/**: deny", "refused: 403 FORBIDDEN"),
        (
            &["GET", "/INTERNAL/x", "--as", "ada"],
            "deny, for a reader that ignores letter case",
            "403 FORBIDDEN",
        ),
        (
            &["GET", "/notes/private/"],
            "rule 6, /notes/**: public; required, for a reader that ignores a slash at the end",
            "401",
        ),
        (&["delete", "/notes/x"], "rule 6, /notes/**: public; deny, for a reader that runs", "403 FORBIDDEN"),
        (&["GET", "/assets/../internal/x"], "read as   /internal/x", "refused: 400 AMBIGUOUS_PATH"),
        (&["POST", "/auth/sign-in"], "one of Sidegate's own", "answered by Sidegate: POST /auth/sign-in"),
        (
            &["HEAD", "/auth/sign-in/github"],
            "one of Sidegate's own",
            "Sidegate: GET /auth/sign-in/{provider}",
        ),
        (&["GET", "/auth/nowhere"], "one of Sidegate's own", "refused: 404 NOT_FOUND"),
        (&["GET", "http://127.0.0.1:8080/assets/x"], "rule 1", "forwarded without identity"),
        (&["GET", "http://a.example/assets/x"], "at a.example", "refused: 421"),
        (&["TRACE", "/"], "TRACE /", "refused: 405"),
        (&["GET", "/%zz"], "GET /%zz", "refused: 400"),
        (&["GET", long.as_str()], "GET", "refused: 414"),
    ] {
        let (code, out, err) = explain(arguments);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(out.contains(why), "{arguments:?} {why:?} {out}");
        let last = out.lines().find(|line| line.starts_with("verdict")).expect("a verdict");
        assert!(last.contains(verdict), "{arguments:?} {verdict:?} {out}");
    }
}

#[test]
fn the_route_is_called_what_the_log_and_the_metrics_call_it() {
    for (url, route) in [
        ("/assets/a.css", "static"),
        ("/internal/x", "/internal/**"),
        ("/api/ada/tasks", "owner"),
        ("/x", "default"),
        ("/auth/sign-in", "auth"),
        ("/assets/../internal/x", "none"),
    ] {
        let (code, out, _) = explain(&["GET", url]);
        assert_eq!(code, Some(0));
        assert!(out.lines().any(|line| line == format!("route     {route}")), "{url}: {out}");
    }
}

#[test]
fn the_head_that_the_app_would_get_ends_with_the_identity() {
    let (_, out, _) = explain(&["GET", "/api/ada/tasks?done=1", "--as", "ada"]);
    let (_, head) = out.split_once("the app gets").expect("a head");
    let lines: Vec<&str> = head.lines().skip(1).map(str::trim).collect();
    let names: Vec<&str> = lines.iter().skip(1).filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    assert_eq!(lines[0], "GET /api/ada/tasks?done=1 HTTP/1.1");
    let identity = ["x-user-id", "remote-user", "remote-email", "remote-name"];
    let before = [
        "host",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-request-id",
    ];
    assert_eq!(names, [&before[..], &identity[..]].concat(), "{out}");
    assert!(lines.contains(&"x-user-id: ada") && lines.contains(&"remote-user: ada"), "{out}");
}

#[test]
fn a_question_that_is_none_is_bad_usage() {
    for (arguments, word) in [
        (&["GE T", "/"][..], "METHOD"),
        (&["GET", "assets/a.css"], "URL"),
        (&["GET", "/a#b"], "fragment"),
        (&["GET", "/", "--as", "a/b"], "--as"),
        (&["GET"], "Usage"),
    ] {
        let (code, out, err) = explain(arguments);
        assert_eq!((code, out.as_str()), (Some(64), ""), "{arguments:?}");
        assert!(err.contains(word), "{arguments:?} {err}");
    }
}
