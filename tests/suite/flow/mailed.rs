//! What the tests of links in mails share: a site that writes to a mailbox, and people who read there.

use serde_json::{Value, json};

use super::roomy;
use crate::support::database::Database;
use crate::support::mailbox::Mailbox;
use crate::support::raw::Response;
use crate::support::site::{PASSWORD, Plan, Site};
use crate::support::visitor::Visitor;

/// A site that writes to this mailbox, with budgets that no test exhausts unawares, and where no sign-in is
/// unusual.
pub(crate) fn mailing(database: Database, mailbox: &Mailbox) -> Plan {
    roomy(database)
        .set("limits", "attempts_per_address = 10000\nmails_per_recipient = 1000")
        .set("mail", &format!("per_recipient = 1000\n{}", mailbox.config()))
        .set("unusual", "mode = \"off\"")
        // People in these tests have one kind of browser and no cookies: each sign-in would be worth a mail.
        .set("unusual", "mode = \"off\"")
}

/// The same, where nobody has to prove the address before signing in.
pub(crate) fn lenient(database: Database, mailbox: &Mailbox) -> Plan {
    mailing(database, mailbox).set("sign_up", "require_verified_email = false")
}

/// The link in the next mail to this address that has one with a token: path and query.
pub(crate) fn link(site: &Site, mailbox: &Mailbox, to: &str) -> String {
    let mail = loop {
        let mail = mailbox.wait_for(to);
        if mail.text.contains("token=") {
            break mail;
        }
    };
    let at = mail.text.find(&format!("{}/auth/", site.origin)).expect("EM-5: a link to the public origin");
    let link = mail.text[at..].split_whitespace().next().expect("it ends");
    let markup = link.replace('&', "&#38;");
    assert!(mail.html.contains(&markup), "{link} in {}", mail.html);
    link[site.origin.len()..].to_owned()
}

/// The token in a link.
pub(crate) fn token_of(link: &str) -> String {
    let (_, token) = link.split_once("token=").expect("a token");
    token.split('&').next().unwrap_or_default().to_owned()
}

/// The next token that is mailed to this address.
pub(crate) fn token(site: &Site, mailbox: &Mailbox, to: &str) -> String {
    token_of(&link(site, mailbox, to))
}

/// Somebody with an account and a proved address, signed in, and the user id.
pub(crate) fn proved(site: &Site, mailbox: &Mailbox, email: &str) -> (Visitor, String) {
    site.sign_up(email);
    let mut visitor = site.stranger();
    let body = json!({ "token": token(site, mailbox, email), "password": PASSWORD });
    let response = visitor.post("/auth/verify-email", &body);
    assert_eq!(response.status, 200, "{}", response.text());
    let id = response.json()["user"]["id"].as_str().expect("an id").to_owned();
    (visitor, id)
}

/// Turns an account into one that signs in by a provider only.
pub(crate) fn provider_only(site: &Site, id: &str) {
    site.block_on(site.database.execute(&format!(
        r#"UPDATE "account" SET "providerId" = 'github', "accountId" = 'github-{id}', "password" = NULL
           WHERE "userId" = '{id}'"#
    )));
}

/// Asks for a new password and takes the token from the mail.
pub(crate) fn reset_token(site: &Site, mailbox: &Mailbox, email: &str) -> String {
    let asked = site.stranger().post("/auth/request-password-reset", &json!({ "email": email }));
    assert_eq!(asked.status, 200, "{}", asked.text());
    token(site, mailbox, email)
}

/// Sets a new password with a token.
pub(crate) fn reset(site: &Site, token: &str, password: &str) -> Response {
    site.stranger().post("/auth/reset-password", &json!({ "token": token, "newPassword": password }))
}

/// How a sign-in is answered: status and code.
pub(crate) fn sign_in(site: &Site, email: &str, password: &str) -> (u16, Value) {
    let body = json!({ "email": email, "password": password });
    let response = site.stranger().post("/auth/sign-in/email", &body);
    (response.status, response.json()["code"].clone())
}

/// Checks status and code of a refusal.
pub(crate) fn refused(response: &Response, status: u16, code: &str) {
    assert_eq!((response.status, &*response.code()), (status, code), "{}", response.text());
}

/// Lines of the log of one action, in order: outcome, error, and whether it is known whose it was.
pub(crate) fn logged(site: &Site, action: &str) -> Vec<String> {
    site.block_on(site.database.texts(&format!(
        r#"SELECT CASE WHEN "success" THEN 'ok' ELSE 'failed' END || ' ' || COALESCE("error", '-')
           || ' ' || CASE WHEN "userId" IS NULL THEN 'nobody' ELSE 'known' END
           FROM "sidegate_auth_log" WHERE "action" = '{action}' ORDER BY "at", "id""#
    )))
}
