//! Signed cookies that somebody made or changed, and tokens in places that they were not made for (TK-9).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sidegate::secret::pair::{Algorithm, Pair};

use super::{generations, signed, takes_both, with_only};
use crate::flow::credentials;
use crate::support::database::Database;
use crate::support::site::Site;
use crate::token::{Stolen, joined, parts};

struct Scene {
    site: Site,
    cookie: String,
    refresh: String,
    claims: Value,
    stolen: Stolen,
}

impl Scene {
    fn new() -> Self {
        let site = signed(Database::sqlite()).set("identity", "assertion_header = \"x-assertion\"").start();
        let ada = site.member("ada@example.com").0;
        let (cookie, refresh) = (ada.cookies["sidegate"].clone(), ada.cookies["sidegate-refresh"].clone());
        let (header, claims) = parts(&cookie);
        let stolen = Stolen { header, ..Stolen::from(&site) };
        let scene = Self { site, cookie, refresh, claims, stolen };
        assert!(scene.opens(&scene.stolen.sign(&scene.claims)), "what the thief makes is good as such");
        scene
    }

    fn opens(&self, cookie: &str) -> bool {
        let mut thief = self.site.stranger();
        thief.cookies.insert("sidegate".to_owned(), cookie.to_owned());
        let response = thief.get("/app");
        if response.status == 200 {
            return true;
        }
        assert_eq!((response.status, &*response.code()), (401, "UNAUTHORIZED"), "{cookie}");
        takes_both(&response);
        false
    }

    fn with(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[name] = value;
        self.stolen.sign(&claims)
    }

    fn refuses(&self, cookies: impl IntoIterator<Item = String>) {
        for cookie in cookies {
            assert!(!self.opens(&cookie), "{cookie}");
        }
        assert!(self.opens(&self.cookie), "the good one is still good");
    }

    fn bears(&self, token: &str) -> u16 {
        self.site
            .stranger()
            .ask("GET", "/app")
            .header("Authorization", &format!("Bearer {token}"))
            .send()
            .status
    }
}

#[test]
fn a_cookie_that_was_changed_anywhere_is_a_strangers() {
    let scene = Scene::new();
    let bytes = scene.cookie.as_bytes();
    let changed = (0..bytes.len()).step_by(11).chain(bytes.len() - 3..bytes.len()).map(|at| {
        let mut bytes = bytes.to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).expect("text")
    });
    scene.refuses(changed.filter(|changed| *changed != scene.cookie));
    let unsigned = |alg: &str| {
        let mut header = scene.stolen.header.clone();
        header["alg"] = json!(alg);
        joined(&header, &scene.claims, |_| Vec::new())
    };
    scene.refuses(["none", "None", "NONE", "", "EdDSA"].map(unsigned));
    scene.refuses([scene.cookie.rsplit_once('.').expect("parts").0.to_owned(), format!("{}=", scene.cookie)]);
}

#[test]
fn another_key_algorithm_or_type_is_refused() {
    let scene = Scene::new();
    let own = Pair::generate(Algorithm::EdDsa);
    scene.refuses([joined(&scene.stolen.header, &scene.claims, |text| {
        own.sign(text).expect("signs").to_vec()
    })]);
    for (name, value) in [
        ("typ", json!("at+jwt")),
        ("typ", json!("JWT")),
        ("typ", json!("sidegate-session")),
        ("typ", json!(null)),
        ("alg", json!("ES256")),
        ("alg", json!("HS256")),
        ("kid", json!("other")),
        ("crit", json!(["exp"])),
    ] {
        let mut header = scene.stolen.header.clone();
        header[name] = value;
        scene.refuses([scene.stolen.sign_as(&header, &scene.claims)]);
    }
}

#[test]
fn claims_that_are_wrong_missing_or_unknown_are_refused() {
    let scene = Scene::new();
    let now = scene.site.clock.now().seconds();
    scene.refuses([
        scene.with("iss", json!("https://evil.test")),
        scene.with("exp", json!(now)),
        scene.with("exp", json!("9999999999")),
        scene.with("iat", json!(now + 62)),
        scene.with("sub", json!("a b")),
        scene.with("sub", json!(null)),
        scene.with("sid", json!("")),
        scene.with("key", json!("short")),
        scene.with("email_verified", json!("true")),
        scene.with("aud", json!("x")),
        scene.with("name", json!("x".repeat(5000))),
    ]);
    for name in ["iss", "sub", "sid", "key", "iat", "exp", "email", "email_verified", "name"] {
        let mut claims = scene.claims.clone();
        claims.as_object_mut().expect("claims").remove(name);
        scene.refuses([scene.stolen.sign(&claims)]);
    }
    let head = URL_SAFE_NO_PAD.encode(scene.stolen.header.to_string());
    scene.refuses([format!("{head}.{}.x", URL_SAFE_NO_PAD.encode("{}"))]);
}

#[test]
fn tk_9_no_token_stands_for_another_kind() {
    let scene = Scene::new();
    let site = &scene.site;
    let mut program = credentials("ada@example.com");
    program["delivery"] = json!("bearer");
    let pair = site.stranger().post("/auth/login", &program).json();
    let text = |name: &str| pair[name].as_str().expect("text").to_owned();
    let access = text("access_token");
    assert_eq!(scene.bears(&access), 200);
    // Each has been seen where it belongs, and is remembered for that place alone.
    assert!(!scene.opens(&access), "an access token is no cookie");
    assert_eq!(scene.bears(&scene.cookie), 401, "and a cookie is no access token");
    let assertion = site.upstream.last().header("x-assertion").expect("an assertion").to_owned();
    assert!(!scene.opens(&assertion) && scene.bears(&assertion) == 401);
    assert!(!scene.opens(&scene.refresh), "a refresh cookie is no session cookie");
    assert_eq!(scene.bears(&scene.refresh), 401);
    let mut thief = site.stranger();
    for token in [text("refresh_token"), access.clone(), scene.cookie.clone(), "A".repeat(54)] {
        thief.cookies.insert("sidegate-refresh".to_owned(), token);
        assert_eq!(thief.get("/app").status, 401, "nothing else is a refresh cookie");
    }
    let refresh =
        |token: &str| site.stranger().post("/auth/refresh", &json!({ "refresh_token": token })).status;
    assert_eq!(refresh(&scene.refresh), 400, "which is no program's refresh token");
    assert_eq!(refresh(&text("refresh_token")), 200);
    assert_eq!(site.stranger().post("/auth/revoke", &json!({ "token": scene.refresh })).status, 200);
    assert!(scene.opens(&scene.cookie), "nor can it be revoked as one");
    let mut ada = with_only(site, &site.stranger(), &[]);
    ada.cookies.insert("sidegate-refresh".to_owned(), scene.refresh.clone());
    assert_eq!(ada.get("/app").status, 200, "nothing of this has used it up");
    assert!(generations(site).contains(&"1".to_owned()));
}

#[test]
fn two_cookies_of_one_name_are_nobody() {
    let scene = Scene::new();
    let mut twice = scene.site.stranger();
    twice.headers.push(("Cookie".to_owned(), format!("sidegate={}; sidegate=x", scene.cookie)));
    assert_eq!(twice.get("/app").status, 401);
    twice.headers[0].1 = format!("sidegate-refresh={}; sidegate-refresh=x", scene.refresh);
    assert_eq!(twice.get("/app").status, 401);
    assert!(scene.opens(&scene.cookie));
}
