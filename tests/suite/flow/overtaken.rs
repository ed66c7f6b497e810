//! What comes at the moment in which its user is disabled or deleted, or in which all that the user has ends, opens
//! nothing, and neither waits for the other for ever.

use std::thread;
use std::time::Duration;

use serde_json::json;
use sidegate::flow::ending;
use sidegate::id::UserId;

use super::pending::{ada_at_home, pending, watchful};
use super::provider::{sent_back, signed_in, site as corp};
use super::{credentials, roomy, rows};
use crate::support::database::on_both_databases;
use crate::support::letters::{later, letters};
use crate::support::provider::{Persona, Provider};
use crate::support::raw::Response;
use crate::support::site::Site;

const ADA: &str = "ada@example.com";

/// What becomes of the user.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Disabled,
    Deleted,
}

/// Ends what a user has, has `come` called, gives it time to get as far as it can, and only then goes on.
fn overtaken(site: &Site, id: &str, fate: Fate, come: impl FnOnce() -> Response + Send) -> Response {
    let id = UserId::parse(id).expect("an id");
    let mut tx = site.block_on(site.app.store.begin()).expect("begins");
    site.block_on(ending::end_all(&mut tx, &id, None)).expect("ends");
    thread::scope(|scope| {
        let coming = scope.spawn(come);
        thread::sleep(Duration::from_millis(600));
        site.block_on(async {
            match fate {
                Fate::Disabled => assert!(tx.user_disable(&id, site.clock.now()).await.expect("disables")),
                Fate::Deleted => assert!(tx.user_delete(&id).await.expect("deletes")),
            }
            tx.commit().await.expect("commits");
        });
        coming.join().expect("an answer")
    })
}

/// Has `come` called while all that a user has is about to end, and gives it time to get as far as it can.
fn beside_the_end_of_all(site: &Site, id: &str, come: impl FnOnce() -> Response + Send) -> Response {
    let id = UserId::parse(id).expect("an id");
    let mut tx = site.block_on(site.app.store.begin()).expect("begins");
    site.block_on(tx.user_hold(&id)).expect("holds");
    thread::scope(|scope| {
        let coming = scope.spawn(come);
        thread::sleep(Duration::from_millis(600));
        site.block_on(async {
            ending::end_all(&mut tx, &id, None).await.expect("ends, whoever comes");
            tx.commit().await.expect("commits");
        });
        coming.join().expect("an answer")
    })
}

on_both_databases! {
    fn lif_5_a_sign_in_by_password_beside_the_end_of_its_user_opens_nothing(database) {
        let site = roomy(database).start();
        for (email, fate) in [(ADA, Fate::Disabled), ("bob@example.com", Fate::Deleted)] {
            let (_, id) = site.member(email);
            let mut late = site.stranger();
            let answer = overtaken(&site, &id, fate, || late.post("/auth/sign-in/email", &credentials(email)));
            assert_eq!((answer.status, &*answer.code()), (401, "INVALID_EMAIL_OR_PASSWORD"));
            assert_eq!(rows(&site, "session"), 0);
        }
    }

    fn lif_5_a_sign_in_through_a_provider_beside_the_end_of_its_user_opens_nothing(database) {
        let provider = Provider::start();
        let site = corp(database, &provider);
        for (persona, fate) in [(Persona::ada(), Fate::Disabled), (Persona::new("2", "bob@example.com"), Fate::Deleted)] {
            let (_, id) = signed_in(&site, &provider, persona);
            let mut late = site.stranger();
            let callback = sent_back(&mut late, &provider);
            let answer = overtaken(&site, &id, fate, || late.arrive(&callback));
            assert!(answer.status < 500, "{}", answer.text());
            // Who was deleted comes as somebody new.
            let left = usize::from(fate == Fate::Deleted && answer.status == 303);
            let of_the_old = site.block_on(site.database.texts(r#"SELECT "userId" FROM "session""#));
            assert!(rows(&site, "session") == left && !of_the_old.contains(&id), "{}", answer.text());
        }
    }

    fn a_change_of_address_beside_the_end_of_all_waits_for_it_and_finds_its_link_void(database) {
        let site = watchful(database).start();
        let (mut ada, id) = ada_at_home(&site);
        later(&site, Duration::from_secs(1));
        assert_eq!(ada.post("/auth/change-email", &json!({ "newEmail": "ada@new.example" })).status, 200);
        let link = letters(&site).pop().expect("a mail").link(&site, "/auth/change-email?token=");
        let body = json!({ "token": link.split_once("token=").expect("a token").1 });
        let answer = beside_the_end_of_all(&site, &id, || ada.post("/auth/change-email", &body));
        assert_eq!((answer.status, &*answer.code()), (400, "INVALID_TOKEN"));
    }

    fn another_code_that_is_asked_for_beside_the_end_of_all_is_not_sent(database) {
        let site = watchful(database).start();
        let (_, id) = ada_at_home(&site);
        let mut waiting = pending(&site);
        let before = letters(&site).len();
        let answer = beside_the_end_of_all(&site, &id, || waiting.post("/auth/verify-signin/resend", &json!({})));
        assert_eq!(answer.code(), "SIGN_IN_VERIFICATION_ENDED", "{}", answer.text());
        assert_eq!(letters(&site).len(), before);
    }
}
