//! Paths under our prefix: found by method and segment, never the app's.

use std::collections::BTreeSet;

use http::Method;
use sidegate::gate::endpoint::{Asker, Lookup, PLACES, at_place, find};

use crate::support::stage::Stage;

#[test]
fn every_endpoint_has_a_place_of_its_own() {
    let (mut places, mut found) = (BTreeSet::new(), BTreeSet::new());
    for place in 0..PLACES {
        let (method, path) = at_place(place).expect("a name");
        let below = if method == "*" { format!("{path}/x") } else { path.to_owned() };
        let method = if method == "*" { Method::POST } else { method.parse().expect("a method") };
        let Lookup::Found(endpoint) = find(&method, &below) else { panic!("{method} {path}") };
        places.insert(endpoint.place());
        // Some are found by several ways, and known by the first.
        assert!(endpoint.place() <= place, "{method} {path}");
        found.insert(format!("{endpoint:?}"));
    }
    assert_eq!(places.len(), found.len());
    assert!(at_place(PLACES).is_none());
    // As many as are declared, each proxy that asks for one.
    let source = include_str!("../../../src/gate/endpoint.rs");
    let declared = |name: &str| {
        let (_, rest) = source.split_once(&format!("pub enum {name} {{")).expect("it is there");
        let (body, _) = rest.split_once("\n}").expect("an end");
        body.lines().filter(|line| line.trim_end().ends_with(',')).count()
    };
    assert_eq!(found.len(), declared("Endpoint") - 1 + declared("Asker"), "{found:?}");
    assert_eq!(find(&Method::PATCH, &format!("{}/x", Asker::ENVOY)), find(&Method::GET, "verify/envoy/y"));
}

#[test]
fn px_9_everything_under_the_prefix_is_ours_and_nothing_of_it_reaches_the_app() {
    let stage = Stage::new();
    for target in
        ["/auth", "/auth/", "/auth/nothing", "/auth/sign-in/", "/auth/sign-in/email/x", "/auth/Sign-In"]
    {
        for request in [
            stage.strange(&format!("GET {target} HTTP/1.1"), ""),
            stage.signed(&format!("GET {target} HTTP/1.1"), ""),
        ] {
            assert_eq!(stage.denies(request, &[404]).code(), "NOT_FOUND");
        }
    }
}

#[test]
fn a_prefix_within_another_is_one_too_in_whatever_order_they_stand() {
    for paths in ["[\"/auth\", \"/auth/v1\"]", "[\"/auth/v1\", \"/auth\"]"] {
        let stage = Stage::on(Stage::plan().paths(paths));
        for target in ["/auth/ok", "/auth/v1/ok"] {
            assert_eq!(
                stage.ask(stage.strange(&format!("GET {target} HTTP/1.1"), "")).status,
                200,
                "{paths} {target}"
            );
        }
    }
}

#[test]
fn a_wrong_method_is_405_with_the_right_ones_named() {
    let stage = Stage::new();
    for (line, allowed) in [
        ("DELETE /auth/sign-in HTTP/1.1", "GET, POST"),
        ("PUT /auth/me HTTP/1.1", "GET"),
        ("GET /auth/sign-in/email HTTP/1.1", "POST"),
        ("get /auth/ok HTTP/1.1", "GET"),
    ] {
        let response = stage.denies(stage.strange(line, ""), &[405]);
        assert_eq!(response.header("allow"), Some(allowed), "{line}");
    }
}

#[test]
fn head_is_get_without_the_body() {
    let stage = Stage::new();
    let get = stage.ask(stage.strange("GET /auth/ok HTTP/1.1", ""));
    let mut raw = stage.connect();
    for _ in 0..2 {
        let head = raw.send(stage.strange("HEAD /auth/ok HTTP/1.1", "")).answer_to_head();
        assert_eq!((head.status, head.header("content-length")), (200, get.header("content-length")));
    }
}

#[test]
fn cs_1_a_request_of_another_site_changes_nothing() {
    let stage = Stage::new();
    for fields in [
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Origin: https://evil.test\r\n",
        "Origin: null\r\n",
        "",
    ] {
        let fields = format!("{fields}Content-Length: 0\r\n");
        let response = stage.denies(stage.signed("POST /auth/sign-out HTTP/1.1", &fields), &[403]);
        assert_eq!(response.code(), "INVALID_ORIGIN");
        stage.arrives(stage.signed("GET /x HTTP/1.1", ""));
    }
}
