//! The demo as somebody meets it who has just built the program: what it prints, what it does, what it
//! refuses.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::browser::{Browser, Scheme, a11y};
use crate::support::child::Child;
use crate::support::site::PASSWORD;

mod provider;

/// The demo, running as a process of its own.
struct Demo {
    process: Child,
    out: BufReader<ChildStdout>,
    /// What it printed up to its last line of invitation.
    text: String,
    origin: String,
    temp: TempDir,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidegate"));
    command.arg("demo").args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// Exit code and complaint of a demo that does not start.
fn fails(arguments: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let temp = tempfile::tempdir().expect("a directory");
    let mut process = command(arguments)
        .envs(env.iter().copied())
        .env("TMPDIR", temp.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("text");
    if !line.is_empty() {
        drop(process.kill());
        drop(process.wait());
        panic!("it started with {arguments:?} {env:?}");
    }
    let Output { status, stderr, .. } = process.wait_with_output().expect("it ends");
    assert!(std::fs::read_dir(temp.path()).expect("a directory").next().is_none(), "something was left");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let temp = tempfile::tempdir().expect("a directory");
        let mut demo = command(&["--listen", "127.0.0.1:0"]);
        demo.args(arguments).env("TMPDIR", temp.path()).stdout(Stdio::piped());
        let mut process = Child::start(&mut demo);
        let mut out = BufReader::new(process.stdout.take().expect("stdout is piped"));
        let mut text = String::new();
        while !text.contains("Ctrl-C") {
            assert!(out.read_line(&mut text).expect("it prints") > 0, "it ended after {text:?}");
        }
        let address = text.lines().map(str::trim).find(|line| line.starts_with("http://"));
        let origin = address.expect("an address").trim_end_matches('/').to_owned();
        Self { process, out, text, origin, temp }
    }

    /// The commands that it proposes.
    fn commands(&self) -> Vec<&str> {
        let command = |line: &&str| line.starts_with("curl ") || line.starts_with("ME=");
        self.text.lines().map(str::trim).filter(command).collect()
    }

    /// Sends SIGINT, as Ctrl-C does, and returns how it ended and what it still printed.
    fn interrupt(mut self) -> (Option<i32>, String, TempDir) {
        let killed = Command::new("sh").args(["-c", &format!("kill -INT {}", self.process.id())]).status();
        assert!(killed.expect("sh runs").success());
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).expect("it prints");
        let status = self.process.wait().expect("it ends");
        let empty = tempfile::tempdir().expect("a directory");
        (status.code(), rest, std::mem::replace(&mut self.temp, empty))
    }
}

