//! An app that is a process of its own, nginx, which can be killed and started again on the same port.

use std::fs;
use std::net::SocketAddr;

use tempfile::TempDir;

use crate::serve::free_port;
use crate::support::program::Program;

/// The process, and where it listens while it runs.
pub(crate) struct Nginx {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    name: &'static str,
    directory: TempDir,
    process: Option<Program>,
}

impl Nginx {
    /// Starts one that answers every request with its name, and `/healthz` with 200 unless it is made [`Self::ill`].
    pub(crate) fn start(name: &'static str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut nginx = Self { address: free_port(), name, directory, process: None };
        nginx.begin();
        nginx
    }

    /// Starts it again, and waits until it listens.
    pub(crate) fn begin(&mut self) {
        let Self { address, name, .. } = self;
        let home = self.directory.path().display();
        let server = format!(
            "server {{ listen {address};\n\
             location = /healthz {{ if (-f {home}/ill) {{ return 503; }} return 200; }}\n\
             location / {{ return 200 {name}; }} }}"
        );
        self.process = Some(Program::nginx(*address, &server));
    }

    /// Ends it at once, with every connection.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Whether it says that it is not well.
    pub(crate) fn ill(&self, ill: bool) {
        let mark = self.directory.path().join("ill");
        if ill {
            fs::write(mark, "").expect("a file");
        } else {
            fs::remove_file(mark).expect("the file was there");
        }
    }
}
