//! Builds our own answers: page, JSON, redirect, refusal. The one place where errors become responses.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
    RETRY_AFTER, STRICT_TRANSPORT_SECURITY, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;
use url::form_urlencoded;

use crate::config::Config;
use crate::error::Error;
use crate::http::return_to;
use crate::http::visit::{AnswerForm, ReplyTo};
use crate::refusal::Refusal;
use crate::ui::pages::refused::Refused;
use crate::ui::{Ui, View};

pub mod shapes;

/// An answer of our own.
pub type Answer = Response<Bytes>;

/// `X-Request-Id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `Cross-Origin-Opener-Policy`.
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// The status of a gRPC call.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// The text that goes with it.
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What every answer of ours is built with.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// The pages.
    pub ui: &'a Ui,
    /// What was configured.
    pub config: &'a Config,
}

impl Desk<'_> {
    /// The absolute URL of a place on this site to go to afterwards; `None` for any other target.
    pub fn place(self, target: &str) -> Option<String> {
        return_to::check(target, &self.config.public.origin, &self.config.paths)
    }
}

/// An HTML page, rendered for `view`.
pub fn page(desk: Desk<'_>, status: StatusCode, view: View<'_>, html: String) -> Answer {
    let mut answer = plain(desk, status, Bytes::from(html));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(view.language().tag()));
    headers.insert(VARY, HeaderValue::from_static("accept-language, cookie"));
    if let Ok(policy) = HeaderValue::from_str(desk.ui.csp()) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin"));
    answer
}

