//! The page for every refusal: why, and what can be done next.

use askama::Template;

use crate::id::RequestId;
use crate::refusal::Refusal;
use crate::ui::pages::html;
use crate::ui::{STYLE, View};

/// The page for every refusal.
#[derive(Template)]
#[template(path = "refused.html", config = "src/ui/askama.toml")]
pub struct Refused<'a> {
    /// Language and brand.
    pub view: View<'a>,
    /// Why.
    pub refusal: Refusal,
    /// Under which the log knows more.
    pub request_id: RequestId,
    /// Where a sign-in leads back to; checked by the caller to be ours.
    pub callback_url: Option<&'a str>,
}

/// What a refused visitor can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    SignIn,
    SignInAgain,
    Retry,
    Home,
}

impl Refused<'_> {
    /// The page as HTML.
    pub fn render(&self) -> String {
        html(self)
    }
}

impl Remedy {
    const fn of(refusal: Refusal) -> Self {
        match refusal {
            Refusal::SignInRequired
            | Refusal::InvalidToken
            | Refusal::InvalidGrant
            | Refusal::InvalidCredentials
            | Refusal::SignUpDisabled
            | Refusal::CodeRequired
            | Refusal::SignInEnded
            | Refusal::StateNotFound
            | Refusal::StateMismatch
            | Refusal::StateUsed
            | Refusal::ProviderDenied
            | Refusal::ProviderUnavailable
            | Refusal::ProviderRejected
            | Refusal::ProviderInvalid
            | Refusal::IssuerMismatch
            | Refusal::ProviderAccountNotAllowed
            | Refusal::AccountNotLinked
            | Refusal::EmailNotFound
            | Refusal::ProviderSignUpDisabled
            | Refusal::InvalidTicket
            | Refusal::EmailNotVerified => Self::SignIn,
            Refusal::SessionNotFresh => Self::SignInAgain,
            Refusal::TooManyRequests(_)
            | Refusal::Overloaded
            | Refusal::StoreUnavailable
            | Refusal::UpstreamUnreachable
            | Refusal::UpstreamUnavailable
            | Refusal::UpstreamInvalid
            | Refusal::UpstreamTimeout
            | Refusal::BodyTimeout
            | Refusal::Internal => Self::Retry,
            Refusal::MalformedTarget
            | Refusal::AmbiguousPath
            | Refusal::BadHost
            | Refusal::Misdirected
            | Refusal::BadFraming
            | Refusal::RepeatedAuthorization
            | Refusal::BadBody
            | Refusal::TargetTooLong
            | Refusal::HeadTooLarge
            | Refusal::BodyTooLarge
            | Refusal::MethodNotAllowed
            | Refusal::ExpectationFailed
            | Refusal::NotImplemented
            | Refusal::UnsupportedMediaType
            | Refusal::NotFound
            | Refusal::Forbidden
            | Refusal::CrossOrigin
            | Refusal::InvalidEmail
            | Refusal::PasswordTooShort
            | Refusal::PasswordTooLong
            | Refusal::PasswordTooCommon
            | Refusal::Validation
            | Refusal::CodeWrong
            | Refusal::CodeExpired
            | Refusal::CodeSpent
            | Refusal::SignInUnusual
            | Refusal::InvalidCallbackUrl
            | Refusal::ProviderNotFound
            | Refusal::IdTokenNotSupported
            | Refusal::LinkedElsewhere
            | Refusal::DifferentEmail
            | Refusal::LastAccount
            | Refusal::AccountNotFound
            | Refusal::EmailNotHere
            | Refusal::InvalidPassword
            | Refusal::NoPassword
            | Refusal::EmailMismatch
            | Refusal::EmailAlreadyVerified
            | Refusal::ResetDisabled
            | Refusal::VerificationDisabled
            | Refusal::ChangeEmailDisabled
            | Refusal::InsufficientScope
            | Refusal::TooManyPersonalTokens => Self::Home,
        }
    }
}
