//! The one list of what is answered under our mount prefixes: method, path, and what a caller needs.

use http::Method;

/// Something that is answered by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The page that asks for address and password.
    SignInPage,
    /// The form of that page.
    SignIn,
    /// better-auth's JSON sign-in.
    SignInEmail,
    /// The short JSON sign-in.
    Login,
    /// The page that makes an account.
    SignUpPage,
    /// The form of that page.
    SignUp,
    /// JSON sign-up.
    SignUpEmail,
    /// The page that asks whether to sign out.
    SignOutPage,
    /// Signs out: form or JSON.
    SignOut,
    /// better-auth's session question: `null` for strangers.
    GetSession,
    /// Who am I: 401 for strangers.
    Me,
    /// The caller's sessions.
    ListSessions,
    /// Ends one of the caller's sessions.
    RevokeSession,
    /// Ends all of the caller's sessions.
    RevokeSessions,
    /// Ends all of the caller's sessions but this one.
    RevokeOtherSessions,
    /// Says that we are here.
    Ok,
    /// The page of the caller's account.
    AccountPage,
    /// Changes the caller's name or picture: form or JSON.
    UpdateUser,
    /// Sends a person to a provider.
    StartAtProvider,
    /// better-auth's way to a provider: the URL as JSON.
    SignInSocial,
    /// The URL to go to, asked for by a program.
    OauthUrl,
    /// Where a provider sends people back to.
    Callback,
    /// The same for a provider that sends a form (OAuth 2.0 Form Post Response Mode).
    CallbackForm,
    /// Takes `code` and `state` from a front end that received them itself; at `credential`, a password.
    SignInWithCode,
    /// The way to a provider that becomes one more way to sign in.
    LinkSocial,
    /// The ways in which the caller signs in.
    ListAccounts,
    /// Removes one of them.
    UnlinkAccount,
    /// The providers where people can sign in.
    Providers,
    /// Where a provider tells that a session of its own ended (OpenID Connect Back-Channel Logout 1.0).
    BackChannelLogout,
    /// The page that takes the code of an unusual sign-in.
    VerifySignInPage,
    /// Takes the code: form or JSON.
    VerifySignIn,
    /// Sends another code.
    ResendCode,
    /// Gives the sign-in up.
    CancelSignIn,
    /// The page for whom a sign-in was not.
    NotMePage,
    /// Ends everything that was signed in, and the password.
    NotMe,
    /// The page to which the link in a verification mail leads.
    VerifyEmailPage,
    /// Proves an address: form or JSON.
    VerifyEmail,
    /// Sends a verification mail: form or JSON.
    SendVerificationEmail,
    /// The page that asks for the address of whoever forgot the password.
    ForgotPasswordPage,
    /// Sends the link for a new password: form or JSON.
    RequestPasswordReset,
    /// The page to which that link leads.
    ResetPasswordPage,
    /// Sets the new password: form or JSON.
    ResetPassword,
    /// Changes the password of who is signed in: form or JSON.
    ChangePassword,
    /// The page to which the link to a new address leads.
    ChangeEmailPage,
    /// Asks for another address, and with the link's token confirms it: form or JSON.
    ChangeEmail,
    /// The page to which the link in a mail about deletion leads.
    DeleteUserPage,
    /// Deletes the account, by password or by the link's token: form or JSON.
    DeleteUser,
    /// The mails that the catcher keeps.
    DevMails,
    /// One of them.
    DevMail,
    /// The public keys for what we sign.
    Jwks,
    /// A new pair of tokens for a refresh token.
    Refresh,
    /// Ends what a token keeps going (RFC 7009).
    Revoke,
    /// Makes a personal access token.
    CreatePersonalToken,
    /// The caller's personal access tokens.
    PersonalTokens,
    /// Ends one of them.
    RevokePersonalToken,
    /// Answers a proxy that asks what it may let through.
    Verify(Asker),
}

/// A proxy that asks, by the convention in which it asks and is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// `auth_request`: what is asked about stands in fields that its configuration names.
    Nginx,
    /// `forwardAuth`: in `X-Forwarded-Method`, `-Proto`, `-Host` and `-Uri`.
    Traefik,
    /// `forward_auth`: as Traefik does.
    Caddy,
    /// `ext_authz` over HTTP: by the method that is asked about, at its path below our own.
    Envoy,
}

impl Asker {
    /// Below this path follows the one that is asked about.
    pub const ENVOY: &str = "verify/envoy";
}

use Endpoint as E;

