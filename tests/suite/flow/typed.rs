//! The address that was typed a moment ago stands in the next form, whether there is such an account or not (EN-3,
//! EN-5).

use std::time::Duration;

use super::mailed::{link, mailing, proved, token_of};
use super::{roomy, set_cookie};
use crate::support::database::on_both_databases;
use crate::support::mailbox::Mailbox;
use crate::support::raw::Response;
use crate::support::site::{PASSWORD, Site};
use crate::support::visitor::Visitor;

const ADA: &str = "ada@example.com";
/// As long as Ada's.
const BOB: &str = "bob@example.com";
const COOKIE: &str = "sidegate-typed";

/// What stands in the field for the address of a page.
fn field(visitor: &mut Visitor, page: &str) -> String {
    let text = visitor.navigate(page).text();
    let (_, rest) = text.split_once("id=\"email\"").expect("a field");
    let (_, rest) = rest.split_once("value=\"").expect("a value");
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// An answer without what is another each time; of the cookie its length is left.
fn alike(response: &Response) -> (u16, Vec<(String, String)>) {
    let changing = ["date", "x-request-id"];
    let headers = response.headers.iter().filter(|(name, _)| !changing.contains(&&**name));
    let headers = headers.map(|(name, value)| match name.as_str() {
        "set-cookie" => (name.clone(), format!("{} {}", &value[..COOKIE.len()], value.len())),
        _ => (name.clone(), value.clone()),
    });
    (response.status, headers.collect())
}

fn sign_up(site: &Site, email: &str) -> (Visitor, Response) {
    let mut visitor = site.stranger();
    let fields = [("name", "Ada"), ("email", email), ("password", PASSWORD), ("callback_url", "/notes")];
    let response = visitor.submit("/auth/sign-up", &fields);
    assert_eq!(response.status, 303, "{}", response.text());
    (visitor, response)
}

on_both_databases! {
    fn who_has_signed_up_finds_the_address_in_the_sign_in_form(database) {
        let site = roomy(database).start();
        let (mut ada, free) = sign_up(&site, " Ada@Example.com ");
        let (mut again, taken) = sign_up(&site, " Ada@Example.com ");
        assert_eq!(alike(&free), alike(&taken), "EN-3");
        let cookie = set_cookie(&free, COOKIE).expect("it is kept");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Max-Age=900"));
        assert!(!cookie.contains("example"), "sealed: {cookie}");
        let at = "/auth/sign-in?callback_url=%2Fnotes&notice=signed-up";
        assert_eq!((field(&mut ada, at), field(&mut again, at)), (ADA.to_owned(), ADA.to_owned()));
        assert_eq!(field(&mut site.stranger(), at), "");
        assert_eq!(field(&mut ada, "/auth/sign-up"), "", "who signs up is somebody else");

        let signed_in = ada.submit("/auth/sign-in", &[("email", ADA), ("password", PASSWORD)]);
        assert_eq!(signed_in.status, 303);
        assert!(set_cookie(&signed_in, COOKIE).is_some_and(|line| line.contains("Max-Age=0")));
        assert!(!ada.cookies.contains_key(COOKIE));
        ada.cookies.insert(COOKIE.to_owned(), "x".to_owned());
        ada.get("/app");
        assert_eq!(site.upstream.last().header("cookie"), None, "it is ours alone");
    }

    fn what_is_not_sealed_by_us_or_too_old_is_not_shown(database) {
        let site = roomy(database).start();
        let (mut ada, _) = sign_up(&site, ADA);
        let sealed = ada.cookies[COOKIE].clone();
        assert_eq!(field(&mut ada, "/auth/sign-in"), ADA);
        let turned: String = sealed.chars().rev().collect();
        for bad in ["", "ada@example.com", &sealed[1..], &turned, "\"><b>"] {
            ada.cookies.insert(COOKIE.to_owned(), bad.to_owned());
            assert_eq!(field(&mut ada, "/auth/sign-in"), "", "{bad:?}");
        }
        ada.cookies.insert(COOKIE.to_owned(), sealed);
        site.pass(Duration::from_secs(15 * 60 - 1));
        assert_eq!(field(&mut ada, "/auth/sign-in"), ADA);
        site.pass(Duration::from_secs(1));
        assert_eq!(field(&mut ada, "/auth/sign-in"), "");
    }

    fn who_forgot_the_password_does_not_type_the_address_three_times(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        proved(&site, &mailbox, ADA);
        let mut ada = site.stranger();
        let known = ada.submit("/auth/forgot-password", &[("email", ADA)]);
        let mut bob = site.stranger();
        let unknown = bob.submit("/auth/forgot-password", &[("email", BOB)]);
        assert_eq!(alike(&known), alike(&unknown), "EN-5");
        assert_eq!(field(&mut bob, "/auth/sign-in"), BOB);
        assert_eq!(field(&mut ada, "/auth/forgot-password"), ADA, "to be sent once more");
        let again = bob.submit("/auth/send-verification-email", &[("email", BOB)]);
        assert_eq!(alike(&again).0, 303);
        assert_eq!(field(&mut bob, "/auth/sign-in"), BOB);

        // The mail may be read in another browser.
        let mut phone = site.stranger();
        let token = token_of(&link(&site, &mailbox, ADA));
        let reset = phone.submit("/auth/reset-password", &[("token", &token), ("newPassword", "quite another phrase")]);
        assert_eq!(reset.status, 303, "{}", reset.text());
        assert_eq!(field(&mut phone, "/auth/sign-in"), ADA);
    }
}
