//! What a mail server hears, and what arrives.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sidegate::flow::post::{To, post};
use sidegate::ui::text::Language;

use super::{ADA, CODE, LINK, VERIFY, outbox, plan, send};
use crate::jobs::eventually;
use crate::support::database::{Database, on_both_databases};
use crate::support::mailbox::Mailbox;
use crate::support::site::Site;

on_both_databases! {
    fn a_mail_arrives_as_text_and_as_markup_with_fields_of_ours_alone(database) {
        let mailbox = Mailbox::start();
        let site = plan(database, &mailbox).start();
        send(&site, &[(ADA, &VERIFY)]);
        let mail = mailbox.wait_for(ADA);
        assert_eq!((mail.from.as_str(), mail.to.as_slice()), ("no-reply@harbour.test", &[ADA.to_owned()][..]));
        assert_eq!(mail.header("from"), Some("\"Harbour Notes\" <no-reply@harbour.test>"));
        assert_eq!(mail.header("to"), Some(ADA));
        assert_eq!(mail.header("date"), Some("Fri, 02 Jan 2026 03:04:05 +0000"));
        assert_eq!(mail.header("auto-submitted"), Some("auto-generated"));
        assert_eq!(mail.subject(), "Confirm your address for 127.0.0.1");
        assert_eq!(mail.links(), [LINK, &site.origin]);
        assert!(mail.target().starts_with("/auth/verify-email?token="), "{}", mail.target());
        assert!(mail.html.contains(&format!("href=\"{LINK}\"")), "{}", mail.html);
        let kind = mail.header("content-type").expect("a kind");
        assert!(kind.starts_with("multipart/alternative"), "{kind}");
        let id = mail.header("message-id").expect("an id").to_owned();
        let row = site.block_on(site.database.texts(r#"SELECT "id" FROM "sidegate_outbox""#));
        assert_eq!(id, format!("<{}@harbour.test>", row[0]));
    }

    fn what_waits_and_what_was_sent_shows_neither_address_nor_link_nor_code(database) {
        let mailbox = Mailbox::start();
        let site = plan(database, &mailbox).start();
        send(&site, &[(ADA, &VERIFY), (ADA, &CODE)]);
        let before = site.block_on(site.database.dump());
        mailbox.wait_for(ADA);
        assert_eq!(mailbox.wait_for(ADA).code(), "12345678");
        eventually("both are marked", || outbox(&site) == ["sent -", "sent -"]);
        let after = site.block_on(site.database.dump());
        for dump in [&before, &after] {
            assert!(dump.contains("sidegate_outbox"));
            for secret in ["ada@", "0123456789abc", "12345678", "Confirm"] {
                assert!(!dump.contains(secret), "{secret} in {dump}");
            }
        }
        let bodies = site.block_on(site.database.texts(r#"SELECT "body" FROM "sidegate_outbox""#));
        assert_eq!(bodies, ["", ""]);
    }
}

#[test]
fn a_mail_of_a_transaction_that_never_was_is_never_sent() {
    let mailbox = Mailbox::start();
    let site = plan(Database::sqlite(), &mailbox).start();
    site.block_on(async {
        let mut tx = site.app.store.begin().await.expect("begins");
        let to = To { address: "bob@example.com", language: Language::English };
        post(&site.app, &mut tx, to, &VERIFY, site.clock.now()).await.expect("posts");
    });
    send(&site, &[(ADA, &VERIFY)]);
    mailbox.wait_for(ADA);
    assert_eq!(mailbox.count("bob@example.com"), 0);
}

#[test]
fn a_mail_speaks_the_language_that_was_asked_for() {
    let mailbox = Mailbox::start();
    let site = plan(Database::sqlite(), &mailbox).set("public", "name = \"Café Größe\"").start();
    site.block_on(async {
        let mut tx = site.app.store.begin().await.expect("begins");
        let to = To { address: ADA, language: Language::German };
        post(&site.app, &mut tx, to, &VERIFY, site.clock.now()).await.expect("posts");
        tx.commit().await.expect("commits");
    });
    let mail = mailbox.wait_for(ADA);
    assert_eq!(mail.subject(), "Bestätigen Sie Ihre Adresse für Café Größe");
    assert!(
        mail.text.contains("Der Link gilt 24 Stunden.") && mail.html.contains("lang=\"de\""),
        "{}",
        mail.raw
    );
    assert!(mail.raw.is_ascii(), "a server need not take anything else");
}

#[test]
fn who_writes_and_who_answers_are_as_configured() {
    let mailbox = Mailbox::start();
    let lines = format!(
        "from = \"no-reply@harbour.test\"\nreply_to = \"Help <help@harbour.test>\"\n{}",
        mailbox.smtp("tls = \"none\"")
    );
    let site = Site::on(Database::sqlite()).set("mail", &lines).set("public", "name = \"Harbour\"").start();
    send(&site, &[(ADA, &VERIFY)]);
    let mail = mailbox.wait_for(ADA);
    assert_eq!(mail.header("from"), Some("Harbour <no-reply@harbour.test>"));
    assert_eq!(mail.header("reply-to"), Some("Help <help@harbour.test>"));
}

#[test]
fn several_mails_travel_on_one_connection_which_is_then_closed() {
    let mailbox = Mailbox::start();
    let site = plan(Database::sqlite(), &mailbox).start();
    send(&site, &[(ADA, &VERIFY), (ADA, &CODE), ("bob@example.com", &VERIFY)]);
    for to in [ADA, ADA, "bob@example.com"] {
        mailbox.wait_for(to);
    }
    mailbox.wait_until_said("QUIT");
    assert_eq!(mailbox.connections(), 1);
}

#[test]
fn user_name_and_password_are_given_where_they_are_configured() {
    let mailbox = Mailbox::start();
    let lines = mailbox.smtp("tls = \"none\"\nusername = \"harbour\"\npassword = \"hush hush\"");
    let lines = format!("from = \"no-reply@harbour.test\"\n{lines}");
    let site = Site::on(Database::sqlite()).set("mail", &lines).start();
    send(&site, &[(ADA, &VERIFY)]);
    mailbox.wait_for(ADA);
    let proof = STANDARD.encode("\0harbour\0hush hush");
    assert!(mailbox.said().contains(&format!("AUTH PLAIN {proof}")), "{:?}", mailbox.said());
}

#[test]
fn without_mail_nothing_is_kept_for_it() {
    let site = Site::start();
    send(&site, &[(ADA, &VERIFY)]);
    assert!(outbox(&site).is_empty());
}
