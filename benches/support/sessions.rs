//! Sessions written into a new database before anything is started on it.

use std::error::Error;
use std::time::Duration;

use sidegate::config;
use sidegate::id::{SessionId, UserId};
use sidegate::secret::{Purpose, RootSecret};
use sidegate::store::Store;
use sidegate::store::sessions::SessionRow;
use sidegate::time::Clock;
use sidegate::visitor::User;

use crate::servers::running::SECRET;

/// Writes the first user, and this many sessions of that one; returns their tokens.
pub(crate) async fn write(config: &config::Store, count: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let key = RootSecret::new(SECRET.into()).ok_or("the secret is too short")?.key(Purpose::SessionTag);
    let (clock, mut tokens) = (Clock::System, Vec::new());
    let store = Store::open(config, &clock).await?;
    let now = clock.now();
    let user = User {
        id: UserId::random(),
        name: "Ada Lovelace".to_owned(),
        email: "ada@example.com".to_owned(),
        email_verified: true,
        image: None,
        created: now,
        updated: now,
    };
    let mut tx = store.begin().await?;
    tx.user_insert(&user).await?;
    for _ in 0..count {
        let token = key.issue();
        tx.session_insert(&SessionRow {
            id: SessionId::random(),
            token: token.hash(),
            user: user.clone(),
            opened: now,
            renewed: now,
            expires: now.plus(Duration::from_hours(24)),
            remember: true,
            address: Some("192.0.2.1".to_owned()),
            agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".to_owned()),
        })
        .await?;
        tokens.push(token.reveal());
    }
    tx.commit().await?;
    store.close().await;
    Ok(tokens)
}
