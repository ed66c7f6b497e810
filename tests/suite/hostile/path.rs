//! Paths that are judged as one thing and could be served as another.

use sidegate::http::path::Path;
use sidegate::refusal::Refusal;

use crate::edge::OUT_OF_PUBLIC;
use crate::support::stage::Stage;

/// A site with a public corner, another one that is open to nobody, and owner paths.
fn guarded() -> Stage {
    Stage::on(Stage::plan().rule("/public/**", "public").rule("/admin/**", "deny"))
}

#[test]
fn path_1_a_rule_sees_no_query() {
    let stage = guarded();
    for target in ["/private?x=/public/a", "/private?/public/", "/x?/../public/y"] {
        stage.denies(stage.strange(&format!("GET {target} HTTP/1.1"), ""), &[401]);
        let line = format!("GET {target} HTTP/1.1");
        assert_eq!(stage.arrives(stage.signed(&line, "")).line, line);
    }
}

#[test]
fn path_2_and_t_4_a_fragment_is_refused_and_an_encoded_one_is_a_byte_like_any_other() {
    let stage = guarded();
    for target in ["/public/secret#/bar", "/admin#/public", "/#", "/public/x?y#z", "/public/a#b?c"] {
        stage.rejects(stage.signed(&format!("GET {target} HTTP/1.1"), ""), &[400]);
    }
    let line = "GET /public/secret%23/bar HTTP/1.1";
    assert_eq!(stage.arrives(stage.strange(line, "")).line, line);
}

#[test]
fn a_fragment_is_found_wherever_the_reads_end() {
    let stage = guarded();
    let wire = stage.strange("GET /public/a#b HTTP/1.1", "");
    for cut in [1, 5, 15, 16, wire.len() - 1] {
        let mut raw = stage.connect();
        raw.send(&wire[..cut]);
        // The head must come in two reads of the server's.
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(raw.send(&wire[cut..]).answer().status, 400, "cut at {cut}");
        assert!(raw.is_closed());
    }
    // An empty line before a request, itself in two pieces, must not be taken for a head.
    let mut raw = stage.connect();
    raw.send("\r");
    std::thread::sleep(std::time::Duration::from_millis(20));
    raw.send("\n\r\n");
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(raw.send(&wire).answer().status, 400);
    assert!(raw.is_closed());
    assert!(stage.site.upstream.arrived().is_empty());
}

#[test]
fn path_3_and_path_17_headers_do_not_say_what_is_asked() {
    let stage = guarded();
    let fields = "X-Forwarded-Uri: /public/x\r\nX-Original-URL: /public/x\r\nX-Rewrite-URL: /public/x\r\n\
        X-Forwarded-Method: OPTIONS\r\nX-Original-Method: OPTIONS\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Host: public\r\nX-HTTP-Method-Override: OPTIONS\r\n";
    stage.denies(stage.strange("GET /private HTTP/1.1", fields), &[401]);
    stage.denies(stage.signed("GET /admin/x HTTP/1.1", fields), &[403]);
}

#[test]
fn path_4_5_6_7_14_and_px_5_nothing_climbs_out_of_a_public_corner() {
    let stage = guarded();
    for target in OUT_OF_PUBLIC {
        for method in ["GET", "POST", "OPTIONS"] {
            let line = format!("{method} {target} HTTP/1.1");
            stage.denies(stage.strange(&line, "Content-Length: 0\r\n"), &[400]);
            stage.denies(stage.signed(&line, "Content-Length: 0\r\n"), &[400]);
        }
    }
}

#[test]
fn path_6_7_and_px_5_no_spelling_of_a_denied_path_passes() {
    let stage = guarded();
    for target in [
        "/admin",
        "/admin/",
        "/admin/x",
        "/ADMIN/x",
        "/Admin",
        "/%61dmin/x",
        "/%61%64%6d%69%6e",
        "/%41%44%4d%49%4e/x",
        "/%2561dmin/x",
        "//admin/x",
        "/./admin/x",
        "/x/../admin/x",
        "/admin;x",
        "/admin;x=1/y",
        "/;/admin",
        "/x/..;/admin",
        "/%2fadmin/x",
        "/admin%2fx",
        "/admin%5cx",
        "/%EF%BD%81dmin/x",
        "/%EF%BC%A1DMIN/x",
    ] {
        stage.denies(stage.signed(&format!("GET {target} HTTP/1.1"), ""), &[400, 403]);
        stage.denies(stage.strange(&format!("GET {target} HTTP/1.1"), ""), &[400, 401, 403]);
    }
}

