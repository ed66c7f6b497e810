//! One of `[[providers]]`: an identity provider where people can sign in, as it was configured.

use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

/// What kind of provider one is, which decides how it is spoken to and what of its answers is believed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// github.com or GitHub Enterprise Server: OAuth 2 without ID tokens.
    #[serde(rename = "github")]
    GitHub,
    /// Google accounts and Google Workspace.
    Google,
    /// gitlab.com or a GitLab of one's own.
    #[serde(rename = "gitlab")]
    GitLab,
    /// Discord: OAuth 2.
    Discord,
    /// Microsoft Entra ID and Microsoft accounts.
    Microsoft,
    /// Any provider that publishes an OpenID Connect discovery document.
    Oidc,
}

impl Kind {
    /// The name in the configuration, which is also the default of `id`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::Google => "google",
            Self::GitLab => "gitlab",
            Self::Discord => "discord",
            Self::Microsoft => "microsoft",
            Self::Oidc => "oidc",
        }
    }
}

/// How we prove to the token endpoint who we are (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// In the `Authorization` header.
    Basic,
    /// In the body.
    Post,
}

/// Which Microsoft tenants may sign in, as the URLs say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenant {
    /// The one with this id, in lower case.
    One(String),
    /// Every organisation's.
    Organizations,
    /// Personal accounts only.
    Consumers,
    /// All of them; also of kinds without tenants.
    Common,
}

impl Tenant {
    /// The segment of the URLs.
    pub fn as_str(&self) -> &str {
        match self {
            Self::One(id) => id,
            Self::Organizations => "organizations",
            Self::Consumers => "consumers",
            Self::Common => "common",
        }
    }
}

/// Which addresses may be connected to besides those of the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// None.
    Internet,
    /// This machine, where the provider is.
    Loopback,
    /// Private networks and this machine.
    Private,
}

/// Names of the claims that describe a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The address.
    pub email: String,
    /// Whether the address was verified; none if the address comes from a claim that nothing is said about.
    pub email_verified: Option<String>,
    /// The display name.
    pub name: String,
    /// The URL of a picture.
    pub image: String,
}

/// An identity provider. Has no `Debug`, for it holds a secret.
#[derive(Clone)]
pub struct Provider {
    /// What kind of provider it is.
    pub kind: Kind,
    /// Its name in URLs and in `account.providerId`; unique.
    pub id: String,
    /// Its name on the button.
    pub name: String,
    /// Who we are to it.
    pub client_id: String,
    /// Proof of that; none for a public client.
    pub client_secret: Option<Zeroizing<String>>,
    /// How the secret is sent; none: as the provider's metadata says.
    pub client_auth: Option<ClientAuth>,
    /// What is asked for; empty: what the kind needs.
    pub scopes: Vec<String>,
    /// Where all endpoints hang, without a slash at the end; none: at the public service. Never with
    /// [`Kind::Oidc`].
    pub base_url: Option<String>,
    /// The issuer exactly as the provider writes it; with [`Kind::Oidc`] only.
    pub issuer: Option<String>,
    /// The issuer that it had before it was renamed.
    pub formerly: Option<String>,
    /// The tenants of [`Kind::Microsoft`].
    pub tenant: Tenant,
    /// Tenant ids in lower case that may sign in; empty: all of `tenant`.
    pub allowed_tenants: Vec<String>,
    /// Whether an address that the provider calls verified proves who somebody is on this site.
    pub trust_email: bool,
    /// Domains in ASCII and lower case of which a verified address is needed; empty: none is.
    pub allowed_domains: Vec<String>,
    /// The Google Workspace domain that is needed.
    pub hosted_domain: Option<String>,
    /// What the claims are called.
    pub claims: Claims,
    /// The `prompt` parameter of every request for authorization.
    pub prompt: Option<String>,
    /// Whether the provider's tokens are kept.
    pub store_tokens: bool,
    /// Which addresses may be connected to.
    pub reach: Reach,
    /// The file that the authorities came from.
    pub ca_file: Option<PathBuf>,
    /// Certificate authorities that are believed instead of those of the web; empty: those of the web.
    pub authorities: Vec<CertificateDer<'static>>,
}

impl Provider {
    /// Whether people are to prove once more at each sign-in who they are.
    pub fn asks_again(&self) -> bool {
        self.prompt.as_deref().is_some_and(|prompt| prompt.split(' ').any(|word| word == "login"))
    }
}

/// Whether a URL leads to this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// Whether this is the text of a UUID, as Microsoft names tenants.
pub fn is_tenant_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}
