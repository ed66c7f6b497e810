//! The end of a way through a provider: the flow is recalled and used up, the provider is asked who it is, and that
//! person is signed in or the account there is linked.

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::app::App;
use crate::error::{Error, Fault};
use crate::flow::callback::join::{Arrival, Joined};
use crate::flow::entry::{self, By, Entered, Proved};
use crate::flow::pair::Delivery;
use crate::flow::provider::Change;
use crate::flow::{log_entry, provider};
use crate::http::cookie::{self, Found};
use crate::http::visit::Visit;
use crate::id::{SessionId, UserId};
use crate::oauth::provider::Provider;
use crate::oauth::{Identity, Reply, Secrets};
use crate::refusal::Refusal;
use crate::secret::{Token, TokenHash};
use crate::session::rules::is_fresh;
use crate::store::auth_log::{Action, LogEntry};
use crate::store::oauth_flows::{Aim, OauthFlow};

/// How often browsers that arrive with the same identity at the same time may get in each other's way.
const ROUNDS: usize = 3;

/// What the provider sent along with the browser, or to a front end that received it itself and sends it on.
#[derive(Deserialize)]
pub(super) struct Given {
    pub(super) state: Option<Zeroizing<String>>,
    pub(super) code: Option<Zeroizing<String>>,
    #[serde(default)]
    pub(super) error: Option<String>,
    pub(super) iss: Option<String>,
    /// How such a front end wants to be known from then on.
    #[serde(default)]
    pub(super) delivery: Delivery,
}

/// How a way through a provider ended well.
pub(super) enum End {
    /// Signed in, or about to be; with a new account or not.
    Entered(Entered, bool),
    /// The account at the provider is one more way to sign in.
    Linked,
    /// Nothing was done: the flow was used before, and the visitor is signed in.
    Already,
}

/// How a way through a provider ended, and the flow if there was one.
pub(super) struct Outcome {
    pub(super) end: Result<End, Error>,
    pub(super) flow: Option<OauthFlow>,
}

/// Goes the rest of the way.
pub(super) async fn finish(app: &App, visit: &Visit, provider: &Provider, given: &Given) -> Outcome {
    match recalled(app, visit, given).await {
        Ok(mut flow) => {
            let end = go_through(app, visit, provider, given, &mut flow).await;
            Outcome { end, flow: Some(flow) }
        }
        Err(error) => Outcome { end: Err(error), flow: None },
    }
}

/// The flow to which a state belongs. One that we did not make is not looked for.
async fn recalled(app: &App, visit: &Visit, given: &Given) -> Result<OauthFlow, Error> {
    app.limits.provider(visit.now, visit.client)?;
    let state = given.state.as_deref().and_then(|state| Token::parse(state.as_bytes()));
    let state = state.filter(|state| app.flow_key.issued(state)).ok_or(Refusal::StateNotFound)?;
    Ok(app.store.oauth_flow(state.hash()).await?.ok_or(Refusal::StateNotFound)?)
}

/// From the flow to who it is. Whatever the provider says is asked for only once the flow is known to have begun in
/// this browser, at this provider, and is used up.
async fn go_through(
    app: &App,
    visit: &Visit,
    provider: &Provider,
    given: &Given,
    flow: &mut OauthFlow,
) -> Result<End, Error> {
    if flow.provider != provider.id() {
        return note(app, visit, flow, Refusal::StateMismatch).await;
    }
    if flow.used.is_some() {
        return again(visit);
    }
    if flow.expires <= visit.now {
        return Err(Refusal::StateNotFound.into());
    }
    if given.code.is_none() && given.error.is_none() {
        return Err(Refusal::Validation.into());
    }
    let Some(browser) = browser_of(app, visit, flow).filter(|browser| *browser == flow.browser) else {
        return note(app, visit, flow, Refusal::StateMismatch).await;
    };
    let mut tx = app.store.begin().await?;
    let first = tx.oauth_flow_use(flow.state, provider.id(), browser, visit.now).await?;
    tx.commit().await?;
    flow.used = Some(visit.now);
    if !first {
        return again(visit);
    }
    let identity = match asked(app, visit, provider, given, flow).await? {
        Ok(identity) => identity,
        Err(refusal) => return note(app, visit, flow, refusal).await,
    };
    let arrival = Arrival { app, provider, identity: &identity, now: visit.now };
    match flow.aim.clone() {
        Aim::SignIn => sign_in(visit, flow, &arrival, given.delivery).await,
        Aim::Link { user, session } => link(visit, flow, &arrival, (&user, &session)).await,
    }
}

/// A flow that was used before: back button, double click, a link that somebody kept.
fn again(visit: &Visit) -> Result<End, Error> {
    match visit.visitor.session() {
        Some(_) => Ok(End::Already),
        None => Err(Refusal::StateUsed.into()),
    }
}

/// The hash of the secret that the browser has in the cookie of a flow.
fn browser_of(app: &App, visit: &Visit, flow: &OauthFlow) -> Option<TokenHash> {
    let name = app.sessions.cookies.of_flow(flow.state);
    let Found::One(value) = cookie::find(&visit.headers, &name) else { return None };
    let secret = value.splitn(2, |&b| b == b'.').nth(1)?;
    Token::parse(secret).map(|secret| secret.hash())
}

