//! Tokens that somebody made or changed: each open nothing, are told so, and never reach the app.
//!
//! The thief of these tests holds the site's own signing key where that is needed, so that nothing but the
//! rule in question can refuse the token.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sidegate::secret::pair::{Algorithm, Pair};

use super::{Stolen, access_of, joined, jwks, member, opens, parts, plan};
use crate::support::database::Database;
use crate::support::site::Site;

/// A site, a good token, and the key that signed it.
struct Scene {
    site: Site,
    token: String,
    header: Value,
    claims: Value,
    stolen: Stolen,
}

impl Scene {
    fn new() -> Self {
        let site = plan(Database::sqlite()).rule("/open/**", "public").start();
        let (_, _, token) = member(&site);
        let (header, claims) = parts(&token);
        let stolen = Stolen::from(&site);
        let scene = Self { site, token, header, claims, stolen };
        assert!(scene.opens(&scene.stolen.sign(&scene.claims)), "what the thief makes is good as such");
        scene
    }

    fn opens(&self, token: &str) -> bool {
        opens(&self.site, token)
    }

    /// With one claim replaced.
    fn with(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[name] = value;
        self.stolen.sign(&claims)
    }

    /// With one field of the header replaced.
    fn headed(&self, name: &str, value: Value) -> String {
        let mut header = self.header.clone();
        header[name] = value;
        self.stolen.sign_as(&header, &self.claims)
    }

    fn refuses(&self, tokens: impl IntoIterator<Item = String>) {
        for token in tokens {
            assert!(!self.opens(&token), "{token}");
        }
        assert!(self.opens(&self.token), "the good one is still good");
    }
}

#[test]
fn tk_1_no_algorithm_is_refused() {
    let scene = Scene::new();
    let unsigned = |alg: &str| {
        let mut header = scene.header.clone();
        header["alg"] = json!(alg);
        joined(&header, &scene.claims, |_| Vec::new())
    };
    let stripped = scene.token.rsplit_once('.').expect("parts").0.to_owned();
    scene.refuses(["none", "None", "NONE", "nOnE", ""].map(unsigned));
    scene.refuses(["none", "None"].map(|alg| scene.headed("alg", json!(alg))));
    scene.refuses([stripped.clone(), format!("{stripped}.")]);
}

#[test]
fn tk_1_a_mac_under_the_public_key_is_refused() {
    let scene = Scene::new();
    let public = jwks(&scene.site)[0].clone();
    let x = URL_SAFE_NO_PAD.decode(public["x"].as_str().expect("a key")).expect("base64url");
    for key in [x, public["x"].as_str().expect("a key").into(), public.to_string().into_bytes()] {
        for alg in ["HS256", "EdDSA"] {
            let mut header = scene.header.clone();
            header["alg"] = json!(alg);
            let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
            scene.refuses([
                joined(&header, &scene.claims, |message| hmac::sign(&key, message).as_ref().to_vec()),
                joined(&header, &scene.claims, |message| hmac::sign(&key, message).as_ref().repeat(2)),
            ]);
        }
    }
}

#[test]
fn tk_1_another_algorithm_than_the_keys_is_refused() {
    let scene = Scene::new();
    scene.refuses(["ES256", "RS256", "EdDsa", "Ed25519", "PS256"].map(|alg| scene.headed("alg", json!(alg))));
    scene.refuses([json!(null), json!(["EdDSA"]), json!(1)].map(|alg| scene.headed("alg", alg)));
}

#[test]
fn tk_1_another_type_is_refused() {
    let scene = Scene::new();
    scene.refuses(
        ["JWT", "jwt", "AT+JWT", "application/at+jwt", "at+jwt ", "", "rt+jwt"]
            .map(|typ| scene.headed("typ", json!(typ))),
    );
    let mut header = scene.header.clone();
    header.as_object_mut().expect("a header").remove("typ");
    scene.refuses([scene.stolen.sign_as(&header, &scene.claims)]);
}

#[test]
fn tk_1_another_key_is_refused_whatever_it_calls_itself() {
    let scene = Scene::new();
    let own = Pair::generate(Algorithm::EdDsa);
    let signed =
        |header: &Value| joined(header, &scene.claims, |message| own.sign(message).expect("signs").to_vec());
    let mut headers = vec![scene.header.clone()];
    for kid in [json!("other"), json!(""), json!(null), json!("../../key"), json!(["x"])] {
        let mut header = scene.header.clone();
        header["kid"] = kid;
        headers.push(header);
    }
    let Value::Object(jwk) = jwks(&scene.site)[0].clone() else { panic!("a key") };
    for (name, value) in
        [("jwk", json!(jwk)), ("jku", json!("http://evil.test/jwks")), ("x5u", json!("http://evil.test/x"))]
    {
        let mut header = scene.header.clone();
        header[name] = value;
        headers.push(header);
    }
    for header in headers {
        scene.refuses([signed(&header)]);
        scene.site.pass(std::time::Duration::from_secs(11));
    }
}

#[test]
fn tk_1_a_name_of_a_key_that_is_not_known_is_refused_although_the_signature_is_good() {
    let scene = Scene::new();
    for kid in ["other", "", "a\u{0}b"] {
        scene.site.pass(std::time::Duration::from_secs(11));
        scene.refuses([scene.headed("kid", json!(kid))]);
    }
}

#[test]
fn tk_1_another_issuer_is_refused() {
    let scene = Scene::new();
    let origin = scene.site.origin.clone();
    scene.refuses(
        ["https://evil.test", "", &format!("{origin}/"), &origin.to_uppercase()]
            .map(|iss| scene.with("iss", json!(iss))),
    );
}

