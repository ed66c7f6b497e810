//! Too many mails: left out, and nobody is told (RL-9).

use std::time::Duration;

use super::{ADA, CODE, VERIFY, later, outbox, plan, send};
use crate::support::database::on_both_databases;
use crate::support::journal;
use crate::support::mailbox::Mailbox;

on_both_databases! {
    fn rl_9_mails_to_one_address_are_capped_and_strangers_cannot_use_up_the_half_that_is_for_codes(database) {
        let mailbox = Mailbox::start();
        let site = plan(database, &mailbox)
            .set("mail", &format!("per_recipient = 6\n{}connections = 1", mailbox.config()))
            .start();
        send(&site, &[(ADA, &VERIFY); 10]);
        assert_eq!(outbox(&site).len(), 3);
        send(&site, &[(ADA, &CODE); 10]);
        assert_eq!(outbox(&site).len(), 6);
        assert!(journal::mentions("`mail.per_recipient` is reached"));
        send(&site, &[("bob@example.com", &VERIFY)]);
        mailbox.wait_for("bob@example.com");
        later(&site, Duration::from_mins(59));
        send(&site, &[(ADA, &CODE)]);
        assert_eq!(outbox(&site).len(), 7);
        later(&site, Duration::from_mins(2));
        send(&site, &[(ADA, &VERIFY); 10]);
        assert_eq!(outbox(&site).len(), 10, "an hour later it begins anew");
    }

    fn mails_in_all_are_capped(database) {
        let mailbox = Mailbox::start();
        let site = plan(database, &mailbox)
            .set("mail", &format!("in_all = 8\n{}connections = 1", mailbox.config()))
            .start();
        let people: Vec<String> = (0..10).map(|n| format!("user{n}@example.com")).collect();
        let verify: Vec<_> = people.iter().map(|to| (to.as_str(), &VERIFY)).collect();
        send(&site, &verify);
        assert_eq!(outbox(&site).len(), 4);
        let codes: Vec<_> = people.iter().map(|to| (to.as_str(), &CODE)).collect();
        send(&site, &codes);
        assert_eq!(outbox(&site).len(), 8);
        assert!(journal::mentions("`mail.in_all` is reached"));
    }
}
