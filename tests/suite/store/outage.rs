//! A PostgreSQL server that ends connections, or is not there.

use sidegate::config;
use sidegate::refusal::Refusal;
use sidegate::store::Store;
use sidegate::time::Clock;

use super::{stored_user, user, user_by_email};
use crate::support::database::{Database, START};

async fn end_all_connections(database: &Database) {
    database
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
}

#[tokio::test]
async fn after_its_connections_were_ended_the_store_connects_again() {
    let database = Database::postgres();
    let store = database.open().await;
    let ada = stored_user(&store, "ada@example.com").await;
    for _ in 0..3 {
        end_all_connections(&database).await;
        assert!(user_by_email(&store, &ada.email).await.expect("reads again").is_some());
        end_all_connections(&database).await;
        store.begin().await.expect("begins again").commit().await.expect("commits");
    }
}

#[tokio::test]
async fn a_transaction_whose_connection_was_ended_is_a_store_that_is_unavailable() {
    let database = Database::postgres();
    let store = database.open().await;
    let mut tx = store.begin().await.expect("begins");
    tx.user_insert(&user("ada@example.com")).await.expect("inserts");
    end_all_connections(&database).await;
    let fault = tx.user_insert(&user("bob@example.com")).await.expect_err("a fault");
    assert_eq!(fault.refusal(), Refusal::StoreUnavailable, "{fault}");
    drop(tx);

    let mut tx = store.begin().await.expect("begins");
    tx.user_insert(&user("bob@example.com")).await.expect("inserts");
    end_all_connections(&database).await;
    let fault = tx.commit().await.expect_err("a fault");
    assert_eq!(fault.refusal(), Refusal::StoreUnavailable, "{fault}");
    assert!(user_by_email(&store, "ada@example.com").await.expect("reads").is_none());
    assert!(user_by_email(&store, "bob@example.com").await.expect("reads").is_none());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_fault_that_does_not_tell_the_password() {
    let url = "postgres://sidegate:hunter2@127.0.0.1:1/none";
    let config =
        config::Store { database: config::Database::Postgres(url.to_owned()), migrate: true, connections: 1 };
    let fault = Store::open(&config, &Clock::fixed(START)).await.err().expect("a fault");
    assert_eq!(fault.refusal(), Refusal::StoreUnavailable);
    assert!(!format!("{fault} {fault:?}").contains("hunter2"));
}
