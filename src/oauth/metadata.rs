//! Where a provider's endpoints are and who it says it is, from its kind or from its discovery document.

use serde_json::Value;
use url::Url;

use super::failure::{Failure, Outage, Step};
use super::http::{Ask, Client};
use super::object::Object;
use crate::config::provider::{ClientAuth, Provider as Configured, Tenant, is_loopback, is_tenant_id};

/// Largest discovery document, in bytes.
const LARGEST: usize = 256 * 1024;

/// The tenant of personal Microsoft accounts.
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// What one has to know of a provider to speak with it.
pub(super) struct Metadata {
    /// Where the browser asks for consent.
    pub(super) authorize: Url,
    /// Where codes become tokens.
    pub(super) token: Url,
    /// Where the signing keys are; none without ID tokens.
    pub(super) keys: Option<Url>,
    /// Where more is said about the person.
    pub(super) profile: Option<Url>,
    /// Where the browser signs out.
    pub(super) end_session: Option<Url>,
    /// Who it says it is.
    pub(super) issuer: Issuer,
    /// Whether it promises to say so in every answer (RFC 9207 §3).
    pub(super) names_itself: bool,
    /// How the client's secret is sent.
    pub(super) client_auth: ClientAuth,
}

/// Who a provider says it is.
pub(super) enum Issuer {
    /// Always this, character by character.
    One(String),
    /// This, and in old tokens the same without `https://`.
    Google(String),
    /// `{base}/{tenant}/v2.0`, with the tenant of the person.
    Tenants { base: String },
}

impl Issuer {
    /// The name under which it is known where it does not name itself.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::One(name) | Self::Google(name) | Self::Tenants { base: name } => name,
        }
    }

    /// The issuer's proper name, if `claimed` is one of its names.
    pub(super) fn named<'a>(&'a self, claimed: &'a str) -> Option<&'a str> {
        match self {
            Self::One(name) => (claimed == name).then_some(claimed),
            Self::Google(name) => {
                let bare = name.split_once("://").map_or(name.as_str(), |(_, bare)| bare);
                (claimed == name || claimed == bare).then_some(name)
            }
            Self::Tenants { .. } => self.tenant(claimed).map(|_| claimed),
        }
    }

    /// The tenant that an issuer's name is made with; `None` for issuers without tenants and other names.
    pub(super) fn tenant<'a>(&self, claimed: &'a str) -> Option<&'a str> {
        match self {
            Self::One(_) | Self::Google(_) => None,
            Self::Tenants { base } => {
                let id = claimed.strip_prefix(base.as_str())?.strip_prefix('/')?.strip_suffix("/v2.0")?;
                is_tenant_id(id).then_some(id)
            }
        }
    }
}

/// Whether people of this tenant may sign in.
pub(super) fn admits(provider: &Configured, tenant: &str) -> bool {
    let tenant = tenant.to_ascii_lowercase();
    let by_audience = match &provider.tenant {
        Tenant::One(id) => tenant == *id,
        Tenant::Organizations => tenant != CONSUMERS,
        Tenant::Consumers => tenant == CONSUMERS,
        Tenant::Common => true,
    };
    by_audience && (provider.allowed_tenants.is_empty() || provider.allowed_tenants.contains(&tenant))
}

/// Asks the issuer for its discovery document and checks it (OpenID Connect Discovery §4).
pub(super) async fn discover(client: &Client, issuer: &str) -> Result<Metadata, Failure> {
    let unavailable = |outage| Failure::Unavailable(Step::Discovery, outage);
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let url = Url::parse(&url).map_err(|_| unavailable(Outage::Scheme))?;
    let ask = Ask { step: Step::Discovery, url: &url, authorization: None, form: None, most: LARGEST };
    let answer = client.ask(ask).await.map_err(unavailable)?;
    if !answer.status.is_success() {
        return Err(unavailable(Outage::Status(answer.status.as_u16())));
    }
    let document = Object::parse(&answer.body).ok_or(unavailable(Outage::NotJson))?;
    Metadata::from_document(&document, issuer)
}

