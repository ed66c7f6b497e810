//! A process that does not outlive the test that started it, however that ends.

use std::ops::{Deref, DerefMut};
use std::process::{Child as Process, Command};

/// A running process; killed when dropped.
pub(crate) struct Child(Process);

impl Child {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Deref for Child {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl DerefMut for Child {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.0
    }
}

/// Sets a process's limit of open files: `64` for both, `64:` for the one that counts.
pub(crate) fn limit_files(process: u32, files: &str) {
    let limit = format!("--nofile={files}");
    let set = Command::new("prlimit").args(["--pid", &process.to_string(), &limit]).status();
    assert!(set.expect("prlimit is there").success());
}
