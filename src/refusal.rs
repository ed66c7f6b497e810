//! Everything a client can be told when the answer is no: a closed list, with status and stable code.

use std::time::Duration;

use http::StatusCode;

/// One row for each refusal: its name (with what it holds, and an example of that), status and code.
macro_rules! refusals {
    ($($(#[$what:meta])* $name:ident $(($held:ty = $example:literal))? => $status:ident, $code:literal;)*) => {
        /// Why a request is refused. Holds nothing that a client sent and nothing that only the log may know.
        ///
        /// The codes of the flows are better-auth's, so that its client can branch on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal {
            $($(#[$what])* $name $(($held))?,)*
        }

        impl Refusal {
            /// Every refusal, for tests and for the texts to be complete.
            pub const ALL: &[Self] = &[$(Self::$name $(($example))?,)*];

            /// The status that goes with it.
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$name { .. } => StatusCode::$status,)*
                }
            }

            /// The stable code: what a program branches on.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $code,)*
                }
            }
        }
    };
}

refusals! {
    /// The request target is not one we forward (RFC 9112 §3.2).
    MalformedTarget => BAD_REQUEST, "MALFORMED_TARGET";
    /// Different upstreams could read the path in different ways, and the rules would differ.
    AmbiguousPath => BAD_REQUEST, "AMBIGUOUS_PATH";
    /// `Host` is missing, repeated or not a host (RFC 9112 §3.2).
    BadHost => BAD_REQUEST, "BAD_HOST";
    /// `Host` names another site (RFC 9110 §15.5.20).
    Misdirected => MISDIRECTED_REQUEST, "MISDIRECTED_REQUEST";
    /// The message framing could be read in two ways (RFC 9112 §6).
    BadFraming => BAD_REQUEST, "BAD_FRAMING";
    /// More than one `Authorization` (RFC 6750 §3.1).
    RepeatedAuthorization => BAD_REQUEST, "INVALID_REQUEST";
    /// A body or form that does not parse.
    BadBody => BAD_REQUEST, "BAD_REQUEST";
    /// The target is longer than the limit (RFC 9110 §15.5.15).
    TargetTooLong => URI_TOO_LONG, "TARGET_TOO_LONG";
    /// The header section is larger than the limit (RFC 6585 §5).
    HeadTooLarge => REQUEST_HEADER_FIELDS_TOO_LARGE, "HEAD_TOO_LARGE";
    /// The body is larger than the limit (RFC 9110 §15.5.14).
    BodyTooLarge => PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE";
    /// The body paused for too long, or came too slowly (RFC 9110 §15.5.9).
    BodyTimeout => REQUEST_TIMEOUT, "BODY_TIMEOUT";
    /// The method is not one that is served here (RFC 9110 §15.5.6).
    MethodNotAllowed => METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED";
    /// `Expect` asks for something else than `100-continue` (RFC 9110 §10.1.1).
    ExpectationFailed => EXPECTATION_FAILED, "EXPECTATION_FAILED";
    /// A transfer coding other than `chunked` (RFC 9112 §6.1).
    NotImplemented => NOT_IMPLEMENTED, "NOT_IMPLEMENTED";
    /// Not the media type that the endpoint takes.
    UnsupportedMediaType => UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE";
    /// Nothing here.
    NotFound => NOT_FOUND, "NOT_FOUND";
    /// A session is needed.
    SignInRequired => UNAUTHORIZED, "UNAUTHORIZED";
    /// The bearer token is not valid (RFC 6750 §3.1).
    InvalidToken => UNAUTHORIZED, "INVALID_TOKEN";
    /// The refresh token is not valid (RFC 6749 §5.2).
    InvalidGrant => BAD_REQUEST, "INVALID_GRANT";
    /// Signed in, but not allowed.
    Forbidden => FORBIDDEN, "FORBIDDEN";
    /// The request came from another site.
    CrossOrigin => FORBIDDEN, "INVALID_ORIGIN";
    /// Unknown account or wrong password: never told apart.
    InvalidCredentials => UNAUTHORIZED, "INVALID_EMAIL_OR_PASSWORD";
    /// Not an address that can have an account.
    InvalidEmail => BAD_REQUEST, "INVALID_EMAIL";
    /// Fewer characters than the policy asks for.
    PasswordTooShort => BAD_REQUEST, "PASSWORD_TOO_SHORT";
    /// More than 128 characters.
    PasswordTooLong => BAD_REQUEST, "PASSWORD_TOO_LONG";
    /// One of the passwords that are tried first.
    PasswordTooCommon => BAD_REQUEST, "PASSWORD_TOO_COMMON";
    /// A field is missing or of the wrong type.
    Validation => BAD_REQUEST, "VALIDATION_ERROR";
    /// The place to go to afterwards is not on this site.
    InvalidCallbackUrl => FORBIDDEN, "INVALID_CALLBACK_URL";
    /// Sign-up is closed here.
    SignUpDisabled => BAD_REQUEST, "EMAIL_PASSWORD_SIGN_UP_DISABLED";
    /// The sign-in was too long ago for this.
    SessionNotFresh => FORBIDDEN, "SESSION_NOT_FRESH";
    /// The address is changed elsewhere.
    EmailNotHere => BAD_REQUEST, "EMAIL_CAN_NOT_BE_UPDATED";
    /// The password is right, but nobody has proved the address yet.
    EmailNotVerified => FORBIDDEN, "EMAIL_NOT_VERIFIED";
    /// The link from a mail is used, replaced, void or too old.
    InvalidTicket => BAD_REQUEST, "INVALID_TOKEN";
    /// Not the password of the account, whose owner is known.
    InvalidPassword => BAD_REQUEST, "INVALID_PASSWORD";
    /// The account, whose owner is known, has no password.
    NoPassword => BAD_REQUEST, "CREDENTIAL_ACCOUNT_NOT_FOUND";
    /// The address is not that of the account that is signed in.
    EmailMismatch => BAD_REQUEST, "EMAIL_MISMATCH";
    /// The address was proved before.
    EmailAlreadyVerified => BAD_REQUEST, "EMAIL_ALREADY_VERIFIED";
    /// Without mail no password can be set anew.
    ResetDisabled => BAD_REQUEST, "RESET_PASSWORD_DISABLED";
    /// Without mail no address can be proved.
    VerificationDisabled => BAD_REQUEST, "VERIFICATION_EMAIL_NOT_ENABLED";
    /// Without mail no address can be changed.
    ChangeEmailDisabled => BAD_REQUEST, "CHANGE_EMAIL_DISABLED";
    /// Too many tries; try again after this many seconds.
    TooManyRequests(u32 = 1) => TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS";
    /// Too much work at this moment.
    Overloaded => SERVICE_UNAVAILABLE, "OVERLOADED";
    /// The store does not answer.
    StoreUnavailable => SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE";
    /// The app cannot be reached.
    UpstreamUnreachable => BAD_GATEWAY, "UPSTREAM_UNREACHABLE";
    /// No instance of the app is well.
    UpstreamUnavailable => SERVICE_UNAVAILABLE, "UPSTREAM_UNAVAILABLE";
    /// The app's answer is not HTTP that can be passed on.
    UpstreamInvalid => BAD_GATEWAY, "UPSTREAM_INVALID";
    /// The app did not answer in time.
    UpstreamTimeout => GATEWAY_TIMEOUT, "UPSTREAM_TIMEOUT";
    /// A fault of ours; the log knows.
    Internal => INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR";
    /// The sign-in was unusual, and its code is still owed.
    CodeRequired => UNAUTHORIZED, "NEEDS_SIGN_IN_VERIFICATION";
    /// Not the code that was sent.
    CodeWrong => BAD_REQUEST, "INVALID_OTP";
    /// The code was sent too long ago.
    CodeExpired => BAD_REQUEST, "OTP_EXPIRED";
    /// The code was guessed at too often.
    CodeSpent => FORBIDDEN, "TOO_MANY_ATTEMPTS";
    /// The sign-in that waited for its code is over.
    SignInEnded => UNAUTHORIZED, "SIGN_IN_VERIFICATION_ENDED";
    /// The sign-in was unusual, and there is no mailbox that could be asked.
    SignInUnusual => FORBIDDEN, "UNUSUAL_SIGN_IN";
    /// There is no provider of this name.
    ProviderNotFound => NOT_FOUND, "PROVIDER_NOT_FOUND";
    /// ID tokens that a front end got by itself are not taken.
    IdTokenNotSupported => NOT_FOUND, "ID_TOKEN_NOT_SUPPORTED";
    /// The way through a provider took too long, or was never begun.
    StateNotFound => BAD_REQUEST, "STATE_NOT_FOUND";
    /// The way through a provider was begun in another browser, or at another provider.
    StateMismatch => BAD_REQUEST, "STATE_MISMATCH";
    /// The way through a provider was gone already.
    StateUsed => BAD_REQUEST, "STATE_ALREADY_USED";
    /// The person said no at the provider.
    ProviderDenied => FORBIDDEN, "ACCESS_DENIED";
    /// The provider does not answer.
    ProviderUnavailable => BAD_GATEWAY, "PROVIDER_UNAVAILABLE";
    /// The provider does not take the code that it gave.
    ProviderRejected => BAD_REQUEST, "INVALID_CODE";
    /// The provider said something that cannot be believed.
    ProviderInvalid => BAD_GATEWAY, "UNABLE_TO_GET_USER_INFO";
    /// Another provider answered than was asked (RFC 9207 §2.4).
    IssuerMismatch => BAD_REQUEST, "ISSUER_MISMATCH";
    /// The account at the provider may not sign in here.
    ProviderAccountNotAllowed => FORBIDDEN, "ACCOUNT_NOT_ALLOWED";
    /// The address has an account that this provider does not open.
    AccountNotLinked => FORBIDDEN, "ACCOUNT_NOT_LINKED";
    /// The provider gave no address.
    EmailNotFound => BAD_REQUEST, "EMAIL_NOT_FOUND";
    /// Sign-up is closed here, through providers too.
    ProviderSignUpDisabled => FORBIDDEN, "SIGNUP_DISABLED";
    /// The account at the provider belongs to somebody already.
    LinkedElsewhere => CONFLICT, "SOCIAL_ACCOUNT_ALREADY_LINKED";
    /// The account at the provider has another address.
    DifferentEmail => FORBIDDEN, "LINKING_DIFFERENT_EMAILS_NOT_ALLOWED";
    /// Without this account its owner could not sign in any more.
    LastAccount => BAD_REQUEST, "FAILED_TO_UNLINK_LAST_ACCOUNT";
    /// The caller has no such account.
    AccountNotFound => BAD_REQUEST, "ACCOUNT_NOT_FOUND";
    /// The token does not go that far (RFC 6750 §3.1).
    InsufficientScope => FORBIDDEN, "INSUFFICIENT_SCOPE";
    /// The caller has as many personal access tokens as one can have.
    TooManyPersonalTokens => BAD_REQUEST, "TOO_MANY_PERSONAL_TOKENS";
}

impl Refusal {
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
