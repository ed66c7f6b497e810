//! A real browser: headless Chromium, driven by WebDriver (W3C) over plain HTTP. All calls block.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::child::Child;

/// The key of an element reference (WebDriver §12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// The Tab key (WebDriver §17.4.2).
const TAB: &str = "\u{e004}";
/// Where Debian puts them.
const CHROMIUM: &str = "/usr/bin/chromium";
const CHROMEDRIVER: &str = "/usr/bin/chromedriver";

/// Functions that run in the page.
const PAGE_JS: &str = include_str!("page.js");

/// One browser with a profile of its own; both end with it.
pub(crate) struct Browser {
    _driver: Child,
    port: u16,
    session: String,
    _profile: TempDir,
}

/// What the visitor's system prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `prefers-color-scheme: light`
    Light,
    /// `prefers-color-scheme: dark`
    Dark,
}

/// A driver and its port; `None` if it found none.
fn driver() -> Option<(Child, u16)> {
    let mut command = Command::new(CHROMEDRIVER);
    let mut driver = Child::start(command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut lines = BufReader::new(driver.stdout.take().expect("stdout is piped")).lines();
    let port = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok());
    std::thread::spawn(move || lines.for_each(drop));
    Some((driver, port?))
}

impl Browser {
    /// Starts a driver on a port of its choice and a browser in it.
    pub(crate) fn start() -> Self {
        // It gives up if somebody else has the port of its choice by IPv6.
        let (driver, port) =
            (0..5).find_map(|_| driver()).expect("chromedriver is installed and says its port");

        let profile = TempDir::new().expect("a directory for the profile");
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "binary": CHROMIUM, "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let mut browser = Self { _driver: driver, port, session: String::new(), _profile: profile };
        let started = browser.send("POST", "/session", &capabilities).expect("the browser starts");
        started["sessionId"].as_str().expect("a session id").clone_into(&mut browser.session);
        browser
    }