/// Who the provider says it is.
async fn asked(
    app: &App,
    visit: &Visit,
    provider: &Provider,
    given: &Given,
    flow: &OauthFlow,
) -> Result<Result<Identity, Refusal>, Error> {
    let verifier = app.seal.open(&provider::verifier_of(flow.state), &flow.verifier);
    let verifier = verifier
        .as_deref()
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .ok_or_else(|| Fault::new("opening a flow", "its verifier was sealed under another secret"))?;
    let reply = Reply {
        code: given.code.as_ref().map(|code| code.as_str()),
        error: given.error.as_deref(),
        iss: given.iss.as_deref(),
    };
    let secrets =
        Secrets { verifier, nonce: &flow.nonce, redirect_uri: &flow.redirect_uri, begun: flow.created };
    let identity = provider.identify(&reply, &secrets, visit.now).await;
    Ok(identity.map_err(|failure| provider::refusal(provider, visit, &failure)))
}

/// Signs in whose identity it is, or who it makes an account for.
async fn sign_in(
    visit: &Visit,
    flow: &OauthFlow,
    arrival: &Arrival<'_>,
    delivery: Delivery,
) -> Result<End, Error> {
    let Arrival { app, provider, identity, .. } = *arrival;
    for _ in 0..ROUNDS {
        let mut tx = app.store.begin().await?;
        let (user, actions, ended) = match arrival.owner(&mut tx).await? {
            Joined::Owner { user, actions, ended } => (user, actions, ended),
            Joined::Refused(refusal, user) => {
                let entry = log_entry(visit, Action::SignIn, user.as_ref(), Some(refusal.code()));
                tx.auth_log_insert(&LogEntry { way: Some(provider.id().to_owned()), ..entry }).await?;
                tx.commit().await?;
                return Err(refusal.into());
            }
            Joined::Overtaken => continue,
        };
        for &action in actions {
            tx.auth_log_insert(&log_entry(visit, action, Some(&user.id), None)).await?;
        }
        if actions.contains(&Action::Link) {
            provider::tell(app, visit, &mut tx, &user, (provider.name(), Change::Linked)).await?;
        }
        let by = provider::session(app, provider, identity);
        let proved = Proved {
            user: &user,
            by: By::Provider(&by),
            remember: flow.remember,
            callback_url: flow.callback_url.as_deref(),
            delivery,
        };
        let entered = entry::enter(app, visit, tx, proved).await;
        // Whatever became of the commit, as with every session that is ended.
        app.sessions.ended(&ended);
        return Ok(End::Entered(entered?, actions.contains(&Action::SignUp)));
    }
    Err(Refusal::Overloaded.into())
}

/// Links the account at the provider to the user who asked for it, from the session that asked for it, which
/// the store must still know.
async fn link(
    visit: &Visit,
    flow: &OauthFlow,
    arrival: &Arrival<'_>,
    (user, asking): (&UserId, &SessionId),
) -> Result<End, Error> {
    let Arrival { app, provider, .. } = *arrival;
    let session = visit.visitor.session().filter(|session| session.id == *asking);
    let Some(session) = session else { return note(app, visit, flow, Refusal::SignInRequired).await };
    if !is_fresh(session, visit.now) {
        return note(app, visit, flow, Refusal::SessionNotFresh).await;
    }
    let mut tx = app.store.begin().await?;
    // Whoever takes the account over at this moment is waited for, and then ended the session.
    tx.user_touch(user, visit.now).await?;
    let lives = tx.session_lives(user, asking, visit.now).await?;
    let Some(user) = tx.user_by_id(user).await?.filter(|_| lives) else {
        drop(tx);
        return note(app, visit, flow, Refusal::SignInRequired).await;
    };
    let (refusal, ended) = match arrival.linked(&mut tx, (&user, asking)).await? {
        Ok(Some(ended)) => {
            provider::tell(app, visit, &mut tx, &user, (provider.name(), Change::Linked)).await?;
            (None, ended)
        }
        // It was linked before.
        Ok(None) => return Ok(End::Linked),
        Err(refusal) => (Some(refusal), Vec::new()),
    };
    let entry = log_entry(visit, Action::Link, Some(&user.id), refusal.map(Refusal::code));
    tx.auth_log_insert(&entry).await?;
    app.sessions.commit_ended(tx, &ended).await?;
    // The address may be proved now: the next request reads what is in the store.
    app.sessions.user_changed(&user.id, visit.now).await;
    refusal.map_or(Ok(End::Linked), |refusal| Err(refusal.into()))
}

/// Logs what stood in the way of a flow, and says so.
async fn note(app: &App, visit: &Visit, flow: &OauthFlow, refusal: Refusal) -> Result<End, Error> {
    let (action, user) = match &flow.aim {
        Aim::SignIn => (Action::SignIn, None),
        Aim::Link { user, .. } => (Action::Link, Some(user)),
    };
    let mut tx = app.store.begin().await?;
    let entry = log_entry(visit, action, user, Some(refusal.code()));
    tx.auth_log_insert(&LogEntry { way: Some(flow.provider.clone()), ..entry }).await?;
    tx.commit().await?;
    Err(refusal.into())
}
