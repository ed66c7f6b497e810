//! Why a sign-in at a provider came to nothing: a closed list, told to the log without any token.

use std::fmt;
use std::io;

/// Why there is no answer that we believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The person said no at the provider, or turned back there.
    Denied,
    /// The provider does not answer, or not in a way that can be read.
    Unavailable(Step, Outage),
    /// The provider refused us, with this error code: an old code, or a wrong registration.
    Rejected(Step, ErrorCode),
    /// Somebody else answered than was asked (RFC 9207 §2.4).
    IssuerMismatch,
    /// The answer says something that may not be; what.
    InvalidAnswer(&'static str),
    /// The person has no verified address of a domain that may sign in.
    DomainNotAllowed,
    /// The person is of a tenant that may not sign in.
    TenantNotAllowed,
    /// The account is blocked at the provider.
    Blocked,
}

/// What was asked of the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its metadata (OpenID Connect Discovery §4).
    Discovery,
    /// Its signing keys.
    Keys,
    /// The person's consent.
    Authorization,
    /// Tokens for a code.
    Token,
    /// The person's name and addresses.
    Profile,
}

/// Why an outgoing request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// It failed a moment ago and is not asked again yet.
    BackOff,
    /// The provider says so itself.
    SaysSo,
    /// The name of the host is not known.
    Resolve,
    /// All addresses of the host lie where we may not connect to.
    PrivateAddress,
    /// The URL is neither https nor, for a provider on this machine, http.
    Scheme,
    /// No connection was made.
    Connect(io::ErrorKind),
    /// No certificate that we believe, or no TLS at all.
    Tls,
    /// It took too long.
    Timeout,
    /// The connection broke or what came was not HTTP.
    Broken,
    /// The answer leads elsewhere, where we do not follow.
    Redirect,
    /// The answer has this status.
    Status(u16),
    /// The answer is longer than we read.
    TooLarge,
    /// The answer is compressed, which was not asked for.
    Compressed,
    /// The answer is not one JSON object, or holds a name twice.
    NotJson,
}

impl Step {
    /// Names it in metrics.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Discovery => "metadata",
            Self::Keys => "keys",
            Self::Authorization => "authorization",
            Self::Token => "token",
            Self::Profile => "profile",
        }
    }
}

impl Outage {
    /// Names its kind in metrics.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Resolve | Self::Connect(_) => "unreachable",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::PrivateAddress | Self::Scheme => "not_allowed",
            Self::Status(_) | Self::SaysSo | Self::BackOff => "unavailable",
            Self::Broken | Self::Redirect | Self::TooLarge | Self::Compressed | Self::NotJson => "invalid",
        }
    }
}

/// An error code as RFC 6749 §4.1.2.1 and its kin define them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorCode(String);

impl ErrorCode {
    /// Longest code that is shown, in bytes.
    const LONGEST: usize = 48;

    /// The code, or `unreadable` for what is not one: it comes from outside and goes to the log.
    pub fn new(text: &str) -> Self {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        let sound = !text.is_empty() && text.len() <= Self::LONGEST && text.bytes().all(plain);
        Self(if sound { text } else { "unreadable" }.to_owned())
    }

    /// The code's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("consent was not given"),
            Self::Unavailable(step, outage) => write!(f, "{step}: {outage}"),
            Self::Rejected(step, code) => write!(f, "{step}: refused with {}", code.as_str()),
            Self::IssuerMismatch => f.write_str("another issuer answered than was asked"),
            Self::InvalidAnswer(what) => f.write_str(what),
            Self::DomainNotAllowed => f.write_str("no verified address of an allowed domain"),
            Self::TenantNotAllowed => f.write_str("the tenant is not allowed"),
            Self::Blocked => f.write_str("the account is blocked at the provider"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discovery => "metadata",
            Self::Keys => "signing keys",
            Self::Authorization => "authorization",
            Self::Token => "tokens",
            Self::Profile => "profile",
        })
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BackOff => "failed a moment ago and is not asked again yet",
            Self::SaysSo => "the provider says that it cannot answer",
            Self::Resolve => "the host is not known",
            Self::PrivateAddress => {
                "the host is on a private network (`danger_private_addresses` would allow it)"
            }
            Self::Scheme => "the URL is not https",
            Self::Connect(kind) => return write!(f, "no connection: {kind}"),
            Self::Tls => "no certificate that is trusted",
            Self::Timeout => "took too long",
            Self::Broken => "the connection broke",
            Self::Redirect => "leads elsewhere",
            Self::Status(status) => return write!(f, "status {status}"),
            Self::TooLarge => "is too large",
            Self::Compressed => "is compressed",
            Self::NotJson => "is not JSON",
        })
    }
}

impl std::error::Error for Failure {}