/// The body of an answer that a proposed command printed, and the status code behind it.
fn answer(line: &str) -> (Value, &str) {
    let (body, code) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no code in {line:?}"));
    (serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {line:?}")), code)
}

#[test]
fn the_commands_that_the_demo_proposes_do_what_it_says() {
    let demo = Demo::start(&[]);
    let commands = demo.commands();
    assert_eq!(commands.len(), 6, "{}", demo.text);
    let shell = Command::new("sh").arg("-c").arg(commands.join("\n")).output().expect("sh runs");
    let out = String::from_utf8(shell.stdout).expect("text");
    let lines: Vec<&str> = out.lines().collect();
    let &[signed_up, verified, id, own, other, spoofed] = lines.as_slice() else { panic!("{out}") };

    let (body, code) = answer(signed_up);
    assert_eq!((&body["user"]["email"], code), (&json!("ada@example.com"), "200"));
    let (body, code) = answer(verified);
    assert_eq!((&body["user"]["emailVerified"], code), (&json!(true), "200"));
    assert_eq!(id.len(), 36, "{id:?} is no user id");
    let (body, code) = answer(own);
    assert_eq!((body.as_array().map(Vec::len), code), (Some(2), "200"));
    let (body, code) = answer(other);
    assert_eq!((&body["code"], code), (&json!("FORBIDDEN"), "403"));
    let (body, code) = answer(spoofed);
    assert_eq!((&body["code"], code), (&json!("UNAUTHORIZED"), "401"));
}

#[test]
fn ctrl_c_ends_the_demo_and_leaves_nothing_behind() {
    let demo = Demo::start(&[]);
    assert_eq!(std::fs::read_dir(demo.temp.path()).expect("a directory").count(), 1);
    let (code, rest, temp) = demo.interrupt();
    assert_eq!(code, Some(0));
    assert!(rest.contains("has ended"), "{rest:?}");
    assert_eq!(std::fs::read_dir(temp.path()).expect("a directory").count(), 0);
}

#[test]
fn a_given_directory_is_kept_with_its_users() {
    let home = tempfile::tempdir().expect("a directory");
    let directory = home.path().join("it's kept");
    let name = directory.to_str().expect("text");
    for round in 0..2 {
        let demo = Demo::start(&["--directory", name]);
        let commands = demo.commands();
        // The account of the first round is there in the second.
        let tried = if round == 0 { &commands[..4] } else { &commands[2..4] };
        let shell = Command::new("sh").arg("-c").arg(tried.join("\n")).output().expect("sh runs");
        let out = String::from_utf8(shell.stdout).expect("text");
        assert_eq!(answer(out.lines().last().unwrap_or_default()).1, "200", "{out}");
        assert_eq!(demo.interrupt().0, Some(0));
    }
    assert!(directory.join("demo.db").exists());
}

#[test]
fn a_taken_port_is_named_with_a_way_out() {
    let other = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = other.local_addr().expect("an address").to_string();
    let (code, told) = fails(&["--listen", &address], &[]);
    assert_eq!(code, Some(1));
    assert!(told.contains(&address) && told.contains("--listen 127.0.0.1:0"), "{told}");
}

#[test]
fn a_second_demo_does_not_share_the_port_of_the_first() {
    let demo = Demo::start(&[]);
    let address = demo.origin.strip_prefix("http://").expect("an address");
    assert_eq!(fails(&["--listen", address], &[]).0, Some(1));
}

#[test]
fn the_demo_is_for_this_machine_only() {
    let port = ["--listen", "127.0.0.1:0"];
    let plain =
        [("SIDEGATE_PUBLIC__URL", "http://a.example"), ("SIDEGATE_PUBLIC__DANGER_PLAIN_HTTP", "true")];
    for (arguments, env, word) in [
        (["--listen", "0.0.0.0:0"], &[][..], "loopback"),
        (["--listen", "[::]:0"], &[][..], "loopback"),
        (port, &[("SIDEGATE_PUBLIC__URL", "https://localhost")][..], "https"),
        (port, &plain[..], "danger_plain_http"),
    ] {
        let (code, told) = fails(&arguments, env);
        assert_eq!(code, Some(64), "{told}");
        assert!(told.contains(word), "{told}");
    }
}

/// Where pictures of the pages go: `SIDEGATE_TEST_PICTURES`, or nowhere that lasts.
fn pictures(temp: &TempDir) -> PathBuf {
    std::env::var_os("SIDEGATE_TEST_PICTURES").map_or_else(|| temp.path().to_owned(), PathBuf::from)
}

/// Waits until the page's script has done what makes `js` true.
fn until(browser: &Browser, js: &str) {
    let done = (0..500).any(|_| {
        let done = browser.eval(&format!("return Boolean({js});")) == json!(true);
        if !done {
            std::thread::sleep(Duration::from_millis(10));
        }
        done
    });
    assert!(done, "never came true: {js}");
}

#[test]
fn a_person_signs_up_signs_in_and_keeps_tasks() {
    let demo = Demo::start(&[]);
    let pictures = pictures(&demo.temp);
    let browser = Browser::start();
    browser.window(1280, 800);
    browser.go(&format!("{}/", demo.origin));
    assert!(browser.url().contains("/auth/sign-in"), "{}", browser.url());
    browser.click("a[href*='sign-up']");
    browser.fill("[name=name]", "Zoë Lovelace");
    browser.fill("[name=email]", "zoe@example.com");
    browser.fill("[name=password]", PASSWORD);
    browser.click("main button");
    browser.click(".note a");
    assert_eq!(
        browser.url(),
        format!("{}/auth/dev/mail", demo.origin),
        "nobody looks for the mail elsewhere"
    );
    browser.screenshot(&pictures.join("demo-mails.png"));
    assert_eq!(a11y(&browser), Vec::<String>::new());
    browser.click(".mails a");
    browser.screenshot(&pictures.join("demo-mail.png"));
    assert_eq!(a11y(&browser), Vec::<String>::new());
    let mail = browser.url();
    browser.go(&format!("{mail}?html"));
    browser.screenshot(&pictures.join("demo-mail-markup.png"));
    browser.go(&mail);
    browser.click("a[href*='verify-email']");
    browser.fill("[name=password]", PASSWORD);
    browser.click("main button");
    assert_eq!(browser.url(), format!("{}/", demo.origin));
    assert_eq!(browser.text("#who strong"), "Zoë Lovelace");

    until(&browser, "document.querySelectorAll('#tasks li').length === 2");
    for title in ["Water the plants", "<b>Answer</b> Grace"] {
        browser.fill("#title", title);
        browser.eval("document.querySelector('#new button').click()");
        until(&browser, "document.querySelector('#title').value === ''");
    }
    until(&browser, "document.querySelectorAll('#tasks li').length === 4");
    assert!(browser.text("#tasks li:last-child").starts_with("<b>Answer</b> Grace"));
    browser.eval("document.querySelector('#task-2').click()");
    until(&browser, "document.querySelectorAll('#tasks li.done').length === 2");
    browser.eval("document.querySelector('#tasks li:first-child button').click()");
    until(&browser, "document.querySelectorAll('#tasks li').length === 3");

    let told = browser.text("#told");
    for name in ["x-user-id", "x-user-email", "x-forwarded-for", "x-request-id", "none: the session cookie"] {
        assert!(told.contains(name), "{name} is not in {told}");
    }
    for (name, width, height) in [("desktop", 1280, 800), ("phone", 390, 844), ("narrow", 320, 640)] {
        browser.window(width, height);
        for (shade, scheme) in [("light", Scheme::Light), ("dark", Scheme::Dark)] {
            browser.scheme(scheme);
            browser.go(&format!("{}/", demo.origin));
            until(&browser, "document.querySelectorAll('#tasks li').length === 3");
            browser.screenshot(&pictures.join(format!("demo-{name}-{shade}.png")));
            assert_eq!(a11y(&browser), Vec::<String>::new(), "{name} {shade}");
        }
    }
    browser.click("header button");
    assert!(browser.url().contains("/auth/sign-in"), "{}", browser.url());
    assert_eq!(browser.console(), Vec::<String>::new());
}
