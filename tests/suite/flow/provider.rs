//! Signing in through a provider: there and back, as pages and as JSON.

use serde_json::json;

use super::{roomy, rows, set_cookie};
use crate::support::database::{Database, on_both_databases};
use crate::support::provider::{Endpoint, Lie, Persona, Provider};
use crate::support::raw::Response;
use crate::support::site::{PASSWORD, Site};
use crate::support::visitor::Visitor;

mod accounts;
mod linking;
mod logout;
mod prehijack;
mod state;

/// A site that knows a provider as `corp` and takes its word on addresses.
pub(crate) fn site(database: Database, provider: &Provider) -> Site {
    with(database, provider, "")
}

/// The same with more of a configuration.
pub(crate) fn with(database: Database, provider: &Provider, toml: &str) -> Site {
    let site = roomy(database).toml(&provider.toml("corp", "trust_email = true")).toml(toml).start();
    provider.follow(&site.clock);
    site
}

/// The answer of our callback, which nobody has followed yet, to a sign-in that wanted to go on to `/notes`.
pub(crate) fn returns(visitor: &mut Visitor, provider: &Provider) -> Response {
    let callback = sent_back(visitor, provider);
    visitor.arrive(&callback)
}

/// The URL that the provider sends the browser back to.
pub(crate) fn sent_back(visitor: &mut Visitor, provider: &Provider) -> String {
    let away = visitor.sent_to("corp", "?callback_url=/notes");
    provider.authorize(&away)
}

/// Somebody who has just signed in through the provider, and the user id.
pub(crate) fn signed_in(site: &Site, provider: &Provider, persona: Persona) -> (Visitor, String) {
    provider.is_visited_by(persona);
    let mut visitor = site.stranger();
    let response = returns(&mut visitor, provider);
    assert_eq!(response.status, 303, "{}", response.text());
    let id = me(&mut visitor)["id"].as_str().expect("an id").to_owned();
    (visitor, id)
}

/// Who a visitor is.
pub(crate) fn me(visitor: &mut Visitor) -> serde_json::Value {
    let response = visitor.get("/auth/me");
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["user"].clone()
}

/// The cookies of flows that a visitor holds.
pub(crate) fn flow_cookies(visitor: &Visitor) -> Vec<String> {
    visitor.cookies.keys().filter(|name| name.starts_with("sidegate-flow-")).cloned().collect()
}

/// What the log says of this action: the codes of failures, and nothing for a success.
pub(crate) fn logged(site: &Site, action: &str) -> Vec<String> {
    site.block_on(site.database.texts(&format!(
        r#"SELECT COALESCE("error", '') FROM "sidegate_auth_log" WHERE "action" = '{action}' ORDER BY "at", 1"#
    )))
}

