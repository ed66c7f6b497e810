//! The pair of tokens that a program gets in place of cookies: an access token for now, a refresh token for
//! the next one.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::answer::shapes::UserShape;
use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::desk;
use crate::http::visit::Visit;
use crate::secret::Token;
use crate::time::Now;
use crate::token::refresh::Holder;
use crate::visitor::Session;

/// How whoever signs in wants to be known from then on.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Delivery {
    /// By cookies, as browsers do.
    #[default]
    Cookie,
    /// By a pair of tokens in the answer, and without any cookie.
    Bearer,
}

/// The answer with a pair (RFC 6749 §5.1), and whose it is.
#[derive(Serialize)]
struct PairShape<'a> {
    access_token: &'a str,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    refresh_token: &'a str,
    /// Seconds; no use of the token makes them more.
    refresh_expires_in: i64,
    user: UserShape<'a>,
}

/// The first pair of a session that has just been opened.
pub(super) async fn first(app: &App, visit: &Visit, session: &Session) -> Result<Answer, Error> {
    let ends = app.sessions.last_end(session);
    let mut tx = app.store.begin().await?;
    let refresh = app.tokens.refresh_first(&mut tx, Holder::Program, session, (visit.now, ends)).await?;
    tx.commit().await?;
    answer(app, visit, session, &refresh, ends)
}

/// A pair of `session` with this refresh token, which ends at `ends`.
pub(super) fn answer(
    app: &App,
    visit: &Visit,
    session: &Session,
    refresh: &Token,
    ends: Now,
) -> Result<Answer, Error> {
    let access = app.tokens.access(session, visit.now)?;
    let shape = PairShape {
        access_token: &access.token,
        token_type: "Bearer",
        expires_in: access.expires.seconds() - visit.now.seconds(),
        refresh_token: &refresh.reveal(),
        refresh_expires_in: ends.seconds() - visit.now.seconds(),
        user: (&session.user).into(),
    };
    Ok(answer::json(desk(app), StatusCode::OK, &shape))
}
