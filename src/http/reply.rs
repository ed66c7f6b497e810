//! An answer on its way to the client: what of its head passes as it came, and what we say ourselves.

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::http::fields::Fields;
use crate::refusal::Refusal;

/// An answer.
pub struct Reply<B> {
    /// Its status.
    pub status: StatusCode,
    /// Fields of the app's that pass as they came.
    pub passed: Fields,
    /// All others.
    pub headers: HeaderMap,
    /// It is for one person: nobody else may be given a copy of it, if it says nothing of that itself (RFC 9111
    /// §5.2.2.7).
    pub private: bool,
    /// Why the request was refused, if it was: for those who count.
    pub refusal: Option<Refusal>,
    /// What follows the head.
    pub body: B,
}

impl<B> Reply<B> {
    /// One whose fields are all `headers`.
    pub fn new(status: StatusCode, headers: HeaderMap, body: B) -> Self {
        Self { status, passed: Fields::default(), headers, private: false, refusal: None, body }
    }

    /// The same head before another body.
    pub fn map<C>(self, body: impl FnOnce(B) -> C) -> Reply<C> {
        let Self { status, passed, headers, private, refusal, body: before } = self;
        Reply { status, passed, headers, private, refusal, body: body(before) }
    }

    /// Whether there is a field of this name.
    pub fn says(&self, name: &HeaderName) -> bool {
        self.passed.contains_key(name) || self.headers.contains_key(name)
    }

    /// Whether `Cache-Control: private` has to be said.
    pub fn stays_private(&self) -> bool {
        self.private && !self.says(&CACHE_CONTROL)
    }

    /// Says this in place of whatever was said under the name.
    pub fn say(&mut self, name: HeaderName, value: HeaderValue) {
        self.passed.remove(&name);
        self.headers.insert(name, value);
    }
}

impl<B> From<Response<B>> for Reply<B> {
    fn from(response: Response<B>) -> Self {
        let (parts, body) = response.into_parts();
        let refusal = parts.extensions.get::<Refusal>().copied();
        Self { refusal, ..Self::new(parts.status, parts.headers, body) }
    }
}
