//! The providers that the test's identity provider plays: their endpoints, and what they say of a person, as
//! their documentation describes them.

use serde_json::{Map, Value, json};

use super::lie::Endpoint;

/// The tenant of everybody at Entra, unless a test says otherwise.
pub(crate) const TENANT: &str = "5f0d1c3a-7b1e-4f6e-9a53-0d6f2c9b8e11";

/// Whom the provider plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// OpenID Connect by the book.
    Oidc,
    /// GitHub Enterprise Server, which is GitHub below `/login/oauth` and `/api/v3`: OAuth 2 without ID tokens.
    GitHub,
    /// Google.
    Google,
    /// GitLab, at the root of its host.
    GitLab,
    /// Discord: OAuth 2, the profile from its API.
    Discord,
    /// Microsoft Entra ID.
    Entra,
}

/// Somebody at the provider.
#[derive(Clone, Debug)]
pub(crate) struct Persona {
    /// What the provider calls this person for ever.
    pub(crate) subject: String,
    /// The address, if there is one.
    pub(crate) email: Option<String>,
    /// Whether the provider says that it was verified.
    pub(crate) verified: bool,
    /// The name for others.
    pub(crate) name: Option<String>,
    /// The URL of a picture; at Discord the avatar's hash.
    pub(crate) picture: Option<String>,
    /// Members of the ID token and of the profile besides.
    pub(crate) extra: Map<String, Value>,
    /// GitHub's list of addresses; made from the address unless a test says otherwise.
    pub(crate) emails: Option<Vec<Value>>,
}

impl Persona {
    /// Ada, a person whose address is verified.
    pub(crate) fn ada() -> Self {
        Self::new("248289761001", "ada@example.com").called("Ada Lovelace")
    }

    /// A person with a verified address.
    pub(crate) fn new(subject: &str, email: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            email: Some(email.to_owned()),
            verified: true,
            name: None,
            picture: None,
            extra: Map::new(),
            emails: None,
        }
    }

    /// With this name.
    pub(crate) fn called(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// With this picture.
    pub(crate) fn picture(mut self, picture: &str) -> Self {
        self.picture = Some(picture.to_owned());
        self
    }

    /// Whose address nobody has verified.
    pub(crate) fn unverified(mut self) -> Self {
        self.verified = false;
        self
    }

    /// Without an address.
    pub(crate) fn without_email(mut self) -> Self {
        self.email = None;
        self
    }

    /// With another member in ID token and profile.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// With these addresses at GitHub.
    pub(crate) fn emails(mut self, emails: Vec<Value>) -> Self {
        self.emails = Some(emails);
        self
    }
}

