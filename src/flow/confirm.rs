//! The password once more, of somebody whose account is known: so often, and no oftener.

use crate::app::App;
use crate::error::Error;
use crate::flow::log_entry;
use crate::http::visit::Visit;
use crate::id::UserId;
use crate::refusal::Refusal;
use crate::store::auth_log::Action;
use crate::visitor::User;

/// The user as stored and the hash that `password` matches. A wrong one is logged as a failed `action`.
pub(super) async fn password(
    app: &App,
    visit: &Visit,
    action: Action,
    user: &UserId,
    password: &str,
) -> Result<Result<(User, String), Refusal>, Error> {
    if let Err(refusal) = app.limits.confirm(visit.now, user) {
        return Ok(Err(refusal));
    }
    let Some((found, hash)) = app.store.credential_by_user(user).await? else {
        return Ok(Err(Refusal::SignInRequired));
    };
    let Some(hash) = hash else {
        app.limits.give_back_confirm(user);
        return Ok(Err(Refusal::NoPassword));
    };
    let verdict = app.passwords.verify(password, Some(&hash)).await;
    if !matches!(verdict, Ok(verdict) if !verdict.matches) {
        app.limits.give_back_confirm(user);
    }
    if verdict?.matches {
        return Ok(Ok((found, hash)));
    }
    let refusal = Refusal::InvalidPassword;
    let mut tx = app.store.begin().await?;
    tx.auth_log_insert(&log_entry(visit, action, Some(user), Some(refusal.code()))).await?;
    tx.commit().await?;
    Ok(Err(refusal))
}
