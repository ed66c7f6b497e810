//! Where the session token must never be: the database, bodies, pages, redirects, the log, the app (SES-5,
//! SES-8, LG-2).

use serde_json::json;

use crate::flow::{holder, roomy, token};
use crate::support::database::on_both_databases;
use crate::support::journal;
use crate::support::raw::Response;
use crate::support::site::PASSWORD;

on_both_databases! {
    fn ses_5_and_8_the_token_is_in_the_cookie_and_nowhere_else(database) {
        let site = roomy(database).start();
        let mut ada = site.stranger();
        let phrase = "a phrase that is in no other test 8c1e";
        let up = json!({ "name": "Ada", "email": "ada@example.com", "password": phrase });
        ada.post("/auth/signup", &up);
        let signed = ada.post("/auth/sign-in/email", &up);
        let held = token(&ada);
        let device = ada.cookies["sidegate-device"].clone();
        let mut seen: Vec<Response> = vec![signed];
        for path in ["get-session", "me", "list-sessions", "sign-in", "sign-up", "sign-out", "none", "ok"] {
            seen.push(ada.get(&format!("/auth/{path}")));
            seen.push(ada.navigate(&format!("/auth/{path}")));
        }
        seen.push(ada.post("/auth/revoke-session", &json!({ "token": "x" })));
        seen.push(ada.post("/auth/login", &json!({ "email": "ada@example.com", "password": "another phrase" })));
        seen.push(ada.get("/app?x=1"));
        seen.push(holder(&site, &format!("{held}x")).get("/app"));
        seen.push(site.stranger().ask("GET", "/app").header("Authorization", &format!("Bearer {held}")).send());
        // A new sign-in, so that one that ends another is looked at too; then the dump.
        let again = ada.submit("/auth/sign-in", &[("email", "ada@example.com"), ("password", phrase)]);
        let newer = token(&ada);
        assert!(!again.header("location").expect("a location").contains(&newer));
        let dump = site.block_on(site.database.dump());
        assert!(dump.contains("ada@example.com"), "the dump is one");
        for secret in [&*held, &*newer, &*device, phrase, PASSWORD] {
            for response in &seen {
                let first = response.all("set-cookie").join("\n");
                assert!(!response.text().contains(secret), "{}", response.text());
                let others = response.headers.iter().filter(|(name, _)| name != "set-cookie");
                assert!(others.clone().all(|(_, value)| !value.contains(secret)), "{response:?}");
                assert!(secret == held || secret == device || !first.contains(secret));
            }
            assert!(!dump.contains(secret), "SES-5");
            assert!(secret == PASSWORD || !journal::mentions(secret), "LG-2");
        }
        for arrived in site.upstream.arrived() {
            let text = format!("{arrived:?}");
            assert!(!text.contains(&held) && !text.contains(&device) && !text.contains(&newer), "{text}");
        }
        // The test can see: what is searched for is found where it is.
        assert!(seen[0].all("set-cookie").iter().any(|line| line.contains(&held)));
        assert!(dump.contains("$argon2id$v=19$m=19456,t=2,p=1$"), "PW-8: {dump}");
    }

    fn ses_5_what_is_stored_of_a_session_cannot_be_replayed(database) {
        let site = roomy(database).start();
        let (ada, _) = site.member("ada@example.com");
        let stored = site.block_on(site.database.texts(r#"SELECT "token" FROM "session""#)).remove(0);
        let id = site.block_on(site.database.texts(r#"SELECT "id" FROM "session""#)).remove(0);
        assert_ne!(stored, token(&ada));
        for replayed in [stored, id] {
            assert!(!crate::flow::opens(&site, &replayed));
        }
    }

    fn lg_3_what_a_client_sends_cannot_forge_a_line_of_the_log(database) {
        let site = roomy(database).start();
        let mut stranger = site.stranger();
        let agent = "x\u{1b}[2K forged-4711";
        stranger.ask("GET", "/auth/none?forged=%0aINFO%20forged").header("User-Agent", agent).send();
        let body = json!({ "email": "forged\nINFO 4711@example.com", "password": "forged phrase 4711" });
        stranger.post("/auth/login", &body);
        assert!(!journal::mentions("forged phrase 4711") && !journal::mentions("\n"));
    }
}
