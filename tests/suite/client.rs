//! better-auth's own client from npm, unmodified, in Node against a site.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::database::on_both_databases;
use crate::support::provider::{Persona, Provider};
use crate::support::site::Site;

/// The directory in which the client is installed, once for all tests and for as long as its lock file stays
/// the same.
fn installed() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/client");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("client");
        std::fs::create_dir_all(&directory).expect("a directory");
        let lock = std::fs::read(source.join("package-lock.json")).expect("a lock file");
        let done = directory.join("installed");
        for file in ["package.json", "package-lock.json", "client.mjs"] {
            std::fs::copy(source.join(file), directory.join(file)).expect("a copy");
        }
        if std::fs::read(&done).is_ok_and(|installed| installed == lock) {
            return directory;
        }
        let npm = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&directory)
            .status()
            .expect("npm is installed");
        assert!(npm.success(), "npm ci: {npm}");
        std::fs::write(done, lock).expect("a note that it is done");
        directory
    })
}

on_both_databases! {
    fn better_auths_unmodified_client_signs_up_in_and_out_revokes_and_goes_through_a_provider(database) {
        let provider = Provider::start();
        provider.is_visited_by(Persona::new("1", "grace@example.com"));
        let site = Site::on(database).toml(&provider.toml("corp", "trust_email = true")).start();
        provider.follow(&site.clock);
        let node = Command::new("node").arg("client.mjs").arg(&site.origin).current_dir(installed()).output()
            .expect("node is installed");
        let (out, err) = (String::from_utf8_lossy(&node.stdout), String::from_utf8_lossy(&node.stderr));
        assert!(node.status.success() && out.contains("all is well"), "{out}{err}");
    }
}
