//! What follows when somebody has proved who they are, in whatever way: the browser's earlier session ends and
//! a new one begins, in the transaction of the flow that took the proof.

use std::time::Duration;

use http::HeaderValue;

use crate::account::device;
use crate::account::email::Email;
use crate::app::App;
use crate::error::Error;
use crate::flow::log_entry;
use crate::http::cookie::{self, Found};
use crate::http::visit::Visit;
use crate::secret::Token;
use crate::session::Opening;
use crate::store::Tx;
use crate::store::auth_log::Action;
use crate::store::session_providers::ProviderSession;
use crate::visitor::{Session, User};

/// How long the browser remembers that it signed somebody in; browsers keep no cookie longer.
const DEVICE_COOKIE: Duration = Duration::from_hours(400 * 24);

/// A sign-in that came about.
pub(super) struct SignedIn {
    /// The session.
    pub(super) session: Session,
    /// `Set-Cookie` values of the session and of the browser.
    pub(super) cookies: Vec<HeaderValue>,
}

/// Opens a session for `user`, who has just proved who they are, here or `by` a provider, and commits `tx`,
/// which may hold more that belongs to the sign-in.
pub(super) async fn enter(
    app: &App,
    visit: &Visit,
    mut tx: Tx,
    user: &User,
    remember: bool,
    by: Option<&ProviderSession>,
) -> Result<SignedIn, Error> {
    let earlier = earlier_token(app, visit);
    if let Some(token) = &earlier {
        tx.session_delete(token.hash()).await?;
    }
    let address = visit.client.to_string();
    let opening = Opening { now: visit.now, remember, address, agent: visit.agent() };
    let opened = app.sessions.open(&mut tx, user, opening).await?;
    if let Some(by) = by {
        tx.session_provider_insert(&opened.session.id, by).await?;
    }
    tx.auth_log_insert(&log_entry(visit, Action::SignIn, Some(&user.id), None)).await?;
    let earlier = earlier.map(|token| token.hash());
    app.sessions.commit_ended(tx, earlier.as_slice()).await?;
    let mut cookies = vec![opened.cookie];
    // An imported address may be one that no sign-in form takes: nobody needs a proof for it.
    if let Ok(email) = Email::parse(&user.email) {
        let names = &app.sessions.cookies;
        cookies.push(names.set(names.device, device::issue(&app.device_key, &email), Some(DEVICE_COOKIE)));
    }
    Ok(SignedIn { session: opened.session, cookies })
}

/// The token that the browser brought along, whatever it opens: it must open nothing after this.
fn earlier_token(app: &App, visit: &Visit) -> Option<Token> {
    match cookie::find(&visit.headers, app.sessions.cookies.session) {
        Found::One(value) => Token::parse(value),
        Found::Nothing | Found::Conflict => None,
    }
}
