//! How tokens end: by their owner, with everything else, by themselves; at once, and on every replica.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use serde_json::json;
use sidegate::id::{RowId, SessionId, UserId};
use sidegate::jobs::Jobs;
use sidegate::store::personal_tokens::PersonalRow;
use sidegate::visitor::Grant;

use super::{DAY, TABLE, made, text, token};
use crate::flow::mailed::{logged, mailing, proved, refused, reset, reset_token};
use crate::flow::rows;
use crate::jobs::eventually;
use crate::support::database::{Database, on_both_databases};
use crate::support::mailbox::Mailbox;
use crate::support::raw::Raw;
use crate::support::site::PASSWORD;
use crate::support::upstream::Upstream;
use crate::token::{opens, pair, plan};

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[test]
fn a_token_that_was_revoked_on_one_replica_opens_neither() {
    // The clocks stand still, so that only the notice can end the other's copy.
    let (one, two) = pair();
    let (mut ada, _) = one.member("ada@example.com");
    let told = made(&mut ada, &json!({ "name": "x" }));
    let (gone, kept) = (text(&told, "token"), token(&mut ada));
    for site in [&one, &two] {
        assert!(opens(site, &gone) && opens(site, &kept));
    }
    let revoked = ada.post("/auth/revoke-personal-token", &json!({ "id": told["id"] }));
    assert_eq!(revoked.json(), json!({ "status": true }));
    assert!(!opens(&one, &gone), "the next request");
    eventually("the other replica hears of it", || !opens(&two, &gone));
    assert!(opens(&one, &kept) && opens(&two, &kept));
}

#[test]
fn a_token_that_is_made_while_everything_ends_ends_too() {
    let site = plan(Database::postgres()).start();
    let (mut ada, id) = site.member("ada@example.com");
    let row = PersonalRow {
        id: RowId::random(),
        user: UserId::parse(&id).expect("an id"),
        token: site.app.sessions.personal_issue().personal_hash(),
        name: "x".to_owned(),
        last_four: "x".to_owned(),
        grant: Grant { paths: None, read_only: false },
        created: site.clock.now(),
        expires: site.clock.now().plus(DAY),
        used: None,
    };
    let session = SessionId::parse(&text(&ada.get("/auth/me").json()["session"], "id")).expect("an id");
    let making = site.block_on(async {
        let mut tx = site.app.store.begin().await.expect("begins");
        assert!(tx.session_hold(&row.user, &session, row.created).await.expect("answers"));
        tx.personal_token_insert(&row).await.expect("inserts");
        tx
    });
    thread::scope(|scope| {
        let ending = scope.spawn(|| ada.post("/auth/revoke-sessions", &json!({})).status);
        let waits = "SELECT query FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("it waits for the session", || !site.block_on(site.database.texts(waits)).is_empty());
        site.block_on(making.commit()).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(ending.join().expect("no panic"), 200);
    });
    assert_eq!(rows(&site, TABLE), 0);
}

#[test]
fn where_they_are_switched_off_none_is_made_and_none_opens_anything() {
    let database = Database::postgres();
    let other = database.shared();
    let on = plan(database).start();
    let off = plan(other).set("tokens", "personal = false").start();
    let (mut ada, _) = on.member("ada@example.com");
    let token = token(&mut ada);
    assert!(opens(&on, &token) && !opens(&off, &token));
    let (mut ada, _) = off.signed_in("ada@example.com");
    refused(&ada.post("/auth/personal-tokens", &json!({ "name": "x" })), 404, "NOT_FOUND");
    refused(&ada.get("/auth/personal-tokens"), 404, "NOT_FOUND");
}

