//! `[[rules]]`, the default and the owner tree, from outside.

use crate::support::site::Plan;
use crate::support::stage::Stage;

fn with_rules(toml: &str) -> Stage {
    Stage::on(Stage::plan().toml(toml))
}

/// The statuses that strangers and the person get for `GET` of a target; 200 means that it reached the app.
fn statuses(stage: &Stage, target: &str) -> (u16, u16) {
    let line = format!("GET {target} HTTP/1.1");
    (stage.ask(stage.strange(&line, "")).status, stage.ask(stage.signed(&line, "")).status)
}

#[test]
fn px_6_without_any_rule_everything_needs_a_session() {
    let stage = Stage::new();
    for target in
        ["/", "/x", "/favicon.ico", "/robots.txt", "/.well-known/x", "/static/app.js", "/healthz", "/authx"]
    {
        assert_eq!(statuses(&stage, target), (401, 200), "{target}");
    }
}

#[test]
fn the_four_kinds_of_access_do_what_they_say() {
    let plan = |plan: Plan| {
        plan.rule("/open/**", "public")
            .rule("/maybe/**", "optional")
            .rule("/in/**", "required")
            .rule("/no/**", "deny")
    };
    let stage = Stage::on(plan(Stage::plan()));
    for (target, expected) in
        [("/open/x", (200, 200)), ("/maybe/x", (200, 200)), ("/in/x", (401, 200)), ("/no/x", (403, 403))]
    {
        assert_eq!(statuses(&stage, target), expected, "{target}");
    }
}

