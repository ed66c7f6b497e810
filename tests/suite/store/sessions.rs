//! The table `session`.

use sidegate::id::SessionId;
use sidegate::secret::TokenHash;
use sidegate::time::Now;
use tokio::task::JoinSet;

use super::{minutes, session, stored_session, stored_user, token};
use crate::support::database::{START, on_both_databases};

on_both_databases! {
    async fn a_session_is_read_back_with_its_user(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let new = session(&ada, START, START.plus(minutes(10)));
        let mut tx = store.begin().await.expect("begins");
        tx.session_insert(&new).await.expect("inserts");
        tx.commit().await.expect("commits");

        let row = store.session_by_hash(new.token).await.expect("reads").expect("is there");
        assert!(row.id == new.id && row.token == new.token && row.user == ada);
        assert_eq!((row.opened, row.renewed, row.expires), (START, START, START.plus(minutes(10))));
        assert!(row.remember);
        assert_eq!((row.address.as_deref(), row.agent.as_deref()), (Some("192.0.2.7"), Some("Firefox")));
        assert!(store.session_by_hash(token().hash()).await.expect("reads").is_none());
    }

    async fn what_is_unknown_of_a_browser_is_none_however_it_was_written(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let mut new = session(&ada, START, START.plus(minutes(10)));
        (new.remember, new.address, new.agent) = (false, None, None);
        let mut tx = store.begin().await.expect("begins");
        tx.session_insert(&new).await.expect("inserts");
        tx.commit().await.expect("commits");
        for update in ["", r#"UPDATE "session" SET "ipAddress" = '', "userAgent" = '', "sidegateRemember" = NULL"#] {
            database.execute(update).await;
            let row = store.session_by_hash(new.token).await.expect("reads").expect("is there");
            assert!(row.address.is_none() && row.agent.is_none() && !row.remember);
        }
    }

    async fn an_expired_session_is_found_by_its_token_but_not_listed(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let bob = stored_user(&store, "bob@example.com").await;
        let (old, _) = stored_session(&store, &ada, START, START.plus(minutes(60))).await;
        let (new, _) = stored_session(&store, &ada, START.plus(minutes(1)), START.plus(minutes(61))).await;
        let (_, over) = stored_session(&store, &ada, START, START.plus(minutes(2))).await;
        stored_session(&store, &bob, START, START.plus(minutes(60))).await;

        let now = START.plus(minutes(2));
        let listed: Vec<_> = store.sessions_of_user(&ada.id, now).await.expect("lists").into_iter().map(|row| row.id).collect();
        assert_eq!(listed, [new, old], "newest first, and what ends now has ended");
        assert!(store.session_by_hash(over).await.expect("reads").is_some());
    }

    async fn a_renewal_happens_once(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let (id, hash) = stored_session(&store, &ada, START, START.plus(minutes(60))).await;
        let (now, end) = (START.plus(minutes(30)), START.plus(minutes(90)));
        let mut racers = JoinSet::new();
        for _ in 0..12 {
            let (store, id) = (store.clone(), id.clone());
            racers.spawn(async move {
                let mut tx = store.begin().await.expect("begins");
                let won = tx.session_renew(&id, START, now, end).await.expect("answers");
                tx.commit().await.expect("commits");
                won
            });
        }
        assert_eq!(racers.join_all().await.into_iter().filter(|won| *won).count(), 1);
        let row = store.session_by_hash(hash).await.expect("reads").expect("is there");
        assert_eq!((row.opened, row.renewed, row.expires), (START, now, end));
    }

    async fn what_has_expired_or_is_gone_is_not_renewed(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let (id, _) = stored_session(&store, &ada, START, START.plus(minutes(60))).await;
        let mut tx = store.begin().await.expect("begins");
        let end = START.plus(minutes(120));
        assert!(!tx.session_renew(&id, START, START.plus(minutes(60)), end).await.expect("answers"));
        assert!(!tx.session_renew(&SessionId::random(), START, START, end).await.expect("answers"));
        assert!(tx.session_renew(&id, START, START.plus(minutes(59)), end).await.expect("answers"));
    }

    async fn a_session_lives_for_its_user_until_it_expires_or_ends(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let bob = stored_user(&store, "bob@example.com").await;
        let (id, hash) = stored_session(&store, &ada, START, START.plus(minutes(60))).await;
        let mut tx = store.begin().await.expect("begins");
        assert!(tx.session_lives(&ada.id, &id, START.plus(minutes(59))).await.expect("answers"));
        assert!(!tx.session_lives(&ada.id, &id, START.plus(minutes(60))).await.expect("answers"));
        assert!(!tx.session_lives(&bob.id, &id, START).await.expect("answers"));
        assert!(tx.session_delete(hash).await.expect("ends"));
        assert!(!tx.session_lives(&ada.id, &id, START).await.expect("answers"));
    }

    async fn a_session_ends_by_its_token_once(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let (_, hash) = stored_session(&store, &ada, START, START.plus(minutes(60))).await;
        let (_, other) = stored_session(&store, &ada, START, START.plus(minutes(60))).await;
        let mut tx = store.begin().await.expect("begins");
        assert!(tx.session_delete(hash).await.expect("answers"));
        assert!(!tx.session_delete(hash).await.expect("answers"));
        tx.commit().await.expect("commits");
        assert!(store.session_by_hash(hash).await.expect("reads").is_none());
        assert!(store.session_by_hash(other).await.expect("reads").is_some());
    }

    async fn nobody_ends_the_session_of_another_user_by_its_id(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let bob = stored_user(&store, "bob@example.com").await;
        let (id, hash) = stored_session(&store, &ada, START, START.plus(minutes(60))).await;
        let mut tx = store.begin().await.expect("begins");
        assert_eq!(tx.session_delete_by_id(&bob.id, &id).await.expect("answers"), None);
        assert_eq!(tx.session_delete_by_id(&ada.id, &id).await.expect("answers"), Some(hash));
        assert_eq!(tx.session_delete_by_id(&ada.id, &id).await.expect("answers"), None);
        tx.commit().await.expect("commits");
        assert!(store.session_by_hash(hash).await.expect("reads").is_none());
    }

    async fn all_sessions_of_a_user_end_except_the_one_that_asks(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let bob = stored_user(&store, "bob@example.com").await;
        let (kept, kept_hash) = stored_session(&store, &ada, START, START.plus(minutes(60))).await;
        let mut others = vec![];
        for _ in 0..3 {
            others.push(stored_session(&store, &ada, START, START.plus(minutes(60))).await.1.to_column());
        }
        let (_, of_bob) = stored_session(&store, &bob, START, START.plus(minutes(60))).await;

        let mut tx = store.begin().await.expect("begins");
        let ended = tx.sessions_delete_of_user(&ada.id, Some(&kept)).await.expect("answers");
        let mut ended: Vec<_> = ended.into_iter().map(TokenHash::to_column).collect();
        ended.sort();
        others.sort();
        assert_eq!(ended, others);
        assert_eq!(tx.sessions_delete_of_user(&ada.id, None).await.expect("answers"), [kept_hash]);
        assert_eq!(tx.sessions_delete_of_user(&ada.id, None).await.expect("answers"), []);
        tx.commit().await.expect("commits");
        assert!(store.session_by_hash(of_bob).await.expect("reads").is_some());
    }

    async fn expired_sessions_are_removed_in_portions_oldest_first(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let mut hashes = vec![];
        for end in [3, 1, 2, 4] {
            hashes.push(stored_session(&store, &ada, START, START.plus(minutes(end))).await.1);
        }
        let mut tx = store.begin().await.expect("begins");
        assert_eq!(tx.sessions_delete_expired(START.plus(minutes(3)), 2).await.expect("answers"), 2);
        tx.commit().await.expect("commits");
        let mut left = vec![];
        for hash in &hashes {
            left.push(store.session_by_hash(*hash).await.expect("reads").is_some());
        }
        assert_eq!(left, [true, false, false, true]);
        let mut tx = store.begin().await.expect("begins");
        assert_eq!(tx.sessions_delete_expired(START.plus(minutes(3)), 2).await.expect("answers"), 1);
        assert_eq!(tx.sessions_delete_expired(START.plus(minutes(3)), 2).await.expect("answers"), 0);
    }

    async fn sessions_end_with_their_user(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let (_, hash) = stored_session(&store, &ada, START, START.plus(minutes(60))).await;
        database.execute(&format!(r#"DELETE FROM "user" WHERE "id" = '{}'"#, ada.id)).await;
        assert!(store.session_by_hash(hash).await.expect("reads").is_none());
    }

    async fn no_table_holds_a_token(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let token = token();
        let mut new = session(&ada, START, START.plus(minutes(60)));
        new.token = token.hash();
        let mut tx = store.begin().await.expect("begins");
        tx.session_insert(&new).await.expect("inserts");
        tx.commit().await.expect("commits");
        let dump = database.dump().await;
        assert!(dump.contains(&token.hash().to_column()), "the dump is looked at: {dump}");
        assert!(!dump.contains(&token.reveal()));
    }

    async fn times_sort_as_they_follow_each_other(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        // Around turns of milliseconds, seconds and years, where a shorter or longer text would go astray.
        let at = |millis| Now::from_millis(START.millis() + millis);
        let ends = [-1, 0, 1, 9, 10, 99, 100, 321, 322, 323, 331, 332, 999, 1_000, 31_535_999_999, 31_536_000_000];
        for end in ends {
            stored_session(&store, &ada, START, at(end)).await;
        }
        for (i, end) in ends.iter().enumerate() {
            let now = at(*end);
            let left = store.sessions_of_user(&ada.id, now).await.expect("lists");
            assert_eq!(left.len(), ends.len() - i - 1, "at {now:?}");
        }
        let stored = database.texts(r#"SELECT CAST("expiresAt" AS text) FROM "session" ORDER BY "expiresAt" LIMIT 2"#).await;
        assert!(stored[0].contains("03:04:05.677") && stored[1].contains("03:04:05.678"), "{stored:?}");
    }
}
