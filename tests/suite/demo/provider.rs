//! The demo's identity provider: asked as a site would ask it, and clicked through by a person.

use std::net::SocketAddr;

use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::{Demo, pictures};
use crate::support::browser::{Browser, Scheme, a11y};
use crate::support::raw::{Response, ask};

/// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The provider of a demo, as the configuration file describes it.
struct Known {
    issuer: String,
    secret: String,
    address: SocketAddr,
    redirect_uri: String,
}

impl Known {
    fn of(demo: &Demo) -> Self {
        let directory = std::fs::read_dir(demo.temp.path()).expect("a directory").next().expect("its own");
        let text = std::fs::read_to_string(directory.expect("its own").path().join("demo.toml"));
        let table: toml::Table = text.expect("the configuration").parse().expect("TOML");
        let provider = &table["providers"][0];
        let field = |name: &str| provider[name].as_str().expect("text").to_owned();
        let issuer = field("issuer");
        Self {
            address: issuer.strip_prefix("http://").expect("plain").parse().expect("an address"),
            secret: field("client_secret"),
            redirect_uri: format!("{}/auth/callback/{}", demo.origin, field("id")),
            issuer,
        }
    }

    /// The target of a request for a code, with these parameters instead.
    fn target(&self, instead: &[(&str, &str)]) -> String {
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", "sidegate"),
            ("redirect_uri", self.redirect_uri.as_str()),
            ("scope", "openid"),
            ("state", "a state"),
            ("nonce", "a nonce"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        for (name, value) in instead {
            pairs.retain(|(known, _)| known != name);
            pairs.push((name, value));
        }
        format!("/authorize?{}", form(&pairs))
    }

    fn get(&self, target: &str, fields: &str) -> Response {
        ask(self.address, format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n"))
    }

    fn post(&self, target: &str, pairs: &[(&str, &str)]) -> Response {
        let body = form(pairs);
        ask(
            self.address,
            format!(
                "POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
                body.len()
            ),
        )
    }

    /// The callback's parameters when this person is chosen.
    fn choose(&self, person: &str) -> Vec<(String, String)> {
        let response = self.post(&self.target(&[]), &[("person", person)]);
        assert_eq!(response.status, 303, "{}", response.text());
        let url = Url::parse(response.header("location").expect("a location")).expect("a URL");
        assert!(url.as_str().starts_with(&self.redirect_uri), "{url}");
        url.query_pairs().into_owned().collect()
    }

    /// The tokens for a code, asked with these parameters instead.
    fn exchange(&self, code: &str, instead: &[(&str, &str)]) -> Response {
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.redirect_uri.as_str()),
            ("code_verifier", VERIFIER),
            ("client_id", "sidegate"),
            ("client_secret", self.secret.as_str()),
        ];
        for (name, value) in instead {
            pairs.retain(|(known, _)| known != name);
            pairs.push((name, value));
        }
        self.post("/token", &pairs)
    }
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn value<'p>(pairs: &'p [(String, String)], name: &str) -> &'p str {
    pairs.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

#[test]
fn its_tokens_can_be_verified_with_its_keys_and_say_who_was_chosen() {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
    let demo = Demo::start(&[]);
    let provider = Known::of(&demo);
    let metadata = provider.get("/.well-known/openid-configuration", "").json();
    assert_eq!(metadata["issuer"], json!(provider.issuer));
    let callback = provider.choose("katherine");
    assert_eq!((value(&callback, "state"), value(&callback, "iss")), ("a state", provider.issuer.as_str()));
    let response = provider.exchange(value(&callback, "code"), &[]);
    assert_eq!(response.header("cache-control"), Some("no-store"), "RFC 6749 §5.1");
    let tokens = response.json();
    let keys: jsonwebtoken::jwk::JwkSet =
        serde_json::from_value(provider.get("/jwks", "").json()).expect("keys");
    let key = DecodingKey::from_jwk(&keys.keys[0]).expect("a key");
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["sidegate"]);
    validation.set_issuer(&[&provider.issuer]);
    let token = decode::<Value>(tokens["id_token"].as_str().expect("a token"), &key, &validation);
    let claims = token.expect("a sound token").claims;
    assert_eq!((&claims["sub"], &claims["nonce"]), (&json!("katherine"), &json!("a nonce")));
    let bearer = format!("Authorization: Bearer {}\r\n", tokens["access_token"].as_str().expect("text"));
    let person = provider.get("/userinfo", &bearer).json();
    assert_eq!((&person["sub"], &person["name"]), (&json!("katherine"), &json!("Katherine Johnson")));
    assert_eq!(provider.get("/userinfo", "Authorization: Bearer guessed\r\n").status, 401);
}

#[test]
fn a_code_is_good_once_and_only_with_what_belongs_to_it() {
    let demo = Demo::start(&[]);
    let provider = Known::of(&demo);
    for (name, wrong, error) in [
        ("client_secret", "guessed", "invalid_client"),
        ("client_id", "another", "invalid_client"),
        ("grant_type", "password", "unsupported_grant_type"),
        ("redirect_uri", "http://127.0.0.1:9/auth/callback/demo", "invalid_grant"),
        ("code_verifier", CHALLENGE, "invalid_grant"),
        ("code", "guessed", "invalid_grant"),
    ] {
        let callback = provider.choose("grace");
        let refused = provider.exchange(value(&callback, "code"), &[(name, wrong)]);
        assert_eq!(refused.json()["error"], json!(error), "{name}");
    }
    let callback = provider.choose("grace");
    let code = value(&callback, "code");
    assert_eq!(provider.exchange(code, &[]).status, 200);
    assert_eq!(provider.exchange(code, &[]).json()["error"], json!("invalid_grant"));
}

