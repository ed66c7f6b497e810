//! Taking over the database of an app that used better-auth until now.

use sidegate::id::UserId;
use sidegate::secret::TokenHash;
use sidegate::store::Store;
use sidegate::time::{Clock, Now};

use super::{minutes, stored_session, user, user_by_email};
use crate::support::database::{Database, START, on_both_databases};

/// How `account.issuer` looks in the wild.
#[derive(Clone, Copy)]
enum Issuer {
    /// Up to 1.6 and from 1.7.3.
    Absent,
    /// 1.7.0 to 1.7.2.
    Required,
    /// Left behind by an update.
    Nullable,
}

const HASH: &str = "00112233445566778899aabbccddeeff:4dc641b984b6e44e";

/// The tables as better-auth emits them, and rows as it writes them.
async fn better_auth(database: &Database, issuer: Issuer) {
    let (date, boolean, verified, now) = match database {
        Database::Sqlite(_) => ("date", "integer", "1", ""),
        Database::Postgres { .. } => ("timestamptz", "boolean", "true", "default CURRENT_TIMESTAMP"),
    };
    let (column, index, of_password, of_provider, names) = match issuer {
        Issuer::Absent => ("", "", "", "", ""),
        Issuer::Required => (
            r#", "issuer" text not null"#,
            r#"create unique index "account_issuer_accountId_uidx" on "account" ("issuer", "accountId");"#,
            ", 'local:credential'",
            ", 'local:oauth:github'",
            r#", "issuer""#,
        ),
        Issuer::Nullable => (r#", "issuer" text"#, "", ", 'local:credential'", ", NULL", r#", "issuer""#),
    };
    let at = "2025-06-07T08:09:10.123Z";
    database
        .execute(&format!(
            r#"
            create table "user" ("id" text not null primary key, "name" text not null, "email" text not null unique,
                "emailVerified" {boolean} not null, "image" text, "createdAt" {date} {now} not null,
                "updatedAt" {date} {now} not null, "role" text, "banned" {boolean});
            create table "session" ("id" text not null primary key, "expiresAt" {date} not null,
                "token" text not null unique, "createdAt" {date} {now} not null, "updatedAt" {date} not null,
                "ipAddress" text, "userAgent" text,
                "userId" text not null references "user" ("id") on delete cascade);
            create table "account" ("id" text not null primary key, "accountId" text not null,
                "providerId" text not null, "userId" text not null references "user" ("id") on delete cascade,
                "accessToken" text, "refreshToken" text, "idToken" text, "accessTokenExpiresAt" {date},
                "refreshTokenExpiresAt" {date}, "scope" text, "password" text, "createdAt" {date} {now} not null,
                "updatedAt" {date} not null{column});
            create table "verification" ("id" text not null primary key, "identifier" text not null,
                "value" text not null, "expiresAt" {date} not null, "createdAt" {date} {now} not null,
                "updatedAt" {date} {now} not null);
            create index "session_userId_idx" on "session" ("userId");
            create index "account_userId_idx" on "account" ("userId");
            create index "verification_identifier_idx" on "verification" ("identifier");
            {index}
            insert into "user" ("id", "name", "email", "emailVerified", "createdAt", "updatedAt")
                values ('qJ2vXb0sT4kZ7mW1pR8nY5cL3dF6gH9a', 'Grace', 'grace@example.com', {verified}, '{at}', '{at}');
            insert into "account"
                ("id", "accountId", "providerId", "userId", "password", "createdAt", "updatedAt"{names})
                values ('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'qJ2vXb0sT4kZ7mW1pR8nY5cL3dF6gH9a', 'credential',
                        'qJ2vXb0sT4kZ7mW1pR8nY5cL3dF6gH9a', '{HASH}', '{at}', '{at}'{of_password}),
                       ('bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', '4711', 'github',
                        'qJ2vXb0sT4kZ7mW1pR8nY5cL3dF6gH9a', NULL, '{at}', '{at}'{of_provider});
            insert into "session"
                ("id", "expiresAt", "token", "createdAt", "updatedAt", "ipAddress", "userAgent", "userId")
                values ('cccccccccccccccccccccccccccccccc', '2030-01-01T00:00:00.000Z',
                        'Xy7kPq2mNb5vCx8zLw1sDf4gHj6tRe9u', '{at}', '{at}', '', '',
                        'qJ2vXb0sT4kZ7mW1pR8nY5cL3dF6gH9a');
            "#
        ))
        .await;
}

/// Opens the database, and lets its old user and a new one do what users do.
async fn live_on(database: Database, issuer: Issuer) {
    better_auth(&database, issuer).await;
    let store = database.open().await;

    let (grace, hash) =
        store.credential_by_email("grace@example.com").await.expect("reads").expect("is there");
    assert_eq!(grace.id.as_str(), "qJ2vXb0sT4kZ7mW1pR8nY5cL3dF6gH9a");
    assert!(grace.email_verified);
    assert_eq!(Some(grace.created), Now::from_iso("2025-06-07T08:09:10.123Z"));
    assert_eq!(hash.as_deref(), Some(HASH));

    let (_, token) = stored_session(&store, &grace, START, START.plus(minutes(60))).await;
    assert!(store.session_by_hash(token).await.expect("reads").expect("is there").user == grace);

    let new = user("new@example.com");
    let mut tx = store.begin().await.expect("begins");
    assert!(tx.user_insert(&new).await.expect("inserts"));
    tx.account_insert_credential(&new.id, "new hash", START).await.expect("inserts");
    tx.account_set_password(&grace.id, "changed", START).await.expect("changes");
    tx.commit().await.expect("commits");
    let (_, hash) = store.credential_by_email("new@example.com").await.expect("reads").expect("is there");
    assert_eq!(hash.as_deref(), Some("new hash"));

    let expected: &[&str] = match issuer {
        Issuer::Absent => return,
        Issuer::Required | Issuer::Nullable => &["local:credential", "local:credential"],
    };
    let written = database.texts(r#"SELECT "issuer" FROM "account" WHERE "providerId" = 'credential'"#).await;
    assert_eq!(written, expected);
}

on_both_databases! {
    async fn a_database_without_issuers_lives_on(database) {
        live_on(database, Issuer::Absent).await;
    }

    async fn a_database_that_requires_issuers_lives_on(database) {
        live_on(database, Issuer::Required).await;
    }

    async fn a_database_with_issuers_left_behind_lives_on(database) {
        live_on(database, Issuer::Nullable).await;
    }

    async fn better_auth_can_still_write_its_sessions(database) {
        better_auth(&database, Issuer::Absent).await;
        let _store = database.open().await;
        database.execute(
            r#"INSERT INTO "session" ("id", "expiresAt", "token", "createdAt", "updatedAt", "userId")
               VALUES ('d', '2030-01-01T00:00:00.000Z', 'Zy7kPq2mNb5vCx8zLw1sDf4gHj6tRe9u',
                       '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z', 'qJ2vXb0sT4kZ7mW1pR8nY5cL3dF6gH9a')"#,
        ).await;
    }

    async fn sessions_of_better_auth_are_not_ours_but_end_with_ours(database) {
        better_auth(&database, Issuer::Absent).await;
        let store = database.open().await;
        let grace = user_by_email(&store, "grace@example.com").await.expect("reads").expect("is there");
        let (id, token) = stored_session(&store, &grace, START, START.plus(minutes(60))).await;
        let listed = store.sessions_of_user(&grace.id, START).await.expect("lists");
        assert_eq!(listed.iter().map(|row| row.id.clone()).collect::<Vec<_>>(), [id]);
        let mut tx = store.begin().await.expect("begins");
        assert_eq!(tx.sessions_delete_of_user(&grace.id, None).await.expect("ends"), [token]);
        tx.commit().await.expect("commits");
        assert_eq!(database.texts(r#"SELECT "id" FROM "session""#).await, [""; 0]);
        assert!(TokenHash::from_column("Xy7kPq2mNb5vCx8zLw1sDf4gHj6tRe9u").is_none());
        assert!(UserId::parse("qJ2vXb0sT4kZ7mW1pR8nY5cL3dF6gH9a").is_some());
    }

    async fn our_column_may_be_there_without_our_tables(database) {
        database.open().await;
        database.execute(r#"DROP TABLE "sidegate_migration"; DROP TABLE "sidegate_auth_log";"#).await;
        let applied = Store::migrate(&database.config(), &Clock::fixed(START)).await.expect("migrates");
        assert!(applied.contains(&"0002_session_remember") && applied.contains(&"0003_sidegate"), "{applied:?}");
    }

    async fn accounts_that_share_an_identity_are_named_and_nothing_is_changed(database) {
        better_auth(&database, Issuer::Absent).await;
        database.execute(
            r#"INSERT INTO "account" ("id", "accountId", "providerId", "userId", "createdAt", "updatedAt")
               VALUES ('twin', '4711', 'github', 'qJ2vXb0sT4kZ7mW1pR8nY5cL3dF6gH9a',
                       '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z')"#,
        ).await;
        let fault = Store::open(&database.config(), &Clock::fixed(START)).await.err().expect("a fault");
        assert!(fault.to_string().contains("github") && fault.to_string().contains("4711"), "{fault}");
        assert_eq!(database.tables().await, ["account", "session", "user", "verification"]);
        assert!(!database.columns("session").await.contains(&"sidegateRemember".to_owned()));
    }
}
