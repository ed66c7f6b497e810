//! The questions of proxies, asked as each of them does: what is answered, and to whom not at all.

mod calls;
mod hidden;
mod personal;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::edge::{asked, climbing, guarded};
use crate::support::journal;
use crate::support::raw::{Raw, Response};
use crate::support::site::Plan;
use crate::support::stage::Stage;

const ASKERS: [&str; 4] = ["nginx", "traefik", "caddy", "envoy"];

fn stage() -> Stage {
    Stage::on(guarded(asked()))
}

/// The question of this proxy about a request, with these fields of the client's.
fn question(stage: &Stage, asker: &str, method: &str, target: &str, fields: &str) -> String {
    let host = stage.host();
    match asker {
        "nginx" => format!(
            "GET /auth/verify/nginx HTTP/1.1\r\nHost: {host}\r\nX-Original-Method: {method}\r\n\
             X-Original-URI: {target}\r\n{fields}\r\n"
        ),
        // Its own name for us, not the site's.
        "traefik" => format!(
            "GET /auth/verify/traefik HTTP/1.1\r\nHost: sidegate:8080\r\nX-Forwarded-Method: {method}\r\n\
             X-Forwarded-Proto: http\r\nX-Forwarded-Host: {host}\r\nX-Forwarded-Uri: {target}\r\n{fields}\r\n"
        ),
        "caddy" => format!(
            "GET /auth/verify/caddy HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Method: {method}\r\n\
             X-Forwarded-Proto: http\r\nX-Forwarded-Host: {host}\r\nX-Forwarded-Uri: {target}\r\n{fields}\r\n"
        ),
        _ => format!(
            "{method} /auth/verify/envoy{target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n{fields}\r\n"
        ),
    }
}

fn ask(stage: &Stage, asker: &str, method: &str, target: &str, fields: &str) -> Response {
    let question = question(stage, asker, method, target, fields);
    let mut raw = stage.connect();
    raw.send(&question);
    let response = if question.starts_with("HEAD") { raw.answer_to_head() } else { raw.answer() };
    assert_eq!(response.header("cache-control"), Some("no-store"), "{asker} {method} {target}");
    response
}

/// What everybody is asked with whose session is known.
fn cookie(stage: &Stage) -> String {
    format!("Cookie: {}\r\n", stage.cookie)
}

const PERSON: &str = "Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n";

#[test]
fn a_fragment_is_refused_from_every_proxy() {
    let stage = Stage::on(guarded(asked()));
    for asker in ASKERS {
        for target in ["/public/x#/../../secret", "/public/#", "/app#x", "/public/x?y#z"] {
            let status = ask(&stage, asker, "GET", target, &cookie(&stage)).status;
            // Some proxies pass on no refusal but that of one who may not.
            assert!(matches!(status, 400 | 403), "{asker} {target}: {status}");
        }
    }
}

#[test]
fn who_may_pass_is_told_apart_and_named_to_every_proxy() {
    let stage =
        Stage::on(guarded(asked()).set("identity", "preset = \"authelia\"\nassertion_header = \"x-proof\""));
    let me = stage.me.clone();
    for asker in ASKERS {
        for (target, fields, names) in [
            ("/app?x=y".to_owned(), cookie(&stage), true),
            (format!("/api/{me}/a%20b"), cookie(&stage), true),
            ("/maybe/x".to_owned(), cookie(&stage), true),
            ("/maybe/x".to_owned(), String::new(), false),
            ("/public/x".to_owned(), String::new(), false),
            ("/public/x".to_owned(), cookie(&stage), false),
        ] {
            for method in ["GET", "POST", "PROPFIND"] {
                let response = ask(&stage, asker, method, &target, &fields);
                assert_eq!(response.status, 200, "{asker} {method} {target}: {}", response.text());
                assert!(response.body.is_empty());
                let named = [
                    ("x-user-id", me.as_str()),
                    ("remote-user", me.as_str()),
                    ("remote-email", "me@example.org"),
                    ("remote-name", "Someone"),
                ];
                for (name, value) in named {
                    assert_eq!(response.header(name), names.then_some(value), "{asker} {target}");
                }
                assert_eq!(
                    response.header("x-proof").is_some_and(|proof| proof.matches('.').count() == 2),
                    names
                );
            }
        }
    }
    assert_eq!(stage.site.upstream.connections(), 0);
}