#[test]
fn nobody_is_sent_to_a_site_that_is_not_its_own() {
    let demo = Demo::start(&[]);
    let provider = Known::of(&demo);
    for (name, wrong) in [
        ("redirect_uri", "https://evil.example/auth/callback/demo"),
        ("client_id", "another"),
        ("response_type", "token"),
        ("code_challenge_method", "plain"),
        ("code_challenge", ""),
    ] {
        let target = provider.target(&[(name, wrong)]);
        for response in [provider.get(&target, ""), provider.post(&target, &[("person", "grace")])] {
            assert_eq!((response.status, response.header("location")), (400, None), "{name}");
        }
    }
    let twice = format!("{}&state=another", provider.target(&[]));
    assert_eq!(provider.get(&twice, "").status, 400, "a parameter twice");
    assert_eq!(value(&provider.choose(""), "error"), "access_denied");
    assert_eq!(value(&provider.choose("somebody else"), "error"), "access_denied");
    let silent = provider.get(&provider.target(&[("prompt", "none")]), "");
    assert!(silent.header("location").is_some_and(|to| to.contains("error=login_required")));
    for (back, status) in
        [(format!("{}/auth/sign-in", demo.origin), 303), ("https://evil.example/".to_owned(), 200)]
    {
        let target = format!("/end_session?{}", form(&[("post_logout_redirect_uri", &back), ("state", "s")]));
        let response = provider.get(&target, "");
        assert_eq!(response.status, status, "{back}");
        assert!(response.header("location").is_none_or(|to| to == format!("{back}?state=s")));
    }
}

#[test]
fn its_page_is_fit_for_everybody() {
    let demo = Demo::start(&[]);
    let provider = Known::of(&demo);
    let pictures = pictures(&demo.temp);
    let browser = Browser::start();
    for (name, width, height) in [("desktop", 1280, 800), ("phone", 390, 844), ("narrow", 320, 640)] {
        browser.window(width, height);
        for (shade, scheme) in [("light", Scheme::Light), ("dark", Scheme::Dark)] {
            browser.scheme(scheme);
            for (page, target) in
                [("choose", provider.target(&[])), ("refused", provider.target(&[("client_id", "x")]))]
            {
                browser.go(&format!("{}{target}", provider.issuer));
                browser.screenshot(&pictures.join(format!("provider-{page}-{name}-{shade}.png")));
                assert_eq!(a11y(&browser), Vec::<String>::new(), "{page} {name} {shade}");
            }
        }
    }
    let console: Vec<_> =
        browser.console().into_iter().filter(|line| !line.contains("status of 400")).collect();
    assert_eq!(console, Vec::<String>::new());
}

#[test]
fn a_person_clicks_through_the_provider_into_the_app_and_out_again() {
    let demo = Demo::start(&[]);
    let provider = Known::of(&demo);
    let browser = Browser::start();
    browser.window(1280, 800);
    browser.go(&format!("{}/", demo.origin));
    assert!(browser.url().contains("/auth/sign-in"), "{}", browser.url());
    assert!(browser.text("a[href*='/sign-in/demo']").contains("Continue with Demo provider"));

    // Second thoughts lead back to the sign-in page, and nothing has happened.
    browser.click("a[href*='/sign-in/demo']");
    assert!(browser.url().starts_with(&provider.issuer), "{}", browser.url());
    browser.click("button.quiet");
    assert!(browser.url().starts_with(&format!("{}/auth/callback/demo", demo.origin)), "{}", browser.url());
    assert!(browser.text("main").contains("cancelled"), "{}", browser.text("main"));
    browser.go(&format!("{}/", demo.origin));

    browser.click("a[href*='/sign-in/demo']");
    assert_eq!(browser.text("h1"), "Choose a person");
    browser.click("button[value=katherine]");
    assert_eq!(browser.url(), format!("{}/", demo.origin));
    assert_eq!(browser.text("#who strong"), "Katherine Johnson");
    assert!(browser.text("#told").contains("katherine@example.com"));
    browser.go(&format!("{}/auth/account", demo.origin));
    assert!(browser.text("main").contains("Demo provider"), "{}", browser.text("main"));

    browser.go(&format!("{}/", demo.origin));
    browser.click("header button");
    // By way of the provider, which has nobody signed in and sends her back.
    let signed_out = format!("{}/auth/sign-in", demo.origin);
    let arrived = (0..500).any(|_| {
        let arrived = browser.url().starts_with(&signed_out);
        if !arrived {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        arrived
    });
    assert!(arrived, "{}", browser.url());
    browser.go(&format!("{}/", demo.origin));
    assert!(browser.url().contains("/auth/sign-in"), "she is out: {}", browser.url());

    // Another person is another user.
    browser.click("a[href*='/sign-in/demo']");
    browser.click("button[value=alan]");
    assert_eq!(browser.text("#who strong"), "Alan Turing");
    let console: Vec<_> =
        browser.console().into_iter().filter(|line| !line.contains("status of 403")).collect();
    assert_eq!(console, Vec::<String>::new());
}
