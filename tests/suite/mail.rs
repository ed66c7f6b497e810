//! Mail: from the transaction that decides on it to the mailbox.

use std::time::Duration;

use sidegate::flow::post::{To, post};
use sidegate::ui::mails::{Mail, Occasion};
use sidegate::ui::text::Language;

use crate::support::database::{Database, START};
use crate::support::mailbox::Mailbox;
use crate::support::site::{Plan, Site};

mod caps;
mod catcher;
mod claim;
mod conversation;
mod crash;
mod doctor;
mod failure;
mod tls;
mod words;

const ADA: &str = "ada@example.com";
const LINK: &str = "https://harbour.test/auth/verify-email?token=0123456789abcdefghijklmnopqrstuvwxyz-_";

/// The commonest mail.
const VERIFY: Mail<'_> = Mail::VerifyEmail { link: LINK, lifetime: Duration::from_hours(24) };

/// A mail with a code.
const CODE: Mail<'_> = Mail::SecurityCode {
    code: "12345678",
    lifetime: Duration::from_mins(10),
    occasion: Occasion { at: START, device: "Firefox on Linux", place: Some("192.0.2.0/24") },
    reasons: &[],
    link: LINK,
};

/// A site that writes to this mailbox, one mail at a time.
fn plan(database: Database, mailbox: &Mailbox) -> Plan {
    Site::on(database).set("mail", &format!("{}connections = 1", mailbox.config()))
}

/// Decides on mails in one transaction.
fn send(site: &Site, mails: &[(&str, &Mail<'_>)]) {
    site.block_on(async {
        let mut tx = site.app.store.begin().await.expect("begins");
        for (address, mail) in mails {
            let to = To { address, language: Language::English };
            post(&site.app, &mut tx, to, mail, site.clock.now()).await.expect("posts");
        }
        tx.commit().await.expect("commits");
    });
}

/// Lets time pass and has the outbox looked through.
fn later(site: &Site, time: Duration) {
    site.pass(time);
    site.look_again();
}

/// The state and the last error of every line of the outbox, in the order in which they were made.
fn outbox(site: &Site) -> Vec<String> {
    let states = r#"SELECT "state" || ' ' || COALESCE("error", '-') FROM "sidegate_outbox" ORDER BY "createdAt", "id""#;
    site.block_on(site.database.texts(states))
}