#[test]
fn a_stranger_is_refused_in_the_convention_of_each_proxy() {
    let stage = stage();
    let sign_in = format!("{}/auth/sign-in?callback_url=%2Fapp%3Fx%3Dy%26z", stage.site.origin);
    for asker in ASKERS {
        let person = ask(&stage, asker, "GET", "/app?x=y&z", PERSON);
        let status = if asker == "nginx" { 401 } else { 302 };
        assert_eq!((person.status, person.header("location")), (status, Some(sign_in.as_str())), "{asker}");
        let program = ask(&stage, asker, "GET", "/app?x=y&z", "Accept: application/json\r\n");
        assert_eq!((program.status, program.header("location")), (401, None), "{asker}");
        assert_eq!(program.header("www-authenticate"), Some("Bearer"));
        let dead = ask(&stage, asker, "GET", "/app", "Cookie: sidegate=AAAA\r\n");
        assert_eq!(dead.status, 401);
        assert!(dead.all("set-cookie").iter().all(|cookie| cookie.contains("Max-Age=0")), "{dead:?}");
        // 200 is what lets a request pass, so that a call of gRPC cannot be answered as it would be elsewhere.
        let call = ask(&stage, asker, "POST", "/app", "Content-Type: application/grpc\r\n");
        assert_eq!(call.status, 401, "{asker}");
        let closed = ask(&stage, asker, "GET", "/admin/x", &cookie(&stage));
        assert_eq!(closed.status, 403, "{asker}");
    }
    assert_eq!(stage.site.upstream.connections(), 0);
}

#[test]
fn fa_1_a_question_that_is_incomplete_or_says_something_twice_is_answered_no() {
    let stage = stage();
    let no = |asker: &str, question: &str| {
        let response = stage.ask(question);
        let understood = if asker == "nginx" { vec![403] } else { vec![400, 403, 421] };
        assert!(understood.contains(&response.status), "{}: {question}", response.status);
        assert!(response.header("x-user-id").is_none());
    };
    for asker in ["nginx", "traefik", "caddy"] {
        let whole = question(&stage, asker, "GET", "/public/x", &cookie(&stage));
        assert_eq!(stage.ask(&whole).status, 200);
        for line in whole.lines().filter(|line| line.starts_with("X-")) {
            let (name, value) = line.split_once(": ").expect("a field");
            for instead in [
                String::new(),
                format!("{name}: \r\n"),
                format!("{line}\r\n{line}\r\n"),
                format!("{name}: {value}, {value}\r\n"),
                format!("{name}: \u{e9}\r\n"),
                format!("{}: {value}\r\n", name.replacen('-', "_", 1)),
            ] {
                no(asker, &whole.replace(&format!("{line}\r\n"), &instead));
            }
        }
    }
    for asker in ["traefik", "caddy"] {
        let whole = question(&stage, asker, "GET", "/public/x", "");
        for (from, to) in [
            ("X-Forwarded-Proto: http", "X-Forwarded-Proto: https"),
            ("X-Forwarded-Proto: http", "X-Forwarded-Proto: ftp"),
            ("X-Forwarded-Host: 127.0.0.1", "X-Forwarded-Host: evil.test"),
            ("X-Forwarded-Host: ", "X-Forwarded-Host: u@"),
        ] {
            no(asker, &whole.replace(from, to));
        }
    }
    for method in ["CONNECT", "TRACE", "G ET", "GET\u{e9}"] {
        for asker in ["nginx", "traefik", "caddy"] {
            let response = stage.ask(question(&stage, asker, method, "/public/x", ""));
            assert!(!(200..400).contains(&response.status), "{asker} {method}: {}", response.status);
        }
    }
}

#[test]
fn fa_2_path_3_only_trusted_proxies_are_answered_and_nobody_by_default() {
    let stage = stage();
    let stranger = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    for asker in ASKERS {
        let question = question(&stage, asker, "GET", "/public/x", &cookie(&stage));
        let response = Raw::connect_from(stranger, stage.site.address).send(&question).answer();
        assert!([403, 421].contains(&response.status), "{asker}: {}", response.status);
        assert!(response.header("x-user-id").is_none());
        assert_eq!(stage.ask(question).status, 200);
    }
    // A name that is not the site's is for questions only.
    for target in ["/public/x", "/auth/ok", "/auth/verify/other", "/auth/verify/../verify/nginx"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: sidegate:8080\r\n\r\n");
        assert_eq!(stage.ask(request).status, 421, "{target}");
    }
    let off = Stage::on(guarded(Stage::plan().set("proxies", "trusted = [\"127.0.0.1\"]")));
    for asker in ASKERS {
        let response = off.ask(question(&off, asker, "GET", "/public/x", &cookie(&off)));
        assert!([404, 421].contains(&response.status), "{asker}: {}", response.status);
    }
}

