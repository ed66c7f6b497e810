//! What we know of a request once it has been read, and the small copy of it that an error answer needs.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, ORIGIN, REFERER, UPGRADE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method};

use crate::http::client::Peer;
use crate::http::fields::Fields;
use crate::http::path::Path;
use crate::id::RequestId;
use crate::time::Now;
use crate::trace::Context;
use crate::visitor::Visitor;

/// One request as we read it. Plain data: nothing here has been decided yet.
pub struct Visit {
    /// Its id, in logs and answers.
    pub id: RequestId,
    /// When it came.
    pub now: Now,
    /// The other end of the connection.
    pub peer: Peer,
    /// The client behind trusted proxies; the peer if there are none.
    pub client: IpAddr,
    /// The method, case kept.
    pub method: Method,
    /// The path and query, exactly as they will be forwarded.
    pub path: Path,
    /// The protocol that the request wants to go on with instead of HTTP.
    pub upgrade: Option<HeaderValue>,
    /// All header fields.
    pub headers: Fields,
    /// Who is asking.
    pub visitor: Visitor,
    /// What the visitor showed.
    pub credential: Credential,
    /// Its place in a trace, if it is traced: the app is told of ours in place of the caller's.
    pub trace: Option<Context>,
    /// The body, read whole for our own endpoints; empty where it is passed on as it comes.
    pub body: Bytes,
}

/// What a request carried to say who is asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing of ours.
    None,
    /// Our session cookie, good or not.
    Cookie,
    /// A live session's token in `Authorization`; it is not forwarded.
    Bearer,
    /// Something in `Authorization: Bearer` that is not a live session; perhaps the app knows it.
    UnknownBearer,
}

/// What is kept of `User-Agent`, in bytes.
const LONGEST_AGENT: usize = 256;

/// `Sec-Fetch-Site` (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// `Sec-Fetch-Mode` (Fetch Metadata).
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
/// The browser's system (User-Agent Client Hints).
const SEC_CH_UA_PLATFORM: HeaderName = HeaderName::from_static("sec-ch-ua-platform");
/// Sent by script libraries for requests that are not navigations.
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

impl Visit {
    /// The request for an endpoint of ours, leaving behind what the log line needs.
    #[must_use]
    pub fn for_the_office(&mut self) -> Self {
        Self {
            headers: std::mem::take(&mut self.headers),
            body: std::mem::take(&mut self.body),
            upgrade: None,
            method: self.method.clone(),
            path: self.path.clone(),
            visitor: self.visitor.clone(),
            ..*self
        }
    }

    /// What an error answer needs to know.
    pub fn reply_to(&self) -> ReplyTo {
        ReplyTo {
            return_to: self.return_to(),
            safe_method: self.method.is_safe(),
            ..ReplyTo::to_malformed(self.id, &self.headers)
        }
    }

    /// `Accept-Language` as it came.
    pub fn language(&self) -> Option<&str> {
        language(&self.headers)
    }

    /// The browser, as it names itself, cut to a length worth keeping.
    pub fn agent(&self) -> Option<&str> {
        let agent = text(&self.headers, &USER_AGENT)?;
        Some(agent.get(..LONGEST_AGENT).unwrap_or(agent))
    }

    /// The system that the browser runs on, where it names it (User-Agent Client Hints).
    pub fn platform(&self) -> Option<&str> {
        text(&self.headers, &SEC_CH_UA_PLATFORM)
    }

    /// Where a person goes back to after signing in: here, or, if this request cannot be made again by
    /// going there, to the page it came from.
    fn return_to(&self) -> Option<String> {
        if self.method.is_safe() {
            return Some(self.path.target().to_owned());
        }
        text(&self.headers, &REFERER).map(str::to_owned)
    }

    /// Whether this is a call of gRPC.
    pub fn is_grpc(&self) -> bool {
        grpc(&self.headers).is_some()
    }

    /// Whether this request was made by our own pages or by a program rather than by another site:
    /// `Sec-Fetch-Site` if the browser sends it, else `Origin`; without both, only a request that no
    /// form can make and that carries no cookie of ours.
    pub fn same_origin(&self, public_origin: &str) -> bool {
        if let Some(site) = self.headers.get(&SEC_FETCH_SITE) {
            return site == "same-origin" || site == "none";
        }
        if let Some(origin) = self.headers.get(&ORIGIN) {
            return origin == public_origin;
        }
        is_json(&self.headers) && !crate::http::cookie::any_of_ours(&self.headers)
    }