/// Method, path below the mount prefix, endpoint. A path that ends in `{…}` takes one segment there, which
/// the flow reads with [`parameter`]; it never stands for a path that has a row of its own.
const TABLE: &[(Method, &str, Endpoint)] = &[
    (Method::GET, "sign-in", E::SignInPage),
    (Method::POST, "sign-in", E::SignIn),
    (Method::POST, "sign-in/email", E::SignInEmail),
    (Method::POST, "login", E::Login),
    (Method::GET, "sign-up", E::SignUpPage),
    (Method::POST, "sign-up", E::SignUp),
    (Method::POST, "sign-up/email", E::SignUpEmail),
    (Method::POST, "signup", E::SignUpEmail),
    (Method::GET, "sign-out", E::SignOutPage),
    (Method::POST, "sign-out", E::SignOut),
    (Method::POST, "logout", E::SignOut),
    (Method::GET, "get-session", E::GetSession),
    (Method::GET, "me", E::Me),
    (Method::GET, "list-sessions", E::ListSessions),
    (Method::POST, "revoke-session", E::RevokeSession),
    (Method::POST, "revoke-sessions", E::RevokeSessions),
    (Method::POST, "revoke-other-sessions", E::RevokeOtherSessions),
    (Method::GET, "ok", E::Ok),
    (Method::GET, "account", E::AccountPage),
    (Method::POST, "update-user", E::UpdateUser),
    (Method::GET, "sign-in/{provider}", E::StartAtProvider),
    (Method::POST, "sign-in/social", E::SignInSocial),
    (Method::GET, "get-oauth-url/{provider}", E::OauthUrl),
    (Method::GET, "callback/{provider}", E::Callback),
    (Method::POST, "callback/{provider}", E::CallbackForm),
    (Method::POST, "signin/{provider}", E::SignInWithCode),
    (Method::POST, "link-social", E::LinkSocial),
    (Method::GET, "list-accounts", E::ListAccounts),
    (Method::POST, "unlink-account", E::UnlinkAccount),
    (Method::GET, "providers", E::Providers),
    (Method::POST, "back-channel-logout/{provider}", E::BackChannelLogout),
    (Method::GET, "verify-signin", E::VerifySignInPage),
    (Method::POST, "verify-signin", E::VerifySignIn),
    (Method::POST, "verify-signin/resend", E::ResendCode),
    (Method::POST, "verify-signin/cancel", E::CancelSignIn),
    (Method::GET, "not-me", E::NotMePage),
    (Method::POST, "not-me", E::NotMe),
    (Method::GET, "verify-email", E::VerifyEmailPage),
    (Method::POST, "verify-email", E::VerifyEmail),
    (Method::POST, "send-verification-email", E::SendVerificationEmail),
    (Method::GET, "forgot-password", E::ForgotPasswordPage),
    (Method::POST, "forgot-password", E::RequestPasswordReset),
    (Method::POST, "forget-password", E::RequestPasswordReset),
    (Method::POST, "request-password-reset", E::RequestPasswordReset),
    (Method::GET, "reset-password", E::ResetPasswordPage),
    (Method::POST, "reset-password", E::ResetPassword),
    (Method::POST, "change-password", E::ChangePassword),
    (Method::GET, "change-email", E::ChangeEmailPage),
    (Method::POST, "change-email", E::ChangeEmail),
    (Method::GET, "delete-user", E::DeleteUserPage),
    (Method::POST, "delete-user", E::DeleteUser),
    (Method::GET, "dev/mail", E::DevMails),
    (Method::GET, "dev/mail/{id}", E::DevMail),
    (Method::GET, "jwks", E::Jwks),
    (Method::GET, ".well-known/jwks.json", E::Jwks),
    (Method::POST, "refresh", E::Refresh),
    (Method::POST, "revoke", E::Revoke),
    (Method::POST, "personal-tokens", E::CreatePersonalToken),
    (Method::GET, "personal-tokens", E::PersonalTokens),
    (Method::POST, "revoke-personal-token", E::RevokePersonalToken),
    (Method::GET, "verify/nginx", E::Verify(Asker::Nginx)),
    (Method::GET, "verify/traefik", E::Verify(Asker::Traefik)),
    (Method::GET, "verify/caddy", E::Verify(Asker::Caddy)),
];

/// What a path below a mount prefix leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// This endpoint.
    Found(Endpoint),
    /// The path exists, but not for this method.
    OtherMethod,
    /// Nothing.
    Nothing,
}

/// Finds the endpoint for `path`, which is what follows the mount prefix and its slash. `HEAD` is `GET`
/// without the body.
pub fn find(method: &Method, path: &str) -> Lookup {
    if path.strip_prefix(Asker::ENVOY).is_some_and(|asked| asked.starts_with('/')) {
        return Lookup::Found(E::Verify(Asker::Envoy));
    }
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let mut lookup = Lookup::Nothing;
    for (takes, _, endpoint) in rows(path) {
        if takes == method {
            return Lookup::Found(*endpoint);
        }
        lookup = Lookup::OtherMethod;
    }
    lookup
}

/// The methods that `path` takes, as an `Allow` value says it (RFC 9110 §10.2.1).
pub fn allowed(path: &str) -> String {
    let methods: Vec<&str> = rows(path).map(|(method, ..)| method.as_str()).collect();
    methods.join(", ")
}

