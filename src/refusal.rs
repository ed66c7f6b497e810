//! Everything a client can be told when the answer is no: a closed list, with status and stable code.

use std::time::Duration;

use http::StatusCode;

/// Why a request is refused. Holds nothing that a client sent and nothing that only the log may know.
///
/// The codes of the flows are better-auth's, so that its client can branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request target is not one we forward (RFC 9112 §3.2).
    MalformedTarget,
    /// Different upstreams could read the path in different ways, and the rules would differ.
    AmbiguousPath,
    /// `Host` is missing, repeated or not a host (RFC 9112 §3.2).
    BadHost,
    /// `Host` names another site (RFC 9110 §15.5.20).
    Misdirected,
    /// The message framing could be read in two ways (RFC 9112 §6).
    BadFraming,
    /// More than one `Authorization` (RFC 6750 §3.1).
    RepeatedAuthorization,
    /// A body or form that does not parse.
    BadBody,
    /// The target is longer than the limit (RFC 9110 §15.5.15).
    TargetTooLong,
    /// The header section is larger than the limit (RFC 6585 §5).
    HeadTooLarge,
    /// The body is larger than the limit (RFC 9110 §15.5.14).
    BodyTooLarge,
    /// The method is not one that is served here (RFC 9110 §15.5.6).
    MethodNotAllowed,
    /// `Expect` asks for something else than `100-continue` (RFC 9110 §10.1.1).
    ExpectationFailed,
    /// A transfer coding other than `chunked` (RFC 9112 §6.1).
    NotImplemented,
    /// Not the media type that the endpoint takes.
    UnsupportedMediaType,
    /// Nothing here.
    NotFound,
    /// A session is needed.
    SignInRequired,
    /// The bearer token is not valid (RFC 6750 §3.1).
    InvalidToken,
    /// The refresh token is not valid (RFC 6749 §5.2).
    InvalidGrant,
    /// Signed in, but not allowed.
    Forbidden,
    /// The request came from another site.
    CrossOrigin,
    /// Unknown account or wrong password: never told apart.
    InvalidCredentials,
    /// Not an address that can have an account.
    InvalidEmail,
    /// Fewer characters than the policy asks for.
    PasswordTooShort,
    /// More than 128 characters.
    PasswordTooLong,
    /// One of the passwords that are tried first.
    PasswordTooCommon,
    /// A field is missing or of the wrong type.
    Validation,
    /// The place to go to afterwards is not on this site.
    InvalidCallbackUrl,
    /// Sign-up is closed here.
    SignUpDisabled,
    /// The sign-in was too long ago for this.
    SessionNotFresh,
    /// The address is changed elsewhere.
    EmailNotHere,
    /// The password is right, but nobody has proved the address yet.
    EmailNotVerified,
    /// The link from a mail is used, replaced, void or too old.
    InvalidTicket,
    /// Not the password of the account, whose owner is known.
    InvalidPassword,
    /// The account, whose owner is known, has no password.
    NoPassword,
    /// The address is not that of the account that is signed in.
    EmailMismatch,
    /// The address was proved before.
    EmailAlreadyVerified,
    /// Without mail no password can be set anew.
    ResetDisabled,
    /// Without mail no address can be proved.
    VerificationDisabled,
    /// Without mail no address can be changed.
    ChangeEmailDisabled,
    /// Too many tries; try again after this many seconds.
    TooManyRequests(u32),
    /// Too much work at this moment.
    Overloaded,
    /// The store does not answer.
    StoreUnavailable,
    /// The app cannot be reached.
    UpstreamUnreachable,
    /// No instance of the app is well.
    UpstreamUnavailable,
    /// The app's answer is not HTTP that can be passed on.
    UpstreamInvalid,
    /// The app did not answer in time.
    UpstreamTimeout,
    /// A fault of ours; the log knows.
    Internal,
    /// The sign-in was unusual, and its code is still owed.
    CodeRequired,
    /// Not the code that was sent.
    CodeWrong,
    /// The code was sent too long ago.
    CodeExpired,
    /// The code was guessed at too often.
    CodeSpent,
    /// The sign-in that waited for its code is over.
    SignInEnded,
    /// The sign-in was unusual, and there is no mailbox that could be asked.
    SignInUnusual,
    /// There is no provider of this name.
    ProviderNotFound,
    /// ID tokens that a front end got by itself are not taken.
    IdTokenNotSupported,
    /// The way through a provider took too long, or was never begun.
    StateNotFound,
    /// The way through a provider was begun in another browser, or at another provider.
    StateMismatch,
    /// The way through a provider was gone already.
    StateUsed,
    /// The person said no at the provider.
    ProviderDenied,
    /// The provider does not answer.
    ProviderUnavailable,
    /// The provider does not take the code that it gave.
    ProviderRejected,
    /// The provider said something that cannot be believed.
    ProviderInvalid,
    /// Another provider answered than was asked (RFC 9207 §2.4).
    IssuerMismatch,
    /// The account at the provider may not sign in here.
    ProviderAccountNotAllowed,
    /// The address has an account that this provider does not open.
    AccountNotLinked,
    /// The provider gave no address.
    EmailNotFound,
    /// Sign-up is closed here, through providers too.
    ProviderSignUpDisabled,
    /// The account at the provider belongs to somebody already.
    LinkedElsewhere,
    /// The account at the provider has another address.
    DifferentEmail,
    /// Without this account its owner could not sign in any more.
    LastAccount,
    /// The caller has no such account.
    AccountNotFound,
    /// The token does not go that far (RFC 6750 §3.1).
    InsufficientScope,
    /// The caller has as many personal access tokens as one can have.
    TooManyPersonalTokens,
}

