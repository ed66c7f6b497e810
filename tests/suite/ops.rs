//! What whoever runs the program sees of it and does with it: health, numbers, lines, signals, traces.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;
use tempfile::TempDir;

use crate::jobs::eventually;
use crate::serve::{command, free_port};
use crate::support::child::Child;
use crate::support::raw::{Raw, Response};
use crate::support::site::PASSWORD;
use crate::support::visitor::Visitor;

mod access;
mod admin;
mod ended;
mod families;
mod instances;
mod load;
mod numbers;
mod refused;
mod reload;
mod routes;
mod silence;
pub(crate) mod stop;
mod trace;
mod upstream;

/// The built program with a configuration file, and what it says; killed when dropped.
struct Program {
    process: Child,
    address: SocketAddr,
    admin: SocketAddr,
    directory: Arc<TempDir>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Program {
    /// Serves in front of `app`, with an admin listener and `more` at the end of its file.
    fn start(app: SocketAddr, more: &str) -> Self {
        // A port that was free may have been taken meanwhile.
        let begun = (0..5).find_map(|_| Self::begin(app, more));
        begun.expect("ports that stay free")
    }

    /// The same, but nothing if one of its ports was taken.
    fn begin(app: SocketAddr, more: &str) -> Option<Self> {
        let directory = Arc::new(TempDir::new().expect("a directory"));
        let (address, admin) = (free_port(), free_port());
        configure(directory.path(), (address, admin, app), more);
        let mut serve = command(directory.path(), &["serve", "--config", "sidegate.toml"]);
        let mut process = Child::start(serve.stderr(Stdio::piped()));
        let said = BufReader::new(process.stderr.take().expect("a pipe"));
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&lines);
        thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                kept.lock().expect("no panic").push(line);
            }
        });
        let mut program = Self { process, address, admin, directory, lines };
        eventually("it serves", || {
            program.says("admin listener") || program.process.try_wait().expect("a process").is_some()
        });
        if program.says("admin listener") {
            return Some(program);
        }
        eventually("it says that a port was taken", || program.says("in use"));
        None
    }

    /// Writes its file anew.
    fn configure(&self, app: SocketAddr, more: &str) {
        configure(self.directory.path(), (self.address, self.admin, app), more);
    }

    /// Puts `new` in the place of `old` in its file.
    fn edit(&self, old: &str, new: &str) {
        let file = self.directory.path().join("sidegate.toml");
        let text = fs::read_to_string(&file).expect("a file");
        assert!(text.contains(old), "{old} in {text}");
        written(self.directory.path(), &text.replace(old, new));
    }

    /// Sends it a signal: `-HUP`.
    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.process.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Has it read its file again, and waits for what it says to that.
    fn reload(&self) -> String {
        let before = self.lines().len();
        self.signal("-HUP");
        let told = |line: &String| line.contains("was read again") || line.contains("nothing was reloaded");
        eventually("it says what came of it", || self.lines()[before..].iter().any(told));
        self.lines()[before..].join("\n")
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    fn says(&self, text: &str) -> bool {
        self.lines().iter().any(|line| line.contains(text))
    }

    fn visitor(&self) -> Visitor {
        Visitor::new(self.address, &format!("http://{}", self.address))
    }

    /// What the admin listener answers.
    fn told(&self, path: &str) -> Response {
        told(self.admin, path)
    }

    /// How it ended.
    fn exit_code(&mut self) -> Option<i32> {
        self.process.wait().expect("an end").code()
    }
}

fn configure(directory: &Path, (address, admin, app): (SocketAddr, SocketAddr, SocketAddr), more: &str) {
    let text = format!(
        "[listen]\naddress = \"{address}\"\nworkers = 2\n[admin]\naddress = \"{admin}\"\n\
         [public]\nurl = \"http://{address}\"\n[upstream]\nurl = \"http://{app}\"\n\
         [password]\nanswer_floor = \"0ms\"\n{more}"
    );
    written(directory, &text);
}

/// As an editor does it, so that nobody ever reads half a file.
fn written(directory: &Path, text: &str) {
    fs::write(directory.join("draft"), text).expect("a file");
    fs::rename(directory.join("draft"), directory.join("sidegate.toml")).expect("a file");
}

/// What an admin listener answers.
pub(crate) fn told(admin: SocketAddr, path: &str) -> Response {
    Raw::connect(admin)
        .send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
        .answer()
}

/// The value of one number in a text of metrics, a whole one; 0 if it is not there.
pub(crate) fn number(text: &str, sample: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().expect("a whole number"))
}

/// Ada, who has signed up and in, and her id.
fn signed_in(program: &Program) -> (Visitor, String) {
    let mut ada = program.visitor();
    let account = json!({ "name": "Ada", "email": "ada@example.com", "password": PASSWORD });
    assert_eq!(ada.post("/auth/signup", &account).status, 200);
    let response = ada.post("/auth/login", &account);
    assert_eq!(response.status, 200);
    let id = response.json()["user"]["id"].as_str().expect("an id").to_owned();
    (ada, id)
}
