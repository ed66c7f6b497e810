//! Who somebody is and which of their addresses is theirs, by the rules of each kind of provider.

use serde_json::Value;
use url::{Host, Url};

use super::claims::Named;
use super::failure::Failure;
use super::object::Object;
use crate::config::provider::{Claims, Provider as Configured, Tenant};

/// Longest name, in characters, and longest URL of a picture and address, in bytes.
const LONGEST_NAME: usize = 256;
const LONGEST_URL: usize = 2048;
const LONGEST_EMAIL: usize = 254;

/// Somebody, as a provider describes them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Person {
    /// Names the person for ever.
    pub(super) subject: String,
    /// The address.
    pub(super) email: Option<String>,
    /// Whether the provider knows that the address is theirs.
    pub(super) verified: bool,
    /// The display name.
    pub(super) name: Option<String>,
    /// A picture.
    pub(super) image: Option<String>,
}

/// GitHub: the numeric id, for logins change hands; the address that is primary and verified, for `email` of
/// the user is whatever they show to the public.
pub(super) fn github(user: &Object, emails: &[Object]) -> Result<Person, Failure> {
    let Some(id) = user.get("id").and_then(Value::as_u64) else {
        return Err(Failure::InvalidAnswer("the profile has no id"));
    };
    let primary = emails.iter().find(|entry| entry.get("primary") == Some(&Value::Bool(true)));
    let email = primary.map(|entry| entry.text("email")).transpose()?.flatten().and_then(clean_email);
    let said = primary.is_some_and(|entry| entry.get("verified") == Some(&Value::Bool(true)));
    // Nobody reads mail there, so nobody has proved that they do.
    let reply = email.as_deref().and_then(domain).is_some_and(|domain| !domain.starts_with("users.noreply."));
    Ok(Person {
        subject: id.to_string(),
        verified: said && reply,
        email,
        name: first_name(&[user.text("name")?, user.text("login")?]),
        image: image(user.text("avatar_url")?),
    })
}

/// Discord: the snowflake, and a picture that has to be put together.
pub(super) fn discord(user: &Object) -> Result<Person, Failure> {
    let digits =
        |text: &&str| !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit());
    let Some(id) = user.text("id")?.filter(digits) else {
        return Err(Failure::InvalidAnswer("the profile has no id"));
    };
    let email = user.text("email")?.and_then(clean_email);
    Ok(Person {
        verified: email.is_some() && user.get("verified") == Some(&Value::Bool(true)),
        email,
        name: first_name(&[user.text("global_name")?, user.text("username")?]),
        image: image(discord_avatar(id, user)?.as_deref()),
        subject: id.to_owned(),
    })
}

/// The person's own picture, or the one that Discord gives by the id, which for names of old with a
/// discriminator goes by that.
fn discord_avatar(id: &str, user: &Object) -> Result<Option<String>, Failure> {
    const CDN: &str = "https://cdn.discordapp.com";
    if let Some(hash) = user.text("avatar")? {
        let plain = !hash.is_empty() && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let form = if hash.starts_with("a_") { "gif" } else { "png" };
        return Ok(plain.then(|| format!("{CDN}/avatars/{id}/{hash}.{form}")));
    }
    let number = |text: &str| text.parse::<u64>().ok();
    let which = match user.text("discriminator")?.and_then(number) {
        None | Some(0) => number(id).map(|id| (id >> 22) % 6),
        Some(discriminator) => Some(discriminator % 5),
    };
    Ok(which.map(|which| format!("{CDN}/embed/avatars/{which}.png")))
}

/// Google: an address counts where Google is the one who gives it out: its own, and those of a Workspace.
/// Others were verified once and may have gone to somebody else since.
pub(super) fn google(claims: &Object, named: &Named) -> Result<Person, Failure> {
    let email = claims.text("email")?.and_then(clean_email);
    let own = email.as_deref().and_then(domain).is_some_and(|domain| domain == "gmail.com");
    let workspace = claims.text("hd")?.is_some_and(|domain| !domain.is_empty());
    Ok(Person {
        subject: named.subject.clone(),
        verified: claims.says_yes("email_verified") && (own || workspace),
        email,
        name: first_name(&[claims.text("name")?]),
        image: image(claims.text("picture")?),
    })
}

/// GitLab: the name is in the profile only; who is blocked there does not get in here.
pub(super) fn gitlab(claims: &Object, profile: &Object, named: &Named) -> Result<Person, Failure> {
    let blocked = profile.text("state")?.is_some_and(|state| state != "active");
    if blocked || profile.says_yes("locked") {
        return Err(Failure::Blocked);
    }
    // Address and proof from the same document, so that no proof is taken for that of another address.
    let about = if claims.has("email") { claims } else { profile };
    let email = about.text("email")?.and_then(clean_email);
    Ok(Person {
        subject: named.subject.clone(),
        verified: email.is_some() && about.says_yes("email_verified"),
        email,
        name: first_name(&[profile.text("name")?, profile.text("nickname")?]),
        image: image(profile.text("picture")?),
    })
}

