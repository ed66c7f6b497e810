//! The table `sidegate_auth_log`.

use sidegate::store::auth_log::{Action, LogEntry};

use super::stored_user;
use crate::support::database::{START, on_both_databases};

fn entry(action: Action) -> LogEntry {
    LogEntry {
        user: None,
        action,
        at: START,
        success: true,
        error: None,
        address: None,
        agent: None,
        detail: None,
        way: None,
    }
}

on_both_databases! {
    async fn actions_have_stable_texts(database) {
        let store = database.open().await;
        let mut tx = store.begin().await.expect("begins");
        for action in [Action::SignUp, Action::SignIn, Action::SignOut, Action::Refresh, Action::Revoke] {
            tx.auth_log_insert(&entry(action)).await.expect("inserts");
        }
        tx.commit().await.expect("commits");
        let actions = database.texts(r#"SELECT "action" FROM "sidegate_auth_log" ORDER BY "action""#).await;
        assert_eq!(actions, ["login", "logout", "refresh", "revoke", "signup"]);
    }

    async fn history_outlives_the_user(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let mut tx = store.begin().await.expect("begins");
        tx.auth_log_insert(&LogEntry {
            user: Some(ada.id.clone()),
            success: false,
            error: Some("INVALID_EMAIL_OR_PASSWORD"),
            address: Some("2001:db8::7".to_owned()),
            agent: Some("Firefox".to_owned()),
            ..entry(Action::SignIn)
        }).await.expect("inserts");
        tx.commit().await.expect("commits");
        database.execute(r#"DELETE FROM "user""#).await;
        let dump = database.dump().await;
        let line = dump.lines().find(|line| line.starts_with("sidegate_auth_log")).expect("is there");
        for value in [ada.id.as_str(), "login", "INVALID_EMAIL_OR_PASSWORD", "2001:db8::7", "Firefox"] {
            assert!(line.contains(value), "{value} in {line}");
        }
    }
}
