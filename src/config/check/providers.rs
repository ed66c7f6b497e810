//! Identity providers: what each kind needs, what belongs to another kind, and where a provider may be.

use std::collections::HashSet;

use url::{Host, Url};
use zeroize::Zeroizing;

use crate::config::file::{RawClaims, RawProvider};
use crate::config::problem::Problems;
use crate::config::provider::{Claims, Kind, Provider, Reach, Tenant, is_loopback, is_tenant_id};

/// Names that stand for something else where a provider's id stands: in `/auth/sign-in/{id}`, in
/// `/auth/signin/{id}` and in `account.providerId`.
const TAKEN: [&str; 12] = [
    "email",
    "social",
    "credential",
    "credentials",
    "password",
    "username",
    "anonymous",
    "passkey",
    "magic-link",
    "email-otp",
    "phone-number",
    "oauth2",
];

/// What a provider can be asked to ask people for (OpenID Connect Core §3.1.2.1, and Prompt Create §4.1).
const PROMPTS: [&str; 4] = ["login", "consent", "select_account", "create"];

/// Longest id, in bytes.
const LONGEST_ID: usize = 32;

/// The remedy that no example could replace.
const SLUG: &str = "write a short name for URLs: a-z, 0-9, `-` and `_`, beginning with a letter or digit";

pub(super) fn providers(raw: &[RawProvider], p: &mut Problems, dangers: &mut Vec<String>) -> Vec<Provider> {
    let mut ids = HashSet::new();
    let mut providers = Vec::new();
    for (i, raw) in raw.iter().enumerate() {
        let at = At { i };
        let Some(kind) = raw.kind else {
            if !p.about(&at.key("kind")) {
                let remedy = "write github, google, gitlab, discord, microsoft or oidc";
                p.add(at.key("kind"), "is not given", remedy);
            }
            continue;
        };
        let id = raw.id.clone().unwrap_or_else(|| kind.as_str().to_owned());
        if let Some(what) = bad_id(&id) {
            p.add(at.key("id"), format!("{} {what}", p.quote(&at.key("id"), &id)), SLUG);
        } else if !ids.insert(id.clone()) {
            let remedy = "give each provider an `id` of its own; it is part of the redirect URL";
            p.add(at.key("id"), format!("{id:?} is there twice"), remedy);
        }
        if raw.danger_private_addresses {
            let key = at.key("danger_private_addresses");
            dangers.push(format!("{key}: the metadata of {id:?} may name addresses of private networks"));
        }
        let provider = provider(&at, raw, kind, id, p);
        let own = kind == Kind::Oidc || raw.base_url.is_some();
        // Who runs one on this machine is whoever runs us.
        if raw.trust_email == Some(true) && own && provider.reach != Reach::Loopback {
            let (key, id) = (at.key("trust_email"), &provider.id);
            dangers.push(format!("{key}: whoever runs {id:?} can be anyone here whose address is known"));
        }
        providers.push(provider);
    }
    providers
}

/// Where in the file one stands.
struct At {
    i: usize,
}

impl At {
    fn key(&self, key: &str) -> String {
        format!("providers[{}].{key}", self.i)
    }
}

/// What is wrong with an id.
fn bad_id(id: &str) -> Option<&'static str> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let sound = id.len() <= LONGEST_ID
        && id.bytes().next().is_some_and(plain)
        && id.bytes().all(|b| plain(b) || b == b'-' || b == b'_');
    if !sound {
        Some("is no short name")
    } else if TAKEN.contains(&id) {
        Some("means something else in our URLs")
    } else {
        None
    }
}

fn provider(at: &At, raw: &RawProvider, kind: Kind, id: String, p: &mut Problems) -> Provider {
    belongs(at, raw, kind, p);
    let base = (kind != Kind::Oidc).then(|| url(at, "base_url", raw.base_url.as_deref(), p)).flatten();
    let issuer = (kind == Kind::Oidc).then(|| issuer(at, raw, p)).flatten();
    let host = issuer.as_ref().or(base.as_ref()).and_then(Url::host_str).unwrap_or(&id);
    let name = raw.name.clone().unwrap_or_else(|| default_name(kind, host));
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        let what = "is empty or holds a control character";
        p.add(at.key("name"), what, "write the name that stands on the button");
    }
    let allowed_tenants = if kind == Kind::Microsoft { tenants(at, raw, p) } else { Vec::new() };
    // Who runs a GitLab, a GitHub or a provider can make an account with any address there.
    let authority = match kind {
        Kind::GitHub | Kind::GitLab => base.is_none(),
        Kind::Google | Kind::Discord | Kind::Microsoft => true,
        Kind::Oidc => false,
    };
    Provider {
        kind,
        name,
        client_id: client_id(at, raw, p),
        client_secret: client_secret(at, raw, kind, p),
        client_auth: raw.client_auth,
        scopes: scopes(at, raw, kind, p),
        reach: match issuer.as_ref().or(base.as_ref()) {
            _ if raw.danger_private_addresses => Reach::Private,
            Some(url) if is_loopback(url) => Reach::Loopback,
            Some(_) | None => Reach::Internet,
        },
        base_url: base.map(|url| url.as_str().trim_end_matches('/').to_owned()),
        issuer: issuer.and(raw.issuer.clone()),
        formerly: raw.formerly.clone(),
        tenant: if kind == Kind::Microsoft { tenant(at, raw, p) } else { Tenant::Common },
        allowed_tenants,
        trust_email: raw.trust_email.unwrap_or(authority),
        allowed_domains: domains(at, raw, p),
        hosted_domain: raw.hosted_domain.as_ref().and_then(|text| domain(&at.key("hosted_domain"), text, p)),
        claims: claims(at, &raw.claims, p),
        prompt: prompt(at, raw, kind, p),
        store_tokens: raw.store_tokens,
        ca_file: raw.ca_file.as_ref().map(Into::into),
        authorities: Vec::new(),
        id,
    }
}