impl Refusal {
    /// Every refusal, for tests and for the texts to be complete.
    pub const ALL: &[Self] = &[
        Self::MalformedTarget,
        Self::AmbiguousPath,
        Self::BadHost,
        Self::Misdirected,
        Self::BadFraming,
        Self::RepeatedAuthorization,
        Self::BadBody,
        Self::TargetTooLong,
        Self::HeadTooLarge,
        Self::BodyTooLarge,
        Self::MethodNotAllowed,
        Self::ExpectationFailed,
        Self::NotImplemented,
        Self::UnsupportedMediaType,
        Self::NotFound,
        Self::SignInRequired,
        Self::InvalidToken,
        Self::InvalidGrant,
        Self::Forbidden,
        Self::CrossOrigin,
        Self::InvalidCredentials,
        Self::InvalidEmail,
        Self::PasswordTooShort,
        Self::PasswordTooLong,
        Self::PasswordTooCommon,
        Self::Validation,
        Self::InvalidCallbackUrl,
        Self::SignUpDisabled,
        Self::SessionNotFresh,
        Self::EmailNotHere,
        Self::EmailNotVerified,
        Self::InvalidTicket,
        Self::InvalidPassword,
        Self::NoPassword,
        Self::EmailMismatch,
        Self::EmailAlreadyVerified,
        Self::ResetDisabled,
        Self::VerificationDisabled,
        Self::ChangeEmailDisabled,
        Self::TooManyRequests(1),
        Self::Overloaded,
        Self::StoreUnavailable,
        Self::UpstreamUnreachable,
        Self::UpstreamUnavailable,
        Self::UpstreamInvalid,
        Self::UpstreamTimeout,
        Self::Internal,
        Self::CodeRequired,
        Self::CodeWrong,
        Self::CodeExpired,
        Self::CodeSpent,
        Self::SignInEnded,
        Self::SignInUnusual,
        Self::ProviderNotFound,
        Self::IdTokenNotSupported,
        Self::StateNotFound,
        Self::StateMismatch,
        Self::StateUsed,
        Self::ProviderDenied,
        Self::ProviderUnavailable,
        Self::ProviderRejected,
        Self::ProviderInvalid,
        Self::IssuerMismatch,
        Self::ProviderAccountNotAllowed,
        Self::AccountNotLinked,
        Self::EmailNotFound,
        Self::ProviderSignUpDisabled,
        Self::LinkedElsewhere,
        Self::DifferentEmail,
        Self::LastAccount,
        Self::AccountNotFound,
        Self::InsufficientScope,
        Self::TooManyPersonalTokens,
    ];

