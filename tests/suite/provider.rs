//! The tests' identity provider itself: it works as its documentation says, refuses what a real one would
//! refuse, and lies when told.

use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use crate::support::provider::{Alg, Answer, CLIENT, Endpoint, Kind, Lie, Persona, Provider, SECRET};
use crate::support::raw::{Raw, Response, ask};

/// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT: &str = "http://127.0.0.1:1/auth/callback/test";
const STATE: &str = "a-state-of-more-than-128-bits";
const NONCE: &str = "a-nonce-of-more-than-128-bits";

const KINDS: [Kind; 6] = [Kind::Oidc, Kind::GitHub, Kind::Google, Kind::GitLab, Kind::Discord, Kind::Entra];

/// The parameters of an authorization request that is right for all of them.
fn parameters() -> Vec<(&'static str, &'static str)> {
    vec![
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", REDIRECT),
        ("scope", "openid email profile user:email identify"),
        ("state", STATE),
        ("nonce", NONCE),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn address(provider: &Provider) -> std::net::SocketAddr {
    provider.origin.strip_prefix("http://").expect("plain").parse().expect("an address")
}

fn path(provider: &Provider, endpoint: Endpoint) -> String {
    Url::parse(&provider.url(endpoint)).expect("a URL").path().to_owned()
}

fn get(provider: &Provider, target: &str, fields: &str) -> Response {
    ask(address(provider), format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"))
}

fn begin(provider: &Provider, pairs: &[(&str, &str)]) -> Response {
    get(provider, &format!("{}?{}", path(provider, Endpoint::Authorize), form(pairs)), "")
}

/// The parameters of a callback.
fn called(response: &Response) -> Vec<(String, String)> {
    let url = Url::parse(response.header("location").expect("a location")).expect("a URL");
    assert_eq!(url.origin().ascii_serialization(), "http://127.0.0.1:1");
    url.query_pairs().into_owned().collect()
}

fn value<'p>(pairs: &'p [(String, String)], name: &str) -> &'p str {
    pairs.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

fn code(provider: &Provider) -> String {
    value(&called(&begin(provider, &parameters())), "code").to_owned()
}

/// Posts a form to the token endpoint, with these fields besides.
fn post(provider: &Provider, pairs: &[(&str, &str)], fields: &str) -> Response {
    let (path, body) = (path(provider, Endpoint::Token), form(pairs));
    ask(
        address(provider),
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n{fields}\r\n{body}",
            body.len()
        ),
    )
}

fn exchange(code: &str) -> Vec<(&'static str, &str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
        ("client_id", CLIENT),
        ("client_secret", SECRET),
    ]
}

const AS_JSON: &str = "Accept: application/json\r\n";

fn claims(token: &Value) -> Value {
    part(token, 1)
}

