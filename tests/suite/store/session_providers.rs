//! The tables `sidegate_session_provider` and `sidegate_logout_token`.

use sidegate::id::{SessionId, UserId};
use sidegate::secret::TokenHash;
use sidegate::store::Store;
use sidegate::store::session_providers::ProviderSession;
use sidegate::visitor::User;

use super::{minutes, stored_session, stored_user, token};
use crate::support::database::{START, on_both_databases};

fn by(provider: &str, subject: &str, sid: Option<&str>) -> ProviderSession {
    ProviderSession {
        provider: provider.to_owned(),
        issuer: "https://id.example".to_owned(),
        subject: subject.to_owned(),
        sid: sid.map(str::to_owned),
        id_token: Some("sealed".to_owned()),
    }
}

async fn opened(store: &Store, user: &User, by: &ProviderSession) -> (SessionId, TokenHash) {
    let (id, hash) = stored_session(store, user, START, START.plus(minutes(60))).await;
    let mut tx = store.begin().await.expect("begins");
    tx.session_provider_insert(&id, by).await.expect("inserts");
    tx.commit().await.expect("commits");
    (id, hash)
}

async fn ends(
    store: &Store,
    provider: &str,
    issuer: &str,
    subject: Option<&str>,
    sid: Option<&str>,
) -> Vec<(TokenHash, UserId)> {
    let mut tx = store.begin().await.expect("begins");
    let ended = tx.sessions_delete_of_provider(provider, issuer, subject, sid).await.expect("answers");
    tx.commit().await.expect("commits");
    ended
}

const ISSUER: &str = "https://id.example";

on_both_databases! {
    async fn the_provider_of_a_session_is_known_until_the_session_ends(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let mine = by("corp", "1", Some("s"));
        let (id, hash) = opened(&store, &ada, &mine).await;
        let (own, _) = stored_session(&store, &ada, START, START.plus(minutes(60))).await;
        let mut tx = store.begin().await.expect("begins");
        assert!(tx.session_provider(&id).await.expect("reads") == Some(mine));
        assert!(tx.session_provider(&own).await.expect("reads").is_none());
        assert!(tx.session_delete(hash).await.expect("ends"));
        assert!(tx.session_provider(&id).await.expect("reads").is_none());
    }

    async fn lo_4_a_provider_ends_one_session_by_its_sid_or_all_of_its_user(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let bob = stored_user(&store, "bob@example.com").await;
        let (_, first) = opened(&store, &ada, &by("corp", "1", Some("s1"))).await;
        let (_, second) = opened(&store, &ada, &by("corp", "1", Some("s2"))).await;
        let (_, elsewhere) = opened(&store, &ada, &by("other", "1", Some("s1"))).await;
        let (_, of_bob) = opened(&store, &bob, &by("corp", "2", Some("s3"))).await;
        let (_, by_password) = stored_session(&store, &ada, START, START.plus(minutes(60))).await;
        for (provider, issuer, subject, sid) in [
            ("corp", "https://evil.example", Some("1"), Some("s1")),
            ("corp", ISSUER, Some("2"), Some("s1")),
            ("corp", ISSUER, None, Some("s9")),
            ("corp", ISSUER, Some("9"), None),
            ("corp", ISSUER, None, None),
        ] {
            assert!(ends(&store, provider, issuer, subject, sid).await.is_empty(), "{issuer} {subject:?} {sid:?}");
        }
        assert!(ends(&store, "corp", ISSUER, None, Some("s1")).await == [(first, ada.id.clone())]);
        assert!(ends(&store, "corp", ISSUER, Some("1"), None).await == [(second, ada.id.clone())]);
        for left in [elsewhere, of_bob, by_password] {
            assert!(store.session_by_hash(left).await.expect("reads").is_some());
        }
    }

    async fn lo_3_a_logout_token_is_taken_once_until_it_has_expired(database) {
        let store = database.open().await;
        let (one, two) = (token().hash(), token().hash());
        let mut tx = store.begin().await.expect("begins");
        assert!(tx.logout_token_insert(one, START.plus(minutes(2))).await.expect("answers"));
        assert!(!tx.logout_token_insert(one, START.plus(minutes(9))).await.expect("answers"));
        assert!(tx.logout_token_insert(two, START.plus(minutes(3))).await.expect("answers"));
        assert_eq!(tx.logout_tokens_delete_expired(START.plus(minutes(1)), 9).await.expect("answers"), 0);
        assert_eq!(tx.logout_tokens_delete_expired(START.plus(minutes(2)), 9).await.expect("answers"), 1);
        assert!(!tx.logout_token_insert(two, START.plus(minutes(9))).await.expect("answers"));
    }
}