/// The rows for `path`: those that name it, or else those that take its last segment.
fn rows(path: &str) -> impl Iterator<Item = &'static (Method, &'static str, Endpoint)> {
    let named = TABLE.iter().any(|(_, at, _)| *at == path);
    TABLE.iter().filter(move |(_, at, _)| if named { *at == path } else { at_path(at, path) })
}

/// Whether `path` is the one that a row of the table names.
fn at_path(row: &str, path: &str) -> bool {
    match row.strip_suffix('}').and_then(|row| row.split_once('{')) {
        Some((before, _)) => {
            path.strip_prefix(before).is_some_and(|segment| !segment.is_empty() && !segment.contains('/'))
        }
        None => row == path,
    }
}

/// The last segment of a path, as it stands: the name of a provider, for example.
pub fn parameter(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, last)| last)
}

/// How many places [`Endpoint::place`] can name: the last is that of Envoy's questions, which have no row.
pub const PLACES: usize = TABLE.len() + 1;

/// The method and path below the mount prefix by which the endpoint of this place is known.
pub fn at_place(place: usize) -> Option<(&'static str, &'static str)> {
    let envoy = (place == TABLE.len()).then_some(("*", Asker::ENVOY));
    TABLE.get(place).map(|(method, path, _)| (method.as_str(), *path)).or(envoy)
}

/// The proxy whose questions come to `path`, below the mount prefix, by whatever method.
pub fn asker(path: &str) -> Option<Asker> {
    if let Lookup::Found(E::Verify(asker)) = find(&Method::GET, path) { Some(asker) } else { None }
}

impl Endpoint {
    /// The first row of the table that leads here: a number for it.
    pub fn place(self) -> usize {
        TABLE.iter().position(|(_, _, endpoint)| *endpoint == self).unwrap_or(TABLE.len())
    }

    /// Whether a stranger is answered with 401.
    pub fn needs_session(self) -> bool {
        match self {
            E::UpdateUser
            | E::CreatePersonalToken
            | E::PersonalTokens
            | E::RevokePersonalToken
            | E::Me
            | E::ListSessions
            | E::RevokeSession
            | E::RevokeSessions
            | E::RevokeOtherSessions
            | E::LinkSocial
            | E::ListAccounts
            | E::UnlinkAccount
            | E::ChangePassword
            | E::ChangeEmail
            | E::DeleteUser => true,
            // Strangers are led to the sign-in page, and back.
            E::AccountPage
            | E::ChangeEmailPage
            | E::DeleteUserPage
            | E::VerifyEmailPage
            | E::VerifyEmail
            | E::SendVerificationEmail
            | E::ForgotPasswordPage
            | E::RequestPasswordReset
            | E::ResetPasswordPage
            | E::ResetPassword
            | E::SignInPage
            | E::SignIn
            | E::SignInEmail
            | E::Login
            | E::SignUpPage
            | E::SignUp
            | E::SignUpEmail
            | E::SignOutPage
            | E::SignOut
            | E::GetSession
            | E::Ok
            | E::StartAtProvider
            | E::SignInSocial
            | E::OauthUrl
            | E::Callback
            | E::CallbackForm
            | E::SignInWithCode
            | E::Providers
            | E::BackChannelLogout
            | E::VerifySignInPage
            | E::VerifySignIn
            | E::ResendCode
            | E::CancelSignIn
            | E::NotMePage
            | E::NotMe
            | E::DevMails
            | E::DevMail
            | E::Jwks
            | E::Refresh
            | E::Revoke
            | E::Verify(_) => false,
        }
    }

    /// Whether it is for who can vouch for others alone: a proxy that asks, perhaps under a name of ours that only the
    /// two of us know. The answer needs nothing that is waited for, so that whoever carries the traffic gives it.
    pub fn for_proxies(self) -> bool {
        matches!(self, E::Verify(_))
    }

    /// Whether a `POST` of another site is let through. The form of a provider is answered by a redirect and
    /// changes nothing; a logout token and a refresh token are proof in themselves, and no cookie is looked at; what a
    /// proxy asks about is judged by itself.
    pub fn takes_foreign_posts(self) -> bool {
        matches!(self, E::CallbackForm | E::BackChannelLogout | E::Refresh | E::Revoke | E::Verify(_))
    }

    /// Whether a personal access token may come along: it says who is asking, or is not looked at. Everything
    /// else is for who has signed in.
    pub fn takes_personal_tokens(self) -> bool {
        matches!(
            self,
            E::Me
                | E::GetSession
                | E::Ok
                | E::Providers
                | E::Jwks
                | E::Refresh
                | E::Revoke
                | E::BackChannelLogout
                | E::Verify(_)
        )
    }

    /// Whether the answer waits for the floor below which it would tell whether an account exists.
    pub fn hides_existence(self) -> bool {
        matches!(
            self,
            E::SignIn
                | E::SignInEmail
                | E::Login
                | E::SignUp
                | E::SignUpEmail
                | E::SendVerificationEmail
                | E::RequestPasswordReset
                | E::ChangeEmail
                | E::SignInWithCode
        )
    }
}
