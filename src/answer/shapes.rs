//! The JSON shapes of our answers, with better-auth's names.

use serde::Serialize;

use crate::answer::{Desk, sign_in_url, verify_url};
use crate::http::visit::ReplyTo;
use crate::refusal::Refusal;
use crate::time::Now;
use crate::visitor::{Session, User};

/// A refusal: a text for people, a code for programs, and where to sign in if that would help.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusalShape<'a> {
    message: &'a str,
    code: &'static str,
    /// The same as OAuth clients read it (RFC 6749 §5.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(rename = "login_url", skip_serializing_if = "Option::is_none")]
    login_url: Option<String>,
    #[serde(rename = "verify_url", skip_serializing_if = "Option::is_none")]
    verify_url: Option<String>,
    #[serde(rename = "request_id")]
    request_id: String,
}

/// The body of a refusal.
pub fn refusal<'a>(desk: Desk<'a>, reply_to: &ReplyTo, refusal: Refusal) -> RefusalShape<'a> {
    let sign_in_helps =
        matches!(refusal, Refusal::SignInRequired | Refusal::InvalidToken | Refusal::SignInEnded);
    RefusalShape {
        message: desk.ui.message(refusal),
        code: refusal.code(),
        error: (refusal == Refusal::InvalidGrant).then_some("invalid_grant"),
        login_url: sign_in_helps.then(|| sign_in_url(desk, reply_to.return_to.as_deref())),
        verify_url: (refusal == Refusal::CodeRequired).then(|| verify_url(desk)),
        request_id: reply_to.id.to_string(),
    }
}

/// What was asked for was done.
#[derive(Serialize)]
pub struct Done {
    /// True.
    pub status: bool,
}

/// A user.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserShape<'a> {
    id: &'a str,
    name: &'a str,
    email: &'a str,
    email_verified: bool,
    image: Option<&'a str>,
    created_at: Now,
    updated_at: Now,
}

impl<'a> From<&'a User> for UserShape<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            id: user.id.as_str(),
            name: &user.name,
            email: &user.email,
            email_verified: user.email_verified,
            image: user.image.as_deref(),
            created_at: user.created,
            updated_at: user.updated,
        }
    }
}

/// A session. `token` is its public handle, which names it to `revoke-session` and opens nothing: the
/// secret is in the cookie only.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionShape<'a> {
    id: &'a str,
    token: &'a str,
    user_id: &'a str,
    expires_at: Now,
    created_at: Now,
    updated_at: Now,
    ip_address: Option<&'a str>,
    user_agent: Option<&'a str>,
}

impl<'a> From<&'a Session> for SessionShape<'a> {
    fn from(session: &'a Session) -> Self {
        Self {
            id: session.id.as_str(),
            token: session.id.as_str(),
            user_id: session.user.id.as_str(),
            expires_at: session.expires,
            created_at: session.opened,
            updated_at: session.renewed,
            ip_address: session.address.as_deref(),
            user_agent: session.agent.as_deref(),
        }
    }
}

/// A sign-in that came about. `token` is the session's public handle.
#[derive(Serialize)]
pub struct SignedInShape<'a> {
    redirect: bool,
    token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    user: UserShape<'a>,
}

/// The body of a sign-in that came about, and goes on at `url` if there is one.
pub fn signed_in(session: &Session, url: Option<String>) -> SignedInShape<'_> {
    SignedInShape { redirect: url.is_some(), token: session.id.as_str(), url, user: (&session.user).into() }
}

/// A sign-in that waits for its code, in the shape of one that came about.
#[derive(Serialize)]
pub struct PendingShape<'a> {
    redirect: bool,
    token: Option<&'static str>,
    url: String,
    pending: bool,
    /// For a program, in place of the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_token: Option<&'a str>,
}

/// The body of a sign-in that goes on with a code, and with `pending_token` if a program sent it.
pub fn pending<'a>(desk: Desk<'_>, pending_token: Option<&'a str>) -> PendingShape<'a> {
    PendingShape { redirect: true, token: None, url: verify_url(desk), pending: true, pending_token }
}
