//! Questions about requests that carry a personal access token.

use super::{ASKERS, ask, cookie, stage};

#[test]
fn a_token_of_a_program_is_judged_as_it_is_elsewhere() {
    let stage = stage();
    let made = {
        let body = serde_json::json!({ "name": "reader", "readOnly": true, "paths": ["/app/**"] });
        let head = format!(
            "POST /auth/personal-tokens HTTP/1.1\r\nHost: {}\r\n{}Origin: {}\r\nContent-Type: application/json\r\n",
            stage.host(),
            cookie(&stage),
            stage.site.origin
        );
        let body = body.to_string();
        stage.ask(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
    };
    assert_eq!(made.status, 200, "{}", made.text());
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for asker in ASKERS {
        let yes = ask(&stage, asker, "GET", "/app/x", &bearer);
        assert_eq!((yes.status, yes.header("x-user-id")), (200, Some(stage.me.as_str())), "{asker}");
        for (method, target) in [("POST", "/app/x"), ("GET", "/other"), ("GET", "/app/../other")] {
            let no = ask(&stage, asker, method, target, &bearer).status;
            assert!([400, 403].contains(&no), "{asker} {method} {target}: {no}");
        }
        assert_eq!(ask(&stage, asker, "GET", "/app/x", "Authorization: Bearer nonsense\r\n").status, 401);
    }
}
