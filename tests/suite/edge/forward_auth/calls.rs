//! Questions that look like calls of gRPC, whose refusals have the status 200 elsewhere: to a proxy, that is a yes.

use std::net::{IpAddr, Ipv4Addr};

use super::{ASKERS, guarded, question, stage};
use crate::edge::asked;
use crate::support::raw::Raw;
use crate::support::stage::Stage;

const CALLS: [&str; 3] = ["application/grpc", "application/grpc-web+proto", "application/grpc;x"];

/// What can be wrong with a question besides what it asks: what is put in whose place.
fn spoilt(whole: &str, host: &str) -> Vec<String> {
    let field = |line: &str| whole.replacen("\r\n", &format!("\r\n{line}\r\n"), 1);
    let as_method = |method: &str| {
        let (_, rest) = whole.split_once(' ').expect("a request line");
        format!("{method} {rest}")
    };
    let longer = |tail: &str| whole.replacen("/x HTTP/1.1", &format!("/x{tail} HTTP/1.1"), 1);
    let mut all = vec![
        whole.replace(&format!("Host: {host}"), "Host: 127.0.0.1:"),
        whole.replace(&format!("Host: {host}"), "Host: evil.test"),
        field("Authorization: a\r\nAuthorization: b"),
        field("Expect: miracles"),
        field("Transfer-Encoding: gzip, chunked"),
        field("Content-Length: 1\r\nContent-Length: 2"),
        field(&format!("Connection: {}", "a,".repeat(40))),
        field("X-User-Id: admin"),
        longer(&format!("?{}", "a".repeat(8200))),
        longer(&format!(";{}", "a".repeat(2048))),
        longer("%zz"),
        longer("/..%2f..%2f..%2f..%2f..%2f.."),
        // Nothing is wrong with it, and nobody may pass.
        whole.to_owned(),
    ];
    all.extend(["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "G(T"].map(as_method));
    let body = format!("\r\nContent-Length: 70000\r\n\r\n{}", "x".repeat(70_000));
    all.push(whole.replace("Content-Length: 0\r\n", "").trim_end().to_owned() + &body);
    all
}

#[test]
fn fa_3_no_refusal_of_a_question_looks_like_a_yes_because_its_client_speaks_grpc() {
    let stage = stage();
    let stranger = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    for call in CALLS {
        for asker in ASKERS {
            for method in ["GET", "POST"] {
                let fields = format!("Content-Type: {call}\r\nTE: trailers\r\n");
                let whole = question(&stage, asker, method, "/secret/x", &fields);
                let as_post = whole.replacen("GET ", "POST ", 1);
                for request in [&whole, &as_post].iter().flat_map(|whole| spoilt(whole, stage.host())) {
                    let status = stage.ask(&request).status;
                    assert!(status >= 300, "{asker} {status}: {}", &request[..request.len().min(400)]);
                }
                let status = Raw::connect_from(stranger, stage.site.address).send(&whole).answer().status;
                assert!(status >= 300, "{asker} to a stranger: {status}");
            }
        }
    }
}

#[test]
fn what_we_are_asked_ourselves_is_refused_with_a_status_also_of_whoever_speaks_grpc() {
    let stage = Stage::on(guarded(Stage::plan()));
    for call in CALLS {
        for path in [
            "/auth/me",
            "/auth/list-sessions",
            "/auth/nothing",
            "/auth/verify/nginx",
            "/auth/sign-in",
            "/auth",
        ] {
            for method in ["GET", "POST", "PUT"] {
                let line = format!("{method} {path} HTTP/1.1");
                for host in [stage.host().to_owned(), "127.0.0.1:".to_owned()] {
                    let fields = format!("Content-Type: {call}\r\nContent-Length: 0\r\n");
                    let request = stage.strange(&line, &fields).replace(stage.host(), &host);
                    let response = stage.ask(&request);
                    assert!(response.header("grpc-status").is_none(), "{request}");
                    // The sign-in page is there for everybody.
                    assert!(
                        response.status >= 300 || path == "/auth/sign-in",
                        "{request}: {}",
                        response.status
                    );
                }
            }
        }
        // A call is a POST: what asks otherwise, say for somebody else, reads the status.
        for (method, status) in [("POST", 200), ("GET", 401), ("PUT", 401), ("OPTIONS", 401)] {
            let fields = format!("Content-Type: {call}\r\nContent-Length: 0\r\n");
            let response = stage.ask(stage.strange(&format!("{method} /app HTTP/1.1"), &fields));
            assert_eq!(response.status, status, "{method}");
            assert_eq!(response.header("grpc-status").is_some(), method == "POST", "{method}");
        }
    }
    assert_eq!(stage.site.upstream.connections(), 0);
}

#[test]
fn a_questioner_is_answered_with_a_status_where_questions_are_not_answered() {
    let off = Stage::on(guarded(Stage::plan().set("proxies", "trusted = [\"127.0.0.1\"]")));
    let on = Stage::on(guarded(asked()));
    for call in CALLS {
        for asker in ASKERS {
            let question = |stage: &Stage| {
                question(stage, asker, "POST", "/secret/x", &format!("Content-Type: {call}\r\n"))
            };
            assert!(off.ask(question(&off)).status >= 300, "{asker}");
            assert!(on.ask(question(&on)).status >= 300, "{asker}");
        }
    }
}