fn default_name(kind: Kind, host: &str) -> String {
    match kind {
        Kind::GitHub => "GitHub",
        Kind::Google => "Google",
        Kind::GitLab => "GitLab",
        Kind::Discord => "Discord",
        Kind::Microsoft => "Microsoft",
        Kind::Oidc => host,
    }
    .to_owned()
}

/// Notes keys that mean nothing for this kind: whoever wrote them expects something of them.
fn belongs(at: &At, raw: &RawProvider, kind: Kind, p: &mut Problems) {
    let oidc = kind == Kind::Oidc;
    for (key, given, fits, whose) in [
        ("base_url", raw.base_url.is_some(), !oidc, "write `issuer`, exactly as the provider does"),
        ("issuer", raw.issuer.is_some(), oidc, "write `base_url`, or kind = \"oidc\""),
        ("claims", raw.claims != RawClaims::default(), oidc, "remove it; only kind = \"oidc\" has it"),
        ("client_auth", raw.client_auth.is_some(), oidc, "remove it; only kind = \"oidc\" has it"),
        ("hosted_domain", raw.hosted_domain.is_some(), kind == Kind::Google, "write `allowed_domains`"),
        (
            "tenant",
            raw.tenant.is_some(),
            kind == Kind::Microsoft,
            "remove it; only kind = \"microsoft\" has it",
        ),
        (
            "allowed_tenants",
            !raw.allowed_tenants.is_empty(),
            kind == Kind::Microsoft,
            "remove it; only kind = \"microsoft\" has it",
        ),
    ] {
        if given && !fits {
            p.add(at.key(key), format!("means nothing for kind = {:?}", kind.as_str()), whose);
        }
    }
}

fn client_id(at: &At, raw: &RawProvider, p: &mut Problems) -> String {
    let key = at.key("client_id");
    let id = raw.client_id.clone().unwrap_or_default();
    if id.is_empty() && !p.about(&key) {
        p.add(key, "is not given", "write what the provider calls this site after registering it");
    } else if id.chars().any(|c| c.is_control() || c.is_whitespace()) {
        p.add(key, "holds a space or a control character", "copy it again from the provider");
    }
    id
}

fn client_secret(at: &At, raw: &RawProvider, kind: Kind, p: &mut Problems) -> Option<Zeroizing<String>> {
    let key = at.key("client_secret");
    match &raw.client_secret {
        Some(secret) if secret.trim().is_empty() => {
            p.add(key, "is empty", "copy it from the provider, or leave it out for a public client");
        }
        None if kind != Kind::Oidc && !p.about(&key) && !p.about(&at.key("client_secret_file")) => {
            p.add(key, "is not given", "copy it from the provider, or name a file with `client_secret_file`");
        }
        Some(_) | None => {}
    }
    raw.client_secret.clone().map(Zeroizing::new)
}

fn scopes(at: &At, raw: &RawProvider, kind: Kind, p: &mut Problems) -> Vec<String> {
    for (i, scope) in raw.scopes.iter().enumerate() {
        // RFC 6749 §3.3
        let sound =
            !scope.is_empty() && scope.bytes().all(|b| (0x21..=0x7e).contains(&b) && b != b'"' && b != b'\\');
        if !sound {
            let key = at.key(&format!("scopes[{i}]"));
            p.add(key, "is not one scope", "write scopes = [\"openid\", \"profile\", \"email\"]");
        }
    }
    let openid = raw.scopes.iter().any(|scope| scope == "openid");
    let needed = match kind {
        Kind::Google | Kind::GitLab | Kind::Microsoft | Kind::Oidc => true,
        Kind::GitHub | Kind::Discord => false,
    };
    if needed && !openid && !raw.scopes.is_empty() {
        p.add(at.key("scopes"), "lacks \"openid\", without which nobody is named", "add \"openid\"");
    }
    raw.scopes.clone()
}

