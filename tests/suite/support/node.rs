//! Programs from npm, unmodified, against a site.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use crate::support::child::Child;

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

/// A program that is app and client at the same time: it serves on `port`, and asks once it is told whom.
pub(crate) struct Program {
    pub(crate) port: u16,
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Program {
    /// Starts the app.
    pub(crate) fn start(script: &str) -> Self {
        Self::run_by(Command::new("node").arg(script))
    }

    /// Starts the app under TLS, with certificates of [`crate::tls::certificates`].
    pub(crate) fn start_encrypted(script: &str) -> Self {
        let files = crate::tls::certificates();
        // It is known by its address, of which Node disapproves aloud.
        let mut command = Command::new("node");
        command.arg("--no-deprecation").arg(script).arg(files);
        Self::run_by(command.env("NODE_EXTRA_CA_CERTS", files.join("second.pem")))
    }

    fn run_by(command: &mut Command) -> Self {
        let mut child = Child::start(
            command
                .current_dir(installed())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut port = String::new();
        out.read_line(&mut port).expect("a line");
        let port = port.trim().parse().unwrap_or_else(|_| panic!("no port: {port}"));
        Self { port, child, out }
    }

    /// Runs the client and gives back what it said.
    pub(crate) fn run(mut self, told: &serde_json::Value) -> String {
        writeln!(self.child.stdin.as_mut().expect("a pipe"), "{told}").expect("it listens");
        let mut said = String::new();
        let _ = self.out.read_line(&mut said);
        drop(self.child.stdin.take());
        let mut errors = self.child.stderr.take().expect("a pipe");
        errors.read_to_string(&mut said).expect("text");
        said.trim().to_owned()
    }
}
