//! One provider: what it is asked, and in which order.

use std::sync::Arc;

use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::cached::Cached;
use super::claims::{self, Expected, Named};
use super::exchange::{Granted, exchange};
use super::failure::{ErrorCode, Failure, Outage, Step};
use super::http::{Answer, Ask, Client};
use super::jws::{Signed, Unsigned, Unverified};
use super::keys::Keys;
use super::kinds::{manners, metadata};
use super::metadata::{Metadata, discover};
use super::object::Object;
use super::profile::{self, Person};
use super::{EndSession, Identity, LogoutToken, Reply, Secrets, Start};
use crate::config::provider::{Kind, Provider as Configured, Reach};
use crate::metrics::ProviderRequests;
use crate::time::Now;

/// Largest key set, in bytes.
const LARGEST_KEYS: usize = 256 * 1024;
/// Largest profile, in bytes.
const LARGEST_PROFILE: usize = 1024 * 1024;
/// Longest authorization code, in bytes.
const LONGEST_CODE: usize = 4096;
/// Addresses on one page of GitHub's list, and pages that are read.
const PAGE: usize = 100;
const PAGES: usize = 3;

/// What authorization servers answer when the person said no, or was not asked and would have had to be
/// (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6).
const DENIED: [&str; 5] = [
    "access_denied",
    "login_required",
    "consent_required",
    "interaction_required",
    "account_selection_required",
];

/// An identity provider that people can sign in at.
pub struct Provider {
    config: Configured,
    client: Client,
    metadata: Source,
    keys: Cached<Keys>,
}

/// Where the metadata comes from.
enum Source {
    /// The kind tells it.
    Known(Arc<Metadata>),
    /// The issuer publishes it.
    Published(String, Cached<Metadata>),
}

impl Provider {
    pub(super) fn new(config: &Configured, counts: &Arc<ProviderRequests>) -> Self {
        Self {
            client: Client::new(config, Arc::clone(counts)),
            metadata: match metadata(config) {
                Some(known) => Source::Known(Arc::new(known)),
                None => {
                    Source::Published(config.issuer.clone().unwrap_or_default(), Cached::new(Step::Discovery))
                }
            },
            keys: Cached::new(Step::Keys),
            config: config.clone(),
        }
    }

    /// Its name in URLs and in `account.providerId`.
    pub fn id(&self) -> &str {
        &self.config.id
    }

    /// Its name on the button.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// What it calls itself, or what all its issuers' names begin with: with the subject, it names a person.
    pub fn issuer(&self) -> &str {
        match &self.metadata {
            Source::Known(metadata) => metadata.issuer.name(),
            Source::Published(issuer, _) => issuer,
        }
    }

    /// Its issuer of before, if it was renamed.
    pub fn formerly(&self) -> Option<&str> {
        self.config.formerly.as_deref()
    }

    /// Whether it is on this machine, as in development, where it is another one each day.
    pub fn is_here(&self) -> bool {
        self.config.reach == Reach::Loopback
    }

    /// What kind of provider it is.
    pub fn kind(&self) -> Kind {
        self.config.kind
    }

    /// Whether its tokens are to be kept.
    pub fn stores_tokens(&self) -> bool {
        self.config.store_tokens
    }

    /// Where the browser goes to ask the person for consent.
    ///
    /// # Errors
    /// A [`Failure`] if the provider's metadata cannot be had.
    pub async fn authorize_url(&self, start: &Start<'_>, now: Now) -> Result<String, Failure> {
        let metadata = self.metadata(now).await?;
        let manners = manners(self.config.kind);
        let scopes = if self.config.scopes.is_empty() {
            manners.scopes.join(" ")
        } else {
            self.config.scopes.join(" ")
        };
        let mut url = metadata.authorize.clone();
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", start.redirect_uri)
            .append_pair("scope", &scopes)
            .append_pair("state", start.state)
            .append_pair("code_challenge", start.challenge)
            .append_pair("code_challenge_method", "S256");
        if manners.id_token {
            query.append_pair("nonce", start.nonce);
        }
        if let (Some(name), Some(hint)) = (manners.login_hint, start.login_hint) {
            query.append_pair(name, hint);
        }
        if let Some(prompt) = start.prompt.or(self.config.prompt.as_deref()) {
            query.append_pair("prompt", prompt);
        }
        if self.config.asks_again() && self.config.kind == Kind::Oidc {
            // Only who is asked for an age has to say when it was (OpenID Connect Core §3.1.2.1).
            query.append_pair("max_age", "0");
        }
        if let Some(domain) = &self.config.hosted_domain {
            query.append_pair("hd", domain);
        }
        drop(query);
        Ok(url.into())
    }