#[test]
fn path_8_and_path_10_what_no_honest_client_sends_is_refused_whole() {
    let stage = guarded();
    for target in [
        "/public/%00",
        "/public/%0d%0aX:y",
        "/public/%1f",
        "/public/%7f",
        "/public/%",
        "/public/%2",
        "/public/%zz",
        "/public/%u0061",
        "/public/%c0%ae%c0%ae/admin",
        "/public/%e0%80%ae",
        "/public/%ff",
        "/public/%2500",
        "/public/a\\b",
        "/public\\..\\admin",
        "/public/{x}",
        "/public/a|b",
        "/public/a^b",
        "/public/a`b",
        "/public/a\"b",
        "/public/<x>",
        "/public/\u{e9}",
        "/public/x?a\"b\u{e9}",
        "/public/x\u{7f}",
    ] {
        stage.rejects(stage.signed(&format!("GET {target} HTTP/1.1"), ""), &[400]);
    }
    for bytes in [&b"\x80"[..], b"\xff", b"\x00", b"\x01", b"\t"] {
        let mut request = b"GET /public/".to_vec();
        request.extend_from_slice(bytes);
        request.extend_from_slice(stage.strange(" HTTP/1.1", "").as_bytes());
        stage.rejects(request, &[400]);
    }
}

#[test]
fn path_9_the_bytes_that_were_judged_are_the_bytes_that_are_forwarded() {
    let stage = guarded();
    for target in [
        "/public/a%20b",
        "/public/caf%C3%A9?q=%2e%2e",
        "/public/a;v=1/b",
        "/public/%61",
        "/public/a//b",
        "/public/a/./b",
        "/public/a%2fb",
        "/public/?",
        "/public/~!$&'()*+,=:@-._",
        "/public/x?y?z=/../&[1]",
    ] {
        let line = format!("GET {target} HTTP/1.1");
        assert_eq!(stage.arrives(stage.strange(&line, "")).line, line);
    }
}

#[test]
fn path_12_and_px_9_segments_are_compared_whole() {
    let stage = guarded();
    for target in ["/publicx", "/public-x/y", "/xpublic/y", "/x/public/y", "/publi"] {
        stage.denies(stage.strange(&format!("GET {target} HTTP/1.1"), ""), &[401]);
    }
    for target in ["/authx", "/auth-x/sign-in", "/x/auth/ok", "/AUTH/ok"] {
        let line = format!("GET {target} HTTP/1.1");
        stage.denies(stage.strange(&line, ""), &[401]);
        assert_eq!(stage.arrives(stage.signed(&line, "")).line, line);
    }
    for target in
        ["/auth%2fsign-in", "/auth%2fok", "/%61uth/ok", "//auth/ok", "/./auth/ok", "/auth/../x", "/auth;x/ok"]
    {
        stage.denies(stage.signed(&format!("GET {target} HTTP/1.1"), ""), &[400]);
    }
    for target in ["/auth", "/auth/", "/auth//ok", "/auth/ok/", "/auth/OK"] {
        stage.denies(stage.signed(&format!("GET {target} HTTP/1.1"), ""), &[400, 404]);
    }
}

#[test]
fn path_15_only_the_exact_form_of_ones_own_id_passes() {
    let stage = guarded();
    let me = &stage.me;
    let upper = me.to_uppercase();
    let first = format!("%{:02x}{}", me.as_bytes()[0], &me[1..]);
    for target in [
        format!("/api/{upper}/x"),
        format!("/api/{first}/x"),
        format!("/api/{me}%20/x"),
        format!("/api/{me}x/x"),
        format!("/api/{}/x", &me[1..]),
        format!("/api//{me}/x"),
        format!("/API/{me}/x"),
        format!("/Api/{me}/x"),
        format!("/%41%50%49/{me}/x"),
        format!("/%61pi/{me}/x"),
        format!("/api;v=1/{me}/x"),
        format!("/api/{me};v=1/x"),
        format!("/api%2f{me}/x"),
        format!("/api/bob/../{me}/x"),
        format!("/api/./{me}/x"),
        format!("/x/../api/{me}/x"),
        format!("//api/{me}/x"),
        format!("/%EF%BD%81pi/{me}/x"),
        format!("/api/{me}/%c0%ae%c0%ae/x"),
        "/api".to_owned(),
        "/api/".to_owned(),
        "/api//x".to_owned(),
        "/api?x".to_owned(),
    ] {
        stage.denies(stage.signed(&format!("GET {target} HTTP/1.1"), ""), &[400, 403]);
    }
    for target in [
        format!("/api/{me}"),
        format!("/api/{me}/"),
        format!("/api/{me}/a%20b"),
        format!("/api/{me}/a%2fb"),
        format!("/api/{me}/a/../b"),
        format!("/api/{me}/a;v=1?x=/../y"),
        format!("/api/{me}/A/B"),
    ] {
        let line = format!("GET {target} HTTP/1.1");
        assert_eq!(stage.arrives(stage.signed(&line, "")).line, line);
    }
}

