//! The unusual sign-in, from outside: what it begins, what ends it, and what it never opens.

use std::time::Duration;

use serde_json::json;

use crate::flow::{credentials, roomy};
use crate::support::database::Database;
use crate::support::letters::{CATCHER, Letter, letters};
use crate::support::raw::Response;
use crate::support::site::{Plan, Site};
use crate::support::visitor::Visitor;

mod code;
mod life;
mod modes;
mod not_me;
mod pages;
mod places;

/// Two browsers.
pub(crate) const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
pub(crate) const SAFARI: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15";

const ADA: &str = "ada@example.com";

/// A site that sends mails, and judges as usual.
pub(crate) fn watchful(database: Database) -> Plan {
    roomy(database).set("mail", CATCHER)
}

/// Proves everybody's mailbox.
fn prove_mailboxes(site: &Site) {
    site.block_on(site.database.execute(r#"UPDATE "user" SET "emailVerified" = TRUE"#));
}

/// Somebody with a browser of this kind and without cookies.
pub(crate) fn browser(site: &Site, agent: &str) -> Visitor {
    let mut visitor = site.stranger();
    visitor.headers.push(("User-Agent".to_owned(), agent.to_owned()));
    visitor
}

/// Ada in the browser with which she signed up, signed in, and her id.
pub(crate) fn ada_at_home(site: &Site) -> (Visitor, String) {
    site.sign_up(ADA);
    prove_mailboxes(site);
    let mut ada = browser(site, FIREFOX);
    let response = ada.post("/auth/sign-in/email", &credentials(ADA));
    assert_eq!(response.status, 200, "{}", response.text());
    let id = response.json()["user"]["id"].as_str().expect("R0: she is in").to_owned();
    (ada, id)
}

/// Somebody who knows Ada's password, with another browser, and the answer to the sign-in.
fn with_password(site: &Site) -> (Visitor, Response) {
    let mut other = browser(site, SAFARI);
    let response = other.post("/auth/sign-in/email", &credentials(ADA));
    (other, response)
}

/// The same, where a code must be asked for.
pub(crate) fn pending(site: &Site) -> Visitor {
    let (other, response) = with_password(site);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.json()["pending"], true, "{}", response.text());
    assert!(other.cookies.contains_key("sidegate-pending") && !other.cookies.contains_key("sidegate"));
    other
}

/// The mails about sign-ins.
fn mails(site: &Site) -> Vec<Letter> {
    letters(site).into_iter().filter(|letter| letter.text.contains("/auth/not-me?token=")).collect()
}

/// The last of them. Those of one moment have no order.
fn last_letter(site: &Site) -> Letter {
    mails(site).pop().expect("a mail")
}

/// The code of the last mail.
pub(crate) fn last_code(site: &Site) -> String {
    last_letter(site).code()
}

/// Another code than this.
fn another(code: &str) -> String {
    let digit = if code.starts_with('7') { "8" } else { "7" };
    format!("{digit}{}", &code[1..])
}

/// Types a code as a program does.
fn verify(visitor: &mut Visitor, code: &str) -> Response {
    visitor.post("/auth/verify-signin", &json!({ "code": code }))
}

/// What the log says of sign-ins, in no order: success, error and rules.
fn log(site: &Site) -> Vec<String> {
    let mut lines = site.block_on(site.database.texts(
        r#"SELECT CASE WHEN "success" THEN 'yes' ELSE 'no' END || ' ' || COALESCE("error", '-') || ' ' || COALESCE("detail", '-')
           FROM "sidegate_auth_log" WHERE "action" = 'login'"#,
    ));
    lines.sort();
    lines
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn hours(hours: u64) -> Duration {
    Duration::from_hours(hours)
}
