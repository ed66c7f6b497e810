//! `sidegate doctor`, and what `serve` says of a mail server at its start.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Output, Stdio};

use tempfile::TempDir;

use crate::serve::{command, free_port, minimal, run};
use crate::support::mailbox::{Does, Mailbox, Stage};
use crate::support::upstream::Upstream;

/// A configuration with these lines at its end, and where it is.
fn home(mail: &str) -> TempDir {
    let directory = TempDir::new().expect("a directory");
    minimal(directory.path(), free_port(), Upstream::hello().address, "sqlite:sidegate.db");
    let file = directory.path().join("sidegate.toml");
    let text = fs::read_to_string(&file).expect("text");
    fs::write(&file, format!("{text}{mail}")).expect("written");
    directory
}

fn doctor(home: &Path) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = run(home, &["doctor", "--config", "sidegate.toml"]);
    let said = [stdout, stderr].map(|bytes| String::from_utf8(bytes).expect("text")).concat();
    (status.code(), said)
}

fn mail(mailbox: &Mailbox, more: &str) -> String {
    format!("[mail]\n{}{more}\n", mailbox.config())
}

#[test]
fn what_is_well_is_said_to_be_and_nothing_is_left_behind() {
    let mailbox = Mailbox::start();
    let home = home(&mail(&mailbox, "username = \"harbour\"\npassword = \"hush\""));
    let (code, said) = doctor(home.path());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("store   ok") && said.contains("mail    ok     127.0.0.1:"), "{said}");
    assert!(mailbox.said().iter().any(|line| line.starts_with("AUTH")), "{:?}", mailbox.said());
    assert!(!mailbox.said().iter().any(|line| line.starts_with("MAIL")), "{:?}", mailbox.said());
    assert_eq!(fs::read_dir(home.path()).expect("a directory").count(), 1, "the configuration alone");
}

#[test]
fn what_is_wrong_is_told_with_the_words_of_the_server() {
    let mailbox = Mailbox::start();
    mailbox.mood(Stage::Auth, Does::Says("535 bad password for harbour"));
    let home = home(&mail(&mailbox, "username = \"harbour\"\npassword = \"hush\""));
    let (code, said) = doctor(home.path());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("mail    WRONG") && said.contains("bad password for harbour"), "{said}");
    assert!(!said.contains("hush"), "{said}");
}

#[test]
fn nobody_who_listens_is_told_too_and_so_is_a_store_that_is_none() {
    let mailbox = Mailbox::start();
    let nobody = format!("[mail]\n{}", mailbox.config())
        .replace(&format!("port = {}", mailbox.address.port()), &format!("port = {}", free_port().port()));
    let home = home(&nobody);
    fs::write(home.path().join("sidegate.db"), "no database at all, but long enough to be taken for one")
        .expect("written");
    let (code, said) = doctor(home.path());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("store   WRONG") && said.contains("mail    WRONG"), "{said}");
    assert!(said.contains("2 of 2 are wrong"), "{said}");
}

#[test]
fn serve_starts_whatever_the_mail_server_says_and_warns() {
    let mailbox = Mailbox::start();
    mailbox.mood(Stage::Greeting, Does::Says("554 go away"));
    let home = home(&mail(&mailbox, ""));
    let mut process = command(home.path(), &["serve", "--config", "sidegate.toml"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(process.stderr.take().expect("a pipe"));
    let mut said = String::new();
    while !(said.contains(" serving ") && said.contains("mail cannot be sent at present")) {
        assert!(lines.read_line(&mut said).expect("text") > 0, "it ended: {said}");
    }
    process.kill().expect("killed");
    process.wait().expect("an end");
    assert!(said.contains("go away"), "{said}");
}
