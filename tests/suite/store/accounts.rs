//! The table `account`.

use sidegate::id::UserId;
use sidegate::refusal::Refusal;

use super::{minutes, stored_user};
use crate::support::database::{START, on_both_databases};

on_both_databases! {
    async fn a_credential_is_found_by_address_with_its_user(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        stored_user(&store, "bob@example.com").await;
        let mut tx = store.begin().await.expect("begins");
        tx.account_insert_credential(&ada.id, "the hash", START).await.expect("inserts");
        tx.commit().await.expect("commits");

        let (user, hash) = store.credential_by_email("ada@example.com").await.expect("reads").expect("is there");
        assert!(user == ada && hash.as_deref() == Some("the hash"));
        let (_, hash) = store.credential_by_email("bob@example.com").await.expect("reads").expect("is there");
        assert!(hash.is_none());
        assert!(store.credential_by_email("eve@example.com").await.expect("reads").is_none());
    }

    async fn an_account_with_a_provider_is_no_credential(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let at = START.iso();
        database.execute(&format!(
            r#"INSERT INTO "account" ("id", "accountId", "providerId", "userId", "password", "createdAt", "updatedAt")
               VALUES ('x', '123', 'github', '{}', 'not a password', '{at}', '{at}')"#, ada.id
        )).await;
        let (_, hash) = store.credential_by_email("ada@example.com").await.expect("reads").expect("is there");
        assert!(hash.is_none());
        let mut tx = store.begin().await.expect("begins");
        assert!(!tx.account_set_password(&ada.id, "new", START).await.expect("answers"));
    }

    async fn a_password_is_changed_only_where_there_is_one(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let bob = stored_user(&store, "bob@example.com").await;
        let mut tx = store.begin().await.expect("begins");
        tx.account_insert_credential(&ada.id, "old", START).await.expect("inserts");
        assert!(tx.account_set_password(&ada.id, "new", START.plus(minutes(5))).await.expect("answers"));
        assert!(!tx.account_set_password(&bob.id, "new", START).await.expect("answers"));
        assert!(!tx.account_set_password(&UserId::random(), "new", START).await.expect("answers"));
        tx.commit().await.expect("commits");
        let (_, hash) = store.credential_by_email("ada@example.com").await.expect("reads").expect("is there");
        assert_eq!(hash.as_deref(), Some("new"));
    }

    async fn an_identity_belongs_to_one_account(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let mut tx = store.begin().await.expect("begins");
        tx.account_insert_credential(&ada.id, "one", START).await.expect("inserts");
        let fault = tx.account_insert_credential(&ada.id, "two", START).await.expect_err("a fault");
        assert_eq!(fault.refusal(), Refusal::Internal, "trying again would not help: {fault}");
    }

    async fn an_account_needs_its_user(database) {
        let store = database.open().await;
        let mut tx = store.begin().await.expect("begins");
        let fault = tx.account_insert_credential(&UserId::random(), "hash", START).await.expect_err("a fault");
        assert_eq!(fault.refusal(), Refusal::Internal);
    }
}
