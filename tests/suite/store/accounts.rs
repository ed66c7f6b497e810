//! The table `account`.

use sidegate::id::UserId;
use sidegate::refusal::Refusal;

use super::{minutes, session, stored_user};
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
        assert!(!tx.account_hold_password(&ada.id, "not a password").await.expect("answers"));
        assert!(!tx.account_replace_password(&ada.id, "not a password", "new", START).await.expect("answers"));
        tx.account_set_password(&ada.id, "new", START).await.expect("sets");
        assert_eq!(tx.accounts_delete_providers(&ada.id).await.expect("deletes"), ["github"]);
        tx.commit().await.expect("commits");
        let (_, hash) = store.credential_by_user(&ada.id).await.expect("reads").expect("is there");
        assert_eq!(hash.as_deref(), Some("new"), "the password is a way of its own");
    }

    async fn what_was_added_since_a_moment_goes_and_what_the_user_was_made_with_stays(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let hour = |n: u64| START.plus(std::time::Duration::from_hours(n));
        for (provider, at) in [("github", START), ("gitlab", hour(1)), ("discord", hour(3))] {
            let at = at.iso();
            database.execute(&format!(
                r#"INSERT INTO "account" ("id", "accountId", "providerId", "userId", "createdAt", "updatedAt")
                   VALUES ('{provider}', '1', '{provider}', '{}', '{at}', '{at}')"#, ada.id
            )).await;
        }
        let mut tx = store.begin().await.expect("begins");
        assert_eq!(tx.accounts_delete_added(&ada.id, hour(2)).await.expect("deletes"), ["discord"]);
        let earlier = START.minus(std::time::Duration::from_hours(1));
        assert_eq!(tx.accounts_delete_added(&ada.id, earlier).await.expect("deletes"), ["gitlab"]);
        tx.commit().await.expect("commits");
        let left = r#"SELECT "providerId" FROM "account" WHERE "providerId" <> 'credential'"#;
        assert_eq!(database.texts(left).await, ["github"]);
    }

    async fn a_password_is_replaced_only_while_it_is_what_it_was(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let bob = stored_user(&store, "bob@example.com").await;
        let mut tx = store.begin().await.expect("begins");
        tx.account_insert_credential(&ada.id, "old", START).await.expect("inserts");
        let later = START.plus(minutes(5));
        assert!(tx.account_hold_password(&ada.id, "old").await.expect("answers"));
        assert!(tx.account_replace_password(&ada.id, "old", "new", later).await.expect("answers"));
        assert!(!tx.account_replace_password(&ada.id, "old", "newer", later).await.expect("answers"));
        assert!(!tx.account_hold_password(&ada.id, "old").await.expect("answers"));
        for user in [&bob.id, &UserId::random()] {
            assert!(!tx.account_hold_password(user, "new").await.expect("answers"));
            assert!(!tx.account_replace_password(user, "new", "newer", later).await.expect("answers"));
        }
        tx.account_set_password(&bob.id, "first", later).await.expect("sets");
        tx.account_set_password(&bob.id, "second", later).await.expect("sets");
        tx.commit().await.expect("commits");
        for (email, expected) in [("ada@example.com", "new"), ("bob@example.com", "second")] {
            let (_, hash) = store.credential_by_email(email).await.expect("reads").expect("is there");
            assert_eq!(hash.as_deref(), Some(expected));
        }
    }

    async fn who_replaces_a_password_waits_for_who_holds_it(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let mut tx = store.begin().await.expect("begins");
        tx.account_insert_credential(&ada.id, "old", START).await.expect("inserts");
        tx.commit().await.expect("commits");
        // Somebody signs in: the password was compared, the session is about to be written.
        let mut within = store.begin().await.expect("begins");
        assert!(within.account_hold_password(&ada.id, "old").await.expect("answers"));
        let mut resets = tokio::task::JoinSet::new();
        resets.spawn({
            let (store, ada) = (store.clone(), ada.clone());
            async move {
                let mut tx = store.begin().await.expect("begins");
                tx.account_set_password(&ada.id, "new", START).await.expect("sets");
                let ended = tx.sessions_delete_of_user(&ada.id, None).await.expect("ends");
                tx.commit().await.expect("commits");
                ended.len()
            }
        });
        tokio::task::yield_now().await;
        let session = session(&ada, START, START.plus(minutes(5)));
        within.session_insert(&session).await.expect("inserts");
        within.commit().await.expect("commits");
        let ended = resets.join_next().await.expect("it runs").expect("no panic");
        assert_eq!(ended, 1, "the session that was written meanwhile ends too");
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
