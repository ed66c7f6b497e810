//! What people and programs do under `/auth/`, from outside, on both databases.

use serde_json::{Value, json};

use crate::support::raw::Response;
use crate::support::site::{PASSWORD, Plan, Site};
use crate::support::visitor::Visitor;

mod account;
mod callback;
mod change_email;
mod change_password;
mod cross_site;
mod delete_account;
mod existence;
mod json;
mod links;
pub(crate) mod mailed;
mod overtaken;
mod pages;
pub(crate) mod pending;
pub(crate) mod provider;
mod reader;
mod recover;
mod sessions;
mod typed;
mod verify_email;

/// A site whose budgets no test exhausts unawares.
pub(crate) fn roomy(database: crate::support::database::Database) -> Plan {
    Site::on(database).set("limits", "attempts_per_address = 10000")
}

/// The `Set-Cookie` line for a name.
pub(crate) fn set_cookie<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.all("set-cookie").into_iter().find(|line| line.split('=').next() == Some(name))
}

/// The value of the session cookie that a visitor holds.
pub(crate) fn token(visitor: &Visitor) -> String {
    visitor.cookies["sidegate"].clone()
}

/// Somebody who holds this session cookie and nothing else.
pub(crate) fn holder(site: &Site, token: &str) -> Visitor {
    let mut visitor = site.stranger();
    visitor.cookies.insert("sidegate".to_owned(), token.to_owned());
    visitor
}

/// Whether this session cookie opens the app.
pub(crate) fn opens(site: &Site, token: &str) -> bool {
    let status = holder(site, token).get("/app").status;
    assert!(matches!(status, 200 | 401), "{status}");
    status == 200
}

/// The body of a sign-in.
pub(crate) fn credentials(email: &str) -> Value {
    json!({ "email": email, "password": PASSWORD })
}

/// How many rows a table has.
pub(crate) fn rows(site: &Site, table: &str) -> usize {
    site.block_on(site.database.texts(&format!(r#"SELECT "id" FROM "{table}""#))).len()
}
