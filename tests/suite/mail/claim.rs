//! Several replicas on one outbox.

use std::time::Duration;

use super::{VERIFY, later, outbox, plan, send};
use crate::jobs::eventually;
use crate::support::database::Database;
use crate::support::mailbox::Mailbox;
use crate::support::site::Site;

const SECRET: &str = "the same secret on both of the replicas";

/// Two sites on one database that write to one mailbox, with several mails under way at a time.
fn pair(mailbox: &Mailbox) -> (Site, Site) {
    let database = Database::postgres();
    let lines = format!("in_all = 1000\n{}connections = 4", mailbox.config());
    let start = |database| plan(database, mailbox).set("mail", &lines).secret(SECRET).start();
    let shared = start(database.shared());
    (start(database), shared)
}

#[test]
fn of_two_replicas_one_sends_each_mail() {
    let mailbox = Mailbox::start();
    let (one, two) = pair(&mailbox);
    let people: Vec<String> = (0..60).map(|n| format!("user{n}@example.com")).collect();
    let mails: Vec<_> = people.iter().map(|to| (to.as_str(), &VERIFY)).collect();
    send(&one, &mails);
    two.look_again();
    for to in &people {
        mailbox.wait_for(to);
    }
    eventually("all are marked", || outbox(&one).iter().all(|line| line == "sent -"));
    // Long enough for every claim to run out, if one were still held.
    later(&one, Duration::from_mins(10));
    later(&two, Duration::from_mins(10));
    send(&two, &[("last@example.com", &VERIFY)]);
    mailbox.wait_for("last@example.com");
    for to in &people {
        assert_eq!(mailbox.count(to), 1, "{to}");
    }
}

#[test]
fn what_a_replica_left_behind_is_sent_by_another_once_its_claim_has_run_out() {
    let mailbox = Mailbox::start();
    let site = plan(Database::postgres(), &mailbox).start();
    let blocked = "UPDATE \"sidegate_outbox\" SET \"nextAt\" = \"nextAt\" + interval '1 minute'";
    site.block_on(async {
        use sidegate::flow::post::{To, post};
        let to = To { address: "ada@example.com", language: sidegate::ui::text::Language::English };
        let mut tx = site.app.store.begin().await.expect("begins");
        post(&site.app, &mut tx, to, &VERIFY, site.clock.now().plus(Duration::from_secs(30)))
            .await
            .expect("posts");
        tx.commit().await.expect("commits");
        // As somebody who claimed it and is no more.
        site.database.execute(blocked).await;
    });
    send(&site, &[("bob@example.com", &VERIFY)]);
    mailbox.wait_for("bob@example.com");
    assert_eq!(mailbox.count("ada@example.com"), 0);
    later(&site, Duration::from_secs(91));
    mailbox.wait_for("ada@example.com");
}
