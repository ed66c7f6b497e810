//! The feed of ended sessions between replicas.

use std::time::Duration;

use sidegate::secret::TokenHash;
use sidegate::store::ended::EndedFeed;
use tokio::time::timeout;

use super::{minutes, stored_session, stored_user, token};
use crate::support::database::{Database, START};

async fn feed_of(database: &Database) -> EndedFeed {
    let mut feed = database.open().await.ended_feed().expect("PostgreSQL has a feed");
    feed.listen().await.expect("listens");
    feed
}

/// Only bounds a failure.
const PATIENCE: Duration = Duration::from_secs(20);

async fn heard(feed: &mut EndedFeed) -> TokenHash {
    timeout(PATIENCE, feed.next()).await.expect("a notice comes").expect("the feed holds")
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
    assert_eq!(heard(&mut feed).await, by_token);
    assert_eq!(heard(&mut feed).await, by_id);
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
    let mut all = vec![];
    for _ in 0..400 {
        all.push(heard(&mut feed).await.0);
    }
    ended.sort_unstable();
    all.sort_unstable();
    assert_eq!(all, ended);
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
    assert_eq!(heard(&mut feed).await, second);
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
    assert!(
        timeout(PATIENCE, feed.next()).await.expect("says something").is_err(),
        "notices may have been missed"
    );
    feed.listen().await.expect("listens again");
    let mut tx = store.begin().await.expect("begins");
    tx.session_delete(hash).await.expect("ends");
    tx.commit().await.expect("commits");
    assert_eq!(heard(&mut feed).await, hash);
}

#[test]
fn a_feed_that_waits_does_not_hinder_the_end_of_its_runtime() {
    let database = Database::postgres();
    for threads in [1, 2] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .expect("a runtime");
        let mut feed = runtime.block_on(feed_of(&database));
        runtime.spawn(async move { feed.next().await.is_ok() });
        runtime.block_on(tokio::task::yield_now());
        drop(runtime);
    }
}
