//! Transactions: what they keep, what they undo, and many at a time.

use std::os::unix::fs::PermissionsExt as _;

use sidegate::config;
use sidegate::store::Store;
use sidegate::time::Clock;
use tokio::task::JoinSet;

use super::{minutes, session, stored_session, stored_user, token, user, user_by_email};
use crate::support::database::{Database, START, on_both_databases};

on_both_databases! {
    async fn a_transaction_that_is_dropped_never_happened(database) {
        let store = database.open().await;
        for round in 0..3 {
            let mut tx = store.begin().await.expect("begins");
            assert!(tx.user_insert(&user("ada@example.com")).await.expect("inserts"), "round {round}");
            drop(tx);
        }
        assert!(user_by_email(&store, "ada@example.com").await.expect("reads").is_none());
    }

    async fn nobody_reads_what_is_not_committed(database) {
        let store = database.open().await;
        let mut tx = store.begin().await.expect("begins");
        tx.user_insert(&user("ada@example.com")).await.expect("inserts");
        assert!(user_by_email(&store, "ada@example.com").await.expect("reads").is_none());
        tx.commit().await.expect("commits");
        assert!(user_by_email(&store, "ada@example.com").await.expect("reads").is_some());
    }

    async fn many_transactions_that_read_and_then_write_all_succeed(database) {
        let store = database.open().await;
        let second = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let mut tasks = JoinSet::new();
        for number in 0..40 {
            let (store, ada) = (if number % 2 == 0 { store.clone() } else { second.clone() }, ada.clone());
            tasks.spawn(async move {
                store.sessions_of_user(&ada.id, START).await.expect("reads");
                let mut tx = store.begin().await.expect("begins");
                tx.session_delete(token().hash()).await.expect("looks");
                tx.session_insert(&session(&ada, START, START.plus(minutes(9)))).await.expect("writes");
                tx.commit().await.expect("commits");
            });
        }
        tasks.join_all().await;
        assert_eq!(store.sessions_of_user(&ada.id, START).await.expect("lists").len(), 40);
    }

    async fn what_is_abandoned_midway_leaves_no_lock_behind(database) {
        let store = database.open().await;
        for number in 0..20 {
            let email = format!("{number}@example.com");
            let mut work = Box::pin(async {
                let mut tx = store.begin().await.expect("begins");
                tx.user_insert(&user(&email)).await.expect("inserts");
                tx.user_insert(&user("never@example.com")).await.expect("inserts");
                std::future::pending::<()>().await;
            });
            // Polled a few times and dropped wherever it then is.
            for _ in 0..number {
                tokio::select! { biased; () = &mut work => {}, () = tokio::task::yield_now() => {} }
            }
        }
        stored_user(&store, "ada@example.com").await;
        assert!(user_by_email(&store, "never@example.com").await.expect("reads").is_none());
    }

    async fn what_is_committed_is_there_after_closing(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let (_, hash) = stored_session(&store, &ada, START, START.plus(minutes(9))).await;
        assert!(store.session_by_hash(hash).await.expect("reads").is_some());
        store.close().await;
        assert!(store.session_by_hash(hash).await.is_err());
        assert!(store.begin().await.is_err());
        assert!(database.open().await.session_by_hash(hash).await.expect("reads").is_some());
    }
}

#[tokio::test]
async fn only_the_owner_may_read_the_database_files() {
    let database = Database::sqlite();
    let store = database.open().await;
    stored_user(&store, "ada@example.com").await;
    let file = database.file().expect("a file");
    let directory = file.parent().expect("has one").read_dir().expect("reads");
    let modes: Vec<_> = directory
        .map(|entry| {
            let entry = entry.expect("reads");
            (entry.file_name(), entry.metadata().expect("reads").permissions().mode() & 0o777)
        })
        .collect();
    assert_eq!(modes.len(), 3, "the file, its log and its index: {modes:?}");
    assert!(modes.iter().all(|(_, mode)| *mode == 0o600), "{modes:?}");
}

#[tokio::test]
async fn readers_and_writers_of_a_file_meet_in_its_write_ahead_log() {
    let database = Database::sqlite();
    database.open().await;
    assert_eq!(database.texts("SELECT journal_mode FROM pragma_journal_mode").await, ["wal"]);
}

#[tokio::test]
async fn a_path_that_cannot_be_is_a_fault_that_names_it() {
    for (path, words) in
        [(":memory:", "not supported"), ("/nonexistent/sidegate.db", "/nonexistent/sidegate.db")]
    {
        let config =
            config::Store { database: config::Database::Sqlite(path.into()), migrate: true, connections: 1 };
        let fault = Store::open(&config, &Clock::fixed(START)).await.err().expect("a fault");
        assert!(fault.to_string().contains(words), "{fault}");
    }
}

#[tokio::test]
async fn a_file_name_with_marks_is_only_a_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a?mode=memory&cache=shared#b.db");
    let config =
        config::Store { database: config::Database::Sqlite(path.clone()), migrate: true, connections: 1 };
    let store = Store::open(&config, &Clock::fixed(START)).await.expect("opens");
    stored_user(&store, "ada@example.com").await;
    store.close().await;
    assert!(path.metadata().expect("is there").len() > 0);
}

#[test]
fn a_store_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Store>();
}
