//! The table `sidegate_oauth_flow`.

use sidegate::id::SessionId;
use sidegate::store::Store;
use sidegate::store::oauth_flows::{Aim, OauthFlow};
use sidegate::time::Now;
use tokio::task::JoinSet;

use super::{minutes, stored_user, token};
use crate::support::database::{START, on_both_databases};

fn flow(began: Now) -> OauthFlow {
    OauthFlow {
        state: token().hash(),
        provider: "corp".to_owned(),
        aim: Aim::SignIn,
        browser: token().hash(),
        verifier: "sealed".to_owned(),
        nonce: "a nonce".to_owned(),
        redirect_uri: "https://app.example/auth/callback/corp".to_owned(),
        callback_url: Some("https://app.example/notes".to_owned()),
        error_callback_url: Some("https://app.example/oh".to_owned()),
        new_user_callback_url: None,
        remember: true,
        created: began,
        expires: began.plus(minutes(10)),
        used: None,
    }
}

async fn kept(store: &Store, flow: &OauthFlow) {
    let mut tx = store.begin().await.expect("begins");
    tx.oauth_flow_insert(flow).await.expect("inserts");
    tx.commit().await.expect("commits");
}

on_both_databases! {
    async fn a_flow_is_read_back_whatever_it_is_for(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let sign_in = flow(START);
        let mut link = flow(START);
        link.aim = Aim::Link { user: ada.id.clone(), session: SessionId::random() };
        (link.remember, link.callback_url, link.new_user_callback_url) = (false, None, Some("x".to_owned()));
        for flow in [sign_in, link] {
            kept(&store, &flow).await;
            assert_eq!(store.oauth_flow(flow.state).await.expect("reads"), Some(flow));
        }
        assert_eq!(store.oauth_flow(token().hash()).await.expect("reads"), None);
    }

    async fn oa_3_a_flow_is_used_once_by_its_own_browser_at_its_own_provider_in_time(database) {
        let store = database.open().await;
        let flow = flow(START);
        kept(&store, &flow).await;
        let late = flow.expires;
        let mut tx = store.begin().await.expect("begins");
        for (state, provider, browser, now) in [
            (token().hash(), "corp", flow.browser, START),
            (flow.state, "other", flow.browser, START),
            (flow.state, "corp", token().hash(), START),
            (flow.state, "corp", flow.browser, late),
        ] {
            assert!(!tx.oauth_flow_use(state, provider, browser, now).await.expect("answers"));
        }
        let now = START.plus(minutes(9));
        assert!(tx.oauth_flow_use(flow.state, "corp", flow.browser, now).await.expect("answers"));
        assert!(!tx.oauth_flow_use(flow.state, "corp", flow.browser, now).await.expect("answers"));
        tx.commit().await.expect("commits");
        assert_eq!(store.oauth_flow(flow.state).await.expect("reads").expect("stays").used, Some(now));
    }

    async fn of_many_who_use_a_flow_at_once_one_does(database) {
        let store = database.open().await;
        let flow = flow(START);
        kept(&store, &flow).await;
        let mut racers = JoinSet::new();
        for _ in 0..12 {
            let (store, state, browser) = (store.clone(), flow.state, flow.browser);
            racers.spawn(async move {
                let mut tx = store.begin().await.expect("begins");
                let won = tx.oauth_flow_use(state, "corp", browser, START).await.expect("answers");
                tx.commit().await.expect("commits");
                won
            });
        }
        assert_eq!(racers.join_all().await.into_iter().filter(|won| *won).count(), 1);
    }

    async fn old_flows_are_removed_in_portions_and_a_users_flows_go_with_the_user(database) {
        let store = database.open().await;
        let flows = [3, 1, 2, 4].map(|began| flow(START.plus(minutes(began))));
        for flow in &flows {
            kept(&store, flow).await;
        }
        let mut tx = store.begin().await.expect("begins");
        assert_eq!(tx.oauth_flows_delete_expired(START.plus(minutes(13)), 2).await.expect("answers"), 2);
        tx.commit().await.expect("commits");
        let mut left = vec![];
        for flow in &flows {
            left.push(store.oauth_flow(flow.state).await.expect("reads").is_some());
        }
        assert_eq!(left, [true, false, false, true]);
        let ada = stored_user(&store, "ada@example.com").await;
        let mut link = flow(START);
        link.aim = Aim::Link { user: ada.id.clone(), session: SessionId::random() };
        kept(&store, &link).await;
        database.execute(&format!(r#"DELETE FROM "user" WHERE "id" = '{}'"#, ada.id)).await;
        assert_eq!(store.oauth_flow(link.state).await.expect("reads"), None);
    }
}