fn issuer(at: &At, raw: &RawProvider, p: &mut Problems) -> Option<Url> {
    let key = at.key("issuer");
    if raw.issuer.is_none() && !p.about(&key) {
        p.add(key, "is not given", "write the `issuer` of the provider's /.well-known/openid-configuration");
        return None;
    }
    let url = url(at, "issuer", raw.issuer.as_deref(), p)?;
    if url.path().contains("/.well-known/") {
        p.add(key, "is where the metadata is", "write the `issuer` that stands in it");
        return None;
    }
    Some(url)
}

/// A place where a provider may be: https, or http on this machine.
fn url(at: &At, name: &str, text: Option<&str>, p: &mut Problems) -> Option<Url> {
    let key = at.key(name);
    let remedy = "write https://id.example";
    let Ok(url) = Url::parse(text?) else {
        p.add(key, "is not a URL with scheme and host", remedy);
        return None;
    };
    let wrong = if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        "is not an https URL"
    } else if !url.username().is_empty() || url.password().is_some() {
        "holds a user name or password"
    } else if url.query().is_some() || url.fragment().is_some() {
        "has a query or a fragment"
    } else if url.port() == Some(0) {
        "has port 0"
    } else if url.scheme() == "http" && !is_loopback(&url) {
        "is plain http, which is spoken with this machine only"
    } else {
        return Some(url);
    };
    p.add(key, wrong, remedy);
    None
}

/// Who may sign in by their tenant: it has to be said, unless single ones are named.
fn tenant(at: &At, raw: &RawProvider, p: &mut Problems) -> Tenant {
    let key = at.key("tenant");
    let what = match raw.tenant.as_deref() {
        Some("organizations") => return Tenant::Organizations,
        Some("consumers") => return Tenant::Consumers,
        Some("common") => return Tenant::Common,
        Some(id) if is_tenant_id(id) => return Tenant::One(id.to_ascii_lowercase()),
        Some(other) => format!("{} is not a tenant's id", p.quote(&key, other)),
        None if !raw.allowed_tenants.is_empty() || p.about(&key) => return Tenant::Organizations,
        None => "is not given".to_owned(),
    };
    p.add(key, what, "write the directory (tenant) ID, or \"organizations\" for all of them");
    Tenant::Organizations
}

fn tenants(at: &At, raw: &RawProvider, p: &mut Problems) -> Vec<String> {
    for (i, id) in raw.allowed_tenants.iter().enumerate().filter(|(_, id)| !is_tenant_id(id)) {
        let key = at.key(&format!("allowed_tenants[{i}]"));
        let what = format!("{} is not a tenant's id", p.quote(&key, id));
        p.add(key, what, "write the directory (tenant) ID");
    }
    raw.allowed_tenants.iter().map(|id| id.to_ascii_lowercase()).collect()
}

fn domains(at: &At, raw: &RawProvider, p: &mut Problems) -> Vec<String> {
    let each = raw.allowed_domains.iter().enumerate();
    each.filter_map(|(i, text)| domain(&at.key(&format!("allowed_domains[{i}]")), text, p)).collect()
}

/// A domain in ASCII and lower case.
fn domain(key: &str, text: &str, p: &mut Problems) -> Option<String> {
    match Host::parse(text) {
        Ok(Host::Domain(domain)) if domain.contains('.') && !domain.ends_with('.') && !text.contains('*') => {
            Some(domain)
        }
        _ => {
            let what = format!("{} is not a domain", p.quote(key, text));
            p.add(key, what, "write the part of the addresses behind the @: \"example.com\"");
            None
        }
    }
}

fn claims(at: &At, raw: &RawClaims, p: &mut Problems) -> Claims {
    for (key, value) in [
        ("claims.email", &raw.email),
        ("claims.email_verified", &raw.email_verified),
        ("claims.name", &raw.name),
        ("claims.image", &raw.image),
    ] {
        if value.as_ref().is_some_and(|name| name.trim().is_empty()) {
            p.add(at.key(key), "is empty", "write the name of a claim");
        }
    }
    let or = |given: &Option<String>, standard: &str| given.clone().unwrap_or_else(|| standard.to_owned());
    let email = or(&raw.email, "email");
    // `email_verified` speaks of `email` (OpenID Connect Core §5.1), not of any other claim.
    let standard = (email == "email").then(|| "email_verified".to_owned());
    Claims {
        email_verified: raw.email_verified.clone().or(standard),
        name: or(&raw.name, "name"),
        image: or(&raw.image, "picture"),
        email,
    }
}

fn prompt(at: &At, raw: &RawProvider, kind: Kind, p: &mut Problems) -> Option<String> {
    let prompt = raw.prompt.clone()?;
    // `none` lets nobody in who would have to be asked. At Discord it asks those again who have not agreed yet.
    let known = |word| PROMPTS.contains(&word) || (word == "none" && kind == Kind::Discord);
    if !prompt.split(' ').all(known) {
        let what = format!("{} asks for something unknown", p.quote(&at.key("prompt"), &prompt));
        p.add(at.key("prompt"), what, format!("write {} or several of them", PROMPTS.join(", ")));
    }
    Some(prompt)
}