    /// Who the person is that the provider sent back.
    ///
    /// # Errors
    /// A [`Failure`] unless every check passes.
    pub async fn identify(
        &self,
        reply: &Reply<'_>,
        secrets: &Secrets<'_>,
        now: Now,
    ) -> Result<Identity, Failure> {
        let metadata = self.metadata(now).await?;
        let code = code(reply, &metadata)?;
        let granted = exchange(&self.client, &self.config, &metadata, (code, secrets), now).await?;
        let access = granted.tokens.access.as_str();
        let (named, signed) = if metadata.keys.is_some() {
            let Some(token) = &granted.id_token else {
                return Err(Failure::InvalidAnswer("there is no ID token"));
            };
            let signed = self.verified(token, &metadata, now).await?;
            let expected = Expected { nonce: secrets.nonce, access_token: access, begun: secrets.begun, now };
            let named = claims::id_token(&signed, &self.config, &metadata.issuer, &expected)?;
            (Some(named), Some(signed))
        } else {
            (None, None)
        };
        let claims = signed.as_ref().map(|signed| &signed.claims);
        let person = self.person(&metadata, access, claims.zip(named.as_ref())).await?;
        profile::admitted(&self.config, claims, &person)?;
        Ok(self.identity(person, named, granted, &metadata))
    }

    /// Reads the `logout_token` that the provider posted to us. That it comes for the first time is for the
    /// caller to see, by its `jti`.
    ///
    /// # Errors
    /// A [`Failure`] unless every check passes (OpenID Connect Back-Channel Logout §2.6).
    pub async fn logout_token(&self, token: &str, now: Now) -> Result<LogoutToken, Failure> {
        let metadata = self.metadata(now).await?;
        let signed = self.verified(token, &metadata, now).await?;
        claims::logout_token(&signed, &self.config, &metadata.issuer, now)
    }

    /// Where the browser goes to sign out at the provider as well; `None` if it has no such place or cannot
    /// be asked.
    pub async fn end_session_url(&self, end: &EndSession<'_>, now: Now) -> Option<String> {
        let metadata = match &self.metadata {
            Source::Known(metadata) => metadata.clone(),
            // Who signs out does not wait for a provider that is slow to say where it was last.
            Source::Published(issuer, cached) => {
                cached.known(now, discover(&self.client, issuer)).await.ok()?
            }
        };
        let mut url = metadata.end_session.clone()?;
        let mut query = url.query_pairs_mut();
        if let Some(token) = end.id_token {
            query.append_pair("id_token_hint", token);
        }
        query
            .append_pair("client_id", &self.config.client_id)
            .append_pair("post_logout_redirect_uri", end.return_to)
            .append_pair("state", end.state);
        drop(query);
        Some(url.into())
    }

    async fn metadata(&self, now: Now) -> Result<Arc<Metadata>, Failure> {
        match &self.metadata {
            Source::Known(metadata) => Ok(metadata.clone()),
            Source::Published(issuer, cached) => cached.get(now, discover(&self.client, issuer)).await,
        }
    }

    /// The claims of a token with a good signature. A key that is not known may be new and is looked for.
    async fn verified(&self, token: &str, metadata: &Metadata, now: Now) -> Result<Signed, Failure> {
        let Some(url) = &metadata.keys else {
            return Err(Failure::InvalidAnswer("this provider signs nothing"));
        };
        let token = Unverified::parse(token)?;
        let keys = self.keys.get(now, self.published_keys(url)).await?;
        match token.verify(&keys) {
            Ok(signed) => return Ok(signed),
            Err(Unsigned::Bad(failure)) => return Err(failure),
            Err(Unsigned::UnknownKey) => {}
        }
        let keys = self.keys.again(now, &keys, self.published_keys(url)).await?;
        token.verify(&keys).map_err(|unsigned| match unsigned {
            Unsigned::Bad(failure) => failure,
            Unsigned::UnknownKey => Failure::InvalidAnswer("the token's signing key is not known"),
        })
    }

    async fn published_keys(&self, url: &Url) -> Result<Keys, Failure> {
        let ask = Ask { step: Step::Keys, url, authorization: None, form: None, most: LARGEST_KEYS };
        let answer = self.client.ask(ask).await.map_err(|outage| Failure::Unavailable(Step::Keys, outage))?;
        Keys::parse(&object(&answer, Step::Keys)?)
    }

    /// The profile, from wherever this kind has it.
    async fn person(
        &self,
        metadata: &Metadata,
        access: &str,
        proved: Option<(&Object, &Named)>,
    ) -> Result<Person, Failure> {
        let nobody = Failure::InvalidAnswer("there is no ID token");
        match (self.config.kind, proved) {
            (Kind::GitHub, _) => {
                let url = profile_url(metadata)?;
                let user = self.profile(url, access).await?;
                profile::github(&user, &self.github_emails(url, access).await?)
            }
            (Kind::Discord, _) => profile::discord(&self.profile(profile_url(metadata)?, access).await?),
            (Kind::Google, Some((claims, named))) => profile::google(claims, named),
            (Kind::Microsoft, Some((claims, named))) => profile::microsoft(claims, named, &self.config),
            (Kind::GitLab, Some((claims, named))) => {
                let profile = self.own_profile(profile_url(metadata)?, access, named).await?;
                profile::gitlab(claims, &profile, named)
            }
            (Kind::Oidc, Some((claims, named))) => {
                let called = &self.config.claims;
                let lacking = !claims.has(&called.email) || !claims.has(&called.name);
                let profile = match &metadata.profile {
                    Some(url) if lacking => Some(self.own_profile(url, access, named).await?),
                    Some(_) | None => None,
                };
                profile::oidc(claims, profile.as_ref(), called, named)
            }
            (Kind::Google | Kind::Microsoft | Kind::GitLab | Kind::Oidc, None) => Err(nobody),
        }
    }

