//! The table `user`.

use sidegate::id::UserId;
use sidegate::refusal::Refusal;
use tokio::task::JoinSet;

use super::{minutes, stored_user, user, user_by_email};
use crate::support::database::{Database, START, on_both_databases};

on_both_databases! {
    async fn an_address_is_proved_once_and_only_while_it_is_the_users(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let mut tx = store.begin().await.expect("begins");
        assert!(!tx.user_prove_email(&ada.id, "other@example.com", START).await.expect("answers"));
        assert!(tx.user_prove_email(&ada.id, "ada@example.com", START.plus(minutes(1))).await.expect("answers"));
        assert!(!tx.user_prove_email(&ada.id, "ada@example.com", START).await.expect("answers"));
        let proved = tx.user_by_id(&ada.id).await.expect("reads").expect("is there");
        assert!(proved.email_verified && proved.updated == START.plus(minutes(1)));
        tx.commit().await.expect("commits");
    }

    async fn an_address_changes_only_from_what_it_was_to_what_is_free(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        stored_user(&store, "bob@example.com").await;
        let mut tx = store.begin().await.expect("begins");
        for (old, new) in [("ada@example.com", "bob@example.com"), ("eve@example.com", "new@example.com")] {
            assert!(!tx.user_set_email(&ada.id, old, new, START).await.expect("answers"), "{old} {new}");
        }
        assert!(tx.user_set_email(&ada.id, "ada@example.com", "new@example.com", START).await.expect("answers"));
        let changed = tx.user_by_email("new@example.com").await.expect("reads").expect("is there");
        assert!(changed.id == ada.id && changed.email_verified);
        assert!(tx.user_by_email("ada@example.com").await.expect("reads").is_none());
        tx.commit().await.expect("commits");
    }

    async fn a_user_is_read_back_as_it_was_written(database) {
        let store = database.open().await;
        let mut ada = user("ada@example.com");
        ada.email_verified = true;
        ada.image = Some("https://example.com/ada.png".to_owned());
        ada.updated = START.plus(minutes(1));
        let mut tx = store.begin().await.expect("begins");
        assert!(tx.user_insert(&ada).await.expect("inserts"));
        tx.commit().await.expect("commits");
        assert!(user_by_email(&store, "ada@example.com").await.expect("reads") == Some(ada));
    }

    async fn an_address_is_compared_byte_by_byte(database) {
        let store = database.open().await;
        stored_user(&store, "ada@example.com").await;
        for other in ["Ada@example.com", "ada@example.com ", "", "ada@example.co_"] {
            assert!(user_by_email(&store, other).await.expect("reads").is_none(), "{other:?}");
        }
    }

    async fn a_taken_address_is_told_and_the_transaction_goes_on(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let mut tx = store.begin().await.expect("begins");
        assert!(!tx.user_insert(&user("ada@example.com")).await.expect("answers"));
        assert!(tx.user_insert(&user("bob@example.com")).await.expect("inserts"));
        tx.commit().await.expect("commits");
        assert!(user_by_email(&store, "ada@example.com").await.expect("reads") == Some(ada));
        assert!(user_by_email(&store, "bob@example.com").await.expect("reads").is_some());
    }

    async fn of_many_sign_ups_with_one_address_one_wins(database) {
        let store = database.open().await;
        let mut racers = JoinSet::new();
        for _ in 0..12 {
            let store = store.clone();
            racers.spawn(async move {
                let user = user("ada@example.com");
                let mut tx = store.begin().await.expect("begins");
                let won = tx.user_insert(&user).await.expect("answers");
                if won {
                    tx.account_insert_credential(&user.id, "hash", START).await.expect("inserts");
                }
                tx.commit().await.expect("commits");
                won.then_some(user.id)
            });
        }
        let winners: Vec<_> = racers.join_all().await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        let stored = user_by_email(&store, "ada@example.com").await.expect("reads").expect("is there");
        assert_eq!(stored.id, winners[0]);
    }

    async fn of_many_who_change_to_one_address_at_the_same_moment_one_has_it_and_the_others_are_told(database) {
        let store = database.open().await;
        for round in 0..4 {
            let wanted = format!("wanted{round}@example.com");
            let mut racers = JoinSet::new();
            for n in 0..8 {
                let user = stored_user(&store, &format!("user{n}@round{round}.example")).await;
                let (store, wanted) = (store.clone(), wanted.clone());
                racers.spawn(async move {
                    let mut tx = store.begin().await.expect("begins");
                    let won = tx.user_set_email(&user.id, &user.email, &wanted, START).await.expect("answers");
                    if won {
                        tx.commit().await.expect("commits");
                    }
                    won
                });
            }
            assert_eq!(racers.join_all().await.into_iter().filter(|won| *won).count(), 1);
        }
    }

    async fn a_corrupt_row_is_a_fault_that_names_table_column_and_row(database) {
        let store = database.open().await;
        let sane = stored_user(&store, "sane@example.com").await;
        database.execute(
            r#"INSERT INTO "user" VALUES ('not an id', 'x', 'bad@example.com', '1', NULL,
                                          '2026-01-02T03:04:05.678Z', '2026-01-02T03:04:05.678Z')"#,
        ).await;
        let fault = user_by_email(&store, "bad@example.com").await.err().expect("a fault");
        assert!(fault.to_string().contains(r#"user.id of row "not an id""#), "{fault}");
        assert_eq!(fault.refusal(), Refusal::Internal);
        assert!(user_by_email(&store, &sane.email).await.expect("reads").is_some());
    }

    async fn a_name_and_a_picture_are_changed_for_that_user_alone(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let bob = stored_user(&store, "bob@example.com").await;
        let later = START.plus(minutes(5));
        let mut tx = store.begin().await.expect("begins");
        assert!(tx.user_set_name(&ada.id, "Ada", later).await.expect("changes"));
        assert!(tx.user_set_image(&ada.id, Some("https://example.com/a"), later).await.expect("changes"));
        assert!(!tx.user_set_name(&UserId::random(), "Eve", later).await.expect("answers"));
        assert!(!tx.user_set_image(&UserId::random(), None, later).await.expect("answers"));
        tx.commit().await.expect("commits");
        let read = user_by_email(&store, "ada@example.com").await.expect("reads").expect("is there");
        assert_eq!((&*read.name, read.image.as_deref()), ("Ada", Some("https://example.com/a")));
        assert!(read.updated == later && read.created == ada.created);
        assert!(user_by_email(&store, "bob@example.com").await.expect("reads") == Some(bob));
        let mut tx = store.begin().await.expect("begins");
        assert!(tx.user_set_image(&ada.id, None, later).await.expect("changes"));
        tx.commit().await.expect("commits");
        let read = user_by_email(&store, "ada@example.com").await.expect("reads").expect("is there");
        assert_eq!(read.image, None);
    }
}

#[tokio::test]
async fn who_is_a_moment_too_late_for_an_address_is_told_that_it_is_taken() {
    let database = Database::postgres();
    let store = database.open().await;
    let ada = stored_user(&store, "ada@example.com").await;
    let bob = stored_user(&store, "bob@example.com").await;
    let mut first = store.begin().await.expect("begins");
    assert!(first.user_set_email(&ada.id, &ada.email, "new@example.com", START).await.expect("answers"));
    let mut others = JoinSet::new();
    others.spawn(async move {
        let mut tx = store.begin().await.expect("begins");
        tx.user_set_email(&bob.id, &bob.email, "new@example.com", START).await
    });
    wait_for_a_lock(&database, &mut others).await;
    first.commit().await.expect("commits");
    let second = others.join_next().await.expect("it runs").expect("no panic");
    assert!(!second.expect("answers"));
}

#[tokio::test]
async fn who_waited_for_another_goes_on_whatever_the_default_of_the_database_is() {
    let database = Database::postgres();
    for default in ["repeatable read", "serializable"] {
        let alter = format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''{default}''', \
             current_database()); END $$"
        );
        database.execute(&alter).await;
        let store = database.open().await;
        let ada = stored_user(&store, &format!("{}@example.com", default.len())).await;
        let mut first = store.begin().await.expect("begins");
        assert!(first.user_touch(&ada.id, START).await.expect("touches"));
        let mut others = JoinSet::new();
        others.spawn(async move {
            let mut tx = store.begin().await.expect("begins");
            tx.user_touch(&ada.id, START).await
        });
        wait_for_a_lock(&database, &mut others).await;
        first.commit().await.expect("commits");
        let second = others.join_next().await.expect("it runs").expect("no panic");
        assert!(second.expect("is not broken off"), "{default}");
    }
}

/// Waits until somebody waits for a lock in the database.
async fn wait_for_a_lock<T: 'static>(database: &Database, others: &mut JoinSet<T>) {
    let waits = "SELECT pid::text FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    while database.texts(waits).await.is_empty() {
        assert!(others.try_join_next().is_none(), "it waits for the first");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_time_in_another_spelling_is_corrupt_because_it_would_sort_wrongly() {
    let database = Database::sqlite();
    let store = database.open().await;
    for (id, time) in
        [("a", "'2026-01-02T03:04:05+00:00'"), ("b", "'2026-01-02 03:04:05'"), ("c", "1767323045678")]
    {
        database
            .execute(&format!(
                r#"INSERT INTO "user" VALUES ('{id}', 'x', '{id}@example.com', 1, NULL, '2026-01-02T03:04:05.678Z', {time})"#
            ))
            .await;
        let fault = user_by_email(&store, &format!("{id}@example.com")).await.err().expect("a fault");
        assert!(fault.to_string().contains(&format!(r#"user.updatedAt of row "{id}""#)), "{fault}");
    }
}
