//! An id in the configuration that comes to stand for another provider: its people are not those of the first.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;

use crate::serve::{command, free_port, minimal, serve, url};
use crate::support::database::on_both_databases;
use crate::support::upstream::Upstream;

/// The configuration with one provider.
fn configure(directory: &Path, store: &str, (app, address): (&Upstream, std::net::SocketAddr), lines: &str) {
    minimal(directory, address, app.address, store);
    let file = directory.join("sidegate.toml");
    let mut text = std::fs::read_to_string(&file).expect("a file");
    let registration = "client_id = \"x\"\nclient_secret = \"x\"";
    let _ = write!(text, "[[providers]]\nid = \"lab\"\n{registration}\n{lines}\n");
    std::fs::write(file, text).expect("written");
}

/// What a server says that does not start.
fn refused(directory: &Path) -> String {
    let mut process = command(directory, &["serve", "--config", "sidegate.toml"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut said = String::new();
    for line in BufReader::new(process.stderr.take().expect("a pipe")).lines() {
        said.push_str(&line.expect("text"));
        if said.contains(" serving ") {
            let _ = process.kill();
        }
    }
    assert_eq!(process.wait().expect("an end").code(), Some(1), "{said}");
    said
}

on_both_databases! {
    fn oa_16_subjects_of_one_provider_open_no_accounts_of_another_under_the_same_id(database) {
        let (directory, app, address) = (TempDir::new().expect("a directory"), Upstream::hello(), free_port());
        let store = url(&database);
        let with = |lines: &str| configure(directory.path(), &store, (&app, address), lines);
        let starts = || drop(serve(directory.path(), address, &["--config", "sidegate.toml"]));
        with("kind = \"gitlab\"");
        starts();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (yes, at) = (if database.file().is_some() { "1" } else { "true" }, "2026-01-01T00:00:00.000Z");
        runtime.block_on(database.execute(&format!(
            r#"INSERT INTO "user" ("id", "name", "email", "emailVerified", "createdAt", "updatedAt")
               VALUES ('ada', 'Ada', 'ada@example.com', {yes}, '{at}', '{at}');
               INSERT INTO "account" ("id", "accountId", "providerId", "userId", "createdAt", "updatedAt")
               VALUES ('x', '42', 'lab', 'ada', '{at}', '{at}')"#
        )));
        // Whoever is number 42 at another GitLab is not Ada.
        with("kind = \"gitlab\"\nbase_url = \"https://lab.example\"");
        let said = refused(directory.path());
        for part in ["\"lab\"", "https://gitlab.com", "https://lab.example", "another `id`", "formerly = "] {
            assert!(said.contains(part), "{part}: {said}");
        }
        with("kind = \"oidc\"\nissuer = \"https://lab.example\"");
        refused(directory.path());
        with("kind = \"gitlab\"\nbase_url = \"https://lab.example\"\nformerly = \"https://gitlab.example\"");
        refused(directory.path());
        with("kind = \"gitlab\"");
        starts();
        // The same one under another name.
        with("kind = \"gitlab\"\nbase_url = \"https://lab.example\"\nformerly = \"https://gitlab.com\"");
        starts();
        with("kind = \"gitlab\"\nbase_url = \"https://lab.example\"");
        starts();
        with("kind = \"gitlab\"");
        refused(directory.path());
    }
}
