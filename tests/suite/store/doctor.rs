//! What `sidegate doctor` and `serve` say of a store that they cannot work with.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::serve::{free_port, minimal, run, serve, url};
use crate::support::database::on_both_databases;
use crate::support::upstream::Upstream;

/// The line about the store, and whether all is well.
fn examined(directory: &Path) -> (bool, String) {
    let output = run(directory, &["doctor", "--config", "sidegate.toml"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find(|line| line.starts_with("store")).expect("a line").to_owned();
    (output.status.success(), line)
}

#[test]
fn a_place_that_takes_no_file_is_told_of_with_its_key() {
    let directory = TempDir::new().expect("a directory");
    let app = Upstream::hello();
    minimal(directory.path(), free_port(), app.address, "sqlite:/nonexistent/x.db");
    let (well, line) = examined(directory.path());
    assert!(
        !well && line.contains("WRONG") && line.contains("store.url") && line.contains("/nonexistent"),
        "{line}"
    );
    fs::create_dir(directory.path().join("x.db")).expect("a directory");
    minimal(directory.path(), free_port(), app.address, "sqlite:x.db");
    for command in ["doctor", "migrate"] {
        let output = run(directory.path(), &[command, "--config", "sidegate.toml"]);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!output.status.success() && said.contains("store.url x.db: "), "{command}: {said}");
        assert_eq!(said.matches("unable to open database file").count(), 1, "{said}");
    }
    minimal(directory.path(), free_port(), app.address, "postgres://ada:hush@127.0.0.1:1/x");
    let (well, line) = examined(directory.path());
    assert!(!well && line.contains("store.url 127.0.0.1:1: ") && !line.contains("hush"), "{line}");
    assert_eq!(line.matches("Connection refused").count(), 1, "{line}");
}

on_both_databases! {
    fn a_root_secret_that_is_not_the_databases_is_told_of(database) {
        let directory = TempDir::new().expect("a directory");
        let (app, address) = (Upstream::hello(), free_port());
        minimal(directory.path(), address, app.address, &url(&database));
        let rest = fs::read_to_string(directory.path().join("sidegate.toml")).expect("a file");
        let with = |secret: &str| {
            let text = format!("secret = \"{secret}\"\n{rest}");
            fs::write(directory.path().join("sidegate.toml"), text).expect("a file");
        };
        let told = "the root secret is not the one that this database was used with";
        with("one secret that is long enough, really");
        let program = serve(directory.path(), address, &["--config", "sidegate.toml"]);
        assert!(!program.said.contains(told), "{}", program.said);
        drop(program);
        assert!(examined(directory.path()).0);
        with("another secret that is long enough");
        let (well, line) = examined(directory.path());
        assert!(!well && line.contains(told) && line.contains("former_secret_files"), "{line}");
        let program = serve(directory.path(), address, &["--config", "sidegate.toml"]);
        assert!(program.said.contains(told), "{}", program.said);
    }
}