#[test]
fn one_star_is_one_segment_and_two_are_all_that_follows() {
    let stage =
        Stage::on(Stage::plan().rule("/a/*", "public").rule("/b/**", "public").rule("/c/*/d", "public"));
    for (target, open) in [
        ("/a/x", true),
        ("/a", false),
        ("/a/", false),
        ("/a/x/y", false),
        ("/a/x/", false),
        ("/b", true),
        ("/b/", true),
        ("/b/x/y/z", true),
        ("/bx", false),
        ("/c/x/d", true),
        ("/c/x/e", false),
        ("/c/d", false),
        ("/c/x/d/e", false),
    ] {
        assert_eq!(statuses(&stage, target), (if open { 200 } else { 401 }, 200), "{target}");
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let stage = Stage::on(
        Stage::plan()
            .rule("/a/secret/**", "deny")
            .rule("/a/mine", "required")
            .rule("/a/**", "public")
            .rule("/**", "deny"),
    );
    assert_eq!(statuses(&stage, "/a/secret/x"), (403, 403));
    assert_eq!(statuses(&stage, "/a/mine"), (401, 200));
    assert_eq!(statuses(&stage, "/a/other"), (200, 200));
    assert_eq!(statuses(&stage, "/x"), (403, 403));
    assert_eq!(stage.ask(stage.strange("GET /auth/ok HTTP/1.1", "")).status, 200, "ours is not the app's");
}

#[test]
fn a_rule_for_methods_is_for_those_methods_only() {
    let stage = with_rules(
        "[[rules]]\npath = \"/a/**\"\nmethods = [\"GET\", \"HEAD\"]\naccess = \"public\"\n\
         [[rules]]\npath = \"/a/**\"\nmethods = [\"DELETE\"]\naccess = \"deny\"\n",
    );
    assert_eq!(statuses(&stage, "/a/x"), (200, 200));
    for (method, strange, signed) in
        [("POST", 401, 200), ("DELETE", 403, 403), ("OPTIONS", 401, 200), ("PUT", 401, 200)]
    {
        let line = format!("{method} /a/x HTTP/1.1");
        assert_eq!(stage.ask(stage.strange(&line, "")).status, strange, "{line}");
        assert_eq!(stage.ask(stage.signed(&line, "")).status, signed, "{line}");
    }
}

#[test]
fn px_10_a_preflight_is_a_request_like_any_other_unless_a_rule_opens_it() {
    let fields = "Origin: https://other.test\r\nAccess-Control-Request-Method: PUT\r\n";
    let stage = Stage::new();
    let response = stage.denies(stage.strange("OPTIONS /x HTTP/1.1", fields), &[401]);
    assert_eq!(response.header("access-control-allow-origin"), None);
    let stage = with_rules("[[rules]]\npath = \"/x\"\nmethods = [\"OPTIONS\"]\naccess = \"public\"\n");
    stage.arrives(stage.strange("OPTIONS /x HTTP/1.1", fields));
    stage.denies(stage.strange("PUT /x HTTP/1.1", fields), &[401]);
}

#[test]
fn a_rule_can_keep_a_path_to_the_user_it_names() {
    let stage =
        Stage::on(Stage::plan().rule("/files/{user_id}/**", "required").rule("/u/{user_id}", "required"));
    let (_, other) = stage.site.member("other@example.org");
    for (target, expected) in [
        (format!("/files/{}/x", stage.me), (401, 200)),
        (format!("/files/{}", stage.me), (401, 200)),
        (format!("/files/{other}/x"), (401, 403)),
        ("/files/nobody/x".to_owned(), (401, 403)),
        (format!("/u/{}", stage.me), (401, 200)),
        (format!("/u/{other}"), (401, 403)),
        ("/files".to_owned(), (401, 200)),
    ] {
        assert_eq!(statuses(&stage, &target), expected, "{target}");
    }
    for target in
        [format!("/FILES/{other}/x"), format!("/files/%2e%2e/files/{other}"), format!("/%66iles/{other}/x")]
    {
        stage.denies(stage.signed(&format!("GET {target} HTTP/1.1"), ""), &[400, 403]);
    }
}

#[test]
fn an_owner_path_is_its_owners_only_and_the_answer_does_not_tell_whether_it_exists() {
    for (lines, status) in [("hide_existence = false", 403), ("hide_existence = true", 404)] {
        let stage = Stage::on(Stage::plan().set("access", lines));
        let (_, other) = stage.site.member("other@example.org");
        let line = format!("GET /api/{}/items HTTP/1.1", stage.me);
        assert_eq!(stage.arrives(stage.signed(&line, "")).line, line);
        let mut answers = Vec::new();
        for owner in [other.as_str(), "00000000-0000-4000-8000-000000000000", "x"] {
            for method in ["GET", "PUT", "OPTIONS"] {
                let line = format!("{method} /api/{owner}/items HTTP/1.1");
                let response = stage.denies(stage.signed(&line, ""), &[status]);
                let mut body = response.json();
                body["request_id"].take();
                let names: Vec<String> = response.headers.iter().map(|(name, _)| name.clone()).collect();
                answers.push((response.status, names, body));
                stage.denies(stage.strange(&line, ""), &[401]);
            }
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    }
}

#[test]
fn a_slash_at_the_end_slips_past_no_earlier_rule() {
    let stage = Stage::on(
        Stage::plan()
            .rule("/docs/private", "required")
            .rule("/docs/closed/", "deny")
            .rule("/docs/*/draft", "deny")
            .rule("/docs/{user_id}", "required")
            .rule("/docs/**", "public")
            .rule("/metrics", "deny")
            .rule("/u/{user_id}", "required"),
    );
    let (_, other) = stage.site.member("other@example.org");
    for (target, expected) in [
        ("/docs/private", (401, 200)),
        ("/docs/private/", (401, 200)),
        ("/docs/private/.", (400, 400)),
        ("/docs/private%2f", (400, 400)),
        // As it stands it may be somebody's.
        ("/docs/PRIVATE/", (401, 403)),
        ("/docs/private/x", (200, 200)),
        ("/docs/closed", (403, 403)),
        ("/docs/closed/", (403, 403)),
        ("/docs/closed/x", (200, 200)),
        ("/docs/x/draft/", (403, 403)),
        ("/docs/x/draft/y", (200, 200)),
        ("/docs", (200, 200)),
        ("/docs/", (200, 200)),
        ("/metrics", (403, 403)),
        ("/metrics/", (403, 403)),
        ("/Metrics/", (403, 403)),
        ("/metrics/x", (401, 200)),
    ] {
        assert_eq!(statuses(&stage, target), expected, "{target}");
    }
    for (target, expected) in [
        (format!("/u/{other}/"), (401, 403)),
        (format!("/u/{}/", stage.me), (401, 200)),
        (format!("/docs/{other}/"), (401, 403)),
        (format!("/docs/{}/", stage.me), (401, 200)),
    ] {
        assert_eq!(statuses(&stage, &target), expected, "{target}");
    }
}

#[test]
fn a_rule_for_one_spelling_of_the_end_stands_as_written_before_one_for_the_other() {
    let stage = Stage::on(
        Stage::plan()
            .rule("/docs/", "public")
            .rule("/docs", "required")
            .rule("/a", "public")
            .rule("/a/", "deny")
            .rule("/b", "public")
            .rule("/*", "deny")
            .rule("/b/", "public"),
    );
    for (target, expected) in [
        ("/docs/", (200, 200)),
        ("/docs", (401, 200)),
        ("/a", (200, 200)),
        ("/a/", (403, 403)),
        // Without its slash it is public too, for the first rule that matches it says so.
        ("/b/", (200, 200)),
        ("/c/", (403, 403)),
    ] {
        assert_eq!(statuses(&stage, target), expected, "{target}");
    }
}

#[test]
fn a_method_that_an_app_may_run_as_another_slips_past_no_rule() {
    let rule = |path: &str, methods: &str, access: &str| {
        format!("[[rules]]\npath = \"{path}\"\nmethods = [{methods}]\naccess = \"{access}\"\n")
    };
    let stage = Stage::on(
        Stage::plan()
            .toml(&rule("/things/**", "\"POST\", \"PUT\", \"PATCH\", \"DELETE\"", "required"))
            .rule("/things/**", "public")
            .toml(&rule("/read/**", "\"GET\"", "required"))
            .rule("/read/**", "public")
            .toml(&rule("/probe", "\"HEAD\"", "public"))
            .toml(&rule("/closed", "\"DELETE\"", "deny")),
    );
    for (line, strange, signed) in [
        ("DELETE /things/1", 401, 200),
        ("delete /things/1", 401, 200),
        ("Delete /THINGS/1", 401, 200),
        ("post /things/1/", 401, 200),
        ("get /things/1", 200, 200),
        ("PURGE /things/1", 200, 200),
        ("GET /read/x", 401, 200),
        ("HEAD /read/x", 401, 200),
        ("head /read/x", 401, 200),
        ("HEAD /Read/x", 401, 200),
        ("POST /read/x", 200, 200),
        ("OPTIONS /read/x", 200, 200),
        // Nothing that comes first says otherwise.
        ("HEAD /probe", 200, 200),
        ("GET /probe", 401, 200),
        ("delete /closed", 403, 403),
        ("delete /closed/", 403, 403),
        ("GET /closed", 401, 200),
    ] {
        let line = format!("{line} HTTP/1.1");
        let status = |request: String| {
            let mut raw = stage.connect();
            raw.send(request);
            if line.starts_with("HEAD") { raw.answer_to_head().status } else { raw.answer().status }
        };
        assert_eq!(status(stage.strange(&line, "")), strange, "{line}");
        assert_eq!(status(stage.signed(&line, "")), signed, "{line}");
    }
}

#[test]
fn a_request_that_acts_at_a_second_path_must_be_let_through_there_too() {
    let stage = Stage::on(Stage::plan().rule("/open/**", "public").rule("/no/**", "deny"));
    let (own, other) =
        (format!("/api/{}/b", stage.me), "/api/0b5a7f9c-0000-4000-8000-00000000beef/b".to_owned());
    let site = stage.site.origin.clone();
    let at_site = |path: &str| format!("{site}{path}");
    for (from, to, strange, signed) in [
        ("/open/a", "/open/b", 200, 200),
        ("/open/a", "/b", 401, 403),
        ("/a", "/b", 401, 200),
        ("/a", &own, 401, 200),
        ("/a", &at_site(&own), 401, 200),
        ("/a", "/open/b", 401, 200),
        ("/a", &other, 401, 403),
        ("/a", &at_site(&other), 401, 403),
        ("/a", "/no/b", 401, 403),
        ("/open/a", "/no/b", 403, 403),
        ("/a", "/auth/ok", 401, 403),
        ("/a", "/open/..%2Fno/b", 401, 400),
        ("/a", "/open/%zz", 401, 400),
        ("/a", "b", 401, 400),
        ("/a", "/b#/../../no/c", 401, 400),
        ("/a", &at_site("/b#"), 401, 400),
        ("/a", "", 401, 400),
        ("/a", "/b\r\nDestination: /c", 401, 400),
    ] {
        for method in ["MOVE", "COPY", "move"] {
            let (line, field) = (format!("{method} {from} HTTP/1.1"), format!("Destination: {to}\r\n"));
            let before = stage.site.upstream.arrived().len();
            let answers = [stage.strange(&line, &field), stage.signed(&line, &field)]
                .map(|asked| stage.ask(asked).status);
            assert_eq!(answers, [strange, signed], "{method} {from} to {to}");
            let passed = answers.iter().filter(|status| **status == 200).count();
            assert_eq!(stage.site.upstream.arrived().len() - before, passed);
        }
    }
    // To anything else it is a name like others.
    let field = "Destination: Amsterdam\r\n";
    for method in ["GET", "POST", "DELETE"] {
        let line = format!("{method} /a HTTP/1.1");
        assert_eq!(stage.ask(stage.signed(&line, field)).status, 200, "{method}");
    }
}
