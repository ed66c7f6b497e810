//! The table `sidegate_outbox`.

use std::time::Duration;

use sidegate::id::RowId;
use sidegate::store::Store;
use sidegate::store::outbox::{Claimed, Counts, OutboxRow, Outcome};
use sidegate::time::Now;

use super::minutes;
use crate::support::database::{START, on_both_databases};

const DAY: Duration = Duration::from_hours(24);

async fn waiting(store: &Store, recipient: &str, created: Now) -> RowId {
    let id = RowId::random();
    let row = OutboxRow {
        id: id.clone(),
        recipient: recipient.to_owned(),
        body: "sealed".to_owned(),
        created,
        give_up: created.plus(DAY),
    };
    let mut tx = store.begin().await.expect("begins");
    tx.outbox_insert(&row).await.expect("inserts");
    tx.commit().await.expect("commits");
    id
}

async fn claim(store: &Store, id: &RowId, now: Now) -> Option<Claimed> {
    let mut tx = store.begin().await.expect("begins");
    let claimed = tx.outbox_claim(id, now, now.plus(minutes(5))).await.expect("claims");
    tx.commit().await.expect("commits");
    claimed
}

async fn note(store: &Store, claimed: &Claimed, outcome: Outcome, now: Now) -> bool {
    let mut tx = store.begin().await.expect("begins");
    let noted = tx.outbox_note(claimed, outcome, Some("why"), now).await.expect("notes");
    tx.commit().await.expect("commits");
    noted
}

on_both_databases! {
    async fn a_mail_is_claimed_by_one_until_the_claim_runs_out(database) {
        let store = database.open().await;
        let id = waiting(&store, "ada", START).await;
        assert_eq!(store.outbox_due(START, 10).await.expect("finds"), std::slice::from_ref(&id));
        let first = claim(&store, &id, START).await.expect("is free");
        assert_eq!((first.attempt, first.body.as_str(), first.give_up), (1, "sealed", START.plus(DAY)));
        assert!(claim(&store, &id, START).await.is_none());
        assert!(store.outbox_due(START.plus(minutes(4)), 10).await.expect("finds").is_empty());
        let second = claim(&store, &id, START.plus(minutes(5))).await.expect("has run out");
        assert_eq!(second.attempt, 2);
        assert!(!note(&store, &first, Outcome::Sent, START).await, "who was too late changes nothing");
        assert!(note(&store, &second, Outcome::Sent, START).await);
        assert!(!note(&store, &second, Outcome::GivenUp, START).await, "what has ended has ended");
        assert!(claim(&store, &id, START.plus(DAY)).await.is_none());
    }

    async fn of_many_who_claim_at_the_same_time_one_succeeds(database) {
        let store = database.open().await;
        let id = waiting(&store, "ada", START).await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let (store, id) = (store.clone(), id.clone());
            tasks.spawn(async move { claim(&store, &id, START).await.is_some() });
        }
        let claimed = tasks.join_all().await.into_iter().filter(|claimed| *claimed).count();
        assert_eq!(claimed, 1);
    }

    async fn a_mail_that_is_put_off_is_due_again_at_its_time(database) {
        let store = database.open().await;
        let id = waiting(&store, "ada", START).await;
        let claimed = claim(&store, &id, START).await.expect("is free");
        assert!(note(&store, &claimed, Outcome::Again(START.plus(minutes(1))), START).await);
        assert!(store.outbox_due(START, 10).await.expect("finds").is_empty());
        assert_eq!(store.outbox_due(START.plus(minutes(1)), 10).await.expect("finds"), [id]);
    }

    async fn mails_are_counted_for_one_and_for_all_no_further_than_asked(database) {
        let store = database.open().await;
        for (recipient, ago) in [("ada", 10), ("ada", 50), ("ada", 70), ("bob", 30)] {
            waiting(&store, recipient, START.minus(minutes(ago))).await;
        }
        let mut tx = store.begin().await.expect("begins");
        for (caps, counts) in [((9, 9), (2, 3)), ((1, 9), (1, 3)), ((9, 2), (2, 2))] {
            let [caps, counts] = [caps, counts].map(|(to_recipient, in_all)| Counts { to_recipient, in_all });
            let counted = tx.outbox_count("ada", START.minus(minutes(60)), caps).await.expect("counts");
            assert_eq!(counted, counts);
        }
    }

    async fn lines_are_deleted_when_their_time_is_over_and_what_waits_never(database) {
        let store = database.open().await;
        for outcome in [Some(Outcome::Sent), Some(Outcome::GivenUp), None] {
            let id = waiting(&store, "ada", START).await;
            if let Some(outcome) = outcome {
                let claimed = claim(&store, &id, START).await.expect("is free");
                assert!(note(&store, &claimed, outcome, START).await);
            }
        }
        let delete = async |sent: Now, failed: Now| {
            let mut tx = store.begin().await.expect("begins");
            let deleted = tx.outbox_delete_ended(sent, failed, 10).await.expect("deletes");
            tx.commit().await.expect("commits");
            deleted
        };
        let before = START.minus(minutes(1));
        assert_eq!(delete(before, before).await, 0);
        assert_eq!(delete(START, before).await, 1);
        assert_eq!(delete(START, START).await, 1);
        assert_eq!(delete(START.plus(DAY), START.plus(DAY)).await, 0);
        assert_eq!(database.texts(r#"SELECT "state" FROM "sidegate_outbox""#).await, ["waiting"]);
    }

    async fn work_of_a_name_is_done_by_one_transaction_at_a_time(database) {
        let store = database.open().await;
        let mut tx = store.begin().await.expect("begins");
        assert!(tx.alone("sweeping").await.expect("asks"));
        assert!(tx.alone("something else").await.expect("asks"));
        // On SQLite nobody else can even begin.
        if database.file().is_none() {
            let mut other = store.begin().await.expect("begins");
            assert!(!other.alone("sweeping").await.expect("asks"));
            drop(tx);
            // The lock goes when the connection is back.
            let mut free = false;
            for _ in 0..200 {
                free = other.alone("sweeping").await.expect("asks");
                if free {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(free);
        }
    }
}