    /// The status that goes with it.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::MalformedTarget
            | Self::AmbiguousPath
            | Self::BadHost
            | Self::BadFraming
            | Self::RepeatedAuthorization
            | Self::InvalidGrant
            | Self::BadBody
            | Self::InvalidEmail
            | Self::PasswordTooShort
            | Self::PasswordTooLong
            | Self::PasswordTooCommon
            | Self::SignUpDisabled
            | Self::Validation
            | Self::StateNotFound
            | Self::StateMismatch
            | Self::StateUsed
            | Self::ProviderRejected
            | Self::IssuerMismatch
            | Self::EmailNotFound
            | Self::LastAccount
            | Self::AccountNotFound
            | Self::EmailNotHere
            | Self::InvalidTicket
            | Self::InvalidPassword
            | Self::NoPassword
            | Self::EmailMismatch
            | Self::EmailAlreadyVerified
            | Self::ResetDisabled
            | Self::VerificationDisabled
            | Self::ChangeEmailDisabled
            | Self::CodeWrong
            | Self::CodeExpired
            | Self::TooManyPersonalTokens => StatusCode::BAD_REQUEST,
            Self::SignInRequired
            | Self::InvalidToken
            | Self::InvalidCredentials
            | Self::CodeRequired
            | Self::SignInEnded => StatusCode::UNAUTHORIZED,
            Self::Forbidden
            | Self::CrossOrigin
            | Self::InvalidCallbackUrl
            | Self::SessionNotFresh
            | Self::ProviderDenied
            | Self::ProviderAccountNotAllowed
            | Self::AccountNotLinked
            | Self::ProviderSignUpDisabled
            | Self::DifferentEmail
            | Self::EmailNotVerified
            | Self::CodeSpent
            | Self::SignInUnusual
            | Self::InsufficientScope => StatusCode::FORBIDDEN,
            Self::NotFound | Self::ProviderNotFound | Self::IdTokenNotSupported => StatusCode::NOT_FOUND,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Self::TooManyRequests(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::UpstreamUnreachable
            | Self::UpstreamInvalid
            | Self::ProviderUnavailable
            | Self::ProviderInvalid => StatusCode::BAD_GATEWAY,
            Self::Overloaded | Self::StoreUnavailable | Self::UpstreamUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::LinkedElsewhere => StatusCode::CONFLICT,
        }
    }

    /// The stable code: what a program branches on.
    pub const fn code(self) -> &'static str {
        match self {
            Self::MalformedTarget => "MALFORMED_TARGET",
            Self::AmbiguousPath => "AMBIGUOUS_PATH",
            Self::BadHost => "BAD_HOST",
            Self::Misdirected => "MISDIRECTED_REQUEST",
            Self::BadFraming => "BAD_FRAMING",
            Self::RepeatedAuthorization => "INVALID_REQUEST",
            Self::BadBody => "BAD_REQUEST",
            Self::TargetTooLong => "TARGET_TOO_LONG",
            Self::HeadTooLarge => "HEAD_TOO_LARGE",
            Self::BodyTooLarge => "BODY_TOO_LARGE",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::ExpectationFailed => "EXPECTATION_FAILED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Self::NotFound => "NOT_FOUND",
            Self::SignInRequired => "UNAUTHORIZED",
            Self::InvalidToken | Self::InvalidTicket => "INVALID_TOKEN",
            Self::InvalidGrant => "INVALID_GRANT",
            Self::Forbidden => "FORBIDDEN",
            Self::CrossOrigin => "INVALID_ORIGIN",
            Self::InvalidCredentials => "INVALID_EMAIL_OR_PASSWORD",
            Self::InvalidEmail => "INVALID_EMAIL",
            Self::PasswordTooShort => "PASSWORD_TOO_SHORT",
            Self::PasswordTooLong => "PASSWORD_TOO_LONG",
            Self::PasswordTooCommon => "PASSWORD_TOO_COMMON",
            Self::Validation => "VALIDATION_ERROR",
            Self::InvalidCallbackUrl => "INVALID_CALLBACK_URL",
            Self::SignUpDisabled => "EMAIL_PASSWORD_SIGN_UP_DISABLED",
            Self::SessionNotFresh => "SESSION_NOT_FRESH",
            Self::EmailNotHere => "EMAIL_CAN_NOT_BE_UPDATED",
            Self::EmailNotVerified => "EMAIL_NOT_VERIFIED",
            Self::InvalidPassword => "INVALID_PASSWORD",
            Self::NoPassword => "CREDENTIAL_ACCOUNT_NOT_FOUND",
            Self::EmailMismatch => "EMAIL_MISMATCH",
            Self::EmailAlreadyVerified => "EMAIL_ALREADY_VERIFIED",
            Self::ResetDisabled => "RESET_PASSWORD_DISABLED",
            Self::VerificationDisabled => "VERIFICATION_EMAIL_NOT_ENABLED",
            Self::ChangeEmailDisabled => "CHANGE_EMAIL_DISABLED",
            Self::TooManyRequests(_) => "TOO_MANY_REQUESTS",
            Self::Overloaded => "OVERLOADED",
            Self::StoreUnavailable => "STORE_UNAVAILABLE",
            Self::UpstreamUnreachable => "UPSTREAM_UNREACHABLE",
            Self::UpstreamUnavailable => "UPSTREAM_UNAVAILABLE",
            Self::UpstreamInvalid => "UPSTREAM_INVALID",
            Self::UpstreamTimeout => "UPSTREAM_TIMEOUT",
            Self::Internal => "INTERNAL_SERVER_ERROR",
            Self::CodeRequired => "NEEDS_SIGN_IN_VERIFICATION",
            Self::CodeWrong => "INVALID_OTP",
            Self::CodeExpired => "OTP_EXPIRED",
            Self::CodeSpent => "TOO_MANY_ATTEMPTS",
            Self::SignInEnded => "SIGN_IN_VERIFICATION_ENDED",
            Self::SignInUnusual => "UNUSUAL_SIGN_IN",
            Self::ProviderNotFound => "PROVIDER_NOT_FOUND",
            Self::IdTokenNotSupported => "ID_TOKEN_NOT_SUPPORTED",
            Self::StateNotFound => "STATE_NOT_FOUND",
            Self::StateMismatch => "STATE_MISMATCH",
            Self::StateUsed => "STATE_ALREADY_USED",
            Self::ProviderDenied => "ACCESS_DENIED",
            Self::ProviderUnavailable => "PROVIDER_UNAVAILABLE",
            Self::ProviderRejected => "INVALID_CODE",
            Self::ProviderInvalid => "UNABLE_TO_GET_USER_INFO",
            Self::IssuerMismatch => "ISSUER_MISMATCH",
            Self::ProviderAccountNotAllowed => "ACCOUNT_NOT_ALLOWED",
            Self::AccountNotLinked => "ACCOUNT_NOT_LINKED",
            Self::EmailNotFound => "EMAIL_NOT_FOUND",
            Self::ProviderSignUpDisabled => "SIGNUP_DISABLED",
            Self::LinkedElsewhere => "SOCIAL_ACCOUNT_ALREADY_LINKED",
            Self::DifferentEmail => "LINKING_DIFFERENT_EMAILS_NOT_ALLOWED",
            Self::LastAccount => "FAILED_TO_UNLINK_LAST_ACCOUNT",
            Self::AccountNotFound => "ACCOUNT_NOT_FOUND",
            Self::InsufficientScope => "INSUFFICIENT_SCOPE",
            Self::TooManyPersonalTokens => "TOO_MANY_PERSONAL_TOKENS",
        }
    }

    /// From the stable code; [`Self::TooManyRequests`] comes with some wait.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|refusal| refusal.code() == code)
    }

    /// The key of its text. Programs hear one code for tokens of both kinds, people two things.
    pub const fn key(self) -> &'static str {
        match self {
            Self::InvalidTicket => "INVALID_TICKET",
            _ => self.code(),
        }
    }

    /// How long to wait before it is worth trying again, as `Retry-After` says it.
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::TooManyRequests(seconds) => Some(Duration::from_secs(seconds as u64)),
            Self::Overloaded | Self::StoreUnavailable => Some(Duration::from_secs(2)),
            Self::UpstreamUnavailable => Some(Duration::from_secs(5)),
            _ => None,
        }
    }
}