    /// Whether a request for the app that carries our cookie may have been made by a page of another origin than
    /// these. Browsers say where whatever can do harm comes from: `Sec-Fetch-Site`, and `Origin` with every method
    /// but GET and HEAD and with `WebSocket` handshakes (Fetch §3.2, RFC 6455 §10.2). What says nothing is no browser.
    pub fn made_elsewhere(&self, origins: &[String]) -> bool {
        let origin = self.headers.get(&ORIGIN);
        let listed = || origin.is_some_and(|origin| origins.iter().any(|known| origin == known.as_str()));
        match self.headers.get(&SEC_FETCH_SITE) {
            Some(site) => site != "same-origin" && site != "none" && !listed(),
            None => origin.is_some() && !listed(),
        }
    }
}

/// Whether the body is declared as JSON.
pub fn is_json(headers: &Fields) -> bool {
    is_declared(headers, "application/json")
}

/// Whether the body is declared as a form.
pub fn is_form(headers: &Fields) -> bool {
    is_declared(headers, "application/x-www-form-urlencoded")
}

/// The types of gRPC calls by name; others are answered with the first.
const GRPC: &[&str] = &[
    "application/grpc",
    "application/grpc+proto",
    "application/grpc+json",
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];

/// The type of a gRPC call in whatever coding, as an answer names it; `None` if it is none.
fn grpc(headers: &Fields) -> Option<&'static str> {
    let kind = text(headers, &CONTENT_TYPE)?;
    let rest = kind.strip_prefix(GRPC[0])?;
    let essence = kind.split([';', ' ']).next().unwrap_or_default();
    let known = GRPC.iter().copied().find(|known| *known == essence);
    (rest.is_empty() || rest.starts_with(['+', ';', '-', ' '])).then_some(known.unwrap_or(GRPC[0]))
}

/// Whether `Content-Type` names this media type, with whatever parameters.
fn is_declared(headers: &Fields, media_type: &str) -> bool {
    text(headers, &CONTENT_TYPE)
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case(media_type))
}

/// The first field of this name, if it is visible ASCII.
fn text<'h>(headers: &'h Fields, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn accepts_html(headers: &Fields) -> bool {
    text(headers, &ACCEPT).is_some_and(|accept| accept.contains("text/html"))
}

/// In which form an answer of ours is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerForm {
    /// A person navigated here.
    Page,
    /// A program asks.
    Json,
    /// A gRPC call: status 200 and `grpc-status`, of this type. Only of [`ReplyTo::to_call`].
    Grpc(&'static str),
}

impl AnswerForm {
    /// Whether the answer is read by a person or by a program: Fetch Metadata first, then the older signs.
    fn wanted(headers: &Fields) -> Self {
        // A handshake.
        if headers.contains_key(&UPGRADE) {
            return Self::Json;
        }
        let page = match headers.get(&SEC_FETCH_MODE) {
            Some(mode) => mode == "navigate",
            None => !headers.contains_key(&X_REQUESTED_WITH) && accepts_html(headers),
        };
        if page { Self::Page } else { Self::Json }
    }
}

/// What is kept of a request for the case that it is answered with an error.
#[derive(Clone, Debug)]
pub struct ReplyTo {
    /// The request's id.
    pub id: RequestId,
    /// Page or JSON.
    pub form: AnswerForm,
    /// `Accept-Language` as it came.
    pub language: Option<String>,
    /// Where to come back to after signing in; not checked yet.
    pub return_to: Option<String>,
    /// Whether the method was safe, so that coming back to it is possible (RFC 9110 §9.2.1).
    pub safe_method: bool,
}

impl ReplyTo {
    /// For a request of which only the header fields can be trusted.
    pub fn to_malformed(id: RequestId, headers: &Fields) -> Self {
        Self {
            id,
            form: AnswerForm::wanted(headers),
            language: language(headers).map(str::to_owned),
            return_to: None,
            safe_method: false,
        }
    }

    /// The same, to a request that is the app's to answer: a call of gRPC, which is a `POST` (gRPC over HTTP/2, Requests),
    /// is refused in the words of one.
    ///
    /// Of no other request: the status is 200 then, and who asks us whether a request may pass reads nothing else.
    #[must_use]
    pub fn to_call(mut self, method: &Method, headers: &Fields) -> Self {
        // The status of a handshake is read by who knows nothing of `grpc-status`.
        if *method == Method::POST
            && !headers.contains_key(&UPGRADE)
            && let Some(kind) = grpc(headers)
        {
            self.form = AnswerForm::Grpc(kind);
        }
        self
    }
}

fn language(headers: &Fields) -> Option<&str> {
    text(headers, &ACCEPT_LANGUAGE)
}
