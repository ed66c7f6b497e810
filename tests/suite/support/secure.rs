//! A site that speaks TLS, before an app that does, and somebody who is signed in there.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::database::Database;
use crate::support::site::{PASSWORD, Plan, Site};
use crate::tls::certificates;

/// The site, and who is signed in.
pub(crate) struct Secure {
    /// The site.
    pub(crate) site: Site,
    /// The person's user id.
    pub(crate) me: String,
    /// The person's `Cookie` value.
    pub(crate) cookie: String,
    /// The token of another session of that person.
    pub(crate) bearer: String,
}

/// A site before the app at this port, spoken to by `protocol`; both have certificates that one authority issued.
pub(crate) fn plan(port: u16, protocol: &str) -> Plan {
    let file = |name: &str| certificates().join(name).display().to_string();
    let tls = format!("certificate = \"{}\"\nkey = \"{}\"", file("app.pem"), file("app.key"));
    let upstream = format!(
        "url = \"https://127.0.0.1:{port}\"\nca_file = \"{}\"\nprotocol = \"{protocol}\"",
        file("second.pem")
    );
    Site::on(Database::sqlite()).https().set("tls", &tls).set("upstream", &upstream)
}

impl Secure {
    /// On the site that was planned.
    pub(crate) fn on(plan: Plan) -> Self {
        let site = plan.start();
        let account = json!({ "name": "Me", "email": "me@example.org", "password": PASSWORD });
        post(&site, "/auth/sign-up/email", &account);
        let (cookie, me) = post(&site, "/auth/sign-in/email", &account);
        let (other, _) = post(&site, "/auth/sign-in/email", &account);
        let bearer = other.split("; ").find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.ends_with("sidegate").then(|| value.to_owned())
        });
        let me = me["user"]["id"].as_str().expect("an id").to_owned();
        Self { site, me, cookie, bearer: bearer.expect("a session cookie") }
    }
}

/// The cookies that are set, and the answer.
fn post(site: &Site, path: &str, body: &Value) -> (String, Value) {
    let output = Command::new("curl")
        .args(["--silent", "--http1.1", "--include", "--noproxy", "*", "--cacert"])
        .arg(certificates().join("second.pem"))
        .args(["--header", "Content-Type: application/json", "--header", &format!("Origin: {}", site.origin)])
        .args(["--data", &body.to_string(), &format!("{}{path}", site.origin)])
        .output()
        .expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}"));
    assert!(head.starts_with("HTTP/1.1 200"), "{text}");
    let pairs = head.lines().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("set-cookie")
            .then(|| value.split(';').next().unwrap_or_default().to_owned())
    });
    (pairs.collect::<Vec<_>>().join("; "), serde_json::from_str(body).expect("JSON"))
}
