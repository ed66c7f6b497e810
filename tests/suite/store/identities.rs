//! The rows of `account` that belong to providers.

use sidegate::id::{RowId, UserId};
use sidegate::store::Store;
use sidegate::store::identities::{Identity, Kept};

use super::{minutes, stored_user};
use crate::support::database::{START, on_both_databases};

const NOTHING: Kept = Kept { access: None, refresh: None, id: None, access_expires: None, scope: None };

fn identity<'a>(user: &'a UserId, provider: &'a str, subject: &'a str, kept: &'a Kept) -> Identity<'a> {
    Identity { user, provider, issuer: "https://id.example", subject, kept }
}

async fn added(store: &Store, identity: &Identity<'_>) -> bool {
    let mut tx = store.begin().await.expect("begins");
    let added = tx.identity_insert(identity, START).await.expect("answers");
    tx.commit().await.expect("commits");
    added
}

on_both_databases! {
    async fn oa_16_an_identity_is_a_provider_and_a_subject_and_belongs_to_one_user(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let bob = stored_user(&store, "bob@example.com").await;
        assert!(added(&store, &identity(&ada.id, "corp", "1", &NOTHING)).await);
        assert!(!added(&store, &identity(&bob.id, "corp", "1", &NOTHING)).await);
        assert!(added(&store, &identity(&bob.id, "other", "1", &NOTHING)).await);
        assert!(added(&store, &identity(&bob.id, "corp", "A", &NOTHING)).await);
        let mut tx = store.begin().await.expect("begins");
        for (provider, subject, owner) in [
            ("corp", "1", Some(&ada)), ("other", "1", Some(&bob)), ("corp", "A", Some(&bob)),
            ("corp", "a", None), ("corp", "2", None), ("CORP", "1", None),
        ] {
            let found = tx.identity_user(provider, subject).await.expect("reads");
            assert!(found == owner.map(|owner| Some(owner.clone())), "{provider} {subject}");
        }
    }

    async fn an_identity_is_held_by_its_own_user_only(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let bob = stored_user(&store, "bob@example.com").await;
        assert!(added(&store, &identity(&ada.id, "corp", "1", &NOTHING)).await);
        let mut tx = store.begin().await.expect("begins");
        assert!(tx.identity_hold("corp", "1", &ada.id).await.expect("answers"));
        for (provider, subject, user) in [("corp", "1", &bob.id), ("corp", "2", &ada.id), ("other", "1", &ada.id)] {
            assert!(!tx.identity_hold(provider, subject, user).await.expect("answers"));
        }
    }

    async fn an_account_whose_user_is_gone_is_told_from_one_that_never_was(database) {
        // Only a program that does not check foreign keys can leave one behind.
        let store = database.open().await;
        let leave = match &database {
            Database::Sqlite(_) => "PRAGMA foreign_keys = OFF",
            Database::Postgres { .. } => "SET session_replication_role = replica",
        };
        let at = START.iso();
        database.execute(&format!(
            r#"{leave}; INSERT INTO "account" ("id", "accountId", "providerId", "userId", "createdAt", "updatedAt")
               VALUES ('x', '1', 'corp', 'gone', '{at}', '{at}')"#
        )).await;
        let mut tx = store.begin().await.expect("begins");
        assert!(tx.identity_user("corp", "1").await.expect("reads") == Some(None));
    }

    async fn the_ways_in_which_a_user_signs_in_are_listed_and_removed_one_by_one(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let bob = stored_user(&store, "bob@example.com").await;
        let granted = Kept { scope: Some("openid,email".to_owned()), ..NOTHING };
        let mut tx = store.begin().await.expect("begins");
        tx.account_insert_credential(&ada.id, "hash", START).await.expect("inserts");
        assert!(tx.identity_insert(&identity(&ada.id, "corp", "1", &granted), START.plus(minutes(1))).await.expect("answers"));
        assert!(tx.identity_insert(&identity(&bob.id, "corp", "2", &NOTHING), START).await.expect("answers"));
        let seen = tx.accounts_of_user(&ada.id).await.expect("lists");
        tx.commit().await.expect("commits");
        let listed = store.accounts_of_user(&ada.id).await.expect("lists");
        assert_eq!(seen, listed);
        let told: Vec<_> = listed.iter()
            .map(|account| (&*account.provider, &*account.subject, account.password, account.scope.as_deref()))
            .collect();
        assert_eq!(told, [("credential", ada.id.as_str(), true, None), ("corp", "1", false, Some("openid,email"))]);

        let mut tx = store.begin().await.expect("begins");
        assert!(!tx.account_delete(&bob.id, &listed[1].id).await.expect("answers"), "not bob's");
        assert!(!tx.account_delete(&ada.id, &RowId::random()).await.expect("answers"));
        assert!(tx.account_delete(&ada.id, &listed[1].id).await.expect("answers"));
        assert!(tx.identity_user("corp", "1").await.expect("reads").is_none());
        assert_eq!(tx.accounts_delete_of_user(&ada.id).await.expect("answers"), 1);
        assert_eq!(tx.accounts_of_user(&ada.id).await.expect("lists"), []);
        assert_eq!(tx.accounts_of_user(&bob.id).await.expect("lists").len(), 1);
    }

    async fn kept_tokens_are_replaced_and_a_refresh_token_that_is_not_given_again_stays(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let text = |text: &str| Some(text.to_owned());
        let first = Kept { access: text("a1"), refresh: text("r1"), id: text("i1"), access_expires: Some(START), scope: text("s") };
        assert!(added(&store, &identity(&ada.id, "corp", "1", &first)).await);
        let second = Kept { access: text("a2"), access_expires: None, scope: text("t"), ..NOTHING };
        let mut tx = store.begin().await.expect("begins");
        tx.identity_set_tokens("corp", "1", &second, START.plus(minutes(1))).await.expect("changes");
        tx.commit().await.expect("commits");
        let kept = database.texts(
            r#"SELECT "accessToken" || ' ' || "refreshToken" || ' ' || COALESCE("idToken", '-') || ' ' || "scope" FROM "account""#,
        ).await;
        assert_eq!(kept, ["a2 r1 - t"]);
    }

    async fn users_are_found_touched_and_given_a_profile(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let later = START.plus(minutes(1));
        let mut tx = store.begin().await.expect("begins");
        assert!(tx.user_by_email("ada@example.com").await.expect("reads").as_ref() == Some(&ada));
        assert!(tx.user_by_email("ADA@example.com").await.expect("reads").is_none());
        assert!(tx.user_touch(&ada.id, later).await.expect("answers"));
        assert!(!tx.user_touch(&UserId::random(), later).await.expect("answers"));
        assert!(tx.user_set_profile(&ada.id, "Countess", Some("https://x.example/a.png"), later).await.expect("answers"));
        assert!(!tx.user_set_profile(&UserId::random(), "x", None, later).await.expect("answers"));
        let now = tx.user_by_email("ada@example.com").await.expect("reads").expect("is there");
        assert_eq!((&*now.name, now.image.as_deref(), now.updated), ("Countess", Some("https://x.example/a.png"), later));
    }
}
