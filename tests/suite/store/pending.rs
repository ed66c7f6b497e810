//! The table `sidegate_pending_session`.

use sidegate::id::PendingId;
use sidegate::store::Store;
use sidegate::store::pending::PendingRow;
use sidegate::store::session_providers::ProviderSession;
use sidegate::time::Now;
use sidegate::visitor::User;
use tokio::task::JoinSet;

use super::{minutes, stored_user, token};
use crate::support::database::{START, on_both_databases};

const MOST: i64 = 5;

fn pending(user: &User, expires: Now) -> PendingRow {
    PendingRow {
        id: PendingId::random(),
        token: token().hash(),
        user: user.clone(),
        remember: true,
        rules: "R4 R6".to_owned(),
        callback_url: Some("/notes".to_owned()),
        provider: None,
        code: "a hash".to_owned(),
        code_expires: START.plus(minutes(10)),
        tries: 0,
        codes: 1,
        created: START,
        expires,
        address: Some("192.0.2.7".to_owned()),
        agent: Some("Firefox".to_owned()),
    }
}

async fn stored(store: &Store, user: &User, expires: Now) -> PendingRow {
    let row = pending(user, expires);
    let mut tx = store.begin().await.expect("begins");
    tx.pending_insert(&row).await.expect("inserts");
    tx.commit().await.expect("commits");
    row
}

async fn read(store: &Store, id: &PendingId, now: Now) -> Option<PendingRow> {
    store.begin().await.expect("begins").pending_by_id(id, now).await.expect("reads")
}

on_both_databases! {
    async fn a_pending_sign_in_is_read_back_and_found_by_its_token_until_it_ends(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let mut row = pending(&ada, START.plus(minutes(720)));
        row.provider = Some(ProviderSession {
            provider: "corp".to_owned(),
            issuer: "https://id.example".to_owned(),
            subject: "ada".to_owned(),
            sid: Some("s1".to_owned()),
            id_token: None,
        });
        let mut tx = store.begin().await.expect("begins");
        tx.pending_insert(&row).await.expect("inserts");
        tx.commit().await.expect("commits");
        let last = START.plus(minutes(719));
        assert!(read(&store, &row.id, last).await == Some(row.clone()));
        assert_eq!(store.pending_by_hash(row.token, last).await.expect("reads"), Some(row.id.clone()));
        assert_eq!(store.pending_by_hash(token().hash(), START).await.expect("reads"), None);
        assert_eq!(store.pending_by_hash(row.token, row.expires).await.expect("reads"), None, "PEN-3");
        assert!(read(&store, &row.id, row.expires).await.is_none());
    }

    async fn tries_are_counted_however_many_come_at_once(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let row = stored(&store, &ada, START.plus(minutes(720))).await;
        let mut racers = JoinSet::new();
        for _ in 0..12 {
            let (store, id) = (store.clone(), row.id.clone());
            racers.spawn(async move {
                let mut tx = store.begin().await.expect("begins");
                let counted = tx.pending_try(&id, START, MOST).await.expect("answers");
                tx.commit().await.expect("commits");
                counted
            });
        }
        assert_eq!(racers.join_all().await.into_iter().filter(|counted| *counted).count(), 5);
        assert_eq!(read(&store, &row.id, START).await.expect("is there").tries, 5);
    }

    async fn a_code_that_ended_is_not_tried_and_another_has_all_its_tries(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let row = stored(&store, &ada, START.plus(minutes(720))).await;
        let mut tx = store.begin().await.expect("begins");
        for _ in 0..3 {
            assert!(tx.pending_try(&row.id, START, MOST).await.expect("answers"));
        }
        assert!(!tx.pending_try(&row.id, row.code_expires, MOST).await.expect("answers"));
        assert!(tx.pending_set_code(&row.id, "another", START.plus(minutes(30)), START).await.expect("answers"));
        let now = tx.pending_by_id(&row.id, START).await.expect("reads").expect("is there");
        assert_eq!((now.code.as_str(), now.tries, now.codes, now.code_expires), ("another", 0, 2, START.plus(minutes(30))));
        assert!(tx.pending_try(&row.id, START.plus(minutes(29)), MOST).await.expect("answers"));
        tx.pending_void_code(&row.id, START).await.expect("answers");
        assert!(!tx.pending_try(&row.id, START, MOST).await.expect("answers"));
        assert!(!tx.pending_set_code(&row.id, "late", row.expires, row.expires).await.expect("answers"));
    }

    async fn a_pending_sign_in_ends_once_by_id_by_token_with_its_user_and_with_the_rest(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let bob = stored_user(&store, "bob@example.com").await;
        let end = START.plus(minutes(720));
        let (one, two) = (stored(&store, &ada, end).await, stored(&store, &ada, end).await);
        let (three, of_bob) = (stored(&store, &ada, end).await, stored(&store, &bob, end).await);
        let mut tx = store.begin().await.expect("begins");
        assert!(tx.pending_delete(&one.id).await.expect("answers"));
        assert!(!tx.pending_delete(&one.id).await.expect("answers"));
        assert!(tx.pending_delete_by_hash(two.token).await.expect("answers"));
        assert!(!tx.pending_delete_by_hash(two.token).await.expect("answers"));
        assert_eq!(tx.pendings_delete_of_user(&ada.id).await.expect("answers"), 1);
        tx.commit().await.expect("commits");
        assert!(read(&store, &three.id, START).await.is_none() && read(&store, &of_bob.id, START).await.is_some());
        database.execute(&format!(r#"DELETE FROM "user" WHERE "id" = '{}'"#, bob.id)).await;
        assert!(read(&store, &of_bob.id, START).await.is_none());
    }

    async fn what_has_ended_is_removed_in_portions(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        for end in [3, 1, 2, 4] {
            stored(&store, &ada, START.plus(minutes(end))).await;
        }
        let mut tx = store.begin().await.expect("begins");
        assert_eq!(tx.pendings_delete_expired(START.plus(minutes(3)), 2).await.expect("answers"), 2);
        assert_eq!(tx.pendings_delete_expired(START.plus(minutes(3)), 2).await.expect("answers"), 1);
        assert_eq!(tx.pendings_delete_expired(START.plus(minutes(3)), 2).await.expect("answers"), 0);
    }
}