#[test]
fn tk_1_another_audience_is_refused() {
    let scene = Scene::new();
    let (origin, app) = (scene.site.origin.clone(), format!("http://{}", scene.site.upstream.address));
    scene.refuses(
        ["https://evil.test", "", &format!("{origin}/"), &app].map(|aud| scene.with("aud", json!(aud))),
    );
    scene.refuses([scene.with("aud", json!([origin])), scene.with("client_id", json!("other"))]);
}

#[test]
fn tk_1_claims_of_another_type_are_refused() {
    let scene = Scene::new();
    let now = scene.site.clock.now().seconds();
    for value in [json!("9999999999"), json!(null), json!(1.0e12), json!(true), json!([now + 60]), json!({})]
    {
        scene.refuses([scene.with("exp", value.clone()), scene.with("iat", value)]);
    }
    for name in ["iss", "aud", "sub", "sid", "jti", "client_id"] {
        let right = scene.claims[name].clone();
        for value in [json!(null), json!(7), json!(true), json!([right]), json!({ "value": right })] {
            scene.refuses([scene.with(name, value)]);
        }
    }
    for claims in [json!(null), json!([]), json!("x"), json!(1)] {
        scene.refuses([scene.stolen.sign(&claims)]);
    }
}

#[test]
fn tk_1_claims_that_are_missing_unknown_or_doubled_are_refused() {
    let scene = Scene::new();
    for name in ["iss", "aud", "sub", "sid", "jti", "client_id", "iat", "exp"] {
        let mut claims = scene.claims.clone();
        claims.as_object_mut().expect("claims").remove(name);
        scene.refuses([scene.stolen.sign(&claims)]);
    }
    scene.refuses([scene.with("scope", json!("read")), scene.with("nbf", json!(0))]);
    let doubled = scene.claims.to_string().replace('{', "{\"exp\":9999999999,");
    let head = URL_SAFE_NO_PAD.encode(scene.header.to_string());
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(doubled));
    let signature = scene.stolen.pair.sign(signed.as_bytes()).expect("signs");
    scene.refuses([format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))]);
}

#[test]
fn tk_1_times_that_are_past_or_to_come_are_refused() {
    let scene = Scene::new();
    let now = scene.site.clock.now().seconds();
    scene.refuses([now, now - 1, 0, -1, i64::MIN].map(|exp| scene.with("exp", json!(exp))));
    scene.refuses([now + 62, i64::MAX].map(|iat| scene.with("iat", json!(iat))));
    assert!(scene.opens(&scene.with("iat", json!(now + 30))), "clocks differ a little");
}

#[test]
fn a_session_and_a_user_that_do_not_belong_together_are_refused() {
    let scene = Scene::new();
    let (bob, id) = scene.site.member("bob@example.com");
    let his = parts(&access_of(&scene.site, &bob)).1["sid"].clone();
    scene.refuses([
        scene.with("sub", json!(id)),
        scene.with("sid", his),
        scene.with("sid", json!("unknown")),
        scene.with("sid", json!("")),
        scene.with("sub", json!("a b")),
    ]);
}

#[test]
fn a_token_that_was_changed_anywhere_is_refused() {
    let scene = Scene::new();
    let bytes = scene.token.as_bytes();
    let changed = (0..bytes.len()).step_by(7).chain(bytes.len() - 3..bytes.len()).map(|at| {
        let mut bytes = bytes.to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).expect("text")
    });
    scene.refuses(changed.filter(|changed| *changed != scene.token));
}

#[test]
fn other_spellings_of_a_good_token_are_refused() {
    let scene = Scene::new();
    let token = &scene.token;
    let parts: Vec<&str> = token.split('.').collect();
    let bytes = URL_SAFE_NO_PAD.decode(parts[2]).expect("base64url");
    scene.refuses([
        format!("{token}="),
        format!("{token}=="),
        format!("{token}.x"),
        format!("{token}."),
        format!(".{token}"),
        format!("\"{token}\""),
        format!("{token}, {token}"),
        token.replacen('.', "..", 1),
        format!("{}.{}.{}", parts[0], parts[1], URL_SAFE.encode(&bytes)),
        format!("{}.{}.{}", parts[0], parts[1], STANDARD.encode(&bytes)),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}..{}", parts[0], parts[2]),
        format!("{}.{}", parts[1], parts[2]),
    ]);
    // The last character has bits that mean nothing: only one spelling of them is ours.
    let respelt: Vec<String> = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        .chars()
        .map(|last| format!("{}{last}", &token[..token.len() - 1]))
        .filter(|respelt| respelt != token)
        .collect();
    scene.refuses(respelt);
}

#[test]
fn a_token_that_is_too_long_is_refused() {
    let scene = Scene::new();
    let long = scene.with("jti", json!("x".repeat(2000)));
    assert!(long.len() > 2048);
    scene.refuses([
        long,
        format!("eyJ{}", "A".repeat(20_000)),
        format!("{}.{}", "A".repeat(2000), "B".repeat(100)),
    ]);
}

#[test]
fn tk_9_no_token_stands_for_another_kind() {
    let scene = Scene::new();
    let (ada, _) = scene.site.signed_in("ada@example.com");
    let access = access_of(&scene.site, &ada);
    let mut thief = scene.site.stranger();
    thief.cookies.insert("sidegate".to_owned(), access);
    assert_eq!(thief.get("/app").status, 401, "an access token is no cookie");
    thief.cookies.insert("sidegate".to_owned(), ada.cookies["sidegate-device"].clone());
    assert_eq!(thief.get("/app").status, 401);
    assert!(!scene.opens(&ada.cookies["sidegate-device"]));
}
