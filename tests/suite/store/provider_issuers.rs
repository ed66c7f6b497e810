//! For which provider an id stands.

use sidegate::store::Store;
use sidegate::store::identities::{Identity, Kept};

use super::stored_user;
use crate::support::database::{START, on_both_databases};

/// Whose the id is, if it does not become this issuer's.
async fn bound(store: &Store, id: &str, issuer: &str, formerly: Option<&str>) -> Option<String> {
    let mut tx = store.begin().await.expect("begins");
    let bound = tx.provider_bind(id, (issuer, formerly), START).await.expect("answers");
    tx.commit().await.expect("commits");
    bound.err()
}

on_both_databases! {
    async fn oa_16_an_id_stands_for_one_provider_as_soon_as_somebody_has_an_account_under_it(database) {
        let store = database.open().await;
        assert_eq!(bound(&store, "corp", "https://a.example", None).await, None);
        assert_eq!(bound(&store, "corp", "https://b.example", None).await, None, "nobody has an account");
        let ada = stored_user(&store, "ada@example.com").await;
        let mut tx = store.begin().await.expect("begins");
        let identity = Identity {
            user: &ada.id, provider: "corp", issuer: "https://b.example", subject: "1", kept: &Kept::default(),
        };
        assert!(tx.identity_insert(&identity, START).await.expect("answers"));
        tx.commit().await.expect("commits");
        assert_eq!(bound(&store, "corp", "https://b.example", None).await, None);
        let of_b = Some("https://b.example".to_owned());
        for formerly in [None, Some("https://a.example"), Some("https://c.example")] {
            assert_eq!(bound(&store, "corp", "https://c.example", formerly).await, of_b, "{formerly:?}");
        }
        assert_eq!(bound(&store, "other", "https://c.example", None).await, None, "another id is free");
        assert_eq!(bound(&store, "corp", "https://c.example", Some("https://b.example")).await, None);
        assert_eq!(bound(&store, "corp", "https://c.example", Some("https://b.example")).await, None, "and again");
        assert_eq!(bound(&store, "corp", "https://b.example", None).await, Some("https://c.example".to_owned()));
    }
}
