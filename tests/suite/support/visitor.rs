//! Somebody with a browser: keeps cookies, names its origin, fills in forms. Or a program without any of
//! that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::support::raw::{Raw, Response};

/// A caller and its cookies.
pub(crate) struct Visitor {
    to: SocketAddr,
    origin: String,
    /// Cookies by name.
    pub(crate) cookies: BTreeMap<String, String>,
    /// Fields that are sent with every request.
    pub(crate) headers: Vec<(String, String)>,
}

/// One request to be sent.
pub(crate) struct Ask<'v> {
    visitor: &'v mut Visitor,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Visitor {
    /// A caller of the site at `to`, whose public origin is `origin`.
    pub(crate) fn new(to: SocketAddr, origin: &str) -> Self {
        Self { to, origin: origin.to_owned(), cookies: BTreeMap::new(), headers: Vec::new() }
    }

    /// Begins a request.
    pub(crate) fn ask(&mut self, method: &str, target: &str) -> Ask<'_> {
        let (method, target) = (method.to_owned(), target.to_owned());
        Ask { visitor: self, method, target, headers: Vec::new(), body: Vec::new() }
    }

    /// `GET` as a program asks.
    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.ask("GET", target).send()
    }

    /// `GET` as a browser navigates.
    pub(crate) fn navigate(&mut self, target: &str) -> Response {
        self.ask("GET", target).navigating().send()
    }

    /// `POST` with a JSON body, as a script of our own pages sends it.
    pub(crate) fn post(&mut self, target: &str, body: &serde_json::Value) -> Response {
        self.ask("POST", target).json(body).send()
    }

    /// Sends a form as a browser does from our own page.
    pub(crate) fn submit(&mut self, target: &str, fields: &[(&str, &str)]) -> Response {
        self.ask("POST", target).form(fields).send()
    }
}

impl Ask<'_> {
    /// Adds a field.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As a browser does when a person follows a link.
    pub(crate) fn navigating(self) -> Self {
        self.header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-Dest", "document")
            .header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
    }

    /// With this body.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("Content-Length", &length)
    }

    /// With a JSON body, from our own origin.
    pub(crate) fn json(self, body: &serde_json::Value) -> Self {
        let origin = self.visitor.origin.clone();
        self.header("Content-Type", "application/json").header("Origin", &origin).body(body.to_string())
    }

    /// With a form body, from our own page.
    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let origin = self.visitor.origin.clone();
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.navigating()
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Origin", &origin)
            .header("Sec-Fetch-Site", "same-origin")
            .body(body)
    }

    /// The request's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let host = self.visitor.origin.split("://").nth(1).unwrap_or_default();
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.target);
        for (name, value) in self.visitor.headers.iter().chain(&self.headers) {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !self.visitor.cookies.is_empty() {
            let pairs: Vec<String> =
                self.visitor.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let _ = write!(head, "Cookie: {}\r\n", pairs.join("; "));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it on a new connection, reads the answer and keeps its cookies.
    pub(crate) fn send(self) -> Response {
        let bytes = self.bytes();
        let mut raw = Raw::connect(self.visitor.to);
        raw.send(bytes);
        let response = if self.method == "HEAD" { raw.answer_to_head() } else { raw.answer() };
        for cookie in response.all("set-cookie") {
            let pair = cookie.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').unwrap_or_default();
            if value.is_empty() || cookie.contains("Max-Age=0") {
                self.visitor.cookies.remove(name);
            } else {
                self.visitor.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        response
    }
}
