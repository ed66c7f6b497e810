//! The cookies of a session, of whichever kind is configured.

use http::HeaderValue;

use crate::app::App;
use crate::error::Fault;
use crate::secret::{Token, TokenHash};
use crate::store::Tx;
use crate::time::Now;
use crate::token::refresh::Holder;
use crate::visitor::{Session, User};

/// The `Set-Cookie` values of a session that is opened in the flow's own transaction and has this token.
pub(super) async fn first(
    app: &App,
    tx: &mut Tx,
    (session, token): (&Session, &Token),
    user: &User,
    now: Now,
) -> Result<Vec<HeaderValue>, Fault> {
    if !app.sessions.signed {
        let left = session.expires.since(now);
        return Ok(vec![app.sessions.cookie(token.reveal(), session.remember, left)]);
    }
    let ends = app.sessions.last_end(session);
    let refresh = app.tokens.refresh_first(tx, Holder::Browser, session, (now, ends)).await?;
    signed(app, (session, token.hash()), user, (Some(&refresh), now))
}

/// The `Set-Cookie` values of a session that gets another token in the flow's own transaction, after which the
/// cookies that it had open nothing. `user` is as the transaction leaves it. `None` if the session is gone.
pub(super) async fn replaced(
    app: &App,
    tx: &mut Tx,
    (session, user): (&Session, &User),
    now: Now,
) -> Result<Option<Vec<HeaderValue>>, Fault> {
    let Some(token) = app.sessions.rotate(tx, session).await? else { return Ok(None) };
    if app.sessions.signed {
        tx.refresh_families_delete(&session.id).await?;
    }
    first(app, tx, (session, &token), user, now).await.map(Some)
}

/// The `Set-Cookie` values of a session that is stored under `key`: signed, and with this refresh token, unless the
/// browser keeps the one that it has.
pub fn signed(
    app: &App,
    (session, key): (&Session, TokenHash),
    user: &User,
    (refresh, now): (Option<&Token>, Now),
) -> Result<Vec<HeaderValue>, Fault> {
    let names = &app.sessions.cookies;
    let minted = app.tokens.cookie(session, user, key, now)?;
    let lifetime = |end: Now| session.remember.then(|| end.since(now));
    let mut cookies = vec![names.set(names.session, minted.token, lifetime(minted.expires))];
    cookies.extend(refresh.map(|token| names.set(names.refresh, token.reveal(), lifetime(session.expires))));
    Ok(cookies)
}
