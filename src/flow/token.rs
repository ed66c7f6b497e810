//! Tokens for programs: a new pair for an old one, the end of one, and the public keys for whoever checks what
//! we sign.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::exchange::{self, Asking, Exchanged};
use crate::flow::{desk, log_entry, pair, read_json};
use crate::http::form::Form;
use crate::http::visit::{Visit, is_form};
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::store::auth_log::{Action, LogEntry};
use crate::token::JWKS_AGE;
use crate::token::refresh::Holder;

/// `GET jwks`.
pub(super) fn jwks(app: &App, visit: &Visit) -> Answer {
    let mut answer = answer::json(desk(app), StatusCode::OK, &app.tokens.ring().jwks(visit.now));
    answer::keep_for(answer.headers_mut(), JWKS_AGE);
    answer
}

/// What a program sends, as JSON or as the form of RFC 6749 §6.
#[derive(Deserialize)]
struct RefreshBody {
    refresh_token: Zeroizing<String>,
    grant_type: Option<String>,
}

/// `POST refresh`: the next pair. The session is used by it, and so lives on.
pub(super) async fn refresh(app: &App, visit: Visit) -> Result<Answer, Error> {
    let RefreshBody { refresh_token, grant_type } = if is_form(&visit.headers) {
        let form = Form::parse(&visit.body)?;
        let refresh_token = Zeroizing::new(form.get("refresh_token").to_owned());
        RefreshBody { refresh_token, grant_type: form.find("grant_type").map(str::to_owned) }
    } else {
        read_json(&visit)?
    };
    if refresh_token.is_empty() || grant_type.is_some_and(|kind| kind != "refresh_token") {
        return Err(Refusal::Validation.into());
    }
    let token = app.tokens.refresh_parse(Holder::Program, refresh_token.as_bytes());
    let token = token.ok_or(Refusal::InvalidGrant)?;
    let exchanged = exchange::exchange(app, &Asking::of(&visit), Holder::Program, &token).await?;
    let Exchanged { session, next, ends } = exchanged.ok_or(Refusal::InvalidGrant)?;
    pair::answer(app, &visit, &session, &next?, ends)
}

/// Ends a personal access token: whoever has it may do that much, as a finder who is not its owner should.
async fn end_personal(app: &App, visit: &Visit, token: &Token) -> Result<(), Error> {
    let Some((row, user)) = app.store.personal_token_by_hash(token.personal_hash()).await? else {
        return Ok(());
    };
    let mut tx = app.store.begin().await?;
    let ended = tx.personal_token_delete(&user.id, &row.id).await?;
    if ended.is_some() {
        let entry = log_entry(visit, Action::TokenRevoke, Some(&user.id), None);
        tx.auth_log_insert(&LogEntry { detail: Some(row.id.to_string()), ..entry }).await?;
    }
    app.sessions.commit_ended(tx, ended.as_slice()).await?;
    Ok(())
}

#[derive(Deserialize)]
struct RevokeBody {
    token: Zeroizing<String>,
}

#[derive(Serialize)]
struct Success {
    success: bool,
}

/// `POST revoke` (RFC 7009): ends what a token of any kind keeps going. The answer is the same for a token
/// that opens nothing.
pub(super) async fn revoke(app: &App, visit: Visit) -> Result<Answer, Error> {
    let RevokeBody { token } = if is_form(&visit.headers) {
        RevokeBody { token: Zeroizing::new(Form::parse(&visit.body)?.get("token").to_owned()) }
    } else {
        read_json(&visit)?
    };
    if token.is_empty() {
        return Err(Refusal::Validation.into());
    }
    if let Some(token) = app.sessions.personal_parse(token.as_bytes()) {
        end_personal(app, &visit, &token).await?;
        return Ok(answer::json(desk(app), StatusCode::OK, &Success { success: true }));
    }
    let found = match app.tokens.refresh_parse(Holder::Program, token.as_bytes()) {
        Some(token) => match app.tokens.refresh_family(&token).await? {
            Some(family) => app.sessions.by_id(&family.session, visit.now).await?,
            None => None,
        }
        .map(|session| (session.user.id, session.id)),
        None => app.tokens.verify(token.as_bytes(), visit.now).map(|access| (access.user, access.session)),
    };
    if let Some((user, session)) = found {
        exchange::end(app, &Asking::of(&visit), (&user, &session), None).await?;
    }
    Ok(answer::json(desk(app), StatusCode::OK, &Success { success: true }))
}
