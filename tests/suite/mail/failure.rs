//! A mail server that is slow, refuses and hangs up.

use std::time::Duration;

use super::{ADA, CODE, VERIFY, later, outbox, plan, send};
use crate::jobs::eventually;
use crate::support::database::{Database, on_both_databases};
use crate::support::journal;
use crate::support::mailbox::{Does, Mailbox, Stage};

/// Longer than any of the first pauses.
const A_WHILE: Duration = Duration::from_secs(30);

#[test]
fn whatever_a_server_does_at_whatever_point_the_mail_arrives_once_it_relents_and_once_only() {
    for (at, does) in [
        (Stage::Greeting, Does::Says("554 not today")),
        (Stage::Greeting, Does::HangsUp),
        (Stage::Ehlo, Does::Says("421 closing")),
        (Stage::Ehlo, Does::HangsUp),
        (Stage::From, Does::Says("452 no room")),
        (Stage::From, Does::Says("530 who are you")),
        (Stage::To, Does::Says("450 busy")),
        (Stage::To, Does::HangsUp),
        (Stage::Data, Does::Says("451 later")),
        (Stage::MidText, Does::HangsUp),
        (Stage::Text, Does::Says("451 later")),
        (Stage::Text, Does::HangsUp),
        (Stage::Text, Does::Says("garbage")),
    ] {
        let mailbox = Mailbox::start();
        mailbox.mood(at, does);
        let site = plan(Database::sqlite(), &mailbox).start();
        send(&site, &[(ADA, &VERIFY)]);
        eventually("it is put off", || outbox(&site)[0] != "waiting -");
        assert!(outbox(&site)[0].starts_with("waiting "), "{at:?} {does:?}: {:?}", outbox(&site));
        assert_eq!(mailbox.count(ADA), 0, "{at:?} {does:?}");
        mailbox.relents();
        later(&site, A_WHILE);
        mailbox.wait_for(ADA);
        eventually("it is marked", || outbox(&site) == ["sent -"]);
        assert_eq!(mailbox.count(ADA), 1, "{at:?} {does:?}");
    }
}

#[test]
fn a_server_that_says_nothing_is_left_in_time_and_its_connection_never_used_again() {
    for at in [Stage::Greeting, Stage::To, Stage::Text] {
        let mailbox = Mailbox::start();
        mailbox.mood(at, Does::Waits);
        let site = plan(Database::sqlite(), &mailbox)
            .set("mail", &format!("{}connections = 1", mailbox.config().replace("5s", "1s")))
            .start();
        send(&site, &[(ADA, &VERIFY), ("bob@example.com", &VERIFY)]);
        eventually("both are put off", || outbox(&site).iter().all(|line| line != "waiting -"));
        // What the server still takes for text must not be our next command.
        let late = |line: &String| line.starts_with("NOOP") || line.starts_with("QUIT");
        assert!(!mailbox.said().iter().any(late), "{at:?}: {:?}", mailbox.said());
        mailbox.relents();
        later(&site, A_WHILE);
        mailbox.wait_for(ADA);
        mailbox.wait_for("bob@example.com");
        assert_eq!((mailbox.count(ADA), mailbox.connections()), (1, 3), "{at:?}");
    }
}

#[test]
fn a_mail_that_was_taken_without_a_word_comes_twice_and_can_be_known_for_the_same() {
    let mailbox = Mailbox::start();
    mailbox.mood(Stage::Text, Does::TakesAndHangsUp);
    let site = plan(Database::sqlite(), &mailbox).start();
    send(&site, &[(ADA, &VERIFY)]);
    let first = mailbox.wait_for(ADA);
    eventually("it is put off", || outbox(&site)[0] != "waiting -");
    mailbox.relents();
    later(&site, A_WHILE);
    let second = mailbox.wait_for(ADA);
    assert_eq!(first.header("message-id"), second.header("message-id"));
    assert_eq!(first.raw, second.raw);
}

