//! The address that was typed a moment ago, kept in the browser that sent it, so that the next form has it already.
//!
//! It is what somebody typed, whether there is such an account or not, and so tells nothing. It is sealed: neither
//! scripts nor sibling sites read it or make one up.

use std::time::Duration;

use http::HeaderValue;

use crate::account::email::Email;
use crate::app::App;
use crate::http::cookie::{self, Found};
use crate::http::visit::Visit;
use crate::time::Now;

/// How long it is kept: until a mail has come, and no longer than a shared browser should.
const LIFE: Duration = Duration::from_mins(15);
/// What it is sealed for.
const PURPOSE: &str = "typed address";

/// The `Set-Cookie` value that keeps `email`, which was found to be an address.
pub(super) fn keep(app: &App, email: &str, now: Now) -> HeaderValue {
    let clear = format!("{} {}", now.plus(LIFE).millis(), email.trim());
    let names = &app.sessions.cookies;
    names.set(names.typed, app.seal.seal(PURPOSE, clear.as_bytes()), Some(LIFE))
}

/// What is kept, if it is an address and its time is not over.
pub(super) fn kept(app: &App, visit: &Visit) -> Option<String> {
    let Found::One(value) = cookie::find(&visit.headers, app.sessions.cookies.typed) else { return None };
    let clear = app.seal.open(PURPOSE, std::str::from_utf8(value).ok()?)?;
    let (until, email) = std::str::from_utf8(&clear).ok()?.split_once(' ')?;
    let lives = Now::from_millis(until.parse().ok()?) > visit.now;
    lives.then(|| Email::parse(email).ok()).flatten().map(|email| email.as_str().to_owned())
}

/// The `Set-Cookie` value that makes the browser forget it, if there is something to forget.
pub(super) fn forget(app: &App, visit: &Visit) -> Option<HeaderValue> {
    let names = &app.sessions.cookies;
    (cookie::find(&visit.headers, names.typed) != Found::Nothing).then(|| names.clear(names.typed))
}
