//! Who reads along: nobody, and only the right server is told anything.

use super::{ADA, VERIFY, outbox, send};
use crate::jobs::eventually;
use crate::support::database::Database;
use crate::support::mailbox::{CA_FILE, Mailbox};
use crate::support::site::Site;

fn site(mailbox: &Mailbox, lines: &str) -> Site {
    let lines = format!("from = \"no-reply@harbour.test\"\n{}", mailbox.smtp(lines));
    Site::on(Database::sqlite()).set("mail", &lines).start()
}

fn trusting(tls: &str) -> String {
    format!("tls = \"{tls}\"\nca_file = \"{CA_FILE}\"\nusername = \"harbour\"\npassword = \"hush\"")
}

#[test]
fn a_server_is_spoken_to_in_tls_from_the_first_byte_or_after_asking() {
    for (mailbox, tls) in [(Mailbox::with_tls(), "implicit"), (Mailbox::with_start_tls(), "starttls")] {
        let site = site(&mailbox, &trusting(tls));
        send(&site, &[(ADA, &VERIFY)]);
        mailbox.wait_for(ADA);
        let said = mailbox.said();
        assert_eq!(said.iter().any(|line| line == "STARTTLS"), tls == "starttls", "{said:?}");
        assert_eq!(said.iter().filter(|line| line.starts_with("AUTH")).count(), 1, "{said:?}");
    }
}

#[test]
fn a_server_that_nobody_vouches_for_is_told_nothing() {
    let mailbox = Mailbox::with_tls();
    let site = site(&mailbox, "username = \"harbour\"\npassword = \"hush\"");
    send(&site, &[(ADA, &VERIFY)]);
    eventually("it is put off", || outbox(&site)[0] != "waiting -");
    assert!(outbox(&site)[0].contains("certificate"), "{:?}", outbox(&site));
    assert!(mailbox.said().is_empty(), "{:?}", mailbox.said());
}

#[test]
fn a_server_that_does_not_offer_starttls_is_given_neither_password_nor_mail() {
    let mailbox = Mailbox::start();
    let site = site(&mailbox, &trusting("starttls"));
    send(&site, &[(ADA, &VERIFY)]);
    eventually("it is put off", || outbox(&site)[0] != "waiting -");
    assert!(
        outbox(&site)[0].starts_with("waiting ") && outbox(&site)[0].contains("STARTTLS"),
        "{:?}",
        outbox(&site)
    );
    let said = mailbox.said();
    assert!(said.iter().all(|line| line.starts_with("EHLO") || line == "QUIT"), "{said:?}");
}
