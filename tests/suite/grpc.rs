//! gRPC from end to end, with grpc-js from npm on both sides.

use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;

use crate::flow::token;
use crate::support::app2::App2;
use crate::support::h2::{H2, Whole};
use crate::support::node::Program;
use crate::support::secure::{self, Secure};
use crate::support::stage::Stage;

#[test]
fn all_four_shapes_of_calls_pass_and_what_is_refused_is_told_as_grpc_tells_it() {
    let node = Program::start("grpc.mjs");
    let upstream = format!("url = \"http://127.0.0.1:{}\"\nprotocol = \"h2c\"", node.port);
    let stage = Stage::on(Stage::plan().set("upstream", &upstream).rule("/closed.Notes/**", "deny"));
    let (other, _) = stage.site.signed_in("me@example.org");
    let told = json!({
        "site": stage.site.address.to_string(),
        "origin": stage.site.origin,
        "cookie": stage.cookie,
        "bearer": token(&other),
        "me": stage.me,
    });
    assert_eq!(node.run(&told), "all is well");
}

#[test]
fn all_of_them_pass_under_tls_on_both_sides() {
    let node = Program::start_encrypted("grpc.mjs");
    let secure = Secure::on(secure::plan(node.port, "h2").rule("/closed.Notes/**", "deny"));
    let told = json!({
        "site": secure.site.address.to_string(),
        "origin": secure.site.origin,
        "cookie": secure.cookie,
        "bearer": secure.bearer,
        "me": secure.me,
    });
    assert_eq!(node.run(&told), "all is well");
}

/// A call that is complete with its head.
fn call(stage: &Stage, path: &str, content_type: &str) -> Whole {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{}{path}", stage.site.origin))
        .header("cookie", &stage.cookie)
        .header("content-type", content_type)
        .header("te", "trailers")
        .body(Full::default())
        .expect("a request");
    H2::connect(stage.site.address).ask(request)
}

#[test]
fn a_call_that_cannot_be_answered_ends_with_one_head_and_the_status_of_grpc() {
    let app = App2::with(h2::server::Builder::new(), |call| async move {
        let _held = call.reply;
        std::future::pending::<()>().await;
    });
    let plan = Stage::plan().set("upstream", &app.toml()).set("upstream", "response_timeout = \"300ms\"");
    let stage = Stage::on(plan);
    for (content_type, answered) in [
        ("application/grpc", "application/grpc"),
        ("application/grpc+proto", "application/grpc+proto"),
        ("application/grpc-web", "application/grpc-web"),
    ] {
        let late = call(&stage, "/notes.Notes/Slow", content_type);
        assert_eq!((late.status, &late.headers["grpc-status"]), (200, &"4".parse().expect("a value")));
        assert_eq!(late.headers["content-type"], answered);
        assert!(late.body.is_empty() && late.trailers.is_none());
    }
    drop(app);
    let gone = call(&stage, "/notes.Notes/Unary", "application/grpc");
    assert_eq!((gone.status, &gone.headers["grpc-status"]), (200, &"14".parse().expect("a value")));
}
