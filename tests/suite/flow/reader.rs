//! The language of a mail is that of its reader, whoever caused it.

use serde_json::json;

use super::pending::{FIREFOX, SAFARI, browser, watchful};
use super::{credentials, roomy, rows};
use crate::support::database::on_both_databases;
use crate::support::letters::{Letter, letters};
use crate::support::site::{PASSWORD, Site};
use crate::support::visitor::Visitor;

const ADA: &str = "ada@example.com";

/// Somebody whose browser has this language.
fn speaking(site: &Site, agent: &str, language: &str) -> Visitor {
    let mut visitor = browser(site, agent);
    visitor.headers.push(("Accept-Language".to_owned(), language.to_owned()));
    visitor
}

/// The subjects of all mails to Ada, in alphabetical order.
fn subjects(site: &Site) -> Vec<String> {
    let mut subjects: Vec<String> = letters(site)
        .into_iter()
        .filter(|Letter { to, .. }| to == ADA)
        .map(|letter| letter.subject)
        .collect();
    subjects.sort();
    subjects
}

fn german(subject: &str) -> bool {
    ["Adresse für", "schon ein Konto", "Neues Passwort", "Ihr Code"]
        .iter()
        .any(|words| subject.contains(words))
}

on_both_databases! {
    fn mails_that_a_stranger_causes_come_in_the_language_of_their_reader(database) {
        let site = watchful(database).start();
        let mut ada = speaking(&site, FIREFOX, "de-AT,de;q=0.9");
        let up = json!({ "name": "Ada", "email": ADA, "password": PASSWORD });
        assert_eq!(ada.post("/auth/sign-up/email", &up).status, 200);
        site.block_on(site.database.execute(r#"UPDATE "user" SET "emailVerified" = TRUE"#));
        assert_eq!(ada.post("/auth/sign-in/email", &credentials(ADA)).status, 200);

        let mut other = speaking(&site, SAFARI, "en");
        assert_eq!(other.post("/auth/sign-up/email", &up).status, 200);
        assert_eq!(other.post("/auth/request-password-reset", &json!({ "email": ADA })).status, 200);
        assert_eq!(other.post("/auth/sign-in/email", &credentials(ADA)).json()["pending"], true);
        let mails = subjects(&site);
        assert_eq!(mails.len(), 4);
        assert!(mails.iter().all(|subject| german(subject)), "{mails:#?}");
        assert!(other.navigate("/auth/verify-signin").text().contains("lang=\"en\""), "pages follow the browser");

        // A program that names no language changes nothing; the own browser does.
        let mut program = ada;
        for says in [None, Some("*"), Some("fr")] {
            program.headers.retain(|(name, _)| name != "Accept-Language");
            program.headers.extend(says.map(|says| ("Accept-Language".to_owned(), says.to_owned())));
            assert_eq!(program.post("/auth/sign-in/email", &credentials(ADA)).status, 200);
        }
        program.headers.retain(|(name, _)| name != "Accept-Language");
        program.headers.push(("Accept-Language".to_owned(), "en".to_owned()));
        assert_eq!(other.post("/auth/request-password-reset", &json!({ "email": ADA })).status, 200);
        assert!(subjects(&site).iter().all(|subject| german(subject)));
        assert_eq!(program.post("/auth/sign-in/email", &credentials(ADA)).status, 200);
        assert_eq!(other.post("/auth/request-password-reset", &json!({ "email": ADA })).status, 200);
        assert!(subjects(&site).contains(&"Set a new password for 127.0.0.1".to_owned()), "{:?}", subjects(&site));
    }

    fn what_a_user_reads_goes_with_the_user(database) {
        let site = roomy(database).start();
        let mut ada = speaking(&site, FIREFOX, "de");
        let up = json!({ "name": "Ada", "email": ADA, "password": PASSWORD });
        assert_eq!(ada.post("/auth/sign-up/email", &up).status, 200);
        assert_eq!(ada.post("/auth/sign-in/email", &credentials(ADA)).status, 200);
        let kept = || site.block_on(site.database.texts(r#"SELECT "language" FROM "sidegate_language""#));
        assert_eq!(kept(), ["de"]);
        assert_eq!(ada.post("/auth/delete-user", &json!({ "password": PASSWORD })).status, 200);
        assert_eq!((kept().len(), rows(&site, "user")), (0, 0));
    }
}
