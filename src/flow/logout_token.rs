//! A provider tells that somebody signed out there: the sessions that came from it end here too (`OpenID` Connect
//! Back-Channel Logout 1.0).

use http::StatusCode;
use serde::Serialize;

use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::{desk, log_entry, provider};
use crate::http::form::Form;
use crate::http::visit::{Visit, is_form};
use crate::oauth::failure::Failure;
use crate::secret::TokenHash;
use crate::store::auth_log::Action;

/// What the provider hears of a token that is not taken (§2.8).
#[derive(Serialize)]
struct Rejected {
    error: &'static str,
    error_description: &'static str,
}

#[derive(Serialize)]
struct Done {}

/// `POST back-channel-logout/{provider}`. The token is all the proof there is, and all that is needed.
pub(super) async fn submit(app: &App, visit: Visit) -> Result<Answer, Error> {
    let provider = provider::of_path(app, &visit)?;
    let form = is_form(&visit.headers).then(|| Form::parse(&visit.body).ok()).flatten();
    let Some(text) = form.as_ref().and_then(|form| form.find("logout_token")) else {
        return Ok(rejected(app, "one form field `logout_token` is expected"));
    };
    let token = match provider.logout_token(text, visit.now).await {
        Ok(token) => token,
        // Worth another try of the provider's.
        Err(failure @ Failure::Unavailable(..)) => {
            return Err(provider::refusal(provider, &visit, &failure).into());
        }
        Err(failure) => {
            tracing::warn!(request_id = %visit.id, provider = provider.id(), "a logout token was refused: {failure}");
            return Ok(rejected(app, "the logout token is not valid"));
        }
    };
    let name = format!("logout token {} {} {}", provider.id(), token.issuer, token.jti);
    let mut tx = app.store.begin().await?;
    if !tx.logout_token_insert(TokenHash(app.flow_key.mac(name.as_bytes())), token.expires).await? {
        return Ok(rejected(app, "the logout token was used before"));
    }
    let (subject, sid) = (token.subject.as_deref(), token.sid.as_deref());
    // Those that wait come first: one whose code comes back at this moment has become a session by then.
    tx.pendings_delete_of_provider(provider.id(), &token.issuer, subject, sid).await?;
    let ended = tx.sessions_delete_of_provider(provider.id(), &token.issuer, subject, sid).await?;
    for (_, user) in &ended {
        tx.auth_log_insert(&log_entry(&visit, Action::ProviderSignOut, Some(user), None)).await?;
    }
    let tokens: Vec<TokenHash> = ended.into_iter().map(|(token, _)| token).collect();
    app.sessions.commit_ended(tx, &tokens).await?;
    Ok(answer::json(desk(app), StatusCode::OK, &Done {}))
}

fn rejected(app: &App, error_description: &'static str) -> Answer {
    answer::json(
        desk(app),
        StatusCode::BAD_REQUEST,
        &Rejected { error: "invalid_request", error_description },
    )
}
