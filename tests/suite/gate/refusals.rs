//! What people and programs hear when they may not: a page, a redirect, JSON, or a gRPC status.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::support::raw::Response;
use crate::support::stage::Stage;

const NAVIGATES: &str =
    "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html,*/*;q=0.8\r\n";

fn location(response: &Response) -> &str {
    response.header("location").expect("a location")
}

#[test]
fn px_11_a_person_is_led_to_the_sign_in_page_and_back() {
    let stage = Stage::new();
    for (target, callback) in [
        ("/dash", "%2Fdash"),
        ("/", "%2F"),
        ("/a/b?c=d&e=%20f", "%2Fa%2Fb%3Fc%3Dd%26e%3D%2520f"),
        ("/x?next=//evil.test", "%2Fx%3Fnext%3D%2F%2Fevil.test"),
    ] {
        let response = stage.denies(stage.strange(&format!("GET {target} HTTP/1.1"), NAVIGATES), &[302]);
        let place = format!("{}/auth/sign-in?callback_url={callback}", stage.site.origin);
        assert_eq!(location(&response), place, "{target}");
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let followed = stage.ask(stage.strange(&format!("GET {} HTTP/1.1", location(&response)), NAVIGATES));
        assert_eq!(
            (followed.status, followed.header("content-type")),
            (200, Some("text/html; charset=utf-8"))
        );
    }
}

#[test]
fn a_form_that_a_person_sent_leads_to_the_sign_in_page_by_303_and_back_to_the_page_it_was_on() {
    let stage = Stage::new();
    let fields = format!("{NAVIGATES}Content-Length: 3\r\nReferer: {}/form?x\r\n", stage.site.origin);
    let response = stage.denies(format!("{}a=b", stage.strange("POST /save HTTP/1.1", &fields)), &[303]);
    let place = location(&response);
    let sign_in = format!("{}/auth/sign-in?callback_url=", stage.site.origin);
    assert!(place.starts_with(&sign_in) && place.ends_with("%2Fform%3Fx"), "{place}");
    let foreign = format!("{NAVIGATES}Content-Length: 0\r\nReferer: https://evil.test/x\r\n");
    let response = stage.denies(stage.strange("POST /save HTTP/1.1", &foreign), &[303]);
    assert!(!location(&response).contains("evil"), "{}", location(&response));
}

#[test]
fn px_11_a_program_is_never_redirected() {
    let stage = Stage::new();
    for fields in [
        "",
        "Accept: application/json\r\n",
        "Accept: */*\r\n",
        "Sec-Fetch-Mode: cors\r\nAccept: text/html\r\n",
        "Sec-Fetch-Mode: no-cors\r\n",
        "Sec-Fetch-Mode: same-origin\r\nAccept: text/html\r\n",
        "Accept: text/html\r\nX-Requested-With: XMLHttpRequest\r\n",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let line = format!("{method} /x?y=1 HTTP/1.1");
            let response =
                stage.denies(stage.strange(&line, &format!("{fields}Content-Length: 0\r\n")), &[401]);
            assert_eq!(response.header("location"), None, "{fields}");
            assert_eq!(response.header("content-type"), Some("application/json"));
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
            assert_eq!(response.header("cache-control"), Some("no-store"));
            let body = response.json();
            assert_eq!(body["code"], "UNAUTHORIZED");
            let login_url = body["login_url"].as_str().expect("where to sign in");
            assert!(login_url.contains("/auth/sign-in"), "{login_url}");
        }
    }
}

#[test]
fn an_unknown_bearer_token_is_told_so_and_never_redirected() {
    let stage = Stage::new();
    let fields = format!("Authorization: Bearer nonsense\r\n{NAVIGATES}");
    let response = stage.denies(stage.strange("GET /x HTTP/1.1", &fields), &[401]);
    assert_eq!(response.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    assert_eq!(response.header("location"), None);
}

#[test]
fn a_grpc_call_is_refused_with_status_200_and_its_own_status() {
    let stage = Stage::on(Stage::plan().rule("/no/**", "deny"));
    for content_type in ["application/grpc", "application/grpc+proto", "application/grpc-web"] {
        let fields = format!("Content-Type: {content_type}\r\nTE: trailers\r\nContent-Length: 0\r\n");
        let response = stage.denies(stage.strange("POST /svc/Call HTTP/1.1", &fields), &[200]);
        assert_eq!(response.header("grpc-status"), Some("16"));
        assert_eq!(response.header("content-type"), Some(content_type));
        assert!(response.body.is_empty() && response.header("location").is_none());
        let response = stage.denies(stage.signed("POST /no/Call HTTP/1.1", &fields), &[200]);
        assert_eq!(response.header("grpc-status"), Some("7"));
    }
}

#[test]
fn somebody_who_may_not_sees_a_page_or_json_and_no_redirect() {
    let stage = Stage::on(Stage::plan().rule("/no/**", "deny"));
    let page = stage.denies(stage.signed("GET /no/x HTTP/1.1", NAVIGATES), &[403]);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").is_some() && page.header("location").is_none());
    let json = stage.denies(stage.signed("GET /no/x HTTP/1.1", ""), &[403]);
    assert_eq!((json.code().as_str(), json.json()["login_url"].is_null()), ("FORBIDDEN", true));
}

#[test]
fn an_ended_session_is_forgotten_by_the_browser_that_shows_it() {
    let stage = Stage::new();
    let fields = format!("Origin: {}\r\nContent-Length: 0\r\n", stage.site.origin);
    assert_eq!(stage.ask(stage.signed("POST /auth/sign-out HTTP/1.1", &fields)).status, 200);
    let response = stage.denies(stage.signed("GET /x HTTP/1.1", ""), &[401]);
    let cleared = response.header("set-cookie").expect("a cookie");
    assert!(cleared.starts_with("sidegate=;") && cleared.contains("Max-Age=0"), "{cleared}");
}

#[test]
fn a_refusal_of_head_has_no_body_however_early_it_is() {
    let stage = Stage::on(Stage::plan());
    for head in [
        "HEAD / HTTP/1.1\r\nHost: evil.test\r\n\r\n".to_owned(),
        "HEAD / HTTP/1.1\r\n\r\n".to_owned(),
        stage.strange("HEAD /%zz HTTP/1.1", ""),
        stage.strange("HEAD / HTTP/1.1", "Expect: miracles\r\n"),
    ] {
        let mut stream = TcpStream::connect(stage.site.address).expect("a connection");
        stream.write_all(head.as_bytes()).expect("sent");
        let mut all = String::new();
        stream.read_to_string(&mut all).expect("an answer, and the end");
        let (told, body) = all.split_once("\r\n\r\n").expect("a head");
        assert!(told.starts_with("HTTP/1.1 4") && body.is_empty(), "{head}: {all}");
    }
}
