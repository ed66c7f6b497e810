//! The catcher and its pages.

use std::time::Duration;

use sidegate::ui::mails::Mail;

use super::{ADA, CODE, plan, send};
use crate::jobs::eventually;
use crate::support::database::Database;
use crate::support::mailbox::Mailbox;
use crate::support::site::Site;
use crate::support::visitor::Visitor;

fn site() -> Site {
    Site::on(Database::sqlite()).set("mail", "transport = \"catcher\"").start()
}

/// Somebody who reads pages.
fn reader(site: &Site) -> Visitor {
    let mut visitor = site.stranger();
    visitor.headers.push(("Accept".to_owned(), "text/html".to_owned()));
    visitor
}

#[test]
fn programs_read_caught_mails_as_json_as_soon_as_they_have_caused_them() {
    let site = site();
    send(&site, &[(ADA, &CODE)]);
    let list = site.stranger().get("/auth/dev/mail").json();
    assert_eq!((&list[0]["to"], list.as_array().map(Vec::len)), (&ADA.into(), Some(1)));
    let page = format!("/auth/dev/mail/{}", list[0]["id"].as_str().expect("an id"));
    let mail = site.stranger().get(&page).json();
    assert!(mail["text"].as_str().expect("text").contains("12345678"), "{mail}");
    assert_eq!(mail, list[0]);
}

#[test]
fn a_caught_mail_is_shown_with_links_that_lead_to_this_site() {
    let site = site();
    let mut visitor = reader(&site);
    assert!(visitor.get("/auth/dev/mail").text().contains("Nothing was caught yet"));
    let link = format!("{}/auth/verify-email?token=a&b=<c>", site.origin);
    send(&site, &[(ADA, &Mail::ResetPassword { link: &link, lifetime: Duration::from_hours(1) })]);
    let list = visitor.get("/auth/dev/mail").text();
    let (_, rest) = list.split_once("href=\"/auth/dev/mail/").expect("a link");
    let page = format!("/auth/dev/mail/{}", rest.split('"').next().expect("an end"));

    let shown = visitor.get(&page);
    let link = "<a href=\"/auth/verify-email?token=a&#38;b=&#60;c&#62;\">";
    assert!(shown.text().contains(link), "{}", shown.text());
    assert!(shown.text().contains("Set a new password for"), "{}", shown.text());

    let markup = visitor.get(&format!("{page}?html"));
    let policy = markup.header("content-security-policy").expect("a policy");
    assert!(policy.contains("sandbox") && policy.contains("default-src 'none'"), "{policy}");
    assert!(!policy.contains("allow-scripts"), "{policy}");
    assert!(markup.text().contains("Set a new password</a>"), "{}", markup.text());
    assert_eq!(visitor.get("/auth/dev/mail/nothing").status, 404);
}

#[test]
fn the_latest_mail_comes_first_and_the_oldest_are_forgotten() {
    let site = Site::on(Database::sqlite())
        .set("mail", "transport = \"catcher\"\nin_all = 1000\nper_recipient = 1000")
        .start();
    for n in 0..105 {
        send(&site, &[(&format!("user{n}@example.com"), &CODE)]);
        site.pass(Duration::from_millis(1));
    }
    let last = || reader(&site).get("/auth/dev/mail").text();
    eventually("all are caught", || last().contains("user104@"));
    eventually("the first is forgotten", || !last().contains("user4@"));
    let page = last();
    assert_eq!(page.matches("@example.com").count(), 100);
    assert!(page.find("user104@") < page.find("user50@"), "the latest comes first");
}

#[test]
fn without_the_catcher_its_pages_are_not_there() {
    let mailbox = Mailbox::start();
    for site in [Site::start(), plan(Database::sqlite(), &mailbox).start()] {
        for page in ["/auth/dev/mail", "/auth/dev/mail/x"] {
            assert_eq!(site.stranger().get(page).status, 404);
        }
    }
}
