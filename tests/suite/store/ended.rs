//! The feed of ended sessions between replicas.

use sidegate::store::ended::EndedFeed;

use super::{minutes, stored_session, stored_user, token};
use crate::support::database::{Database, START};

async fn feed_of(database: &Database) -> EndedFeed {
    let mut feed = database.open().await.ended_feed().expect("PostgreSQL has a feed");
    feed.listen().await.expect("listens");
    feed
}

#[tokio::test]
async fn sqlite_has_no_feed() {
    assert!(Database::sqlite().open().await.ended_feed().is_none());
}

#[tokio::test]
async fn every_way_of_ending_a_session_reaches_another_replica() {
    let database = Database::postgres();
    let store = database.open().await;
    let ada = stored_user(&store, "ada@example.com").await;
    let mut feed = feed_of(&database).await;

    let (_, by_token) = stored_session(&store, &ada, START, START.plus(minutes(60))).await;
    let (id, by_id) = stored_session(&store, &ada, START, START.plus(minutes(60))).await;
    let mut tx = store.begin().await.expect("begins");
    tx.session_delete(by_token).await.expect("ends");
    tx.session_delete_by_id(&ada.id, &id).await.expect("ends");
    tx.commit().await.expect("commits");
    assert_eq!(feed.next().await.expect("hears"), by_token);
    assert_eq!(feed.next().await.expect("hears"), by_id);
}

#[tokio::test]
async fn more_sessions_than_one_notice_holds_are_all_heard() {
    let database = Database::postgres();
    let store = database.open().await;
    let ada = stored_user(&store, "ada@example.com").await;
    let mut feed = feed_of(&database).await;
    let mut tx = store.begin().await.expect("begins");
    for _ in 0..400 {
        tx.session_insert(&super::session(&ada, START, START.plus(minutes(60)))).await.expect("inserts");
    }
    let mut ended: Vec<_> = tx
        .sessions_delete_of_user(&ada.id, None)
        .await
        .expect("ends")
        .into_iter()
        .map(|hash| hash.0)
        .collect();
    tx.commit().await.expect("commits");
    let mut heard = vec![];
    for _ in 0..400 {
        heard.push(feed.next().await.expect("hears").0);
    }
    ended.sort_unstable();
    heard.sort_unstable();
    assert_eq!(heard, ended);
}

#[tokio::test]
async fn what_is_rolled_back_or_no_hash_is_not_heard() {
    let database = Database::postgres();
    let store = database.open().await;
    let ada = stored_user(&store, "ada@example.com").await;
    let mut feed = feed_of(&database).await;
    let (_, first) = stored_session(&store, &ada, START, START.plus(minutes(60))).await;
    let (_, second) = stored_session(&store, &ada, START, START.plus(minutes(60))).await;
    let mut tx = store.begin().await.expect("begins");
    tx.session_delete(first).await.expect("ends");
    drop(tx);
    database.execute("NOTIFY sidegate_session_ended, 'nonsense'; NOTIFY sidegate_session_ended").await;
    let mut tx = store.begin().await.expect("begins");
    assert!(!tx.session_delete(token().hash()).await.expect("answers"));
    tx.session_delete(second).await.expect("ends");
    tx.commit().await.expect("commits");
    assert_eq!(feed.next().await.expect("hears"), second);
}

#[tokio::test]
async fn a_feed_that_lost_its_connection_says_so_and_listens_again() {
    let database = Database::postgres();
    let store = database.open().await;
    let ada = stored_user(&store, "ada@example.com").await;
    let mut feed = feed_of(&database).await;
    let (_, hash) = stored_session(&store, &ada, START, START.plus(minutes(60))).await;
    database
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    assert!(feed.next().await.is_err(), "notices may have been missed");
    feed.listen().await.expect("listens again");
    let mut tx = store.begin().await.expect("begins");
    tx.session_delete(hash).await.expect("ends");
    tx.commit().await.expect("commits");
    assert_eq!(feed.next().await.expect("hears"), hash);
}
