//! What the access log tells of the app's side: which instance was asked, and how calls of gRPC ended.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use serde_json::Value;

use super::access::{JSON, line};
use super::{Program, number};
use crate::serve::free_port;
use crate::support::app2::App2;
use crate::support::h2::H2;
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;

const OPEN: &str = "[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n";

/// A program that logs JSON and whose file says this of `[upstream]`.
fn with(app: std::net::SocketAddr, upstream: &str) -> Program {
    let program = Program::start(app, &format!("{JSON}{OPEN}"));
    program.edit("[upstream]", &format!("[upstream]\n{upstream}"));
    assert!(program.reload().contains("was read again"));
    program
}

fn get(program: &Program, path: &str, fields: &str) -> u16 {
    let host = program.address;
    Raw::connect(host).send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).answer().status
}

fn of(program: &Program, path: &str) -> Value {
    line(program, "access", |line| line["path"] == path)
}

#[test]
fn the_instance_that_answered_is_named_where_there_are_several() {
    let (one, two) = (Upstream::hello(), Upstream::hello());
    let program = with(one.address, &format!("more = [\"http://{}\"]", two.address));
    let mut told: Vec<String> = (0..4)
        .map(|n| {
            let path = format!("/open/{n}");
            assert_eq!(get(&program, &path, ""), 200);
            of(&program, &path)["upstream"].as_str().expect("a name").to_owned()
        })
        .collect();
    told.sort();
    let mut names = [one.address, two.address].map(|address| format!("http://{address}"));
    names.sort();
    assert_eq!(told, [names[0].as_str(), &names[0], &names[1], &names[1]]);
    let asked =
        |app: &Upstream, n: usize| app.arrived().iter().any(|it| it.line.contains(&format!("/open/{n} ")));
    for n in 0..4 {
        let name = of(&program, &format!("/open/{n}"))["upstream"].clone();
        assert_eq!(asked(&one, n), name == format!("http://{}", one.address), "{n}: {name}");
    }
    assert_eq!(get(&program, "/closed", ""), 401);
    assert!(of(&program, "/closed").get("upstream").is_none(), "nobody was asked");
    let alone = with(one.address, "");
    assert_eq!(get(&alone, "/open/x", ""), 200);
    assert!(of(&alone, "/open/x").get("upstream").is_none());
}

#[test]
fn the_instance_that_failed_is_named_too_and_so_is_one_that_speaks_http_2() {
    let dead = [free_port(), free_port()];
    let program = with(dead[0], &format!("more = [\"http://{}\"]", dead[1]));
    assert_eq!(get(&program, "/open/dead", ""), 502);
    let told = of(&program, "/open/dead")["upstream"].clone();
    assert!(dead.iter().any(|port| told == format!("http://{port}")), "{told}");
    let line = of(&program, "/open/dead");
    assert_eq!((&line["decision"], &line["reason"]), (&"failed".into(), &"UPSTREAM_UNREACHABLE".into()));
    let labels = "route=\"/open/**\",outcome=\"failed\",method=\"GET\",code=\"5xx\"";
    let counted = number(&program.told("/metrics").text(), &format!("sidegate_requests_total{{{labels}}}"));
    assert_eq!(counted, 1);
    let (one, two) = (App2::hello(), App2::hello());
    let more = format!("protocol = \"h2c\"\nmore = [\"http://{}\"]", two.address);
    let program = with(one.address, &more);
    for path in ["/open/1", "/open/2"] {
        assert_eq!(get(&program, path, ""), 200);
    }
    let mut told = ["/open/1", "/open/2"].map(|path| of(&program, path)["upstream"].to_string());
    told.sort();
    let mut names = [one.address, two.address].map(|address| format!("\"http://{address}\""));
    names.sort();
    assert_eq!(told, names);
}

/// Answers calls as their path says.
fn grpc() -> App2 {
    App2::with(h2::server::Builder::new(), |mut call| async move {
        let trailers = |status: &'static str| {
            HeaderMap::from_iter([("grpc-status".parse().expect("a name"), status.parse().expect("a value"))])
        };
        match call.head.uri.path() {
            "/open/head" => {
                let head =
                    Response::builder().header("content-type", "application/grpc").header("grpc-status", "5");
                let _ = call.reply.send_response(head.body(()).expect("an answer"), true);
            }
            "/open/odd" => {
                let mut body = call.begin("application/grpc");
                let _ = body.send_trailers(trailers("5\u{22}x"));
            }
            "/open/plain" => {
                let mut body = call.begin("text/plain");
                let _ = body.send_trailers(trailers("7"));
            }
            _ => {
                let mut body = call.begin("application/grpc");
                let _ = body.send_data(Bytes::from_static(b"\0\0\0\0\0"), false);
                let _ = body.send_trailers(trailers("13"));
            }
        }
    })
}

#[test]
fn the_status_of_a_call_of_grpc_is_logged_wherever_it_stands() {
    let app = grpc();
    let program = with(app.address, "protocol = \"h2c\"");
    let mut client = H2::connect(program.address);
    let mut call = |path: &str, content_type: &str| {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}{path}", program.address))
            .header("content-type", content_type)
            .header("te", "trailers")
            .body(Full::default());
        let answer = client.ask(request.expect("a request"));
        assert_eq!(answer.status, 200, "{path}");
        of(&program, path).get("grpc_status").cloned()
    };
    let grpc = "application/grpc";
    assert_eq!(call("/open/trailers", grpc), Some(13.into()));
    assert_eq!(call("/open/head", grpc), Some(5.into()));
    assert_eq!(call("/closed", grpc), Some(16.into()), "a refusal of ours has one too");
    assert_eq!(call("/open/odd", grpc), None, "what is no number is none");
    assert_eq!(call("/open/plain", "text/plain"), None, "it is no call of gRPC");
}
