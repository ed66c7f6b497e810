//! Links in mails, of whatever kind: scanners spend nothing, nothing leaks, each is good once and for a while
//! (EM-1 to EM-5, RL-10).

use std::time::Duration;

use serde_json::{Value, json};

use super::mailed::{lenient, link, provider_only, refused, token_of};
use super::rows;
use crate::support::database::on_both_databases;
use crate::support::journal;
use crate::support::mailbox::Mailbox;
use crate::support::site::{PASSWORD, Site};
use crate::support::visitor::Visitor;

const ADA: &str = "ada@example.com";
const NEW: &str = "ada@new.example";

/// A kind of link: how it is got, and what spends it.
struct Kind {
    name: &'static str,
    lifetime: Duration,
    spends: fn(&str) -> (&'static str, Value),
}

const HOUR: Duration = Duration::from_hours(1);

fn kinds() -> [Kind; 4] {
    [
        Kind {
            name: "verify-email",
            lifetime: HOUR * 24,
            spends: |token| ("/auth/verify-email", json!({ "token": token, "password": PASSWORD })),
        },
        Kind {
            name: "reset-password",
            lifetime: HOUR,
            spends: |token| {
                ("/auth/reset-password", json!({ "token": token, "newPassword": "quite another phrase" }))
            },
        },
        Kind {
            name: "change-email",
            lifetime: HOUR,
            spends: |token| ("/auth/change-email", json!({ "token": token })),
        },
        Kind {
            name: "delete-user",
            lifetime: HOUR,
            spends: |token| ("/auth/delete-user", json!({ "token": token })),
        },
    ]
}

/// Ada, signed in, and a link of this kind to her.
fn get(site: &Site, mailbox: &Mailbox, kind: &Kind) -> (Visitor, String) {
    site.sign_up(ADA);
    let verify = link(site, mailbox, ADA);
    let (mut ada, id) = site.signed_in(ADA);
    let link = match kind.name {
        "verify-email" => verify,
        "reset-password" => {
            ada.post("/auth/request-password-reset", &json!({ "email": ADA }));
            link(site, mailbox, ADA)
        }
        "change-email" => {
            assert_eq!(ada.post("/auth/change-email", &json!({ "newEmail": NEW })).status, 200);
            link(site, mailbox, NEW)
        }
        _ => {
            provider_only(site, &id);
            assert_eq!(ada.post("/auth/delete-user", &json!({})).status, 200);
            link(site, mailbox, ADA)
        }
    };
    assert!(link.starts_with(&format!("/auth/{}?token=", kind.name)), "{link}");
    (ada, link)
}

/// Every address that a page or redirect names, as a scanner finds them.
fn found(site: &Site, text: &str) -> Vec<String> {
    ["href=\"", "action=\"", "src=\""]
        .iter()
        .flat_map(|mark| text.split(mark).skip(1).filter_map(|rest| rest.split('"').next()))
        .map(|url| url.trim_start_matches(&site.origin).replace("&#38;", "&"))
        .filter(|url| url.starts_with('/'))
        .collect()
}

/// Fetches a link as scanners do: by GET and HEAD, again and again, and whatever comes of it.
fn scan(site: &Site, visitor: &mut Visitor, link: &str) {
    let mut queue = vec![link.to_owned()];
    for depth in 0..3 {
        let mut next = Vec::new();
        for url in &queue {
            for _ in 0..if depth == 0 { 10 } else { 1 } {
                let shown = visitor.navigate(url);
                assert_eq!(visitor.ask("HEAD", url).navigating().send().status, shown.status);
                let to = shown.header("location").map(|to| to.trim_start_matches(&site.origin).to_owned());
                next.extend(to.filter(|to| to.starts_with('/')));
                next.extend(found(site, &shown.text()));
            }
        }
        next.sort();
        next.dedup();
        queue = next;
    }
}

on_both_databases! {
    fn em_3_a_scanner_that_fetches_everything_ten_times_spends_nothing_and_gets_no_session(database) {
        let mailbox = Mailbox::start();
        let site = lenient(database, &mailbox).start();
        for kind in kinds() {
            let (mut ada, link) = get(&site, &mailbox, &kind);
            let mut scanner = site.stranger();
            scan(&site, &mut scanner, &link);
            assert!(scanner.cookies.is_empty(), "{}", kind.name);
            scan(&site, &mut ada, &link);
            let (path, body) = (kind.spends)(&token_of(&link));
            let spent = ada.post(path, &body);
            assert_eq!(spent.status, 200, "{}: {}", kind.name, spent.text());
            site.block_on(site.database.execute(r#"DELETE FROM "user""#));
        }
    }

    fn em_1_a_link_is_good_once_whoever_is_first(database) {
        let mailbox = Mailbox::start();
        let site = lenient(database, &mailbox).set("listen", "workers = 2").start();
        for kind in kinds() {
            let (ada, link) = get(&site, &mailbox, &kind);
            let (path, body) = (kind.spends)(&token_of(&link));
            let cookies = ada.cookies;
            let statuses: Vec<u16> = std::thread::scope(|scope| {
                let all: Vec<_> = (0..6).map(|_| scope.spawn(|| {
                    let mut ada = site.stranger();
                    ada.cookies = cookies.clone();
                    ada.post(path, &body).status
                })).collect();
                all.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            let won = statuses.iter().filter(|status| **status == 200).count();
            assert_eq!(won, 1, "{}: {statuses:?}", kind.name);
            assert!(statuses.iter().all(|status| [200, 400, 401].contains(status)), "{statuses:?}");
            site.block_on(site.database.execute(r#"DELETE FROM "user""#));
        }
    }

    fn em_2_a_link_is_good_for_its_time_and_no_longer(database) {
        let mailbox = Mailbox::start();
        let site = lenient(database, &mailbox).start();
        for kind in kinds() {
            let (mut ada, link) = get(&site, &mailbox, &kind);
            site.pass(kind.lifetime.saturating_sub(Duration::from_secs(1)));
            let shown = ada.navigate(&link);
            assert_eq!(shown.status, 200, "{}", kind.name);
            site.pass(Duration::from_secs(1));
            let (path, body) = (kind.spends)(&token_of(&link));
            for _ in 0..2 {
                let shown = ada.navigate(&link);
                assert_eq!(shown.status, 400, "{}", kind.name);
                assert!(shown.text().contains("no longer valid"), "{}", shown.text());
                refused(&ada.post(path, &body), 400, "INVALID_TOKEN");
            }
            site.block_on(site.database.execute(r#"DELETE FROM "user""#));
        }
    }

    fn em_1_what_is_no_token_of_ours_is_refused_alike_and_asked_of_nobody(database) {
        let mailbox = Mailbox::start();
        let site = lenient(database, &mailbox).start();
        site.sign_up(ADA);
        let good = token_of(&link(&site, &mailbox, ADA));
        let (mut ada, _) = site.signed_in(ADA);
        let mut changed = good.clone();
        changed.replace_range(5..6, if &good[5..6] == "A" { "B" } else { "A" });
        for kind in kinds() {
            let session = ada.cookies["sidegate"].clone();
            for token in ["", "x", &changed, &good[1..], &session, &"A".repeat(54), "\u{e9}\0"] {
                let (path, body) = (kind.spends)(token);
                refused(&ada.post(path, &body), 400, "INVALID_TOKEN");
            }
            if kind.name != "verify-email" {
                let (path, body) = (kind.spends)(&good);
                refused(&ada.post(path, &body), 400, "INVALID_TOKEN");
            }
        }
        assert_eq!(rows(&site, "user"), 1);
        let (path, body) = (kinds()[0].spends)(&good);
        assert_eq!(ada.post(path, &body).status, 200, "and it is still good for what it was made for");
    }

    fn em_4_and_lg_2_a_token_is_in_the_mail_and_the_form_and_nowhere_else(database) {
        let mailbox = Mailbox::start();
        let site = lenient(database, &mailbox).start();
        for kind in kinds() {
            let (mut ada, link) = get(&site, &mailbox, &kind);
            let token = token_of(&link);
            let shown = ada.navigate(&link);
            assert_eq!(shown.header("referrer-policy"), Some("no-referrer"));
            assert_eq!(shown.header("cache-control"), Some("no-store"));
            let page = shown.text();
            assert_eq!(page.matches(&token).count(), 1, "{}", kind.name);
            assert!(page.contains(&format!("<input type=\"hidden\" name=\"token\" value=\"{token}\">")));
            assert!(shown.all("set-cookie").is_empty());
            assert!(!site.block_on(site.database.dump()).contains(&token), "{}", kind.name);
            assert!(!journal::mentions(&token), "{}", kind.name);
            site.block_on(site.database.execute(r#"DELETE FROM "user""#));
        }
    }

    fn rl_10_tries_to_spend_a_link_are_counted_by_source(database) {
        let mailbox = Mailbox::start();
        let site = lenient(database, &mailbox).start();
        let (_, link) = get(&site, &mailbox, &kinds()[1]);
        drop(site);
        let tight = lenient(Database::sqlite(), &mailbox)
            .set("limits", "attempts_per_address = 5").start();
        let (path, body) = (kinds()[1].spends)(&token_of(&link));
        let statuses = [(); 7].map(|()| tight.stranger().post(path, &body).status);
        assert_eq!(statuses, [400, 400, 400, 400, 400, 429, 429]);
    }
}
