//! The store, on both databases.

use std::time::Duration;

use sidegate::error::Fault;
use sidegate::id::{SessionId, UserId};
use sidegate::secret::{Purpose, RootSecret, Token, TokenHash};
use sidegate::store::Store;
use sidegate::store::sessions::SessionRow;
use sidegate::time::Now;
use sidegate::visitor::User;

use crate::support::database::START;

mod accounts;
mod auth_log;
mod devices;
mod doctor;
mod ended;
mod full;
mod identities;
mod migrations;
mod oauth_flows;
mod outage;
mod outbox;
mod pending;
mod personal_tokens;
mod provider_issuers;
mod session_providers;
mod sessions;
mod takeover;
mod tickets;
mod users;
mod writing;

fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

fn user(email: &str) -> User {
    User {
        id: UserId::random(),
        name: "Ada Löwe".to_owned(),
        email: email.to_owned(),
        email_verified: false,
        image: None,
        created: START,
        updated: START,
    }
}

/// The user with this address, whatever the password.
async fn user_by_email(store: &Store, email: &str) -> Result<Option<User>, Fault> {
    Ok(store.credential_by_email(email).await?.map(|(user, _)| user))
}

/// A user who is stored.
async fn stored_user(store: &Store, email: &str) -> User {
    let user = user(email);
    let mut tx = store.begin().await.expect("begins");
    assert!(tx.user_insert(&user).await.expect("inserts"));
    tx.commit().await.expect("commits");
    user
}

fn token() -> Token {
    RootSecret::new(vec![1; 32]).expect("long enough").key(Purpose::SessionTag).issue()
}

fn session(user: &User, opened: Now, expires: Now) -> SessionRow {
    SessionRow {
        id: SessionId::random(),
        token: token().hash(),
        user: user.clone(),
        opened,
        renewed: opened,
        expires,
        remember: true,
        address: Some("192.0.2.7".to_owned()),
        agent: Some("Firefox".to_owned()),
    }
}

/// A session that is stored.
async fn stored_session(store: &Store, user: &User, opened: Now, expires: Now) -> (SessionId, TokenHash) {
    let session = session(user, opened, expires);
    let mut tx = store.begin().await.expect("begins");
    tx.session_insert(&session).await.expect("inserts");
    tx.commit().await.expect("commits");
    (session.id, session.token)
}
