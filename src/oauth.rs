//! Identity providers: what is known of each, what is asked of them, and how their answers are checked.
//!
//! A flow sends the browser to [`Provider::authorize_url`] and hands what comes back to
//! [`Provider::identify`], which answers with an [`Identity`] or a [`failure::Failure`]. Whatever differs between
//! providers is data in `kinds`; what is believed of their answers is decided in `id_token` and `profile`.

mod address;
mod cached;
mod claims;
mod exchange;
pub mod failure;
mod http;
mod jws;
mod keys;
mod kinds;
mod metadata;
mod object;
mod profile;
pub mod provider;

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::config::provider::Provider as Configured;
use crate::metrics::ProviderRequests;
use crate::time::Now;
use provider::Provider;

/// All providers that are configured, in that order.
pub struct Providers(Vec<Provider>);

impl Providers {
    /// From the configuration; nothing is asked of a provider before somebody signs in there.
    /// What is asked later is counted there.
    pub fn new(providers: &[Configured], counts: &Arc<ProviderRequests>) -> Self {
        Self(providers.iter().map(|provider| Provider::new(provider, counts)).collect())
    }

    /// The provider with this `id`.
    pub fn find(&self, id: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.id() == id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.iter()
    }
}

/// What a request for authorization is made of.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    /// The `state` parameter.
    pub state: &'a str,
    /// The PKCE challenge: base64url of the verifier's SHA-256 (RFC 7636 §4.2).
    pub challenge: &'a str,
    /// The nonce that the ID token must repeat.
    pub nonce: &'a str,
    /// Where the provider sends the browser back.
    pub redirect_uri: &'a str,
    /// The address that the person is expected to choose.
    pub login_hint: Option<&'a str>,
    /// The `prompt` parameter, instead of the configured one.
    pub prompt: Option<&'a str>,
}

/// What the provider sent back by way of the browser.
#[derive(Clone, Copy, Default)]
pub struct Reply<'a> {
    /// The authorization code.
    pub code: Option<&'a str>,
    /// The `error` parameter.
    pub error: Option<&'a str>,
    /// Who says so (RFC 9207 §2).
    pub iss: Option<&'a str>,
}

/// What was kept since [`Start`].
#[derive(Clone, Copy)]
pub struct Secrets<'a> {
    /// The PKCE verifier.
    pub verifier: &'a str,
    /// The nonce.
    pub nonce: &'a str,
    /// The same as in [`Start`], byte for byte.
    pub redirect_uri: &'a str,
    /// When the browser was sent away.
    pub begun: Now,
}

/// Who somebody is, as a provider says.
pub struct Identity {
    /// The person's name at the provider, which never changes hands: the key, together with the provider.
    pub subject: String,
    /// Who says so.
    pub issuer: String,
    /// The address as the provider writes it; not brought into its canonical form.
    pub email: Option<String>,
    /// Whether the provider verified the address *and* its word on addresses counts on this site. Only then
    /// may the address lead to an account.
    pub email_proved: bool,
    /// The display name.
    pub name: Option<String>,
    /// The https URL of a picture.
    pub image: Option<String>,
    /// The provider's session (OpenID Connect Back-Channel Logout §2.1).
    pub sid: Option<String>,
    /// The ID token, as a hint for signing out there.
    pub id_token: Option<Zeroizing<String>>,
    /// What could be used to ask the provider for more.
    pub tokens: Tokens,
}

/// A provider's tokens.
pub struct Tokens {
    /// The access token.
    pub access: Zeroizing<String>,
    /// When it ends, if the provider said so.
    pub access_expires: Option<Now>,
    /// The refresh token.
    pub refresh: Option<Zeroizing<String>>,
    /// What was granted, which may be less than was asked for.
    pub scope: Option<String>,
}

/// A provider's word that somebody signed out there (OpenID Connect Back-Channel Logout §2.4).
#[derive(Debug, PartialEq, Eq)]
pub struct LogoutToken {
    /// Who says so.
    pub issuer: String,
    /// Whose sessions end: the same as [`Identity::subject`].
    pub subject: Option<String>,
    /// Which session ends: the same as [`Identity::sid`].
    pub sid: Option<String>,
    /// The token's own name; who keeps it until `expires` can refuse a second use.
    pub jti: String,
    /// When the token ends.
    pub expires: Now,
}

/// What signing out at the provider takes (OpenID Connect RP-Initiated Logout §2).
#[derive(Clone, Copy)]
pub struct EndSession<'a> {
    /// The ID token of the sign-in.
    pub id_token: Option<&'a str>,
    /// Where the provider sends the browser afterwards; must be registered there.
    pub return_to: &'a str,
    /// The `state` parameter that comes back.
    pub state: &'a str,
}
