//! Requests to the app that carry the cookie and were made by pages of other origins (CS-7).

use crate::support::stage::Stage;

const ELSEWHERE: [&str; 6] = [
    "Origin: https://evil.test\r\n",
    "Origin: null\r\n",
    "Sec-Fetch-Site: cross-site\r\n",
    "Sec-Fetch-Site: same-site\r\n",
    "Sec-Fetch-Site: same-site\r\nOrigin: http://sibling.example\r\n",
    "Sec-Fetch-Site: same-site\r\nOrigin: null\r\n",
];

fn post(stage: &Stage, method: &str, fields: &str) -> String {
    stage.signed(&format!("{method} /x HTTP/1.1"), &format!("{fields}Content-Length: 0\r\n"))
}

#[test]
fn cs_7_no_other_site_changes_anything_in_the_app_with_the_users_cookie() {
    let stage = Stage::on(Stage::plan().rule("/maybe/**", "optional").rule("/open/**", "public"));
    for fields in ELSEWHERE {
        for method in ["POST", "PUT", "PATCH", "DELETE", "PROPPATCH", "delete", "get"] {
            let response = stage.denies(post(&stage, method, fields), &[403]);
            assert_eq!(response.code(), "INVALID_ORIGIN", "{method} {fields}");
        }
        let maybe = stage.signed("POST /maybe/x HTTP/1.1", &format!("{fields}Content-Length: 0\r\n"));
        stage.denies(maybe, &[403]);
        // What changes nothing, or is nobody's, is not held back.
        stage.arrives(stage.signed("GET /x HTTP/1.1", fields));
        stage.arrives(stage.strange("POST /maybe/x HTTP/1.1", &format!("{fields}Content-Length: 0\r\n")));
        stage.arrives(stage.signed("POST /open/x HTTP/1.1", &format!("{fields}Content-Length: 0\r\n")));
    }
}

#[test]
fn cs_7_our_own_pages_and_programs_are_not_held_back() {
    let stage = Stage::new();
    let own = format!("Origin: {}\r\n", stage.site.origin);
    for fields in [
        "",
        &own,
        "Sec-Fetch-Site: same-origin\r\n",
        "Sec-Fetch-Site: none\r\n",
        // Of a page that tells nobody where it is.
        "Sec-Fetch-Site: same-origin\r\nOrigin: null\r\n",
    ] {
        stage.arrives(post(&stage, "POST", fields));
    }
    let token = stage.cookie.split("sidegate=").nth(1).expect("a cookie").split(';').next().expect("a value");
    let fields =
        format!("Authorization: Bearer {token}\r\nOrigin: https://elsewhere.test\r\nContent-Length: 0\r\n");
    stage.arrives(stage.strange("POST /x HTTP/1.1", &fields));
}

#[test]
fn cs_7_other_origins_can_be_allowed_one_by_one_or_all_but_for_handshakes() {
    let lines = "origins = [\"https://www.example:443\", \"http://127.0.0.1:9\"]";
    let stage = Stage::on(Stage::plan().set("access", lines));
    for fields in [
        "Origin: https://www.example\r\n",
        "Origin: http://127.0.0.1:9\r\n",
        "Sec-Fetch-Site: same-site\r\nOrigin: https://www.example\r\n",
    ] {
        stage.arrives(post(&stage, "POST", fields));
        let handshake = format!("{fields}Connection: upgrade\r\nUpgrade: websocket\r\n");
        stage.arrives(stage.signed("GET /x HTTP/1.1", &handshake));
    }
    stage.denies(post(&stage, "POST", "Origin: https://example\r\n"), &[403]);

    let stage = Stage::on(Stage::plan().set("access", "danger_cross_site_writes = true"));
    for fields in ELSEWHERE {
        stage.arrives(post(&stage, "POST", fields));
        let handshake = format!("{fields}Connection: upgrade\r\nUpgrade: websocket\r\n");
        stage.denies(stage.signed("GET /x HTTP/1.1", &handshake), &[403]);
    }
}

#[test]
fn cs_13_a_browser_is_told_to_forget_at_a_sign_out_what_was_chosen() {
    for (lines, told) in [
        ("", None),
        ("clear_on_sign_out = [\"storage\", \"cache\"]", Some("\"cache\", \"storage\"")),
        ("clear_on_sign_out = [\"cookies\"]", Some("\"cookies\"")),
    ] {
        let stage = Stage::on(Stage::plan().set("session", lines));
        let fields = format!("Origin: {}\r\nContent-Length: 0\r\n", stage.site.origin);
        let response = stage.ask(stage.signed("POST /auth/sign-out HTTP/1.1", &fields));
        assert_eq!((response.status, response.header("clear-site-data")), (200, told));
        let response = stage.ask(stage.strange("GET /auth/sign-in HTTP/1.1", ""));
        assert_eq!(response.header("clear-site-data"), None);
    }
}
