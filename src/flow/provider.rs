//! What the flows through a provider share: which provider, what a failure there means to the visitor, and for
//! what values are sealed.

use crate::account::agent;
use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::desk;
use crate::flow::post::{self, To};
use crate::flow::reader;
use crate::gate::endpoint;
use crate::http::visit::{ReplyTo, Visit};
use crate::oauth::Identity;
use crate::oauth::failure::Failure;
use crate::oauth::provider::Provider;
use crate::refusal::Refusal;
use crate::secret::TokenHash;
use crate::store::Tx;
use crate::store::session_providers::ProviderSession;
use crate::ui::mails::{Mail, Occasion};
use crate::visitor::User;

/// The provider that is configured under this id.
pub(super) fn named<'a>(app: &'a App, id: &str) -> Result<&'a Provider, Refusal> {
    app.providers.find(id).ok_or(Refusal::ProviderNotFound)
}

/// What people call a provider: its name, or its id if it is configured no more.
pub(super) fn name<'a>(app: &'a App, id: &'a str) -> &'a str {
    app.providers.find(id).map_or(id, Provider::name)
}

/// The provider whose id ends the path.
pub(super) fn of_path<'a>(app: &'a App, visit: &Visit) -> Result<&'a Provider, Refusal> {
    named(app, endpoint::parameter(visit.path.raw()))
}

/// What a visitor is told of a failure at a provider. The log is told more: whoever runs the site may have to
/// do something about it.
pub(super) fn refusal(provider: &Provider, visit: &Visit, failure: &Failure) -> Refusal {
    let refusal = match failure {
        Failure::Denied => return Refusal::ProviderDenied,
        Failure::Unavailable(..) => Refusal::ProviderUnavailable,
        Failure::Rejected(..) => Refusal::ProviderRejected,
        Failure::IssuerMismatch => Refusal::IssuerMismatch,
        Failure::InvalidAnswer(_) => Refusal::ProviderInvalid,
        Failure::DomainNotAllowed | Failure::TenantNotAllowed | Failure::Blocked => {
            Refusal::ProviderAccountNotAllowed
        }
    };
    tracing::warn!(request_id = %visit.id, provider = provider.id(), "a sign-in came to nothing: {failure}");
    refusal
}

/// The answer to a way through a provider that ended here; a person is led to sign in and on to `target`.
pub(super) fn stopped(app: &App, visit: &Visit, error: Error, target: Option<&str>) -> Answer {
    let reply_to = ReplyTo { return_to: target.map(str::to_owned), ..visit.reply_to() };
    answer::refuse(desk(app), &reply_to, error)
}

/// What became of a way to sign in.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Linked,
    Unlinked,
}

/// Mails `user` that a way to sign in was added or taken away; `method` is its name.
pub(super) async fn tell(
    app: &App,
    visit: &Visit,
    tx: &mut Tx,
    user: &User,
    (method, change): (&str, Change),
) -> Result<(), Error> {
    let (link, device) = (post::link(app, "account"), agent::family(visit.agent(), None));
    let occasion = Occasion { at: visit.now, device: &device, place: None };
    let mail = match change {
        Change::Linked => Mail::MethodLinked { occasion, method, link: &link },
        Change::Unlinked => Mail::MethodUnlinked { occasion, method, link: &link },
    };
    let to = To { address: &user.email, language: reader::language(tx, &user.id, visit).await? };
    post::post(app, tx, to, &mail, visit.now).await?;
    Ok(())
}

/// For what the PKCE verifier of a flow is sealed.
pub(super) fn verifier_of(state: TokenHash) -> String {
    format!("oauth_flow.verifier {}", state.to_column())
}

/// For what the ID token is sealed with which a session was opened.
pub(super) fn id_token_of(provider: &str, subject: &str) -> String {
    format!("session_provider.idToken {provider} {subject}")
}

/// What is kept of the provider's side of a session.
pub(super) fn session(app: &App, provider: &Provider, identity: &Identity) -> ProviderSession {
    let purpose = id_token_of(provider.id(), &identity.subject);
    ProviderSession {
        provider: provider.id().to_owned(),
        issuer: identity.issuer.clone(),
        subject: identity.subject.clone(),
        sid: identity.sid.clone(),
        id_token: identity.id_token.as_ref().map(|token| app.seal.seal(&purpose, token.as_bytes())),
    }
}
