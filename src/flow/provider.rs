//! What the flows through a provider share: which provider, what a failure there means to the visitor, and for
//! what values are sealed.

use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::desk;
use crate::gate::endpoint;
use crate::http::visit::{ReplyTo, Visit};
use crate::oauth::failure::Failure;
use crate::oauth::provider::Provider;
use crate::refusal::Refusal;
use crate::secret::TokenHash;

/// The provider that is configured under this id.
pub(super) fn named<'a>(app: &'a App, id: &str) -> Result<&'a Provider, Refusal> {
    app.providers.find(id).ok_or(Refusal::ProviderNotFound)
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

/// For what the PKCE verifier of a flow is sealed.
pub(super) fn verifier_of(state: TokenHash) -> String {
    format!("oauth_flow.verifier {}", state.to_column())
}

/// For what the ID token is sealed with which a session was opened.
pub(super) fn id_token_of(provider: &str, subject: &str) -> String {
    format!("session_provider.idToken {provider} {subject}")
}