on_both_databases! {
    fn an_owner_revokes_a_token_and_nobody_else_does(database) {
        let site = plan(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let (mut bob, _) = site.member("bob@example.com");
        let told = made(&mut ada, &json!({ "name": "x" }));
        let (token, id) = (text(&told, "token"), json!({ "id": told["id"] }));
        assert!(opens(&site, &token));
        assert_eq!(bob.post("/auth/revoke-personal-token", &id).json(), json!({ "status": true }));
        assert!(opens(&site, &token));
        refused(&bob.post("/auth/revoke-personal-token", &json!({ "id": "'" })), 400, "VALIDATION_ERROR");
        for _ in 0..2 {
            assert_eq!(ada.post("/auth/revoke-personal-token", &id).json(), json!({ "status": true }));
            assert!(!opens(&site, &token));
        }
        assert_eq!(ada.get("/auth/personal-tokens").json(), json!([]));
        let mut lines = logged(&site, "token-revoke");
        lines.sort();
        assert_eq!(lines, ["failed TOKEN_NOT_FOUND known", "failed TOKEN_NOT_FOUND known", "ok - known"]);
    }

    fn rv_1_whoever_has_a_token_can_end_it(database) {
        let site = plan(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let (found, kept) = (token(&mut ada), token(&mut ada));
        assert!(opens(&site, &found));
        for _ in 0..2 {
            let revoked = site.stranger().post("/auth/revoke", &json!({ "token": found }));
            assert_eq!(revoked.json(), json!({ "success": true }));
            assert!(!opens(&site, &found) && opens(&site, &kept));
        }
        assert_eq!(logged(&site, "token-revoke"), ["ok - known"]);
    }

    fn a_password_reset_ends_the_tokens(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        let (mut ada, _) = proved(&site, &mailbox, "ada@example.com");
        let (mut bob, _) = proved(&site, &mailbox, "bob@example.com");
        let (seen, unseen, other) = (token(&mut ada), token(&mut ada), token(&mut bob));
        assert!(opens(&site, &seen) && opens(&site, &other));
        let secret = reset_token(&site, &mailbox, "ada@example.com");
        assert_eq!(reset(&site, &secret, "quite another phrase").status, 200);
        assert!(!opens(&site, &seen) && !opens(&site, &unseen) && opens(&site, &other));
        assert_eq!(rows(&site, TABLE), 1);
    }

    fn ending_everything_ends_the_tokens_and_signing_out_does_not(database) {
        let site = plan(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        let token = token(&mut ada);
        assert!(opens(&site, &token));
        assert_eq!(ada.post("/auth/sign-out", &json!({})).status, 200);
        assert!(opens(&site, &token));
        let (mut ada, _) = site.signed_in("ada@example.com");
        assert_eq!(ada.post("/auth/revoke-sessions", &json!({})).status, 200);
        assert!(!opens(&site, &token));
    }

    fn a_deleted_user_has_no_tokens(database) {
        let site = plan(database).set("accounts", "delete = true").start();
        let (mut ada, _) = site.member("ada@example.com");
        let token = token(&mut ada);
        assert!(opens(&site, &token));
        let deleted = ada.post("/auth/delete-user", &json!({ "password": PASSWORD }));
        assert_eq!(deleted.status, 200, "{}", deleted.text());
        assert!(!opens(&site, &token));
        assert_eq!(rows(&site, TABLE), 0);
    }

    fn a_change_of_the_name_reaches_what_a_token_says(database) {
        let site = plan(database).set("identity", "name = \"x-user-name\"").start();
        let (mut ada, _) = site.member("ada@example.com");
        let token = token(&mut ada);
        assert!(opens(&site, &token));
        assert_eq!(ada.post("/auth/update-user", &json!({ "name": "Ada" })).status, 200);
        assert!(opens(&site, &token));
        assert_eq!(site.upstream.last().header("x-user-name"), Some("Ada"));
    }

    fn a_tunnel_lives_and_ends_with_its_token(database) {
        let echo = Upstream::with(|_, stream| {
            let _ = stream.write_all(SWITCH);
            let mut buffer = [0; 64];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let _ = stream.write_all(&buffer[..count]);
            }
            let _ = stream.shutdown(Shutdown::Both);
        });
        let site = plan(database).upstream(echo).start();
        let (mut ada, _) = site.member("ada@example.com");
        let told = made(&mut ada, &json!({ "name": "x" }));
        let host = site.origin.split("://").nth(1).expect("a host");
        let mut tunnel = Raw::connect(site.address);
        tunnel.send(format!(
            "GET /socket HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            text(&told, "token")
        ));
        assert_eq!(tunnel.head().expect("an answer").status, 101);
        let swept = site.block_on(site.app.sessions.cut_ended(site.clock.now()));
        assert!(swept.is_ok());
        tunnel.send(b"alive");
        assert_eq!(tunnel.exactly(5).expect("it is said back"), b"alive");
        assert_eq!(ada.post("/auth/revoke-personal-token", &json!({ "id": told["id"] })).status, 200);
        assert!(tunnel.is_closed());
    }

    fn expired_tokens_are_deleted(database) {
        let site = plan(database).start();
        let (mut ada, _) = site.member("ada@example.com");
        made(&mut ada, &json!({ "name": "x", "expiresIn": 86_400 }));
        token(&mut ada);
        site.pass(DAY + Duration::from_secs(1));
        let _again = Jobs::start(&site.app);
        eventually("the row is deleted", || rows(&site, TABLE) == 1);
    }
}