on_both_databases! {
    fn a_mail_that_is_refused_for_good_is_given_up_aloud_and_takes_no_other_along(database) {
        journal::announce("a mail is given up: permanent error (550)");
        let mailbox = Mailbox::start();
        mailbox.mood(Stage::To, Does::Says("550 no such user \u{1b}[31m"));
        let site = plan(database, &mailbox).start();
        send(&site, &[(ADA, &VERIFY)]);
        eventually("it is given up", || outbox(&site)[0].starts_with("failed "));
        assert_eq!(outbox(&site), ["failed permanent error (550): no such user \\u{1b}[31m"]);
        assert!(journal::mentions("no such user"));
        let bodies = site.block_on(site.database.texts(r#"SELECT "body" FROM "sidegate_outbox""#));
        assert_eq!(bodies, [""], "what it said is not kept");
        mailbox.relents();
        later(&site, Duration::from_mins(30));
        send(&site, &[("bob@example.com", &VERIFY)]);
        mailbox.wait_for("bob@example.com");
        assert_eq!(mailbox.count(ADA), 0);
    }

    fn pauses_grow_and_in_the_end_a_mail_is_given_up(database) {
        journal::announce("a mail is given up: transient error (451)");
        let mailbox = Mailbox::start();
        mailbox.mood(Stage::To, Does::Says("451 later"));
        let site = plan(database, &mailbox)
            .set("mail", &format!("give_up_after = \"1h\"\n{}connections = 1", mailbox.config()))
            .start();
        send(&site, &[(ADA, &VERIFY)]);
        let tried = || mailbox.said().iter().filter(|line| line.starts_with("RCPT")).count();
        let mut attempts = 0;
        for _ in 0..120 {
            if outbox(&site)[0].starts_with("failed") {
                break;
            }
            later(&site, Duration::from_secs(30));
            // What is due is tried before the next look; what is not, is not.
            std::thread::sleep(Duration::from_millis(15));
            attempts = tried();
        }
        eventually("it is given up", || { later(&site, Duration::from_secs(30)); outbox(&site)[0].starts_with("failed") });
        // 5, 10, 20, … 640, 900, 900 s fill an hour with about eleven.
        assert!((6..=14).contains(&attempts), "{attempts}");
        assert_eq!(mailbox.count(ADA), 0);
    }
}

#[test]
fn a_code_whose_time_is_over_is_not_sent_any_more() {
    journal::announce("a mail is given up: its time was over");
    let mailbox = Mailbox::start();
    mailbox.mood(Stage::Greeting, Does::HangsUp);
    let site = plan(Database::sqlite(), &mailbox).start();
    send(&site, &[(ADA, &CODE), (ADA, &VERIFY)]);
    eventually("both are put off", || outbox(&site).iter().all(|line| line != "waiting -"));
    mailbox.relents();
    later(&site, Duration::from_mins(11));
    let mail = mailbox.wait_for(ADA);
    assert!(mail.subject().starts_with("Confirm"), "{}", mail.subject());
    eventually("both have ended", || outbox(&site).iter().all(|line| !line.starts_with("waiting")));
    assert_eq!(mailbox.count(ADA), 1);
    assert!(outbox(&site).contains(&"failed its time was over".to_owned()), "{:?}", outbox(&site));
}

#[test]
fn em_10_more_than_one_recipient_never_reaches_a_server() {
    journal::announce("a mail is given up: no address");
    let mailbox = Mailbox::start();
    let site = plan(Database::sqlite(), &mailbox).start();
    let hostile = [
        "ada@example.com,eve@evil.test",
        "ada@example.com\r\nBcc: eve@evil.test",
        "Ada <ada@example.com>",
        "ada@example.com> SIZE=1\r\nRCPT TO:<eve@evil.test",
        "",
    ];
    let mails: Vec<_> = hostile.iter().map(|to| (*to, &VERIFY)).collect();
    send(&site, &mails);
    eventually("all are given up", || outbox(&site).iter().all(|line| line.starts_with("failed no address")));
    assert_eq!(outbox(&site).len(), hostile.len());
    assert_eq!(mailbox.connections(), 0);
}