impl Kind {
    /// What the configuration calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Oidc => "oidc",
            Self::GitHub => "github",
            Self::Google => "google",
            Self::GitLab => "gitlab",
            Self::Discord => "discord",
            Self::Entra => "microsoft",
        }
    }

    /// Whether it gives ID tokens to whoever asks for `openid`.
    pub(super) fn has_id_tokens(self) -> bool {
        match self {
            Self::Oidc | Self::Google | Self::GitLab | Self::Entra => true,
            Self::GitHub | Self::Discord => false,
        }
    }

    /// Whether its callbacks say who it is (RFC 9207).
    pub(super) fn names_itself(self) -> bool {
        match self {
            Self::Oidc | Self::GitHub | Self::Google | Self::Discord => true,
            Self::GitLab | Self::Entra => false,
        }
    }

    /// Where its endpoints are.
    pub(super) fn path(self, endpoint: Endpoint) -> Option<&'static str> {
        let [discovery, authorize, token, profile, emails, keys, end] = match self {
            Self::Oidc => [
                "/.well-known/openid-configuration",
                "/authorize",
                "/token",
                "/userinfo",
                "",
                "/jwks",
                "/end_session",
            ],
            Self::GitHub => [
                "",
                "/login/oauth/authorize",
                "/login/oauth/access_token",
                "/api/v3/user",
                "/api/v3/user/emails",
                "",
                "",
            ],
            Self::Google => [
                "/.well-known/openid-configuration",
                "/o/oauth2/v2/auth",
                "/token",
                "/v1/userinfo",
                "",
                "/oauth2/v3/certs",
                "",
            ],
            Self::GitLab => [
                "/.well-known/openid-configuration",
                "/oauth/authorize",
                "/oauth/token",
                "/oauth/userinfo",
                "",
                "/oauth/discovery/keys",
                "",
            ],
            Self::Discord => {
                ["", "/oauth2/authorize", "/api/oauth2/token", "/api/users/@me", "", "/api/oauth2/keys", ""]
            }
            Self::Entra => [
                "/{tenant}/v2.0/.well-known/openid-configuration",
                "/{tenant}/oauth2/v2.0/authorize",
                "/{tenant}/oauth2/v2.0/token",
                "/oidc/userinfo",
                "",
                "/{tenant}/discovery/v2.0/keys",
                "/{tenant}/oauth2/v2.0/logout",
            ],
        };
        let path = match endpoint {
            Endpoint::Discovery => discovery,
            Endpoint::Authorize => authorize,
            Endpoint::Token => token,
            Endpoint::Profile => profile,
            Endpoint::Emails => emails,
            Endpoint::Keys => keys,
            Endpoint::EndSession => end,
        };
        (!path.is_empty()).then_some(path)
    }

    /// Which endpoint a path means, and the tenant in it.
    pub(super) fn endpoint(self, path: &str) -> Option<(Endpoint, String)> {
        const ALL: [Endpoint; 7] = [
            Endpoint::Discovery,
            Endpoint::Authorize,
            Endpoint::Token,
            Endpoint::Profile,
            Endpoint::Emails,
            Endpoint::Keys,
            Endpoint::EndSession,
        ];
        // Discord's documentation names both.
        let path = if path == "/api/oauth2/authorize" { "/oauth2/authorize" } else { path };
        ALL.into_iter().find_map(|endpoint| {
            let known = self.path(endpoint)?;
            let Some(rest) = known.strip_prefix("/{tenant}") else {
                return (known == path).then(|| (endpoint, String::new()));
            };
            let tenant = path.strip_prefix('/')?.strip_suffix(rest)?;
            (!tenant.contains('/')).then(|| (endpoint, tenant.to_owned()))
        })
    }

    /// Who it says it is in ID tokens and callbacks.
    pub(super) fn issuer(self, origin: &str, tenant: &str) -> String {
        match self {
            Self::GitHub => format!("{origin}/login/oauth"),
            Self::Entra => format!("{origin}/{tenant}/v2.0"),
            Self::Oidc | Self::Google | Self::GitLab | Self::Discord => origin.to_owned(),
        }
    }

    /// What the ID token says of a person.
    pub(super) fn claims(self, persona: &Persona) -> Map<String, Value> {
        let Persona { subject, email, verified, name, picture, extra, .. } = persona;
        let mut claims = json!({ "sub": subject });
        let mut say = |name: &str, value: Value| claims[name] = value;
        if let Some(email) = email {
            say("email", json!(email));
            if self != Self::Entra {
                say("email_verified", json!(verified));
            }
        }
        match self {
            Self::Oidc | Self::Google => {
                if let Some(name) = name {
                    say("name", json!(name));
                }
                if let Some(picture) = picture {
                    say("picture", json!(picture));
                }
            }
            Self::GitLab => say("groups_direct", json!(["sidegate"])),
            Self::Entra => {
                if let Some(name) = name {
                    say("name", json!(name));
                }
                // `sub` is another one for each application.
                say("sub", json!(format!("pairwise-{subject}")));
                say("oid", json!(subject));
                say("tid", json!(TENANT));
                say("ver", json!("2.0"));
                say("preferred_username", json!(email));
                if *verified {
                    say("xms_edov", json!(true));
                }
            }
            Self::GitHub | Self::Discord => {}
        }
        let mut claims = object(claims);
        claims.extend(extra.clone());
        claims
    }

    /// What the profile endpoint says of a person.
    pub(super) fn profile(self, persona: &Persona) -> Map<String, Value> {
        let Persona { subject, email, verified, name, picture, extra, .. } = persona;
        let login = subject.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let profile = match self {
            Self::Oidc | Self::Google | Self::GitLab | Self::Entra => {
                let mut claims = self.claims(persona);
                for (claim, value) in [("name", name), ("picture", picture)] {
                    if let Some(value) = value {
                        claims.insert(claim.to_owned(), json!(value));
                    }
                }
                return claims;
            }
            Self::GitHub => json!({
                "login": format!("octo{login}"),
                "id": subject.parse::<u64>().map_or_else(|_| json!(subject), |id| json!(id)),
                "avatar_url": picture,
                "type": "User",
                "name": name,
                // The public address, which need not be verified, nor be there.
                "email": null,
            }),
            Self::Discord => json!({
                "id": subject,
                "username": format!("disco{login}"),
                "discriminator": "0",
                "global_name": name,
                "avatar": picture,
                "verified": verified,
                "email": email,
            }),
        };
        let mut profile = object(profile);
        profile.extend(extra.clone());
        profile
    }

    /// GitHub's list of addresses: the one that counts is not the first.
    pub(super) fn emails(persona: &Persona) -> Vec<Value> {
        if let Some(emails) = &persona.emails {
            return emails.clone();
        }
        let other = format!("{}+octo@users.noreply.github.com", persona.subject);
        let mut emails =
            vec![json!({ "email": other, "primary": false, "verified": true, "visibility": null })];
        if let Some(email) = &persona.email {
            emails.push(json!({ "email": email, "primary": true, "verified": persona.verified,
                "visibility": "private" }));
        }
        emails
    }
}

/// The members of an object.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("no object: {other}"),
    }
}