    /// Opens a page and waits until it has loaded.
    pub(crate) fn go(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// The address of the page.
    pub(crate) fn url(&self) -> String {
        text_of(&self.get("url"))
    }

    /// The page's title.
    pub(crate) fn title(&self) -> String {
        text_of(&self.get("title"))
    }

    /// Replaces what stands in a field.
    pub(crate) fn fill(&self, css: &str, text: &str) {
        let element = self.find(css);
        self.post(&format!("element/{element}/clear"), &json!({}));
        self.post(&format!("element/{element}/value"), &json!({ "text": text }));
    }

    /// Clicks. If that follows a link or sends a form, returns when the next page has loaded.
    pub(crate) fn click(&self, css: &str) {
        let leaves = self.eval(&format!("{PAGE_JS}\nreturn leaves(document.querySelector({}));", json!(css)));
        let element = self.find(css);
        self.post(&format!("element/{element}/click"), &json!({}));
        if leaves == json!(true) {
            self.arrive(css);
        }
    }

    /// Waits until the page that `leaves` marked has given way to another.
    fn arrive(&self, css: &str) {
        assert!(self.comes("!window.left"), "nothing opened after a click on {css}");
    }

    /// Waits until pages that lead on by themselves have led to this one.
    pub(crate) fn arrive_at(&self, url: &str) {
        let there = self.comes(&format!("location.href === {}", json!(url)));
        assert!(there, "{} is not {url}", self.url());
    }

    /// Whether a page with this condition is loaded before patience ends.
    fn comes(&self, condition: &str) -> bool {
        let script = format!("return {condition} && document.readyState === 'complete'");
        let script = json!({ "script": script, "args": [] });
        let path = format!("/session/{}/execute/sync", self.session);
        (0..3000).any(|_| {
            // Between two pages there is none to ask, which is an error.
            let arrived = self.send("POST", &path, &script) == Ok(json!(true));
            if !arrived {
                std::thread::sleep(Duration::from_millis(10));
            }
            arrived
        })
    }

    /// The visible text of an element.
    pub(crate) fn text(&self, css: &str) -> String {
        let element = self.find(css);
        text_of(&self.get(&format!("element/{element}/text")))
    }

    /// Whether there is such an element now.
    pub(crate) fn exists(&self, css: &str) -> bool {
        self.eval(&format!("return document.querySelector({}) !== null", json!(css))) == json!(true)
    }

    /// Writes what the window shows as PNG.
    pub(crate) fn screenshot(&self, path: &Path) {
        use base64::Engine as _;
        let png = base64::engine::general_purpose::STANDARD
            .decode(text_of(&self.get("screenshot")))
            .expect("the screenshot is base64");
        std::fs::write(path, png).expect("the screenshot can be written");
    }

    /// Sets the size of the page in CSS pixels, however small.
    pub(crate) fn window(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Sets what `prefers-color-scheme` says. Without motion, so that the change is over at once.
    pub(crate) fn scheme(&self, scheme: Scheme) {
        let value = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let features = json!([
            { "name": "prefers-color-scheme", "value": value },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// The result of a function body run in the page.
    pub(crate) fn eval(&self, js: &str) -> Value {
        self.post("execute/sync", &json!({ "script": js, "args": [] }))
    }

    /// The page's cookies, as WebDriver describes them (`name`, `value`, `httpOnly`, `secure`, `sameSite`…).
    pub(crate) fn cookies(&self) -> Vec<Value> {
        self.get("cookie").as_array().expect("a list of cookies").clone()
    }

    /// What the page wrote to the console since the last call: errors, failed loads, CSP violations.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({ "type": "browser" }));
        entries
            .as_array()
            .expect("a list of entries")
            .iter()
            .map(|entry| text_of(&entry["message"]))
            .collect()
    }

    /// Presses Tab so many times.
    fn tab(&self, times: usize) {
        let once = [json!({ "type": "keyDown", "value": TAB }), json!({ "type": "keyUp", "value": TAB })];
        let keys: Vec<_> = std::iter::repeat_n(once, times).flatten().collect();
        self.post("actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys }] }));
    }

    fn devtools(&self, command: &str, params: &Value) {
        self.post("goog/cdp/execute", &json!({ "cmd": command, "params": params }));
    }

    fn find(&self, css: &str) -> String {
        text_of(&self.post("element", &json!({ "using": "css selector", "value": css }))[ELEMENT])
    }

    fn get(&self, command: &str) -> Value {
        self.command("GET", command, &Value::Null)
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        self.command("POST", command, body)
    }

    fn command(&self, method: &str, command: &str, body: &Value) -> Value {
        let path = format!("/session/{}/{command}", self.session);
        self.send(method, &path, body).unwrap_or_else(|error| panic!("{method} {command} {body}: {error}"))
    }

    /// One exchange with the driver, on a connection of its own.
    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).map_err(|e| e.to_string())?;
        stream.set_read_timeout(Some(Duration::from_mins(1))).map_err(|e| e.to_string())?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.port,
            body.len(),
        )
        .map_err(|e| e.to_string())?;
        let answer = read_body(&mut BufReader::new(stream)).map_err(|e| e.to_string())?;
        let mut answer: Value = serde_json::from_slice(&answer).map_err(|e| e.to_string())?;
        let value = answer["value"].take();
        match value["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", text_of(&value["message"]))),
            None => Ok(value),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            drop(self.send("DELETE", &format!("/session/{}", self.session), &Value::Null));
        }
    }
}

/// The body of an answer that says its length, as the driver's answers do.
fn read_body(stream: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What a visitor who cannot see well, or has no mouse, would stumble over on the page that is open:
/// `lang`, title, headings, landmarks, labels, autocomplete, contrast, target sizes, horizontal
/// scrolling, and whether Tab reaches everything in order with a visible focus. Empty is good.
pub(crate) fn a11y(browser: &Browser) -> Vec<String> {
    let found = browser.eval(&format!("{PAGE_JS}\nreturn complaints();"));
    let mut complaints: Vec<String> =
        found.as_array().expect("a list of complaints").iter().map(text_of).collect();

    let expected = browser.eval(&format!("{PAGE_JS}\nreturn startTour();"));
    browser.tab(expected.as_array().expect("a list of elements").len());
    let reached = browser.eval("return window.tour;");
    if reached != expected {
        complaints.push(format!("Tab reaches {reached}, but should reach {expected}"));
    }
    complaints
}
