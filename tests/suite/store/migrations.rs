//! Migrations: applied once, together, and alike on both databases.

use std::fs;
use std::path::Path;

use sidegate::config;
use sidegate::store::Store;
use sidegate::time::Clock;
use tokio::task::JoinSet;

use crate::support::database::{Database, START, on_both_databases};

fn names(folder: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations").join(folder);
    let mut names: Vec<_> = fs::read_dir(path)
        .expect("the folder")
        .map(|entry| entry.expect("reads").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn both_folders_hold_the_same_names() {
    assert_eq!(names("sqlite"), names("postgres"));
}

#[tokio::test]
async fn both_databases_get_the_same_tables_columns_and_indexes() {
    let (sqlite, postgres) = (Database::sqlite(), Database::postgres());
    sqlite.open().await;
    postgres.open().await;
    let tables = sqlite.tables().await;
    let others: Vec<&str> =
        tables.iter().map(String::as_str).filter(|table| !table.starts_with("sidegate_")).collect();
    assert_eq!(others, ["account", "session", "user", "verification"]);
    assert_eq!(postgres.tables().await, tables);
    for table in &tables {
        assert_eq!(sqlite.columns(table).await, postgres.columns(table).await, "{table}");
        let sqlite_types = format!(
            r#"SELECT "name" || ' ' || CASE lower("type") WHEN 'date' THEN 'timestamptz' WHEN 'integer' THEN 'bool' ELSE lower("type") END
                      || CASE WHEN "notnull" THEN ' not null' ELSE '' END FROM pragma_table_info('{table}') ORDER BY "cid""#
        );
        let postgres_types = format!(
            "SELECT column_name || ' ' || udt_name || CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END
             FROM information_schema.columns WHERE table_schema = 'public' AND table_name = '{table}' ORDER BY ordinal_position"
        );
        assert_eq!(sqlite.texts(&sqlite_types).await, postgres.texts(&postgres_types).await, "{table}");
    }
    let named = sqlite
        .texts(r#"SELECT "name" FROM "sqlite_schema" WHERE "type" = 'index' AND "sql" IS NOT NULL ORDER BY "name""#)
        .await;
    let named_too = postgres
        .texts(
            r#"SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public' AND indexname LIKE '%\_idx'
               ORDER BY indexname COLLATE "C""#,
        )
        .await;
    assert_eq!(named, named_too);
    assert!(named.len() > 6);
}

on_both_databases! {
    async fn migrations_are_applied_once(database) {
        let (config, clock) = (database.config(), Clock::fixed(START));
        let applied = Store::migrate(&config, &clock).await.expect("migrates");
        assert_eq!(applied, names("sqlite"));
        assert_eq!(Store::migrate(&config, &clock).await.expect("migrates"), [""; 0]);
        database.open().await;
        let recorded = database.texts(r#"SELECT "name" FROM "sidegate_migration" ORDER BY "name""#).await;
        assert_eq!(recorded, applied);
    }

    async fn a_store_that_may_not_migrate_refuses_tables_that_are_behind(database) {
        let clock = Clock::fixed(START);
        let config = config::Store { migrate: false, ..database.config() };
        let fault = Store::open(&config, &clock).await.err().expect("a fault");
        assert!(fault.to_string().contains("0001_better_auth") && fault.to_string().contains("sidegate migrate"), "{fault}");
        assert_eq!(database.tables().await, [""; 0], "it has written nothing");
        Store::migrate(&config, &clock).await.expect("migrates");
        Store::open(&config, &clock).await.expect("opens");
        database.execute(r#"DELETE FROM "sidegate_migration" WHERE "name" = '0003_sidegate'"#).await;
        let fault = Store::open(&config, &clock).await.err().expect("a fault");
        assert!(fault.to_string().contains("(0003_sidegate missing)"), "{fault}");
    }

    async fn replicas_that_start_together_migrate_once(database) {
        let mut replicas = JoinSet::new();
        for _ in 0..6 {
            let config = config::Store { connections: 2, ..database.config() };
            replicas.spawn(async move { Store::migrate(&config, &Clock::fixed(START)).await.expect("migrates").len() });
        }
        let applied: usize = replicas.join_all().await.into_iter().sum();
        assert_eq!(applied, names("sqlite").len());
    }

    async fn a_newer_version_may_have_been_here(database) {
        database.open().await;
        let at = START.iso();
        database.execute(&format!(r#"INSERT INTO "sidegate_migration" VALUES ('9999_from_the_future', '{at}')"#)).await;
        database.open().await;
    }

    async fn a_migration_that_fails_leaves_nothing_behind(database) {
        database.execute(r#"CREATE TABLE "verification" ("id" text PRIMARY KEY, "identifier" text)"#).await;
        let fault = Store::open(&database.config(), &Clock::fixed(START)).await.err().expect("a fault");
        assert!(fault.to_string().contains("verification has no column value"), "{fault}");
        assert_eq!(database.tables().await, ["verification"]);
    }
}
