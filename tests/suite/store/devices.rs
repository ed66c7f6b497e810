//! The table `sidegate_device`.

use sidegate::secret::TokenHash;
use sidegate::store::devices::DeviceRow;
use sidegate::store::{Store, Tx};
use sidegate::time::Now;
use sidegate::visitor::User;

use super::{minutes, stored_user, token};
use crate::support::database::{START, on_both_databases};

fn device(seen: Now) -> DeviceRow {
    DeviceRow {
        secret: token().hash(),
        created: seen,
        seen,
        agent: "Firefox on Linux".to_owned(),
        network: "192.0.2.0/24".to_owned(),
        country: Some("DE".to_owned()),
        asn: Some(4_200_000_000),
        revoked: None,
    }
}

async fn trusted(store: &Store, user: &User, device: &DeviceRow) {
    let mut tx = store.begin().await.expect("begins");
    tx.device_trust(&user.id, device, 50).await.expect("trusts");
    tx.commit().await.expect("commits");
}

async fn secrets(tx: &mut Tx, user: &User) -> Vec<String> {
    let rows = tx.devices_of_user(&user.id).await.expect("reads");
    rows.into_iter().map(|row| row.secret.to_column()).collect()
}

fn columns(hashes: &[TokenHash]) -> Vec<String> {
    hashes.iter().map(|hash| hash.to_column()).collect()
}

on_both_databases! {
    async fn a_device_is_read_back_and_seen_again(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let first = device(START);
        trusted(&store, &ada, &first).await;
        assert!(store.begin().await.expect("begins").devices_of_user(&ada.id).await.expect("reads") == [first.clone()]);
        let again = DeviceRow {
            created: START.plus(minutes(5)), seen: START.plus(minutes(5)), agent: "Safari on iOS".to_owned(),
            network: "2001:db8::/48".to_owned(), country: None, asn: None, ..first.clone()
        };
        trusted(&store, &ada, &again).await;
        let now = store.begin().await.expect("begins").devices_of_user(&ada.id).await.expect("reads");
        assert!(now == [DeviceRow { created: START, ..again }], "it is the same one");
    }

    async fn a_secret_is_changed_for_all_users_of_a_browser_and_for_no_other_browser(database) {
        let store = database.open().await;
        let (ada, bob) = (stored_user(&store, "ada@example.com").await, stored_user(&store, "bob@example.com").await);
        let (shared, other) = (device(START), device(START.plus(minutes(1))));
        trusted(&store, &ada, &shared).await;
        trusted(&store, &bob, &shared).await;
        trusted(&store, &ada, &other).await;
        let mut tx = store.begin().await.expect("begins");
        let new = token().hash();
        tx.device_rotate(shared.secret, new).await.expect("rotates");
        assert_eq!(secrets(&mut tx, &ada).await, columns(&[other.secret, new]));
        assert_eq!(secrets(&mut tx, &bob).await, columns(&[new]));
    }

    async fn revoked_trust_is_kept_as_such_until_it_is_won_again(database) {
        let store = database.open().await;
        let (ada, bob) = (stored_user(&store, "ada@example.com").await, stored_user(&store, "bob@example.com").await);
        let (one, two) = (device(START), device(START.plus(minutes(1))));
        trusted(&store, &ada, &one).await;
        trusted(&store, &ada, &two).await;
        trusted(&store, &bob, &one).await;
        let mut tx = store.begin().await.expect("begins");
        let at = START.plus(minutes(3));
        assert_eq!(tx.devices_revoke_of_user(&ada.id, None, at).await.expect("revokes"), 2);
        assert_eq!(tx.devices_revoke_of_user(&ada.id, None, at.plus(minutes(1))).await.expect("revokes"), 0);
        let revoked: Vec<_> = tx.devices_of_user(&ada.id).await.expect("reads").iter().map(|row| row.revoked).collect();
        assert_eq!(revoked, [Some(at), Some(at)]);
        assert!(tx.devices_of_user(&bob.id).await.expect("reads")[0].revoked.is_none());
        assert_eq!(tx.devices_revoke_of_user(&bob.id, Some(one.secret), at).await.expect("revokes"), 0);
        tx.device_trust(&ada.id, &one, 50).await.expect("trusts");
        let revoked: Vec<_> = tx.devices_of_user(&ada.id).await.expect("reads").iter().map(|row| row.revoked).collect();
        assert_eq!(revoked, [Some(at), None]);
    }

    async fn a_secret_is_of_a_trusted_browser_of_one_address_or_of_none(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        stored_user(&store, "bob@example.com").await;
        let (one, two) = (device(START), device(START));
        trusted(&store, &ada, &one).await;
        trusted(&store, &ada, &two).await;
        let is = async |secret, email| store.device_trusted(secret, email).await.expect("reads");
        assert!(is(one.secret, "ada@example.com").await && is(two.secret, "ada@example.com").await);
        assert!(!is(one.secret, "bob@example.com").await && !is(token().hash(), "ada@example.com").await);
        let mut tx = store.begin().await.expect("begins");
        assert_eq!(tx.devices_revoke_of_user(&ada.id, Some(one.secret), START).await.expect("revokes"), 1);
        tx.commit().await.expect("commits");
        assert!(is(one.secret, "ada@example.com").await && !is(two.secret, "ada@example.com").await);
    }

    async fn only_so_many_of_a_user_are_kept_and_stale_ones_go(database) {
        let store = database.open().await;
        let (ada, bob) = (stored_user(&store, "ada@example.com").await, stored_user(&store, "bob@example.com").await);
        let all: Vec<DeviceRow> = (0..5).map(|n| device(START.plus(minutes(n)))).collect();
        trusted(&store, &bob, &all[0]).await;
        let mut tx = store.begin().await.expect("begins");
        for device in &all {
            tx.device_trust(&ada.id, device, 3).await.expect("trusts");
        }
        let kept: Vec<TokenHash> = all[2..].iter().rev().map(|device| device.secret).collect();
        assert_eq!(secrets(&mut tx, &ada).await, columns(&kept));
        assert_eq!(tx.devices_delete_stale(START.plus(minutes(2)), 1).await.expect("removes"), 1);
        assert_eq!(tx.devices_delete_stale(START.plus(minutes(2)), 9).await.expect("removes"), 1);
        assert_eq!(secrets(&mut tx, &ada).await, columns(&kept[..2]));
        assert_eq!(secrets(&mut tx, &bob).await, columns(&[]));
    }

    async fn devices_go_with_their_user_and_no_table_holds_a_secret(database) {
        let store = database.open().await;
        let ada = stored_user(&store, "ada@example.com").await;
        let secret = token();
        trusted(&store, &ada, &DeviceRow { secret: secret.hash(), ..device(START) }).await;
        let dump = database.dump().await;
        assert!(dump.contains(&secret.hash().to_column()) && !dump.contains(&secret.reveal()));
        database.execute(r#"DELETE FROM "user""#).await;
        assert_eq!(database.texts(r#"SELECT "id" FROM "sidegate_device""#).await, [""; 0]);
    }
}