    async fn profile(&self, url: &Url, access: &str) -> Result<Object, Failure> {
        object(&self.with_token(url, access).await?, Step::Profile)
    }

    /// A profile that names the same person as the ID token (OpenID Connect Core §5.3.2).
    async fn own_profile(&self, url: &Url, access: &str, named: &Named) -> Result<Object, Failure> {
        let profile = self.profile(url, access).await?;
        if profile.text("sub")? == Some(named.subject.as_str()) {
            Ok(profile)
        } else {
            Err(Failure::InvalidAnswer("the profile is of somebody else than the ID token"))
        }
    }

    /// The addresses of a GitHub user; none if we were not given the right to see them.
    async fn github_emails(&self, user: &Url, access: &str) -> Result<Vec<Object>, Failure> {
        let mut emails = Vec::new();
        for page in 1..=PAGES {
            let mut url = user.clone();
            url.set_path(&format!("{}/emails", user.path()));
            url.set_query(Some(&format!("per_page={PAGE}&page={page}")));
            let answer = self.with_token(&url, access).await?;
            if matches!(answer.status.as_u16(), 403 | 404) {
                break;
            }
            let not_json = Failure::Unavailable(Step::Profile, Outage::NotJson);
            let list: Vec<Value> = serde_json::from_slice(&answer.body).map_err(|_| not_json)?;
            let full = list.len() == PAGE;
            emails.extend(list.into_iter().filter_map(Object::of));
            if !full {
                break;
            }
        }
        Ok(emails)
    }

    async fn with_token(&self, url: &Url, access: &str) -> Result<Answer, Failure> {
        let authorization = Zeroizing::new(format!("Bearer {access}"));
        let (step, authorization) = (Step::Profile, Some(authorization.as_str()));
        let ask = Ask { step, url, authorization, form: None, most: LARGEST_PROFILE };
        self.client.ask(ask).await.map_err(|outage| Failure::Unavailable(Step::Profile, outage))
    }

    fn identity(
        &self,
        person: Person,
        named: Option<Named>,
        granted: Granted,
        metadata: &Metadata,
    ) -> Identity {
        let (issuer, sid) = match named {
            Some(named) => (named.issuer, named.sid),
            None => (metadata.issuer.name().to_owned(), None),
        };
        Identity {
            subject: person.subject,
            issuer,
            email_proved: person.verified && self.config.trust_email,
            email: person.email,
            name: person.name,
            image: person.image,
            sid,
            id_token: granted.id_token,
            tokens: granted.tokens,
        }
    }
}

/// The code that the provider sent back, if it was the provider who did. Errors are held against the issuer as
/// well, so that nobody else can make us tell of one (RFC 9207 §2.4).
fn code<'a>(reply: &Reply<'a>, metadata: &Metadata) -> Result<&'a str, Failure> {
    match reply.iss {
        Some(iss) if metadata.issuer.named(iss).is_none() => return Err(Failure::IssuerMismatch),
        None if metadata.names_itself => return Err(Failure::IssuerMismatch),
        Some(_) | None => {}
    }
    match (reply.error, reply.code) {
        (Some(error), _) if DENIED.contains(&error) => Err(Failure::Denied),
        (Some("temporarily_unavailable" | "server_error"), _) => {
            Err(Failure::Unavailable(Step::Authorization, Outage::SaysSo))
        }
        (Some(error), _) => Err(Failure::Rejected(Step::Authorization, ErrorCode::new(error))),
        (None, Some(code)) if !code.is_empty() && code.len() <= LONGEST_CODE => Ok(code),
        (None, _) => Err(Failure::InvalidAnswer("there is no code")),
    }
}

fn profile_url(metadata: &Metadata) -> Result<&Url, Failure> {
    metadata.profile.as_ref().ok_or(Failure::InvalidAnswer("the provider has no profiles"))
}

/// The object that a successful answer holds.
fn object(answer: &Answer, step: Step) -> Result<Object, Failure> {
    if !answer.status.is_success() {
        return Err(Failure::Unavailable(step, Outage::Status(answer.status.as_u16())));
    }
    Object::parse(&answer.body).ok_or(Failure::Unavailable(step, Outage::NotJson))
}
