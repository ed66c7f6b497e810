//! Personal access tokens: made, seen and ended by their owner.

use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::account::profile::is_name;
use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::{desk, log_entry, read_json, success};
use crate::http::visit::{Credential, Visit};
use crate::id::RowId;
use crate::pattern::Pattern;
use crate::refusal::Refusal;
use crate::secret::PERSONAL_PREFIX;
use crate::session::rules::is_fresh;
use crate::store::auth_log::{Action, LogEntry};
use crate::store::personal_tokens::PersonalRow;
use crate::time::Now;
use crate::visitor::Grant;

/// How long a token is good if nothing is said.
const LIFETIME: Duration = Duration::from_hours(90 * 24);
/// The shortest life of one.
const SHORTEST: Duration = Duration::from_mins(1);
/// Tokens that a user can have at a time.
const MOST: i64 = 50;
/// Patterns that one can be limited to.
const MOST_PATHS: usize = 20;
/// Longest of these, in bytes.
const LONGEST_PATH: usize = 256;

/// What somebody wants to have. A field of another name is refused: it might be a limit.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wish {
    name: String,
    /// In seconds.
    expires_in: Option<u64>,
    paths: Option<Vec<String>>,
    #[serde(default)]
    read_only: bool,
}

/// A token as its owner sees it; in clear when it is made and never again.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shape<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    id: &'a str,
    name: &'a str,
    prefix: &'static str,
    last_four: &'a str,
    paths: Option<Vec<String>>,
    read_only: bool,
    created_at: Now,
    expires_at: Now,
    last_used_at: Option<Now>,
}

impl<'a> From<&'a PersonalRow> for Shape<'a> {
    fn from(row: &'a PersonalRow) -> Self {
        let texts = |paths: &Vec<Pattern>| paths.iter().map(ToString::to_string).collect();
        Self {
            token: None,
            id: row.id.as_str(),
            name: &row.name,
            prefix: PERSONAL_PREFIX,
            last_four: &row.last_four,
            paths: row.grant.paths.as_ref().map(texts),
            read_only: row.grant.read_only,
            created_at: row.created,
            expires_at: row.expires,
            last_used_at: row.used,
        }
    }
}

/// `POST personal-tokens`: somebody who has signed in of late, in a browser, and no token on its own.
pub(super) async fn create(app: &App, visit: Visit) -> Result<Answer, Error> {
    allowed(app)?;
    let session = visit.visitor.session().ok_or(Refusal::SignInRequired)?;
    if visit.credential != Credential::Cookie {
        return Err(Refusal::InsufficientScope.into());
    }
    if !is_fresh(session, visit.now) {
        return Err(Refusal::SessionNotFresh.into());
    }
    let wish: Wish = read_json(&visit)?;
    let longest = app.config.tokens.personal_max_lifetime;
    let lifetime = wish.expires_in.map_or(LIFETIME.min(longest), Duration::from_secs);
    let name = wish.name.trim();
    if name.is_empty() || !is_name(name) || lifetime < SHORTEST || lifetime > longest {
        return Err(Refusal::Validation.into());
    }
    let paths = wish.paths.as_deref().map(patterns).transpose()?;
    let user = &session.user.id;
    app.limits.change(visit.now, user)?;
    let token = app.sessions.personal_issue();
    let secret = Zeroizing::new(token.reveal());
    let row = PersonalRow {
        id: RowId::random(),
        user: user.clone(),
        token: token.personal_hash(),
        name: name.to_owned(),
        last_four: secret[secret.len() - 4..].to_owned(),
        grant: Grant { paths, read_only: wish.read_only },
        created: visit.now,
        expires: visit.now.plus(lifetime),
        used: None,
    };
    let mut tx = app.store.begin().await?;
    // Whoever ends everything at this moment waits for us, or has ended this session before.
    if !tx.session_hold(user, &session.id, visit.now).await? {
        return Err(Refusal::SignInRequired.into());
    }
    if tx.personal_tokens_count(user, visit.now).await? >= MOST {
        return Err(Refusal::TooManyPersonalTokens.into());
    }
    tx.personal_token_insert(&row).await?;
    tx.auth_log_insert(&entry(&visit, Action::TokenCreate, &row.id, None)).await?;
    tx.commit().await?;
    let clear = Zeroizing::new(format!("{PERSONAL_PREFIX}{}", secret.as_str()));
    let shape = Shape { token: Some(&clear), ..Shape::from(&row) };
    Ok(answer::json(desk(app), StatusCode::OK, &shape))
}

/// An empty list is none: it is more likely a mistake than a wish for a token that opens nothing.
fn patterns(texts: &[String]) -> Result<Vec<Pattern>, Refusal> {
    let sound =
        (1..=MOST_PATHS).contains(&texts.len()) && texts.iter().all(|text| text.len() <= LONGEST_PATH);
    let patterns = texts.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>, _>>();
    patterns.ok().filter(|_| sound).ok_or(Refusal::Validation)
}

/// `GET personal-tokens`.
pub(super) async fn list(app: &App, visit: Visit) -> Result<Answer, Error> {
    allowed(app)?;
    let session = visit.visitor.session().ok_or(Refusal::SignInRequired)?;
    let rows = app.store.personal_tokens_of_user(&session.user.id, visit.now).await?;
    let shapes: Vec<Shape<'_>> = rows.iter().map(Into::into).collect();
    Ok(answer::json(desk(app), StatusCode::OK, &shapes))
}

#[derive(Deserialize)]
struct RevokeBody {
    id: String,
}

/// `POST revoke-personal-token`; the answer is the same for a token that is not there or not the caller's.
pub(super) async fn revoke(app: &App, visit: Visit) -> Result<Answer, Error> {
    allowed(app)?;
    let session = visit.visitor.session().ok_or(Refusal::SignInRequired)?;
    let user = &session.user.id;
    app.limits.change(visit.now, user)?;
    let id = RowId::parse(&read_json::<RevokeBody>(&visit)?.id).ok_or(Refusal::Validation)?;
    let mut tx = app.store.begin().await?;
    let ended = tx.personal_token_delete(user, &id).await?;
    let error = ended.is_none().then_some("TOKEN_NOT_FOUND");
    tx.auth_log_insert(&entry(&visit, Action::TokenRevoke, &id, error)).await?;
    app.sessions.commit_ended(tx, ended.as_slice()).await?;
    Ok(success(app))
}

fn allowed(app: &App) -> Result<(), Refusal> {
    if app.config.tokens.personal { Ok(()) } else { Err(Refusal::NotFound) }
}

/// The line of the log, which names the token.
fn entry(visit: &Visit, action: Action, id: &RowId, error: Option<&'static str>) -> LogEntry {
    let user = visit.visitor.session().map(|session| &session.user.id);
    LogEntry { detail: Some(id.to_string()), ..log_entry(visit, action, user, error) }
}
