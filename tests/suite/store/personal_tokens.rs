//! The table `sidegate_personal_token`.

use sidegate::id::RowId;
use sidegate::pattern::Pattern;
use sidegate::store::Store;
use sidegate::store::personal_tokens::PersonalRow;
use sidegate::time::Now;
use sidegate::visitor::{Grant, User};

use super::{minutes, stored_session, stored_user, token};
use crate::support::database::{START, on_both_databases};

fn row(user: &User, paths: Option<&[&str]>, read_only: bool) -> PersonalRow {
    let pattern = |text: &&str| Pattern::parse(text).expect("a pattern");
    PersonalRow {
        id: RowId::random(),
        user: user.id.clone(),
        token: token().personal_hash(),
        name: "Löwe's laptop".to_owned(),
        last_four: "AbC-".to_owned(),
        grant: Grant { paths: paths.map(|paths| paths.iter().map(pattern).collect()), read_only },
        created: START,
        expires: START.plus(minutes(10)),
        used: None,
    }
}

async fn stored(store: &Store, row: &PersonalRow) {
    let mut tx = store.begin().await.expect("begins");
    tx.personal_token_insert(row).await.expect("inserts");
    tx.commit().await.expect("commits");
}

/// All that a row says.
fn said(row: &PersonalRow) -> impl PartialEq + std::fmt::Debug {
    let names = (row.id.clone(), row.user.clone(), row.name.clone(), row.last_four.clone());
    (
        names,
        row.token,
        row.grant.paths.clone(),
        row.grant.read_only,
        [Some(row.created), Some(row.expires), row.used].map(|at| at.map(Now::iso)),
    )
}

on_both_databases! {
    async fn a_token_is_found_by_its_hash_with_its_owner_and_its_limits(database) {
        let store = database.open().await;
        let (ada, bob) = (stored_user(&store, "ada@example.com").await, stored_user(&store, "bob@example.com").await);
        for (paths, read_only) in [(None, false), (Some(&["/a/{user_id}/**", "/b"][..]), true)] {
            let row = row(&ada, paths, read_only);
            stored(&store, &row).await;
            let (found, user) = store.personal_token_by_hash(row.token).await.expect("reads").expect("is there");
            assert!(said(&found) == said(&row) && user == ada);
        }
        assert!(store.personal_token_by_hash(token().personal_hash()).await.expect("reads").is_none());
        stored(&store, &row(&bob, None, false)).await;
        assert_eq!(store.personal_tokens_of_user(&ada.id, START).await.expect("reads").len(), 2);
        assert!(store.personal_tokens_of_user(&ada.id, START.plus(minutes(10))).await.expect("reads").is_empty());
        let mut tx = store.begin().await.expect("begins");
        assert_eq!(tx.personal_tokens_count(&ada.id, START).await.expect("counts"), 2);
        assert_eq!(tx.personal_tokens_count(&ada.id, START.plus(minutes(10))).await.expect("counts"), 0);
    }

    async fn use_is_noted_once_in_a_while(database) {
        let store = database.open().await;
        let row = row(&stored_user(&store, "ada@example.com").await, None, false);
        stored(&store, &row).await;
        let mut tx = store.begin().await.expect("begins");
        for (at, before, noted) in [(5, 0, true), (6, 4, false), (7, 5, true)] {
            let (at, before) = (START.plus(minutes(at)), START.plus(minutes(before)));
            assert_eq!(tx.personal_token_used(&row.id, at, before).await.expect("notes"), noted);
        }
        tx.commit().await.expect("commits");
        let (found, _) = store.personal_token_by_hash(row.token).await.expect("reads").expect("is there");
        assert!(found.used == Some(START.plus(minutes(7))));
    }

    async fn one_or_all_of_a_users_tokens_end(database) {
        let store = database.open().await;
        let (ada, bob) = (stored_user(&store, "ada@example.com").await, stored_user(&store, "bob@example.com").await);
        let rows = [row(&ada, None, false), row(&ada, None, false), row(&ada, None, false), row(&bob, None, false)];
        for row in &rows {
            stored(&store, row).await;
        }
        let mut tx = store.begin().await.expect("begins");
        assert_eq!(tx.personal_token_delete(&bob.id, &rows[0].id).await.expect("answers"), None);
        assert_eq!(tx.personal_token_delete(&ada.id, &rows[0].id).await.expect("ends"), Some(rows[0].token));
        assert_eq!(tx.personal_token_delete(&ada.id, &rows[0].id).await.expect("answers"), None);
        let mut ended = tx.personal_tokens_delete_of_user(&ada.id).await.expect("ends");
        ended.sort_by_key(|hash| hash.to_column());
        let mut expected = vec![rows[1].token, rows[2].token];
        expected.sort_by_key(|hash| hash.to_column());
        assert_eq!(ended, expected);
        tx.commit().await.expect("commits");
        assert!(store.personal_token_by_hash(rows[3].token).await.expect("reads").is_some());
    }

    async fn expired_tokens_go_and_others_stay(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        for _ in 0..3 {
            stored(&store, &row(&ada, None, false)).await;
        }
        stored(&store, &PersonalRow { expires: START.plus(minutes(11)), ..row(&ada, None, false) }).await;
        let mut tx = store.begin().await.expect("begins");
        assert_eq!(tx.personal_tokens_delete_expired(START.plus(minutes(9)), 9).await.expect("removes"), 0);
        assert_eq!(tx.personal_tokens_delete_expired(START.plus(minutes(10)), 2).await.expect("removes"), 2);
        assert_eq!(tx.personal_tokens_delete_expired(START.plus(minutes(10)), 9).await.expect("removes"), 1);
        assert_eq!(tx.personal_tokens_count(&ada.id, START).await.expect("counts"), 1);
    }

    async fn tokens_go_with_their_user_and_a_limit_that_is_none_is_a_fault(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let row = row(&ada, Some(&["/a"]), false);
        stored(&store, &row).await;
        database.execute(r#"UPDATE "sidegate_personal_token" SET "paths" = ''"#).await;
        let fault = store.personal_token_by_hash(row.token).await.err().expect("a fault").to_string();
        assert!(fault.contains("personal_token.paths") && fault.contains(row.id.as_str()), "{fault}");
        database.execute(r#"DELETE FROM "user""#).await;
        assert!(store.personal_token_by_hash(row.token).await.expect("reads").is_none());
    }

    async fn a_session_is_held_by_its_owner_while_it_lives(database) {
        let store = database.open().await;
        let (ada, bob) = (stored_user(&store, "ada@example.com").await, stored_user(&store, "bob@example.com").await);
        let (id, _) = stored_session(&store, &ada, START, START.plus(minutes(10))).await;
        let mut tx = store.begin().await.expect("begins");
        for (user, after, held) in [(&ada, 9, true), (&ada, 10, false), (&bob, 0, false)] {
            assert_eq!(tx.session_hold(&user.id, &id, START.plus(minutes(after))).await.expect("answers"), held);
        }
    }
}