#[test]
fn fa_3_a_store_that_does_not_answer_lets_nobody_pass() {
    journal::announce("reading a session");
    let stage = stage();
    stage.site.block_on(stage.site.app.store.close());
    stage.site.pass(Duration::from_mins(1));
    for asker in ASKERS {
        for target in ["/app", "/maybe/x"] {
            let response = ask(&stage, asker, "GET", target, &cookie(&stage));
            let status = if matches!(asker, "nginx" | "envoy") { 403 } else { 503 };
            assert_eq!(response.status, status, "{asker} {target}");
            assert!(response.all("set-cookie").is_empty(), "never signed out");
        }
        assert_eq!(
            ask(&stage, asker, "GET", "/public/x", &cookie(&stage)).status,
            200,
            "what needs nobody goes on"
        );
    }
}

#[test]
fn fa_4_a_method_opens_nothing_by_itself() {
    let methods =
        |plan: Plan| plan.toml("[[rules]]\npath = \"/read/**\"\nmethods = [\"GET\"]\naccess = \"public\"\n");
    let stage = Stage::on(methods(guarded(asked())));
    let preflight = "Origin: https://evil.test\r\nAccess-Control-Request-Method: GET\r\n";
    for asker in ASKERS {
        assert_eq!(ask(&stage, asker, "GET", "/read/x", "").status, 200);
        for method in ["OPTIONS", "HEAD", "POST", "get"] {
            assert_eq!(ask(&stage, asker, method, "/read/x", preflight).status, 401, "{asker} {method}");
        }
        assert_eq!(ask(&stage, asker, "OPTIONS", "/app", preflight).status, 401);
        assert_eq!(ask(&stage, asker, "OPTIONS", "/admin/x", preflight).status, 403);
    }
}

#[test]
fn fa_5_nginx_hears_nothing_but_200_401_and_403() {
    let stage = stage();
    let long = format!("/{}", "x".repeat(9000));
    for target in climbing().chain(["/", "/app", "/public/x", "/maybe/x", "/auth/ok", "/auth/me", &long]) {
        let target = target.replace("{me}", &stage.me).replace("{other}", "someone");
        for fields in [String::new(), cookie(&stage), PERSON.to_owned(), "Cookie: sidegate=x\r\n".to_owned()]
        {
            let status = ask(&stage, "nginx", "GET", &target, &fields).status;
            assert!([200, 401, 403].contains(&status), "{target}: {status}");
        }
    }
    // Fields of the client's that nginx passes on, and what is wrong with the question itself.
    for fields in [
        "Expect: miracles\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Authorization: a\r\nAuthorization: b\r\n",
        &format!("Connection: {}\r\n", "a,".repeat(40)),
    ] {
        for method in ["GET", "POST", "DELETE", "TRACE"] {
            let whole = question(&stage, "nginx", "GET", "/public/x", fields).replacen("GET", method, 1);
            assert_eq!(stage.ask(whole).status, 403, "{method} {fields}");
        }
        let status = stage.ask(question(&stage, "envoy", "GET", "/public/x", fields)).status;
        assert!((400..500).contains(&status), "Envoy would ask again: {fields} {status}");
        let app = stage.ask(stage.strange("GET /public/x HTTP/1.1", fields));
        assert_ne!(app.status, 403, "who asks nothing hears what is wrong: {fields}");
    }
    for method in ["POST", "DELETE", "TRACE"] {
        let whole = question(&stage, "nginx", "GET", "/public/x", "").replacen("GET", method, 1);
        assert_eq!(stage.ask(whole).status, 403, "{method}");
    }
    let body = format!("Content-Length: 100000\r\n\r\n{}", "x".repeat(100_000));
    let whole = question(&stage, "nginx", "POST", "/public/x", "");
    let refused = stage.ask(format!("{}{body}", whole.trim_end_matches("\r\n").to_owned() + "\r\n"));
    assert!(!(200..300).contains(&refused.status), "the question has no body: {}", refused.status);
}

