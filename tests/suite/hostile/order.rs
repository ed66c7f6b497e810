//! Readers that cut, resolve and decode in another order than one would think; spellings that file systems make equal.

use crate::support::stage::Stage;

/// Signs a user in on a site with a public corner and checks that none of `targets` arrives, whoever asks.
fn nothing_arrives(stage: &Stage, targets: &[&str]) {
    for target in targets {
        for request in [
            stage.strange(&format!("GET {target} HTTP/1.1"), ""),
            stage.signed(&format!("GET {target} HTTP/1.1"), ""),
        ] {
            stage.denies(request, &[400, 401, 403, 404, 414]);
        }
    }
}

#[test]
fn no_order_of_cutting_resolving_and_decoding_leads_into_anothers_tree() {
    let stage = Stage::on(Stage::plan().rule("/docs/**", "public"));
    nothing_arrives(
        &stage,
        &[
            "/docs/b%2fc/../..%2fapi/victim/x",
            "/docs/a;%2fb/..%2f..%2fapi/u2/x",
            "/docs/a;x%2f..%2f..;/%2e%2e/api/u2",
            "/x;%2fy/..%2fapi/u2/x",
            "/a/b%2fc/../..%2fapi/u2/x",
            "/docs/%2525252e%2525252e/api/u2",
            "/docs/..%255c..%255capi%255cu2",
        ],
    );
}

#[test]
fn an_encoded_slash_that_a_decoder_leaves_alone_hides_nothing_beside_it() {
    let stage = Stage::on(Stage::plan().rule("/docs/**", "public"));
    nothing_arrives(
        &stage,
        &[
            "/x%2fy/..%5c/api/u2/x",
            "/x%2fy/..%5Capi/u2/x",
            "/x%2Fy/..%3b/api/u2/x",
            "/x%2fy/.%3b./..%3bv=1/api/u2/x",
            "/x%2fy/%252e%252e/api/u2/x",
            "/x%2fy/..%20/api/u2/x",
            "/x%2fy/%EF%BC%8E%EF%BC%8E/api/u2/x",
            "/x%2fy%5cz/..%3b/api/u2/x",
            "/x%252fy/..%255c/api/u2/x",
            "/docs/x%2fy/..%5c../private",
        ],
    );
    for target in
        ["/docs/a%2fb", "/docs/a%2fb%20c%3bd", "/docs/%2e%2fx%5cy%252f%3f", "/docs/a%2F%C3%A9%5Cb%20c/d%3B"]
    {
        stage.arrives(stage.strange(&format!("GET {target} HTTP/1.1"), ""));
    }
}

#[test]
fn what_a_file_system_drops_from_a_name_slips_past_no_rule() {
    let stage = Stage::on(Stage::plan().rule("/docs/private", "deny").rule("/docs/**", "public"));
    nothing_arrives(
        &stage,
        &[
            "/docs/private.",
            "/docs/private%20",
            "/docs/private.%20.",
            "/docs/private%3fx",
            "/docs/private%23x",
        ],
    );
    for target in ["/docs/private.txt", "/docs/a%20b", "/docs/...", "/docs/v1.2/x"] {
        stage.arrives(stage.strange(&format!("GET {target} HTTP/1.1"), ""));
    }
}

#[test]
fn a_rule_in_capitals_guards_every_spelling() {
    let stage = Stage::on(Stage::plan().rule("/files/Private/**", "deny").rule("/files/**", "public"));
    nothing_arrives(&stage, &["/files/Private/x", "/files/private/x", "/files/PRIVATE/x"]);
    stage.arrives(stage.strange("GET /files/public/x HTTP/1.1", ""));
}

#[test]
fn a_target_without_a_path_is_no_path() {
    let stage = Stage::on(Stage::plan().rule("/", "public"));
    let target = format!("http://{}?/api/u2", stage.host());
    stage.rejects(stage.strange(&format!("GET {target} HTTP/1.1"), ""), &[400]);
}

#[test]
fn what_costs_much_to_judge_is_not_judged() {
    let stage = Stage::on(Stage::plan().rule("/docs/**", "public"));
    let layers = format!("/docs/%{}41", "25".repeat(500));
    let long = format!("/docs/{}", "a;b/".repeat(1000));
    nothing_arrives(&stage, &[&layers, &long]);
    let names = format!("Connection: {}\r\n", "a,".repeat(100));
    stage.denies(stage.signed("GET /docs/x HTTP/1.1", &names), &[431]);
}

#[test]
fn a_letter_that_is_ascii_in_capitals_leads_into_nobodys_tree() {
    let stage = Stage::on(Stage::plan().rule("/Files/**", "public"));
    nothing_arrives(&stage, &["/ap%C4%B1/u2/x", "/AP%C4%B1/u2/x", "/ap%25C4%25B1/u2/x"]);
    for target in ["/Files/%C3%A9t%C3%A9", "/Files/%C4%B1"] {
        stage.arrives(stage.strange(&format!("GET {target} HTTP/1.1"), ""));
    }
}