/// The vectors of section P of the hostility list: ways from one's own tree, or from outside, into another's.
pub(super) const WAYS_TO_U2: [&str; 41] = [
    "/api/U2/x",
    "/api/U2",
    "/api/U1/../U2/x",
    "/api/U1/%2e%2e/U2",
    "/api/U1/.%2e/U2",
    "/api/U1/%2e./U2",
    "/api/U1/..%2fU2",
    "/api/U1/..%252fU2",
    "/api/U1/%252e%252e/U2",
    "/api/U1/..;/U2",
    "/api/U1/..;x=1/U2",
    "/api/U1;x=/../U2",
    "/api/U1\\..\\U2",
    "/api/U1/..%5cU2",
    "/api/U1/..%255cU2",
    "/api/U1%2f..%2fU2",
    "/api/U1/..%c0%afU2",
    "/api/U1/%c0%ae%c0%ae/U2",
    "/api/U1//../U2",
    "/api/U1/./../U2",
    "/api/U1/x/../../U2",
    "/api/ENC2/x",
    "/API/U2/x",
    "/%61pi/U2/x",
    "/%41PI/U2/x",
    "/%41%50%49/U2/x",
    "/%2561pi/U2",
    "//api/U2",
    "//x/api/U2",
    "///x:1/api/U2/x",
    "//x%2fapi/U2",
    "/%2fx/api/U2",
    "/.//x/api/U2",
    "/./api/U2",
    "/x/..%2fapi/U2",
    "/public/%2e%2e/api/U2",
    "/public/..;/api/U2",
    "/api/U1%00/../U2",
    "/api/U2%20/",
    "/api;x/U2",
    "/api/U1/%EF%BC%8E%EF%BC%8E/U2",
];

#[test]
fn p_no_way_leads_from_one_users_tree_into_anothers() {
    let stage = guarded();
    let (_, other) = stage.site.member("other@example.org");
    let encoded = other.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
    for vector in WAYS_TO_U2 {
        let target = vector.replace("U1", &stage.me).replace("U2", &other).replace("ENC2", &encoded);
        for target in [target.clone(), format!("{}{target}", stage.site.origin)] {
            for method in ["GET", "PUT"] {
                stage.denies(stage.signed(&format!("{method} {target} HTTP/1.1"), ""), &[400, 403]);
            }
            stage.denies(stage.strange(&format!("GET {target} HTTP/1.1"), ""), &[400, 401]);
        }
    }
    // `....//` is a trick against those who cut `../` out; it stays in one's own tree for those who resolve.
    let line = format!("GET /api/{}/....//{other} HTTP/1.1", stage.me);
    assert_eq!(stage.arrives(stage.signed(&line, "")).line, line);
}

#[test]
fn a_prefix_of_an_id_is_another_id() {
    let stage = guarded();
    let line = format!("GET /api/{}0/x HTTP/1.1", stage.me);
    stage.denies(stage.signed(&line, ""), &[403]);
    let line = format!("GET /api/{}/x HTTP/1.1", &stage.me[..stage.me.len() - 1]);
    stage.denies(stage.signed(&line, ""), &[403]);
}

/// A path that grows when it is read, again and again: U+FDFA is eighteen characters in NFKC.
fn growing(part: &str, times: usize, end: &str) -> String {
    format!("/nope/{}{end}", part.replace('X', "%EF%B7%BA").repeat(times))
}

#[test]
fn no_path_is_much_work_to_judge() {
    let parse = |path: &str| Path::parse(path.parse().expect("a path"));
    let ends = ["", ";a/./b%2f.", "%2525;a/./b%2f..", "/%5c./;x/%2f./%3fa"];
    for part in [
        "X",
        "XXXXX;/",
        "XXXXXXXXXX/",
        "X;./",
        "%25EF%25B7%25BA",
        "%252561;b./%2f",
        ".;/%252f%5c%20X",
        "%C2%BD%2f",
    ] {
        for end in ends {
            for times in [1, 5, 20, 2000 / part.replace('X', "%EF%B7%BA").len()] {
                let path = growing(part, times, end);
                match parse(&path) {
                    Ok(path) => {
                        let size = path.readings().map(str::len).sum::<usize>();
                        assert!(size <= 16 * 1024, "{size} bytes of {}", path.raw());
                    }
                    Err(refusal) => assert!(
                        matches!(refusal, Refusal::AmbiguousPath | Refusal::TargetTooLong),
                        "{refusal:?}: {path}"
                    ),
                }
            }
        }
    }
    // A long name in another script, a path within a path, and one of many names with spaces.
    for honest in [
        format!("/files/{}", "%D0%BF%D1%80%D0%B8".repeat(110)),
        format!("/resize/https%3A%2F%2Fexample.com%2F{}%3Fsize%3D2", "a%2Fb-c.".repeat(200)),
        format!("/files/{}", "annual%20report;v=1/".repeat(90)),
    ] {
        assert!(parse(&honest).is_ok(), "{honest}");
    }
}

#[test]
fn a_path_that_is_too_much_to_judge_is_refused() {
    let stage = guarded();
    for target in [growing("XXXXXXXXXX/", 20, ";a/./b%2f."), growing("X", 200, ";a/./b%2f.")] {
        let line = format!("GET {target} HTTP/1.1");
        stage.denies(stage.strange(&line, ""), &[400]);
        stage.denies(stage.signed(&line, ""), &[400]);
    }
}