fn part(token: &Value, at: usize) -> Value {
    use base64::Engine as _;
    let text = token.as_str().expect("a token").split('.').nth(at).expect("a part");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[test]
fn every_kind_walks_from_request_to_profile() {
    for kind in KINDS {
        let provider = Provider::playing(kind);
        let callback = called(&begin(&provider, &parameters()));
        assert_eq!(value(&callback, "state"), STATE, "{kind:?}");
        let names_itself = !matches!(kind, Kind::GitLab | Kind::Entra);
        assert_eq!(value(&callback, "iss"), if names_itself { provider.issuer() } else { String::new() });
        let tokens = post(&provider, &exchange(value(&callback, "code")), AS_JSON).json();
        let id_token = &tokens["id_token"];
        if matches!(kind, Kind::GitHub | Kind::Discord) {
            assert_eq!(*id_token, Value::Null, "{kind:?}");
        } else {
            let claims = claims(id_token);
            assert_eq!((&claims["aud"], &claims["nonce"]), (&json!(CLIENT), &json!(NONCE)), "{kind:?}");
            assert_eq!(claims["iss"], json!(provider.issuer()), "{kind:?}");
        }
        let bearer = format!(
            "Authorization: Bearer {}\r\nUser-Agent: test\r\n",
            tokens["access_token"].as_str().expect("a token")
        );
        let profile = get(&provider, &path(&provider, Endpoint::Profile), &bearer).json();
        let subject = match kind {
            Kind::Oidc | Kind::Google | Kind::GitLab => profile["sub"].as_str().expect("text").to_owned(),
            Kind::GitHub => profile["id"].as_u64().expect("a number").to_string(),
            Kind::Discord => profile["id"].as_str().expect("text").to_owned(),
            Kind::Entra => profile["oid"].as_str().expect("text").to_owned(),
        };
        assert_eq!(subject, Persona::ada().subject, "{kind:?}");
        assert_eq!(provider.complaints(), [""; 0], "{kind:?}");
    }
}

#[test]
fn a_request_for_a_code_that_lacks_something_is_refused() {
    for (name, wrong) in [
        ("response_type", "token"),
        ("client_id", "somebody"),
        ("redirect_uri", "not a URL"),
        ("redirect_uri", "http://127.0.0.1:1/another"),
        ("state", "short"),
        ("nonce", ""),
        ("scope", "email"),
        ("code_challenge", "short"),
        ("code_challenge_method", "plain"),
    ] {
        let provider = Provider::start();
        provider.register(&[REDIRECT]);
        let mut pairs = parameters();
        pairs.iter_mut().filter(|(known, _)| *known == name).for_each(|pair| pair.1 = wrong);
        assert_eq!(begin(&provider, &pairs).status, 400, "{name}={wrong}");
        assert_eq!(provider.complaints().len(), 1, "{name}={wrong}");
    }
    let provider = Provider::start();
    let mut pairs = parameters();
    pairs.push(("state", STATE));
    assert_eq!(begin(&provider, &pairs).status, 400, "a parameter twice");
}

#[test]
fn a_code_is_exchanged_once_by_its_client_with_its_verifier_and_redirect_uri() {
    let provider = Provider::start();
    for (name, wrong, status, error) in [
        ("client_secret", "guessed", 401, "invalid_client"),
        ("client_id", "somebody", 401, "invalid_client"),
        ("grant_type", "password", 400, "unsupported_grant_type"),
        ("code", "guessed", 400, "invalid_grant"),
        ("redirect_uri", "http://127.0.0.1:1/auth/callback/other", 400, "invalid_grant"),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl", 400, "invalid_grant"),
        ("code_verifier", "short", 400, "invalid_request"),
    ] {
        let code = code(&provider);
        let mut pairs = exchange(&code);
        pairs.iter_mut().filter(|(known, _)| *known == name).for_each(|pair| pair.1 = wrong);
        let response = post(&provider, &pairs, "");
        assert_eq!((response.status, response.json()["error"].as_str()), (status, Some(error)), "{name}");
    }
    let code = code(&provider);
    assert_eq!(post(&provider, &exchange(&code), "").status, 200);
    let again = post(&provider, &exchange(&code), "");
    assert_eq!((again.status, &again.json()["error"]), (400, &json!("invalid_grant")));
    let stray = get(&provider, "/userinfo", "Authorization: Bearer guessed\r\n");
    assert_eq!(stray.status, 401);
}

#[test]
fn a_client_authenticates_in_the_header_or_in_the_body_and_not_in_both() {
    use base64::Engine as _;
    let encoded = form(&[("", SECRET)]);
    let pair = format!("{CLIENT}:{}", encoded.trim_start_matches('='));
    let basic =
        format!("Authorization: Basic {}\r\n", base64::engine::general_purpose::STANDARD.encode(pair));
    let provider = Provider::start();
    for (in_body, header, status) in [(false, true, 200), (true, true, 400), (false, false, 401)] {
        let code = code(&provider);
        let mut pairs = exchange(&code);
        if !in_body {
            pairs.truncate(4);
        }
        let response = post(&provider, &pairs, if header { &basic } else { "" });
        assert_eq!(response.status, status, "body {in_body}, header {header}");
    }
}

#[test]
fn github_answers_200_with_an_error_and_a_form_to_whoever_does_not_ask_for_json() {
    let provider = Provider::playing(Kind::GitHub);
    let response = post(&provider, &exchange("guessed"), AS_JSON);
    assert_eq!((response.status, &response.json()["error"]), (200, &json!("bad_verification_code")));
    let code = code(&provider);
    let response = post(&provider, &exchange(&code), "");
    let pairs: Vec<(String, String)> = form_urlencoded::parse(&response.body).into_owned().collect();
    let bearer = format!("Authorization: Bearer {}\r\n", value(&pairs, "access_token"));
    assert_eq!(get(&provider, "/api/v3/user", &bearer).status, 403, "no User-Agent");
    let bearer = format!("{bearer}User-Agent: test\r\n");
    assert_eq!(get(&provider, "/api/v3/user", &bearer).status, 200);
    let first = get(&provider, "/api/v3/user/emails?per_page=1", &bearer);
    assert_eq!(first.json()[0]["primary"], json!(false), "the first address is not the one that counts");
    assert!(first.header("link").is_some_and(|link| link.contains("page=2>; rel=\"next\"")));
    let second = get(&provider, "/api/v3/user/emails?per_page=1&page=2", &bearer);
    assert_eq!((&second.json()[0]["email"], second.header("link")), (&json!("ada@example.com"), None));
}

#[test]
fn its_signatures_hold_under_the_keys_that_it_publishes_and_its_false_ones_do_not() {
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
    let provider = Provider::start();
    let holds = |token: &str| {
        let keys: JwkSet = serde_json::from_value(get(&provider, "/jwks", "").json()).expect("keys");
        let header = decode_header(token).expect("a header");
        let Some(key) = keys.find(&header.kid.expect("a key id")) else { return false };
        let mut validation = Validation::new(header.alg);
        validation.validate_exp = false;
        validation.set_audience(&[CLIENT]);
        assert_ne!(header.alg, Algorithm::HS256);
        decode::<Value>(token, &DecodingKey::from_jwk(key).expect("a key"), &validation).is_ok()
    };
    let ada = Persona::ada();
    for alg in [Alg::Rs256, Alg::Ps256, Alg::Es256, Alg::EdDsa] {
        assert!(holds(&provider.id_token(&ada, None, &[Lie::Alg(alg)])), "{alg:?}");
        for lie in [Lie::ForeignKey, Lie::UnknownKey, Lie::Tampered] {
            assert!(!holds(&provider.id_token(&ada, None, &[Lie::Alg(alg), lie.clone()])), "{alg:?} {lie:?}");
        }
    }
    let old = provider.id_token(&ada, None, &[]);
    provider.rotates_keys();
    assert!(!holds(&old) && holds(&provider.id_token(&ada, None, &[])));
    for (alg, name) in [(Alg::None, "none"), (Alg::Hs256PublicKey, "HS256"), (Alg::Hs256Secret, "HS256")] {
        let token = json!(provider.id_token(&ada, None, &[Lie::Alg(alg)]));
        assert_eq!(part(&token, 0)["alg"], json!(name));
        assert_eq!(token.as_str().expect("text").ends_with('.'), alg == Alg::None);
    }
}

#[test]
fn it_lies_where_it_is_told_and_nowhere_else_until_it_repents() {
    let provider = Provider::start();
    provider
        .lies(Lie::Claim("exp", json!(1e300)))
        .lies(Lie::NoClaim("iat"))
        .lies(Lie::Header("crit", json!(["b64"])))
        .lies(Lie::Token("token_type", json!("mac")))
        .lies(Lie::Profile("sub", json!("another")))
        .lies(Lie::Discovery("issuer", json!("http://127.0.0.1:9")))
        .lies(Lie::NoCallback("iss"))
        .lies(Lie::CallbackAlso("state", "another".to_owned()));
    let callback = called(&begin(&provider, &parameters()));
    assert_eq!((value(&callback, "iss"), callback.len()), ("", 3));
    let tokens = post(&provider, &exchange(value(&callback, "code")), "").json();
    let claims = claims(&tokens["id_token"]);
    assert_eq!((&claims["exp"], claims.get("iat")), (&json!(1e300), None));
    assert!(part(&tokens["id_token"], 0)["crit"].is_array());
    assert_eq!(tokens["token_type"], json!("mac"));
    let bearer = format!("Authorization: Bearer {}\r\n", tokens["access_token"].as_str().expect("text"));
    assert_eq!(get(&provider, "/userinfo", &bearer).json()["sub"], json!("another"));
    let document = path(&provider, Endpoint::Discovery);
    assert_eq!(get(&provider, &document, "").json()["issuer"], json!("http://127.0.0.1:9"));
    provider.repents();
    assert_eq!(get(&provider, &document, "").json()["issuer"], json!(provider.issuer()));
    assert_eq!(provider.complaints(), [""; 0]);
}

#[test]
fn its_bad_answers_are_as_bad_as_they_say() {
    let with = |answer: Answer| {
        let provider = Provider::start();
        provider.lies(Lie::Answers(Endpoint::Keys, answer));
        provider
    };
    let moved = get(&with(Answer::Redirect(307, "http://169.254.169.254/".to_owned())), "/jwks", "");
    assert_eq!((moved.status, moved.header("location")), (307, Some("http://169.254.169.254/")));
    assert_eq!(get(&with(Answer::Giant(3_000_000)), "/jwks", "").body.len(), 3_000_000);
    let bomb = get(&with(Answer::GzipBomb(100_000_000)), "/jwks", "");
    assert_eq!(bomb.header("content-encoding"), Some("gzip"));
    assert!(bomb.body.len() < 700_000 && unpacked(&bomb.body) > 99_000_000, "{}", bomb.body.len());
    let endless = with(Answer::Endless);
    let mut raw = Raw::connect(address(&endless));
    raw.send("GET /jwks HTTP/1.1\r\nHost: x\r\n\r\n").head().expect("a head");
    assert_eq!(raw.exactly(5_000_000).expect("no end").len(), 5_000_000);
    let gone = with(Answer::Hangup);
    assert!(Raw::connect(address(&gone)).send("GET /jwks HTTP/1.1\r\nHost: x\r\n\r\n").is_closed());
}

/// How many bytes `gzip` makes of these before it finds that the checksum is wrong.
fn unpacked(bytes: &[u8]) -> usize {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let script = "gzip -dc 2>/dev/null | wc -c";
    let mut shell = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh runs");
    let _ = shell.stdin.take().expect("piped").write_all(bytes);
    let out = shell.wait_with_output().expect("it ends").stdout;
    String::from_utf8(out).expect("text").trim().parse().expect("a number")
}