/// Microsoft: `oid` within the tenant, for `sub` differs for each application. Whoever runs a tenant can give
/// its people any address, so that one counts only if the tenant is known or Microsoft itself says that the
/// domain belongs to the tenant (`xms_edov`).
pub(super) fn microsoft(claims: &Object, named: &Named, provider: &Configured) -> Result<Person, Failure> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let is_id = |text: &&str| (1..=64).contains(&text.len()) && text.bytes().all(plain);
    let (Some(oid), Some(tenant)) = (claims.text("oid")?.filter(is_id), named.tenant.as_deref()) else {
        return Err(Failure::InvalidAnswer("the ID token names nobody within a tenant"));
    };
    let known = matches!(provider.tenant, Tenant::One(_))
        || provider.allowed_tenants.iter().any(|allowed| allowed == tenant);
    let domain_verified = match claims.get("xms_edov") {
        Some(Value::Number(one)) => one.as_u64() == Some(1),
        Some(Value::String(text)) => text == "1" || text == "true",
        Some(Value::Bool(yes)) => *yes,
        _ => false,
    };
    let email = claims.text("email")?.and_then(clean_email);
    Ok(Person {
        subject: format!("{tenant}.{}", oid.to_ascii_lowercase()),
        verified: email.is_some() && (known || domain_verified),
        email,
        name: first_name(&[claims.text("name")?]),
        image: None,
    })
}

/// Any OpenID provider: what the ID token says, and else the profile.
pub(super) fn oidc(
    claims: &Object,
    profile: Option<&Object>,
    called: &Claims,
    named: &Named,
) -> Result<Person, Failure> {
    let about = profile.filter(|_| !claims.has(&called.email)).unwrap_or(claims);
    let email = about.text(&called.email)?.and_then(clean_email);
    let verified = called.email_verified.as_ref().is_some_and(|name| about.says_yes(name));
    let text = |name: &str| match claims.text(name)? {
        Some(text) => Ok(Some(text)),
        None => profile.map_or(Ok(None), |profile| profile.text(name)),
    };
    Ok(Person {
        subject: named.subject.clone(),
        verified: email.is_some() && verified,
        email,
        name: first_name(&[text(&called.name)?, text("preferred_username")?]),
        image: image(text(&called.image)?),
    })
}

/// Whether somebody may sign in who has this profile; asked each time, for what was true once may have changed.
pub(super) fn admitted(
    provider: &Configured,
    claims: Option<&Object>,
    person: &Person,
) -> Result<(), Failure> {
    if let Some(wanted) = &provider.hosted_domain {
        // The parameter of the same name was only a hint; this is the proof.
        let hosted = claims.map(|claims| claims.text("hd")).transpose()?.flatten();
        if !hosted.is_some_and(|domain| domain.eq_ignore_ascii_case(wanted)) {
            return Err(Failure::DomainNotAllowed);
        }
    }
    if provider.allowed_domains.is_empty() {
        return Ok(());
    }
    let domain = person.email.as_deref().filter(|_| person.verified).and_then(domain);
    if domain.is_some_and(|domain| provider.allowed_domains.contains(&domain)) {
        Ok(())
    } else {
        Err(Failure::DomainNotAllowed)
    }
}

/// The domain of an address, in ASCII and lower case.
fn domain(email: &str) -> Option<String> {
    let (_, domain) = email.split_once('@')?;
    match Host::parse(domain) {
        Ok(Host::Domain(domain)) => Some(domain),
        _ => None,
    }
}

/// An address in which everybody sees the same mailbox and domain; anything else is none. The Kelvin sign is a
/// `k` in lower case.
fn clean_email(text: &str) -> Option<String> {
    let one = |c| text.matches(c).count() == 1;
    let sound = text.len() <= LONGEST_EMAIL
        && one('@')
        && !text
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || "\"\\<>(),:;%＠﹫\u{212a}".contains(c));
    (sound && domain(text).is_some()).then(|| text.to_owned())
}

/// The first that is a name, without what cannot be seen.
fn first_name(candidates: &[Option<&str>]) -> Option<String> {
    candidates.iter().flatten().find_map(|text| {
        let name: String = text.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
        let name = name.trim();
        (!name.is_empty()).then(|| name.to_owned())
    })
}

/// The URL of a picture, if a page may load it.
fn image(text: Option<&str>) -> Option<String> {
    let url = text.filter(|text| text.len() <= LONGEST_URL).and_then(|text| Url::parse(text).ok())?;
    let plain = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
    plain.then(|| url.into())
}

#[cfg(test)]
mod tests;
