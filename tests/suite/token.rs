//! What we sign: keys, access tokens, the identity for the app.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sidegate::secret::pair::{Algorithm, Pair};
use sidegate::secret::{RootSecret, Token};
use sidegate::token::keys::Compact;

use crate::support::database::Database;
use crate::support::raw::Response;
use crate::support::site::{Plan, Site};
use crate::support::visitor::Visitor;

mod access;
mod assertion;
mod authorization;
mod cookie;
mod delivery;
mod forged;
mod keys;
mod limits;
mod personal;
mod processes;
mod refresh;

/// The root secret of sites whose keys a test opens.
const SECRET: &str = "one secret for all replicas, 32 bytes or more";

fn plan(database: Database) -> Plan {
    crate::flow::roomy(database).secret(SECRET)
}

/// Two processes with one secret, one public origin and one PostgreSQL database.
fn pair() -> (Site, Site) {
    let database = Database::postgres();
    let other = database.shared();
    let start = |database| plan(database).public("http://127.0.0.1:8080").start();
    (start(database), start(other))
}

/// An access token for the session that this visitor's cookie opens.
fn access_of(site: &Site, visitor: &Visitor) -> String {
    let token = Token::parse(visitor.cookies["sidegate"].as_bytes()).expect("a token");
    let now = site.clock.now();
    let session = site.block_on(site.app.sessions.fetch(token.hash(), now)).expect("the store answers");
    let session = session.expect("the session lives");
    site.app.tokens.access(&session, now).unwrap_or_else(|fault| panic!("{fault}")).token
}

/// Somebody with a new account, and an access token.
fn member(site: &Site) -> (Visitor, String, String) {
    let (ada, id) = site.member("ada@example.com");
    let token = access_of(site, &ada);
    (ada, id, token)
}

/// The answer to this token.
fn bear(site: &Site, path: &str, token: &str) -> Response {
    site.stranger().ask("GET", path).header("Authorization", &format!("Bearer {token}")).send()
}

/// Whether this access token opens the app; if not, it is told so as RFC 6750 §3.1 says.
fn opens(site: &Site, token: &str) -> bool {
    let response = bear(site, "/app", token);
    if response.status == 200 {
        return true;
    }
    assert_eq!((response.status, &*response.code()), (401, "INVALID_TOKEN"), "{token}");
    assert_eq!(response.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    false
}

/// Header and claims of a token.
pub(crate) fn parts(token: &str) -> (Value, Value) {
    assert!(Compact::parse(token).is_some(), "{token}");
    let read =
        |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON");
    let mut parts = token.split('.');
    (read(parts.next().expect("a header")), read(parts.next().expect("claims")))
}

/// The keys as they are published.
fn jwks(site: &Site) -> Vec<Value> {
    let body = site.stranger().get("/auth/jwks").json();
    body["keys"].as_array().expect("a list").clone()
}

/// A header and claims with whatever signature.
fn joined(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// The site's own signing key, as a thief of the database and of the root secret would have it.
struct Stolen {
    pair: Pair,
    header: Value,
}

impl Stolen {
    fn from(site: &Site) -> Self {
        let column = |name: &str| {
            let sql = format!(r#"SELECT "{name}" FROM "sidegate_signing_key" ORDER BY "generation" DESC"#);
            site.block_on(site.database.texts(&sql))[0].clone()
        };
        let (id, name) = (column("id"), column("algorithm"));
        let seal = RootSecret::new(SECRET.into()).expect("long enough").seal();
        let bytes = seal.open(&format!("signing key {id} {name}"), &column("sealed")).expect("it opens");
        let algorithm = Algorithm::parse(&name).expect("an algorithm");
        let pair = Pair::from_bytes(algorithm, &bytes).expect("a pair");
        Self { pair, header: json!({ "typ": "at+jwt", "alg": name, "kid": id }) }
    }

    /// These claims as the site itself would sign them.
    fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.header, claims)
    }

    fn sign_as(&self, header: &Value, claims: &Value) -> String {
        joined(header, claims, |message| self.pair.sign(message).expect("a signature").to_vec())
    }
}

/// What Node's own cryptography says of a token, with the keys of the site: its claims.
fn node_reads(site: &Site, token: &str, issuer: &str, audience: &str) -> Result<Value, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/token/verify.mjs");
    let keys = format!("http://{}/auth/.well-known/jwks.json", site.address);
    let now = site.clock.now().seconds().to_string();
    let node = Command::new("node").arg(script).args([&keys, token, issuer, audience, &now]).output();
    let node = node.expect("node is installed");
    if !node.status.success() {
        return Err(String::from_utf8_lossy(&node.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&node.stdout).expect("JSON"))
}
