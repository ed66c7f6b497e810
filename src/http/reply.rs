//! An answer on its way to the client: what of its head passes as it came, and what we say ourselves.

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::http::fields::{Fields, Value};
use crate::refusal::Refusal;

/// How a call of gRPC ended, in the trailers of its answer or in the head of one that is nothing else.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// What caches obey besides `Cache-Control`, some of them before it. Whatever ends in `-cache-control` is for caches of
/// one kind (RFC 9213 §2.1).
const TO_CACHES: &[&str] = &["expires", "surrogate-control", "edge-control", "x-accel-expires"];

fn is_to_caches(name: &str) -> bool {
    TO_CACHES.contains(&name) || name.ends_with("-cache-control")
}

/// The status of a call of gRPC that ends with these trailers.
pub fn grpc_status_of(trailers: &HeaderMap) -> Option<u16> {
    trailers.get(GRPC_STATUS).and_then(|status| grpc_status(status.as_bytes()))
}

/// A status as it is written; there are 17 so far.
fn grpc_status(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

/// Fields that are said besides those that pass. Mostly there are none, and an answer is handed on several times: so they
/// are as small as none can be.
#[derive(Default)]
pub struct Said(Option<Box<HeaderMap>>);

impl Said {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |fields| fields.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first of this name.
    pub fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.0.as_ref()?.get(name)
    }

    /// All of this name.
    pub fn get_all(&self, name: &HeaderName) -> impl Iterator<Item = &HeaderValue> {
        self.0.iter().flat_map(move |fields| fields.get_all(name))
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().flat_map(|fields| fields.iter())
    }

    /// One in place of all others of its name.
    pub fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.get_or_insert_default().insert(name, value);
    }

    /// Takes out all whose name is such a one.
    fn remove_where(&mut self, is: impl Fn(&str) -> bool) {
        let Some(fields) = &mut self.0 else { return };
        let such: Vec<HeaderName> = fields.keys().filter(|name| is(name.as_str())).cloned().collect();
        for name in such {
            fields.remove(name);
        }
    }

    /// One more.
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.get_or_insert_default().append(name, value);
    }
}

impl From<HeaderMap> for Said {
    fn from(fields: HeaderMap) -> Self {
        Self((!fields.is_empty()).then(|| Box::new(fields)))
    }
}

/// An answer.
pub struct Reply<B> {
    /// Its status.
    pub status: StatusCode,
    /// Fields of the app's that pass as they came.
    pub passed: Fields,
    /// All others.
    pub headers: Said,
    /// It is for one person: nobody else may be given a copy of it, if it says nothing of that itself (RFC 9111
    /// §5.2.2.7).
    pub private: bool,
    /// Why the request was refused, if it was: for those who count.
    pub refusal: Option<Refusal>,
    /// Which instance of the app was asked, counted from 0, if one was: for those who write it down.
    pub instance: Option<u16>,
    /// What follows the head.
    pub body: B,
}

impl<B> Reply<B> {
    /// One whose fields are all `headers`.
    pub fn new(status: StatusCode, headers: Said, body: B) -> Self {
        Self {
            status,
            passed: Fields::default(),
            headers,
            private: false,
            refusal: None,
            instance: None,
            body,
        }
    }

    /// The same head before another body.
    pub fn map<C>(self, body: impl FnOnce(B) -> C) -> Reply<C> {
        let Self { status, passed, headers, private, refusal, instance, body: before } = self;
        Reply { status, passed, headers, private, refusal, instance, body: body(before) }
    }

    /// The status of a call of gRPC that ends with the head.
    pub fn grpc_status(&self) -> Option<u16> {
        let passed = self.passed.get(&GRPC_STATUS);
        let told = || self.headers.get(&GRPC_STATUS).map(HeaderValue::as_bytes);
        passed.map(Value::as_bytes).or_else(told).and_then(grpc_status)
    }

    /// Whether there is a field of this name.
    pub fn says(&self, name: &HeaderName) -> bool {
        self.passed.contains_key(name) || self.headers.get(name).is_some()
    }

    /// Says this in place of whatever was said under the name.
    pub fn say(&mut self, name: HeaderName, value: HeaderValue) {
        self.passed.remove(&name);
        self.headers.insert(name, value);
    }

    /// Has no cache keep it, whatever was said to caches of any kind.
    pub fn keep_from_caches(&mut self) {
        self.passed.retain(|name, _| !std::str::from_utf8(name).is_ok_and(is_to_caches));
        self.headers.remove_where(is_to_caches);
        self.say(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

impl<B> From<Response<B>> for Reply<B> {
    fn from(response: Response<B>) -> Self {
        let (parts, body) = response.into_parts();
        let refusal = parts.extensions.get::<Refusal>().copied();
        Self { refusal, ..Self::new(parts.status, parts.headers.into(), body) }
    }
}