/// Signs somebody up by password and proves the mailbox, past the flows that do it.
pub(crate) fn verified(site: &Site, email: &str) {
    site.sign_up(email);
    let sql = match &site.database {
        Database::Sqlite(_) => format!(r#"UPDATE "user" SET "emailVerified" = 1 WHERE "email" = '{email}'"#),
        Database::Postgres { .. } => {
            format!(r#"UPDATE "user" SET "emailVerified" = true WHERE "email" = '{email}'"#)
        }
    };
    site.block_on(site.database.execute(&sql));
}

on_both_databases! {
    fn a_person_goes_to_the_provider_and_comes_back_to_where_they_wanted_to_go(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        provider.register(&[&format!("{}/auth/callback/corp", site.origin)]);
        let ada = Persona::ada().picture("https://pictures.example/ada.png");
        provider.is_visited_by(ada.clone());
        let mut browser = site.stranger();
        let walk = browser.walk("/auth/sign-in/corp?callback_url=/notes?tab=1");
        assert_eq!((walk.response.status, walk.urls.len()), (200, 4), "{:#?}", walk.urls);
        assert_eq!(walk.urls[3], format!("{}/notes?tab=1", site.origin));
        let user = me(&mut browser);
        assert_eq!((&user["name"], &user["email"]), (&json!("Ada Lovelace"), &json!("ada@example.com")));
        assert_eq!((&user["emailVerified"], &user["image"]), (&json!(true), &json!("https://pictures.example/ada.png")));
        assert_eq!(flow_cookies(&browser), [""; 0], "the flow is over");
        let (mut again, id) = signed_in(&site, &provider, ada);
        assert_eq!(json!(id), user["id"]);
        assert_eq!(me(&mut again), user);
        assert_eq!((rows(&site, "user"), rows(&site, "account")), (1, 1));
        assert_eq!(logged(&site, "signup"), [""]);
        assert_eq!(logged(&site, "login"), ["", ""]);
        assert_eq!(provider.complaints(), [""; 0]);
    }

    fn oa_2_every_flow_has_a_state_a_nonce_and_a_challenge_of_its_own_and_none_is_stored_in_clear(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let mut browser = site.stranger();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let callback = sent_back(&mut browser, &provider);
            let asked = provider.last(Endpoint::Authorize).parameters;
            for name in ["state", "nonce", "code_challenge"] {
                assert!(seen.insert(asked[name].clone()), "{name} came twice");
            }
            assert_eq!(asked["code_challenge_method"], "S256");
            assert!(asked["state"].len() >= 43);
            let dump = site.block_on(site.database.dump());
            assert!(dump.contains("sidegate_oauth_flow: ") && !dump.contains(&asked["state"]));
            for name in flow_cookies(&browser) {
                let secret = browser.cookies[&name].split('.').nth(1).expect("a secret").to_owned();
                assert!(!dump.contains(&secret));
            }
            assert_eq!(browser.arrive(&callback).status, 303);
            let verifier = provider.last(Endpoint::Token).parameters["code_verifier"].clone();
            assert!((43..=128).contains(&verifier.len()) && !dump.contains(&verifier));
        }
        assert_eq!(provider.complaints(), [""; 0]);
    }

    fn the_cookie_of_a_flow_is_out_of_reach_for_scripts_and_lives_as_long_as_the_flow(database) {
        let provider = Provider::start();
        let site = with(database, &provider, "[[rules]]\npath = \"/app\"\naccess = \"public\"\n");
        let mut browser = site.stranger();
        let away = browser.navigate("/auth/sign-in/corp");
        let name = flow_cookies(&browser).pop().expect("a cookie");
        assert_eq!(name.len(), "sidegate-flow-".len() + 8);
        let line = set_cookie(&away, &name).expect("a cookie");
        for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"] {
            assert!(line.contains(attribute), "{line}");
        }
        assert_eq!(away.header("cache-control"), Some("no-store"));
        browser.get("/app");
        assert_eq!(site.upstream.only().header("cookie"), None);
    }

    fn better_auths_way_to_a_provider_is_a_url_as_json(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let mut browser = site.stranger();
        let ask = |browser: &mut Visitor, body: serde_json::Value| browser.post("/auth/sign-in/social", &body);
        let body = json!({ "provider": "corp", "callbackURL": "/notes", "newUserCallbackURL": "/welcome",
                           "scopes": ["x"], "requestSignUp": true, "loginHint": "ada@example.com" });
        let response = ask(&mut browser, body.clone());
        assert_eq!((response.status, &response.json()["redirect"]), (200, &json!(true)));
        assert!(response.header("location").is_none(), "the client follows the body");
        let callback = provider.authorize(response.json()["url"].as_str().expect("a URL"));
        assert_eq!(provider.last(Endpoint::Authorize).parameters["login_hint"], "ada@example.com");
        let back = browser.arrive(&callback);
        assert_eq!(back.header("location"), Some(&*format!("{}/welcome", site.origin)), "who is new is welcomed");
        let response = ask(&mut browser, body);
        let callback = provider.authorize(response.json()["url"].as_str().expect("a URL"));
        let back = browser.arrive(&callback);
        assert_eq!(back.header("location"), Some(&*format!("{}/notes", site.origin)), "and nobody twice");
        let response = ask(&mut browser, json!({ "provider": "corp", "disableRedirect": true }));
        assert_eq!(response.json()["redirect"], json!(false));
        for (body, status, code) in [
            (json!({ "provider": "none" }), 404, "PROVIDER_NOT_FOUND"),
            (json!({ "provider": "corp", "idToken": { "token": "x" } }), 404, "ID_TOKEN_NOT_SUPPORTED"),
            (json!({ "provider": "corp", "callbackURL": "//evil.com" }), 403, "INVALID_CALLBACK_URL"),
            (json!({ "provider": "corp", "errorCallbackURL": "//evil.com" }), 403, "INVALID_CALLBACK_URL"),
            (json!({ "provider": "corp", "newUserCallbackURL": "/auth/sign-out" }), 403, "INVALID_CALLBACK_URL"),
            (json!({}), 400, "VALIDATION_ERROR"),
        ] {
            let response = ask(&mut browser, body.clone());
            assert_eq!((response.status, &*response.code()), (status, code), "{body}");
        }
    }

    fn a_front_end_may_receive_the_callback_itself_and_send_code_and_state_on(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let own = format!("{}/oauth/done", site.origin);
        provider.register(&[&own]);
        let mut browser = site.stranger();
        let response = browser.get("/auth/get-oauth-url/corp?redirect_uri=/oauth/done&callback_url=/notes");
        assert_eq!(response.status, 200, "{}", response.text());
        let callback = provider.authorize(response.json()["oAuthUrl"].as_str().expect("a URL"));
        let callback = url::Url::parse(&callback).expect("a URL");
        assert_eq!(callback.path(), "/oauth/done");
        let given: std::collections::BTreeMap<_, _> = callback.query_pairs().into_owned().collect();
        let body = json!({ "code": given["code"], "state": given["state"], "iss": given["iss"] });
        let elsewhere = site.stranger().post("/auth/signin/corp", &body);
        assert_eq!((elsewhere.status, &*elsewhere.code()), (400, "STATE_MISMATCH"));
        let done = browser.post("/auth/signin/corp", &body);
        assert_eq!(done.status, 200, "{}", done.text());
        assert_eq!(done.json()["user"]["email"], json!("ada@example.com"));
        assert_eq!(done.json()["new_user"], json!(true));
        assert_eq!(done.json()["callback_url"], json!(format!("{}/notes", site.origin)));
        assert_eq!(me(&mut browser)["email"], json!("ada@example.com"));
        let again = browser.post("/auth/signin/corp", &body);
        assert_eq!((again.status, &*again.code()), (400, "STATE_ALREADY_USED"));
        let astray = browser.get("/auth/get-oauth-url/corp?redirect_uri=https://evil.com/");
        assert_eq!((astray.status, &*astray.code()), (403, "INVALID_CALLBACK_URL"));
        assert_eq!(provider.complaints(), [""; 0]);
    }

    fn the_provider_called_credential_is_the_password(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        site.sign_up("bob@example.com");
        let body = json!({ "email": "bob@example.com", "password": PASSWORD });
        let response = site.stranger().post("/auth/signin/credential", &body);
        assert_eq!((response.status, &response.json()["user"]["email"]), (200, &json!("bob@example.com")));
        let body = json!({ "email": "bob@example.com", "password": "another phrase" });
        assert_eq!(site.stranger().post("/auth/signin/credential", &body).code(), "INVALID_EMAIL_OR_PASSWORD");
    }

    fn a_provider_that_sends_a_form_is_asked_to_come_once_more(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let mut browser = site.stranger();
        let callback = url::Url::parse(&sent_back(&mut browser, &provider)).expect("a URL");
        let form = format!("{}&user=%7B%22name%22%3A%22Eve%22%7D", callback.query().expect("a query"));
        // Lax cookies do not come along.
        let post = site.stranger().ask("POST", "/auth/callback/corp").navigating()
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Origin", &provider.origin).header("Sec-Fetch-Site", "cross-site").body(form).send();
        assert_eq!((post.status, post.all("set-cookie").len()), (303, 0), "{}", post.text());
        assert_eq!(rows(&site, "session"), 0);
        let to = post.header("location").expect("a location").to_owned();
        assert!(to.starts_with(&format!("{}/auth/callback/corp?", site.origin)) && !to.contains("Eve"), "{to}");
        assert_eq!(browser.arrive(&to).header("location"), Some(&*format!("{}/notes", site.origin)));
        let twice = site.stranger().ask("POST", "/auth/callback/corp")
            .header("Content-Type", "application/x-www-form-urlencoded").body("state=a&state=b").send();
        assert_eq!(twice.status, 400);
        let json = site.stranger().ask("POST", "/auth/callback/corp")
            .header("Content-Type", "application/json").body("{}").send();
        assert_eq!(json.status, 415);
    }

    fn the_providers_are_listed_for_who_builds_a_page_of_their_own(database) {
        let provider = Provider::start();
        let site = with(database, &provider, &provider.toml("second", "name = \"The Second\""));
        let listed = site.stranger().get("/auth/providers").json();
        let second = json!({ "id": "second", "name": "The Second", "kind": "oidc",
                             "startUrl": format!("{}/auth/sign-in/second", site.origin) });
        assert_eq!((listed.as_array().expect("a list").len(), &listed[1]), (2, &second));
    }

    fn what_is_no_provider_is_404_and_what_has_a_name_of_its_own_stays_what_it_is(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        for at in ["sign-in/none", "callback/none", "get-oauth-url/none", "sign-in/%63orp", "callback/corp%20"] {
            let response = site.stranger().get(&format!("/auth/{at}"));
            assert_eq!((response.status, &*response.code()), (404, "PROVIDER_NOT_FOUND"), "{at}");
        }
        for at in ["sign-in/email", "sign-in/social"] {
            assert_eq!(site.stranger().get(&format!("/auth/{at}")).status, 405, "{at}");
        }
    }

    fn a_provider_that_is_down_stops_nobody_else(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        site.sign_up("bob@example.com");
        provider.lies(Lie::Answers(Endpoint::Discovery, crate::support::provider::Answer::Hangup));
        let mut browser = site.stranger();
        let page = browser.navigate("/auth/sign-in/corp?callback_url=/notes");
        assert_eq!(page.status, 502);
        assert!(page.text().contains("/auth/sign-in?callback_url="), "the target is kept: {}", page.text());
        assert_eq!(browser.post("/auth/sign-in/social", &json!({ "provider": "corp" })).code(), "PROVIDER_UNAVAILABLE");
        assert_eq!((rows_of_flows(&site), flow_cookies(&browser).len()), (0, 0));
        site.signed_in("bob@example.com");
    }
}

fn rows_of_flows(site: &Site) -> usize {
    site.block_on(site.database.texts(r#"SELECT "state" FROM "sidegate_oauth_flow""#)).len()
}