#[test]
fn path_10_what_readers_could_judge_differently_or_cannot_read_is_answered_no() {
    let stage = stage();
    let other = "0b5a7f9c-0000-4000-8000-00000000beef";
    for asker in ASKERS {
        for target in climbing() {
            let target = target.replace("{me}", &stage.me).replace("{other}", other);
            for fields in [cookie(&stage), String::new(), PERSON.to_owned()] {
                let response = stage.ask(question(&stage, asker, "GET", &target, &fields));
                assert!(response.status >= 300, "{asker} {target}: {}", response.status);
                assert!(response.header("x-user-id").is_none(), "{asker} {target}");
            }
        }
        // Our own endpoints are not what a proxy sends to the app.
        for target in ["/auth", "/auth/me", "/auth/verify/nginx", "/auth/verify/envoy/public/x"] {
            let status = ask(&stage, asker, "GET", target, &cookie(&stage)).status;
            assert!(matches!(status, 403 | 404), "{asker} {target}: {status}");
        }
    }
    for target in ["", "x", "?x", "..", "/../public/x", "%2fpublic/x"] {
        let response = stage.ask(question(&stage, "envoy", "GET", target, &cookie(&stage)));
        assert!(response.status >= 300, "{target}: {}", response.status);
    }
    assert_eq!(stage.site.upstream.connections(), 0);
}

#[test]
fn hdr_1_hdr_2_a_client_that_names_an_identity_is_refused_in_whatever_spelling() {
    let stage = Stage::on(guarded(asked()).set("identity", "preset = \"oauth2-proxy\"\nemail = \"x-mail\""));
    for asker in ASKERS {
        for name in ["X-User-Id", "x_user_id", "X.User-Id", "X_Forwarded_User", "X-Forwarded-Email", "x_mail"]
        {
            for fields in [cookie(&stage), String::new()] {
                for target in ["/app", "/maybe/x", "/public/x"] {
                    let fields = format!("{fields}{name}: admin\r\n");
                    let response = ask(&stage, asker, "GET", target, &fields);
                    assert_eq!(response.status, 403, "{asker} {name} {target}");
                }
            }
        }
        assert_eq!(
            ask(&stage, asker, "GET", "/app", &format!("{}X-User: x\r\n", cookie(&stage))).status,
            200
        );
    }
}

#[test]
fn hdr_1_an_identity_under_a_name_with_other_signs_is_claimed_by_nobody_either() {
    let identity = "user_id = [\"x_uid\"]\nemail = [\"x.mail\"]\nassertion_header = \"my~proof_\"";
    let stage = Stage::on(guarded(asked()).set("identity", identity));
    for asker in ASKERS {
        for name in
            ["X_UID", "x_uid", "X-Uid", "x.uid", "X.Mail", "x-mail", "X_MAIL", "my~proof_", "My-Proof-"]
        {
            for fields in [cookie(&stage), String::new()] {
                for target in ["/app", "/maybe/x", "/public/x"] {
                    let fields = format!("{fields}{name}: victim\r\n");
                    let response = ask(&stage, asker, "GET", target, &fields);
                    assert_eq!(response.status, 403, "{asker} {name} {target}");
                }
            }
        }
        for name in ["X-Uidx", "Mail", "X--Uid"] {
            let fields = format!("{}{name}: me\r\n", cookie(&stage));
            assert_eq!(ask(&stage, asker, "GET", "/maybe/x", &fields).status, 200, "{asker} {name}");
        }
    }
}

#[test]
fn a_session_that_is_renewed_by_a_question_gives_the_cookie_again() {
    let stage = stage();
    let mut renewed = 0;
    for asker in ASKERS {
        stage.site.pass(Duration::from_hours(25));
        let response = ask(&stage, asker, "GET", "/app", &cookie(&stage));
        assert_eq!(response.status, 200, "{asker}");
        renewed += response.all("set-cookie").iter().filter(|line| line.starts_with("sidegate=")).count();
        assert!(ask(&stage, asker, "GET", "/app", &cookie(&stage)).all("set-cookie").is_empty());
    }
    assert_eq!(renewed, ASKERS.len());
}

#[test]
fn a_session_is_renewed_only_by_a_question_that_is_answered_with_it() {
    let stage = stage();
    for asker in ASKERS {
        stage.site.pass(Duration::from_hours(25));
        for (target, status) in [("/public/x", 200), ("/admin/x", 403)] {
            let response = ask(&stage, asker, "GET", target, &cookie(&stage));
            assert_eq!((response.status, response.all("set-cookie").len()), (status, 0), "{asker} {target}");
        }
        assert_eq!(
            ask(&stage, asker, "GET", "/maybe/x", &cookie(&stage)).all("set-cookie").len(),
            1,
            "{asker}"
        );
    }
}
