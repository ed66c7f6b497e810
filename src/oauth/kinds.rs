//! What is known of each kind of provider: where its endpoints are, who it says it is, what it wants to be asked.

use url::Url;

use super::metadata::{Issuer, Metadata};
use crate::config::provider::{ClientAuth, Kind, Provider as Configured};

/// One endpoint: at the public service, and below a `base_url`.
struct At {
    public: &'static str,
    below: &'static str,
}

/// What never changes for a kind whose endpoints are known.
struct Facts {
    /// The public service.
    base: &'static str,
    authorize: At,
    token: At,
    /// Signing keys, where there are ID tokens.
    keys: Option<At>,
    /// More about the person than the ID token says.
    profile: Option<At>,
    end_session: Option<At>,
    /// What follows the base in the issuer's name.
    issuer: &'static str,
}

/// What differs in asking.
pub(super) struct Manners {
    /// The scopes without which nobody has a name and an address.
    pub(super) scopes: &'static [&'static str],
    /// Whether there are ID tokens, and so a nonce.
    pub(super) id_token: bool,
    /// The name of the `login_hint` parameter.
    pub(super) login_hint: Option<&'static str>,
}

const GITHUB: Facts = Facts {
    base: "https://github.com",
    authorize: At { public: "https://github.com/login/oauth/authorize", below: "/login/oauth/authorize" },
    token: At { public: "https://github.com/login/oauth/access_token", below: "/login/oauth/access_token" },
    keys: None,
    profile: Some(At { public: "https://api.github.com/user", below: "/api/v3/user" }),
    end_session: None,
    issuer: "/login/oauth",
};

const GOOGLE: Facts = Facts {
    base: "https://accounts.google.com",
    authorize: At { public: "https://accounts.google.com/o/oauth2/v2/auth", below: "/o/oauth2/v2/auth" },
    token: At { public: "https://oauth2.googleapis.com/token", below: "/token" },
    keys: Some(At { public: "https://www.googleapis.com/oauth2/v3/certs", below: "/oauth2/v3/certs" }),
    profile: None,
    end_session: None,
    issuer: "",
};

const GITLAB: Facts = Facts {
    base: "https://gitlab.com",
    authorize: At { public: "https://gitlab.com/oauth/authorize", below: "/oauth/authorize" },
    token: At { public: "https://gitlab.com/oauth/token", below: "/oauth/token" },
    keys: Some(At { public: "https://gitlab.com/oauth/discovery/keys", below: "/oauth/discovery/keys" }),
    profile: Some(At { public: "https://gitlab.com/oauth/userinfo", below: "/oauth/userinfo" }),
    end_session: None,
    issuer: "",
};

const DISCORD: Facts = Facts {
    base: "https://discord.com",
    authorize: At { public: "https://discord.com/api/oauth2/authorize", below: "/api/oauth2/authorize" },
    token: At { public: "https://discord.com/api/oauth2/token", below: "/api/oauth2/token" },
    keys: None,
    profile: Some(At { public: "https://discord.com/api/users/@me", below: "/api/users/@me" }),
    end_session: None,
    issuer: "",
};

/// `{tenant}` is the configured one; the issuer is named by the token's.
const MICROSOFT: Facts = Facts {
    base: "https://login.microsoftonline.com",
    authorize: At {
        public: "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/authorize",
        below: "/{tenant}/oauth2/v2.0/authorize",
    },
    token: At {
        public: "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
        below: "/{tenant}/oauth2/v2.0/token",
    },
    keys: Some(At {
        public: "https://login.microsoftonline.com/{tenant}/discovery/v2.0/keys",
        below: "/{tenant}/discovery/v2.0/keys",
    }),
    profile: None,
    end_session: Some(At {
        public: "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/logout",
        below: "/{tenant}/oauth2/v2.0/logout",
    }),
    issuer: "",
};

const fn facts(kind: Kind) -> Option<&'static Facts> {
    match kind {
        Kind::GitHub => Some(&GITHUB),
        Kind::Google => Some(&GOOGLE),
        Kind::GitLab => Some(&GITLAB),
        Kind::Discord => Some(&DISCORD),
        Kind::Microsoft => Some(&MICROSOFT),
        // Says all of this itself, in its discovery document.
        Kind::Oidc => None,
    }
}

/// How this kind wants to be asked.
pub(super) const fn manners(kind: Kind) -> Manners {
    const OPENID: &[&str] = &["openid", "profile", "email"];
    match kind {
        Kind::GitHub => {
            Manners { scopes: &["read:user", "user:email"], id_token: false, login_hint: Some("login") }
        }
        Kind::Discord => Manners { scopes: &["identify", "email"], id_token: false, login_hint: None },
        Kind::GitLab => Manners { scopes: OPENID, id_token: true, login_hint: None },
        Kind::Google | Kind::Microsoft | Kind::Oidc => {
            Manners { scopes: OPENID, id_token: true, login_hint: Some("login_hint") }
        }
    }
}

/// The metadata of a provider whose kind tells it; `None` if it has to be asked.
///
/// # Panics
/// Never: what is put together here are URLs that were checked and paths that stand above.
pub(super) fn metadata(provider: &Configured) -> Option<Metadata> {
    let facts = facts(provider.kind)?;
    let base = provider.base_url.as_deref();
    let url = |at: &At| {
        let url = base.map_or_else(|| at.public.to_owned(), |base| format!("{base}{}", at.below));
        Url::parse(&url.replace("{tenant}", provider.tenant.as_str())).expect("a checked base and a path")
    };
    let base = base.unwrap_or(facts.base);
    Some(Metadata {
        authorize: url(&facts.authorize),
        token: url(&facts.token),
        keys: facts.keys.as_ref().map(url),
        profile: facts.profile.as_ref().map(url),
        end_session: facts.end_session.as_ref().map(url),
        issuer: match provider.kind {
            Kind::Microsoft => Issuer::Tenants { base: base.to_owned() },
            Kind::Google => Issuer::Google(base.to_owned()),
            Kind::GitHub | Kind::GitLab | Kind::Discord | Kind::Oidc => {
                Issuer::One(format!("{base}{}", facts.issuer))
            }
        },
        // GitHub has named itself in its answers since 2026 and Discord says that it does; who would rely on
        // it everywhere would shut people out of older GitHub Enterprise Servers. It is checked when it comes.
        names_itself: false,
        client_auth: ClientAuth::Post,
    })
}
