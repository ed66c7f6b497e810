//! Somebody with a browser: keeps cookies, names its origin, fills in forms. Or a program without any of
//! that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use url::{Position, Url};

use crate::support::raw::{Raw, Response};

/// A caller and its cookies.
pub(crate) struct Visitor {
    to: SocketAddr,
    origin: String,
    /// Cookies by name.
    pub(crate) cookies: BTreeMap<String, String>,
    /// Fields that are sent with every request.
    pub(crate) headers: Vec<(String, String)>,
    /// The same browser at other sites, by origin.
    elsewhere: BTreeMap<String, Visitor>,
}

/// Where a browser ended after all redirects.
pub(crate) struct Walk {
    /// The first answer that sends it nowhere.
    pub(crate) response: Response,
    /// Every URL on the way, the last one last.
    pub(crate) urls: Vec<String>,
}

/// Most redirects that a browser follows.
const MOST_REDIRECTS: usize = 20;

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
        Self {
            to,
            origin: origin.to_owned(),
            cookies: BTreeMap::new(),
            headers: Vec::new(),
            elsewhere: BTreeMap::new(),
        }
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

    /// `GET` of a whole URL of this site, as a browser navigates that another site sends here.
    pub(crate) fn arrive(&mut self, url: &str) -> Response {
        let target = url.strip_prefix(self.origin.as_str()).unwrap_or_else(|| panic!("{url} is elsewhere"));
        self.ask("GET", target).navigating().header("Sec-Fetch-Site", "cross-site").send()
    }

    /// Where a sign-in with this provider sends the browser.
    pub(crate) fn sent_to(&mut self, provider: &str, query: &str) -> String {
        let response = self.navigate(&format!("/auth/sign-in/{provider}{query}"));
        assert_eq!(response.status, 303, "{}", response.text());
        response.header("location").expect("a location").to_owned()
    }

    /// Opens a page of this site and follows every redirect, to other sites and back, with the cookies of
    /// each.
    pub(crate) fn walk(&mut self, target: &str) -> Walk {
        let response = self.navigate(target);
        let url = format!("{}{target}", self.origin);
        self.follow(&url, response)
    }

    /// Follows the redirects that begin with this answer of `url`.
    pub(crate) fn follow(&mut self, url: &str, mut response: Response) -> Walk {
        let mut urls = vec![url.to_owned()];
        let mut at = Url::parse(url).expect("a URL");
        // Once a request went through another site, the whole chain counts as cross-site (Fetch Metadata).
        let mut site = "same-origin";
        while let (301..=303 | 307 | 308, Some(location)) = (response.status, response.header("location")) {
            assert!(urls.len() <= MOST_REDIRECTS, "it goes on and on: {urls:#?}");
            let next = at.join(location).unwrap_or_else(|error| panic!("{location}: {error}"));
            if next.origin() != at.origin() {
                site = "cross-site";
            }
            at = next;
            urls.push(at.to_string());
            let target = &at[Position::BeforePath..Position::AfterQuery];
            let origin = at.origin().ascii_serialization();
            let here = self.at(&origin, &at);
            response = here.ask("GET", target).navigating().header("Sec-Fetch-Site", site).send();
        }
        Walk { response, urls }
    }

    /// This browser at the site with this origin.
    fn at(&mut self, origin: &str, url: &Url) -> &mut Self {
        if origin == self.origin {
            return self;
        }
        self.elsewhere.entry(origin.to_owned()).or_insert_with(|| {
            let addresses = url.socket_addrs(|| None).expect("an address");
            let to = addresses.first().copied().filter(|to| to.ip().is_loopback());
            Self::new(to.unwrap_or_else(|| panic!("{url} is not on this machine")), origin)
        })
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
