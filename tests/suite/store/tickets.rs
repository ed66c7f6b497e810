//! The table `sidegate_ticket` (EM-1).

use sidegate::secret::TokenHash;
use sidegate::store::Store;
use sidegate::store::tickets::{TicketKind, TicketRow};
use sidegate::visitor::User;
use tokio::task::JoinSet;

use super::{minutes, stored_user, token};
use crate::support::database::{START, on_both_databases};

const KINDS: [TicketKind; 5] = [
    TicketKind::VerifyEmail,
    TicketKind::ResetPassword,
    TicketKind::ChangeEmail,
    TicketKind::DeleteAccount,
    TicketKind::NotMe,
];

/// A ticket of ten minutes that is stored.
async fn stored(store: &Store, user: &User, kind: TicketKind) -> TokenHash {
    let row = TicketRow {
        token: token().hash(),
        kind,
        user: user.id.clone(),
        email: user.email.clone(),
        new_email: (kind == TicketKind::ChangeEmail).then(|| "new@example.com".to_owned()),
        issued: START,
        expires: START.plus(minutes(10)),
    };
    let mut tx = store.begin().await.expect("begins");
    tx.ticket_insert(&row).await.expect("inserts");
    tx.commit().await.expect("commits");
    row.token
}

async fn takes(store: &Store, token: TokenHash, kind: TicketKind, after: u64) -> bool {
    let mut tx = store.begin().await.expect("begins");
    let ticket = tx.ticket_take(token, kind, START.plus(minutes(after))).await.expect("answers");
    tx.commit().await.expect("commits");
    ticket.is_some()
}

async fn is_good(store: &Store, token: TokenHash, kind: TicketKind) -> bool {
    store.ticket_by_hash(token, kind, START).await.expect("reads").is_some()
}

on_both_databases! {
    async fn a_ticket_says_whose_it_is_and_is_good_once(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        for kind in KINDS {
            let token = stored(&store, &ada, kind).await;
            for _ in 0..3 {
                let seen = store.ticket_by_hash(token, kind, START).await.expect("reads").expect("is there");
                assert!(seen.user == ada);
                assert_eq!(seen.new_email.as_deref(), (kind == TicketKind::ChangeEmail).then_some("new@example.com"));
            }
            assert!(takes(&store, token, kind, 0).await, "{kind:?}");
            assert!(!takes(&store, token, kind, 0).await && !is_good(&store, token, kind).await, "{kind:?}");
        }
    }

    async fn what_was_begun_is_withdrawn_and_the_word_that_it_was_somebody_else_stays(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let mut tokens = Vec::new();
        for kind in KINDS {
            tokens.push((kind, stored(&store, &ada, kind).await));
        }
        let mut tx = store.begin().await.expect("begins");
        tx.tickets_withdraw(&ada.id).await.expect("withdraws");
        tx.commit().await.expect("commits");
        for (kind, token) in tokens {
            assert_eq!(is_good(&store, token, kind).await, kind == TicketKind::NotMe, "{kind:?}");
        }
    }

    async fn a_ticket_is_good_for_its_own_purpose_only(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        for kind in KINDS {
            let token = stored(&store, &ada, kind).await;
            for other in KINDS.into_iter().filter(|other| *other != kind) {
                assert!(!is_good(&store, token, other).await && !takes(&store, token, other, 0).await);
            }
            assert!(takes(&store, token, kind, 0).await);
        }
    }

    async fn a_ticket_is_good_until_its_last_moment(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let kind = TicketKind::ResetPassword;
        let token = stored(&store, &ada, kind).await;
        assert!(store.ticket_by_hash(token, kind, START.plus(minutes(10))).await.expect("reads").is_none());
        assert!(!takes(&store, token, kind, 10).await);
        assert!(takes(&store, token, kind, 9).await);
    }

    async fn another_address_voids_a_ticket_also_if_the_earlier_one_comes_back_to_somebody_else(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let kind = TicketKind::ResetPassword;
        let token = stored(&store, &ada, kind).await;
        let mut tx = store.begin().await.expect("begins");
        assert!(tx.user_set_email(&ada.id, "ada@example.com", "ada@new.example", START).await.expect("changes"));
        tx.commit().await.expect("commits");
        stored_user(&store, "ada@example.com").await;
        assert!(!is_good(&store, token, kind).await && !takes(&store, token, kind, 0).await);
    }

    async fn a_new_ticket_voids_the_earlier_one_of_its_user_and_purpose_and_no_other(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let bob = stored_user(&store, "bob@example.com").await;
        let kind = TicketKind::ResetPassword;
        let first = stored(&store, &ada, kind).await;
        let other = stored(&store, &ada, TicketKind::VerifyEmail).await;
        let bobs = stored(&store, &bob, kind).await;
        let second = stored(&store, &ada, kind).await;
        assert!(!takes(&store, first, kind, 0).await);
        assert!(takes(&store, other, TicketKind::VerifyEmail, 0).await && takes(&store, bobs, kind, 0).await);
        assert!(takes(&store, second, kind, 0).await);
    }

    async fn of_many_who_spend_a_ticket_at_the_same_time_one_does(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let token = stored(&store, &ada, TicketKind::ResetPassword).await;
        let mut racers = JoinSet::new();
        for _ in 0..16 {
            let store = store.clone();
            racers.spawn(async move { takes(&store, token, TicketKind::ResetPassword, 0).await });
        }
        assert_eq!(racers.join_all().await.into_iter().filter(|taken| *taken).count(), 1);
    }

    async fn of_many_that_are_issued_at_the_same_time_one_is_left(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let mut racers = JoinSet::new();
        for _ in 0..12 {
            let (store, ada) = (store.clone(), ada.clone());
            racers.spawn(async move { stored(&store, &ada, TicketKind::ResetPassword).await });
        }
        let mut good = 0;
        for token in racers.join_all().await {
            good += usize::from(is_good(&store, token, TicketKind::ResetPassword).await);
        }
        assert_eq!(good, 1);
    }

    async fn a_ticket_that_was_taken_back_with_its_transaction_is_still_good(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let token = stored(&store, &ada, TicketKind::VerifyEmail).await;
        let mut tx = store.begin().await.expect("begins");
        assert!(tx.ticket_take(token, TicketKind::VerifyEmail, START).await.expect("answers").is_some());
        drop(tx);
        assert!(takes(&store, token, TicketKind::VerifyEmail, 0).await);
    }

    async fn tickets_go_with_their_user_when_told_to_and_when_they_have_expired(database) {
        let store = database.open().await;
        let [ada, bob, eve] = [stored_user(&store, "ada@example.com").await,
            stored_user(&store, "bob@example.com").await, stored_user(&store, "eve@example.com").await];
        for user in [&ada, &bob, &eve] {
            for kind in KINDS {
                stored(&store, user, kind).await;
            }
        }
        let rows = || database.texts(r#"SELECT "userId" FROM "sidegate_ticket""#);
        let mut tx = store.begin().await.expect("begins");
        tx.tickets_delete_of_user(&ada.id).await.expect("deletes");
        assert!(tx.user_delete(&bob.id).await.expect("deletes"));
        assert!(!tx.user_delete(&bob.id).await.expect("answers"));
        tx.commit().await.expect("commits");
        assert_eq!(rows().await, [eve.id.as_str(); 5]);
        for (after, deleted) in [(9, 0), (10, 3), (10, 2), (10, 0)] {
            let mut tx = store.begin().await.expect("begins");
            assert_eq!(tx.tickets_delete_expired(START.plus(minutes(after)), 3).await.expect("deletes"), deleted);
            tx.commit().await.expect("commits");
        }
    }
}