/// A JSON body.
pub fn json(desk: Desk<'_>, status: StatusCode, body: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut answer = plain(desk, status, Bytes::from(body));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// A redirect: 303 leads to a `GET` whatever the method was (RFC 9110 §15.4.4).
pub fn redirect(desk: Desk<'_>, status: StatusCode, to: &str) -> Answer {
    let mut answer = plain(desk, status, Bytes::new());
    if let Ok(location) = HeaderValue::from_str(to) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

/// A status and nothing else.
pub fn empty(desk: Desk<'_>, status: StatusCode) -> Answer {
    plain(desk, status, Bytes::new())
}

fn plain(desk: Desk<'_>, status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Some(hsts) = &desk.config.hsts
        && let Ok(hsts) = HeaderValue::from_str(hsts)
    {
        headers.insert(STRICT_TRANSPORT_SECURITY, hsts);
    }
    answer
}

/// The address of the sign-in page, leading back to `return_to` if that is a place on this site.
pub fn sign_in_url(desk: Desk<'_>, return_to: Option<&str>) -> String {
    let origin = desk.config.public.origin.as_str();
    let base = format!("{origin}{}/sign-in", desk.config.mount());
    let target = return_to.and_then(|target| desk.place(target));
    match target.as_deref().and_then(|url| url.strip_prefix(origin)) {
        Some(path) => {
            let query =
                form_urlencoded::Serializer::new(String::new()).append_pair("callback_url", path).finish();
            format!("{base}?{query}")
        }
        None => base,
    }
}

/// What a stranger hears who needs a session: a person is led to the sign-in page, a program hears 401.
pub fn ask_to_sign_in(desk: Desk<'_>, reply_to: &ReplyTo) -> Answer {
    match reply_to.form {
        AnswerForm::Page => {
            let status = if reply_to.safe_method { StatusCode::FOUND } else { StatusCode::SEE_OTHER };
            let to = sign_in_url(desk, reply_to.return_to.as_deref());
            because(redirect(desk, status, &to), Refusal::SignInRequired)
        }
        AnswerForm::Json | AnswerForm::Grpc(_) => told(desk, reply_to, Refusal::SignInRequired),
    }
}

/// The address of the page that takes the code of an unusual sign-in.
pub fn verify_url(desk: Desk<'_>) -> String {
    format!("{}{}/verify-signin", desk.config.public.origin, desk.config.mount())
}

/// What somebody hears who owes the code of a sign-in: a person is led to the page that takes it, a program
/// hears 401.
pub fn ask_for_code(desk: Desk<'_>, reply_to: &ReplyTo) -> Answer {
    match reply_to.form {
        AnswerForm::Page => {
            let status = if reply_to.safe_method { StatusCode::FOUND } else { StatusCode::SEE_OTHER };
            because(redirect(desk, status, &verify_url(desk)), Refusal::CodeRequired)
        }
        AnswerForm::Json | AnswerForm::Grpc(_) => told(desk, reply_to, Refusal::CodeRequired),
    }
}

/// Leaves a note of why the answer is what it is, for the log and the metrics. It is not sent.
pub fn because(mut answer: Answer, refusal: Refusal) -> Answer {
    answer.extensions_mut().insert(refusal);
    answer
}

/// The answer to a request that failed. A fault is logged here, once, under the request's id.
pub fn refuse(desk: Desk<'_>, reply_to: &ReplyTo, error: Error) -> Answer {
    let refusal = match error {
        Error::Refused(refusal) => refusal,
        Error::Fault(fault) => {
            tracing::error!(request_id = %reply_to.id, "{fault}");
            fault.refusal()
        }
    };
    told(desk, reply_to, refusal)
}

/// A refusal in the form that the client reads.
pub fn told(desk: Desk<'_>, reply_to: &ReplyTo, refusal: Refusal) -> Answer {
    let mut answer = match reply_to.form {
        AnswerForm::Page => {
            let view = desk.ui.view(reply_to.language.as_deref());
            let callback_url = reply_to.return_to.as_deref().and_then(|target| desk.place(target));
            let html =
                Refused { view, refusal, request_id: reply_to.id, callback_url: callback_url.as_deref() };
            page(desk, refusal.status(), view, html.render())
        }
        AnswerForm::Json => json(desk, refusal.status(), &shapes::refusal(desk, reply_to, refusal)),
        AnswerForm::Grpc(kind) => grpc(desk, refusal, kind),
    };
    let headers = answer.headers_mut();
    if let Some(wait) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    if let Some(challenge) = challenge(refusal) {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if let Ok(id) = HeaderValue::from_bytes(reply_to.id.as_bytes()) {
        headers.insert(X_REQUEST_ID, id);
    }
    because(answer, refusal)
}

/// Lets anyone keep the answer for this long.
pub fn keep_for(headers: &mut HeaderMap, time: Duration) {
    if let Ok(value) = HeaderValue::from_str(&format!("public, max-age={}", time.as_secs())) {
        headers.insert(CACHE_CONTROL, value);
    }
}

/// Names the methods that a path takes (RFC 9110 §10.2.1).
pub fn allow(headers: &mut HeaderMap, methods: &str) {
    if let Ok(methods) = HeaderValue::from_str(methods) {
        headers.insert(ALLOW, methods);
    }
}

/// How to be let in (RFC 6750 §3): nothing is said of an error where no credentials came.
fn challenge(refusal: Refusal) -> Option<HeaderValue> {
    match refusal {
        Refusal::InvalidToken => Some(HeaderValue::from_static("Bearer error=\"invalid_token\"")),
        Refusal::InsufficientScope => Some(HeaderValue::from_static("Bearer error=\"insufficient_scope\"")),
        Refusal::RepeatedAuthorization => Some(HeaderValue::from_static("Bearer error=\"invalid_request\"")),
        _ if refusal.status() == StatusCode::UNAUTHORIZED => Some(HeaderValue::from_static("Bearer")),
        _ => None,
    }
}

/// A gRPC call is refused with status 200 and its own status beside it.
fn grpc(desk: Desk<'_>, refusal: Refusal, kind: &'static str) -> Answer {
    let code: &str = match refusal.status() {
        StatusCode::UNAUTHORIZED => "16",
        StatusCode::FORBIDDEN => "7",
        StatusCode::NOT_FOUND => "5",
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => "8",
        StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => "4",
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => "14",
        status if status.is_client_error() => "3",
        _ => "13",
    };
    let mut answer = plain(desk, StatusCode::OK, Bytes::new());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(GRPC_STATUS, HeaderValue::from_static(code));
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(refusal.code()));
    answer
}
