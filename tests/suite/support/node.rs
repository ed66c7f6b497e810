//! Programs from npm, unmodified, against a site.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The directory in which they are installed, once for all tests and for as long as its lock file stays the same.
pub(crate) fn installed() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/client");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("client");
        std::fs::create_dir_all(&directory).expect("a directory");
        let lock = std::fs::read(source.join("package-lock.json")).expect("a lock file");
        let done = directory.join("installed");
        for entry in std::fs::read_dir(&source).expect("the sources") {
            let file = entry.expect("a file").file_name();
            std::fs::copy(source.join(&file), directory.join(&file)).expect("a copy");
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
