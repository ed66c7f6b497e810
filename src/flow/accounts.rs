//! The ways in which a user signs in: seen, and taken away as long as one is left.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::provider::{self, Change};
use crate::flow::{desk, log_entry, read_json, success, to_account};
use crate::http::form::Form;
use crate::http::visit::{Visit, is_form};
use crate::refusal::Refusal;
use crate::session::rules::is_fresh;
use crate::store::auth_log::Action;
use crate::store::identities::Account;
use crate::time::Now;
use crate::ui::pages::Notice;

/// The provider of a password.
const CREDENTIAL: &str = "credential";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountShape<'a> {
    id: &'a str,
    provider_id: &'a str,
    account_id: &'a str,
    user_id: &'a str,
    scopes: Vec<&'a str>,
    created_at: Now,
    updated_at: Now,
}

impl<'a> From<&'a Account> for AccountShape<'a> {
    fn from(account: &'a Account) -> Self {
        Self {
            id: account.id.as_str(),
            provider_id: &account.provider,
            account_id: &account.subject,
            user_id: account.user.as_str(),
            scopes: account.scope.iter().flat_map(|scope| scope.split(',')).collect(),
            created_at: account.created,
            updated_at: account.updated,
        }
    }
}

/// `GET list-accounts`.
pub(super) async fn list(app: &App, visit: Visit) -> Result<Answer, Error> {
    let session = visit.visitor.session().ok_or(Refusal::SignInRequired)?;
    let accounts = app.store.accounts_of_user(&session.user.id).await?;
    let shapes: Vec<AccountShape<'_>> = accounts.iter().map(Into::into).collect();
    Ok(answer::json(desk(app), StatusCode::OK, &shapes))
}

/// Names an account by its row, or by its provider as better-auth 1.6 did, there with the provider's name for
/// the user where there are several.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UnlinkBody {
    account_id: Option<String>,
    provider_id: Option<String>,
}

impl UnlinkBody {
    fn names(&self, account: &Account) -> bool {
        let id = self.account_id.as_deref();
        match &self.provider_id {
            None => id == Some(account.id.as_str()),
            Some(provider) => {
                account.provider == *provider
                    && id.is_none_or(|id| id == account.id.as_str() || id == account.subject)
            }
        }
    }
}

/// `POST unlink-account`; asks for a recent sign-in. JSON is told so, the form leads back to the account page.
pub(super) async fn unlink(app: &App, visit: Visit) -> Result<Answer, Error> {
    if !is_form(&visit.headers) {
        attempt(app, &visit, &read_json(&visit)?).await??;
        return Ok(success(app));
    }
    let account_id = Form::parse(&visit.body)?.find("accountId").map(str::to_owned);
    let outcome = attempt(app, &visit, &UnlinkBody { account_id, provider_id: None }).await?;
    to_account(app, outcome.map(|()| Notice::MethodUnlinked))
}

async fn attempt(app: &App, visit: &Visit, body: &UnlinkBody) -> Result<Result<(), Refusal>, Error> {
    let session = visit.visitor.session().ok_or(Refusal::SignInRequired)?;
    let user = &session.user.id;
    app.limits.change(visit.now, user)?;
    if body.account_id.is_none() && body.provider_id.is_none() {
        return Ok(Err(Refusal::Validation));
    }
    if !is_fresh(session, visit.now) {
        return Ok(Err(Refusal::SessionNotFresh));
    }
    let mut tx = app.store.begin().await?;
    // Two at a time could each leave the other one's account.
    tx.user_touch(user, visit.now).await?;
    if !tx.session_lives(user, &session.id, visit.now).await? {
        return Err(Refusal::SignInRequired.into());
    }
    let accounts = tx.accounts_of_user(user).await?;
    let Some(account) = accounts.iter().find(|account| body.names(account)) else {
        return Ok(Err(Refusal::AccountNotFound));
    };
    let others = accounts.iter().filter(|other| other.id != account.id);
    let mut ended = Vec::new();
    let error = if usable(app, account) && !others.into_iter().any(|other| usable(app, other)) {
        Some(Refusal::LastAccount)
    } else {
        tx.account_delete(user, &account.id).await?;
        // Whoever came this way may be why it is taken away.
        let way = (&*account.provider, &*account.subject);
        ended = tx.sessions_delete_of_way(user, &session.id, way).await?;
        tx.pendings_delete_of_user(user).await?;
        let name =
            app.providers.find(&account.provider).map_or(&*account.provider, |provider| provider.name());
        provider::tell(app, visit, &mut tx, &session.user, (name, Change::Unlinked)).await?;
        None
    };
    let entry = log_entry(visit, Action::Unlink, Some(user), error.map(Refusal::code));
    tx.auth_log_insert(&entry).await?;
    app.sessions.commit_ended(tx, &ended).await?;
    Ok(error.map_or(Ok(()), Err))
}

/// Whether an account lets its owner in: by a password, or at a provider that is still configured.
fn usable(app: &App, account: &Account) -> bool {
    if account.provider == CREDENTIAL {
        account.password
    } else {
        app.providers.find(&account.provider).is_some()
    }
}