impl Metadata {
    fn from_document(document: &Object, issuer: &str) -> Result<Self, Failure> {
        // Anything else would be the document of somebody else (OpenID Connect Discovery §4.3).
        if document.text("issuer")? != Some(issuer) {
            return Err(Failure::IssuerMismatch);
        }
        let plain = Url::parse(issuer).is_ok_and(|url| url.scheme() == "http" && is_loopback(&url));
        let url = |name| endpoint(document, name, plain);
        let missing = Failure::InvalidAnswer("the metadata lacks an endpoint");
        let methods = document.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
        let offers = |method: &str| methods.is_some_and(|list| list.iter().any(|known| known == method));
        Ok(Self {
            authorize: url("authorization_endpoint")?.ok_or(missing.clone())?,
            token: url("token_endpoint")?.ok_or(missing.clone())?,
            keys: Some(url("jwks_uri")?.ok_or(missing)?),
            profile: url("userinfo_endpoint")?,
            end_session: url("end_session_endpoint")?,
            issuer: Issuer::One(issuer.to_owned()),
            names_itself: document.says_yes("authorization_response_iss_parameter_supported"),
            // Without a list, only `client_secret_basic` (OpenID Connect Discovery §3).
            client_auth: if offers("client_secret_post") && !offers("client_secret_basic") {
                ClientAuth::Post
            } else {
                ClientAuth::Basic
            },
        })
    }
}

/// An endpoint: https, or http for a provider on this machine that is there itself.
fn endpoint(document: &Object, name: &str, plain: bool) -> Result<Option<Url>, Failure> {
    let Some(text) = document.text(name)? else { return Ok(None) };
    let url = Url::parse(text).ok().filter(|url| {
        let scheme = url.scheme() == "https" || plain && url.scheme() == "http" && is_loopback(url);
        scheme && url.has_host() && url.username().is_empty() && url.password().is_none()
    });
    match url {
        Some(url) if url.fragment().is_none() => Ok(Some(url)),
        _ => Err(Failure::InvalidAnswer("the metadata names an endpoint that is not https")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(issuer: &str, change: &[(&str, &str)]) -> Result<Metadata, Failure> {
        let mut members = serde_json::json!({
            "issuer": issuer,
            "authorization_endpoint": "https://id.example/authorize",
            "token_endpoint": "https://api.example/token",
            "jwks_uri": "https://id.example/keys",
        });
        for (name, value) in change {
            members[name] = serde_json::from_str(value).expect("JSON");
        }
        Metadata::from_document(&Object::of(members).expect("an object"), issuer)
    }

    #[test]
    fn oa_10_a_document_of_another_issuer_is_refused() {
        assert!(read("https://id.example", &[]).is_ok());
        for other in ["\"https://id.example/\"", "\"https://ID.example\"", "null"] {
            let failure = read("https://id.example", &[("issuer", other)]).err();
            assert_eq!(failure, Some(Failure::IssuerMismatch), "{other}");
        }
    }

    #[test]
    fn oidc_11_a_document_cannot_lead_to_another_scheme() {
        let wrong = |issuer: &str, name: &str, url: &str| read(issuer, &[(name, url)]).is_err();
        for name in ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"] {
            for url in [
                "\"http://id.example/x\"",
                "\"http://127.0.0.1/x\"",
                "\"file:///etc/passwd\"",
                "\"javascript:alert(1)\"",
                "\"https://u:p@id.example/x\"",
                "\"https://id.example/x#y\"",
                "\"/x\"",
                "5",
            ] {
                assert!(wrong("https://id.example", name, url), "{name} {url}");
            }
            assert!(!wrong("http://127.0.0.1:9", name, "\"http://localhost:9/x\""), "{name}");
            assert!(wrong("http://127.0.0.1:9", name, "\"http://10.0.0.1/x\""), "{name}");
        }
        assert!(wrong("https://id.example", "token_endpoint", "null"));
    }

    #[test]
    fn an_issuer_with_tenants_is_named_by_one_of_them_and_nothing_else() {
        let issuer = Issuer::Tenants { base: "https://login.microsoftonline.com".to_owned() };
        let of = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
        assert_eq!(issuer.tenant(&of(CONSUMERS)), Some(CONSUMERS));
        for other in [of("{tenantid}"), of(""), of("a/b"), format!("{}/", of(CONSUMERS)), String::new()] {
            assert_eq!(issuer.named(&other), None, "{other}");
        }
    }
}
