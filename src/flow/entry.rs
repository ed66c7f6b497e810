//! What follows when somebody has proved who they are, in whatever way, in the transaction of the flow that took
//! the proof: the browser's earlier session ends, and a new one begins, or, where the sign-in is unusual, a
//! pending one that waits for a code.

use std::time::Duration;

use http::HeaderValue;
use zeroize::Zeroizing;

use crate::account::code::{self, Code};
use crate::account::device::Shown;
use crate::account::email::Email;
use crate::account::unusual::{Judgement, Outcome, Sighting};
use crate::app::App;
use crate::error::Error;
use crate::flow::pair::Delivery;
use crate::flow::{cookies, log_entry, reader, typed};
use crate::http::cookie::{self, Found};
use crate::http::visit::{Credential, Visit};
use crate::id::PendingId;
use crate::refusal::Refusal;
use crate::secret::{Token, TokenHash};
use crate::session::Opening;
use crate::store::Tx;
use crate::store::auth_log::{Action, LogEntry};
use crate::store::devices::DeviceRow;
use crate::store::pending::PendingRow;
use crate::store::session_providers::ProviderSession;
use crate::time::Now;
use crate::visitor::{Session, User};

mod evidence;
mod word;

/// How long the browser remembers that it signed somebody in; browsers keep no cookie longer.
const DEVICE_COOKIE: Duration = Duration::from_hours(400 * 24);
/// How long a sign-in waits for its code.
const PENDING_LIFE: Duration = Duration::from_hours(12);
/// Browsers that are remembered for one user.
const DEVICES: u32 = 50;

/// How somebody proved who they are.
#[derive(Clone, Copy)]
pub(super) enum By<'a> {
    /// By the password.
    Password,
    /// By a link that came to the mailbox just now, and the password.
    Mailbox,
    /// At this provider.
    Provider(&'a ProviderSession),
}

/// Who has proved who they are, and what was asked for.
#[derive(Clone, Copy)]
pub(super) struct Proved<'a> {
    /// Who it is.
    pub(super) user: &'a User,
    /// How it was proved.
    pub(super) by: By<'a>,
    /// Whether the session is to outlive the browser.
    pub(super) remember: bool,
    /// Where to go afterwards, as it was asked for.
    pub(super) callback_url: Option<&'a str>,
    /// How the session will be known.
    pub(super) delivery: Delivery,
}

/// A sign-in that came about.
pub(super) struct SignedIn {
    /// The session.
    pub(super) session: Session,
    /// `Set-Cookie` values of the session and of the browser.
    pub(super) cookies: Vec<HeaderValue>,
}

/// What became of a sign-in.
pub(super) enum Entered {
    /// It came about.
    SignedIn(Box<SignedIn>),
    /// It waits for its code, at [`answer::verify_url`](crate::answer::verify_url).
    Pending(Waiting),
}

/// A sign-in that waits for its code.
pub(super) struct Waiting {
    /// `Set-Cookie` values; none for a program.
    pub(super) cookies: Vec<HeaderValue>,
    /// What a program sends along with the code in place of a cookie.
    pub(super) token: Option<Zeroizing<String>>,
}

/// Signs `proved` in, if nothing about it is unusual, and commits `tx`, which may hold more that belongs to the
/// sign-in.
///
/// # Errors
/// `SignInUnusual` if there is nobody to send a code to, `TooManyRequests` if too many were sent,
/// `InvalidCredentials` or `ProviderAccountNotAllowed` if the user is disabled, or
/// gone by now.
pub(super) async fn enter(
    app: &App,
    visit: &Visit,
    mut tx: Tx,
    proved: Proved<'_>,
) -> Result<Entered, Error> {
    // Whoever disables or deletes the user at this moment is waited for, or finds the session and ends it.
    let stored = tx.user_hold(&proved.user.id).await?;
    if !stored || tx.user_disabled(&proved.user.id).await?.is_some() {
        let error = if stored { "ACCOUNT_DISABLED" } else { "ACCOUNT_DELETED" };
        tx.auth_log_insert(&entry(visit, proved, Some(error), String::new())).await?;
        tx.commit().await?;
        return Err(match proved.by {
            // Not to be told from a wrong password.
            By::Password | By::Mailbox => Refusal::InvalidCredentials,
            By::Provider(_) => Refusal::ProviderAccountNotAllowed,
        }
        .into());
    }
    let here = evidence::here(app, visit);
    let judged = evidence::judge(app, visit, &mut tx, proved, &here).await?;
    let (user, unusual) = (proved.user, app.config.unusual);
    let outcome = judged.as_ref().map_or(Outcome::Trust, |judged| judged.outcome);
    let challenged = outcome == Outcome::Challenge;
    if let Some(judged) = &judged {
        if challenged && user.email_verified {
            return Ok(Entered::Pending(wait_for_code(app, visit, tx, proved, judged).await?));
        }
        if challenged && unusual.block_unverified {
            let refusal = Refusal::SignInUnusual;
            tx.auth_log_insert(&entry(visit, proved, Some(refusal.code()), judged.names())).await?;
            tx.commit().await?;
            return Err(refusal.into());
        }
        if outcome != Outcome::Trust {
            word::notice(app, visit, &mut tx, user, (&here, &judged.rules)).await?;
        }
    }
    let rules = judged.map(|judged| judged.names()).unwrap_or_default();
    Ok(Entered::SignedIn(Box::new(open(app, visit, tx, proved, (here, rules)).await?)))
}

/// Opens the session of a pending sign-in whose code came back. Commits `tx`, which holds the user: whoever
/// disables one takes the pending sign-ins away.
pub(super) async fn verified(
    app: &App,
    visit: &Visit,
    tx: Tx,
    pending: &PendingRow,
    delivery: Delivery,
) -> Result<SignedIn, Error> {
    let proved = Proved {
        user: &pending.user,
        by: pending.provider.as_ref().map_or(By::Password, By::Provider),
        remember: pending.remember,
        callback_url: pending.callback_url.as_deref(),
        delivery,
    };
    open(app, visit, tx, proved, (evidence::here(app, visit), pending.rules.clone())).await
}

/// Opens the session of a sign-in that is trusted, by these rules, and trusts its browser, as it was seen, from
/// now on. Commits `tx`.
async fn open(
    app: &App,
    visit: &Visit,
    mut tx: Tx,
    proved: Proved<'_>,
    (here, rules): (Sighting, String),
) -> Result<SignedIn, Error> {
    let user = proved.user;
    let Earlier { session: ended, pending } = end_earlier(app, visit, &mut tx).await?;
    let address = visit.client.to_string();
    let opening = Opening { now: visit.now, remember: proved.remember, address, agent: visit.agent() };
    let opened = app.sessions.open(&mut tx, user, opening).await?;
    if let By::Provider(by) = proved.by {
        tx.session_provider_insert(&opened.session.id, by).await?;
    }
    let mut cookies = Vec::new();
    match proved.delivery {
        Delivery::Cookie => {
            let opened = (&opened.session, &opened.token);
            cookies = cookies::first(app, &mut tx, opened, user, visit.now).await?;
            cookies.push(trust(app, visit, &mut tx, user, here).await?);
        }
        Delivery::Bearer => trust_program(app, visit, &mut tx, user, here).await?,
    }
    reader::note(&mut tx, &user.id, visit).await?;
    tx.auth_log_insert(&entry(visit, proved, None, rules)).await?;
    app.sessions.commit_ended(tx, ended.as_slice()).await?;
    cookies.extend(typed::forget(app, visit));
    if pending {
        cookies.push(forget_pending(app));
    }
    Ok(SignedIn { session: opened.session, cookies })
}

/// Writes a pending sign-in and mails its code. Commits `tx`.
async fn wait_for_code(
    app: &App,
    visit: &Visit,
    mut tx: Tx,
    proved: Proved<'_>,
    judged: &Judgement,
) -> Result<Waiting, Error> {
    let user = proved.user;
    app.limits.code(visit.now, &user.id)?;
    let Earlier { session: ended, .. } = end_earlier(app, visit, &mut tx).await?;
    let (id, token, code) = (PendingId::random(), app.pending_key.issue(), Code::random());
    let pending = PendingRow {
        token: token.hash(),
        user: user.clone(),
        remember: proved.remember,
        rules: judged.names(),
        callback_url: proved.callback_url.map(str::to_owned),
        provider: match proved.by {
            By::Password | By::Mailbox => None,
            By::Provider(by) => Some(by.clone()),
        },
        code: code.hash(&app.code_key, &id),
        code_expires: visit.now.plus(code::LIFE),
        tries: 0,
        codes: 1,
        created: visit.now,
        expires: visit.now.plus(PENDING_LIFE),
        address: Some(visit.client.to_string()),
        agent: visit.agent().map(str::to_owned),
        id,
    };
    tx.pending_insert(&pending).await?;
    word::code(app, visit, &mut tx, &pending, &code).await?;
    let refusal = Refusal::CodeRequired;
    tx.auth_log_insert(&entry(visit, proved, Some(refusal.code()), pending.rules)).await?;
    app.sessions.commit_ended(tx, ended.as_slice()).await?;
    if proved.delivery == Delivery::Bearer {
        return Ok(Waiting { cookies: Vec::new(), token: Some(Zeroizing::new(token.reveal())) });
    }
    let names = &app.sessions.cookies;
    let mut cookies = vec![names.set(names.pending, token.reveal(), Some(PENDING_LIFE))];
    if ended.is_some() {
        cookies.extend(app.sessions.forget_cookies());
    }
    Ok(Waiting { cookies, token: None })
}

/// Gives a pending sign-in another code, and mails it; false if it is over.
pub(super) async fn send_again(
    app: &App,
    visit: &Visit,
    tx: &mut Tx,
    pending: &PendingRow,
) -> Result<bool, Error> {
    let code = Code::random();
    let hash = code.hash(&app.code_key, &pending.id);
    let changed = tx.pending_set_code(&pending.id, &hash, visit.now.plus(code::LIFE), visit.now).await?;
    if changed {
        word::code(app, visit, tx, pending, &code).await?;
    }
    Ok(changed)
}

/// The `Set-Cookie` value that makes the browser forget a sign-in that waits for its code.
pub(super) fn forget_pending(app: &App) -> HeaderValue {
    let names = &app.sessions.cookies;
    names.clear(names.pending)
}

/// What the browser brought along.
struct Earlier {
    /// A session, to be ended in memory too.
    session: Option<TokenHash>,
    /// Whether there was a sign-in that waited for its code.
    pending: bool,
}

/// Ends what the browser brought along, whatever it opens: it must open nothing after this.
async fn end_earlier(app: &App, visit: &Visit, tx: &mut Tx) -> Result<Earlier, Error> {
    let names = &app.sessions.cookies;
    let session = if app.sessions.signed {
        visit
            .visitor
            .session()
            .filter(|_| visit.credential == Credential::Cookie)
            .map(|session| session.token)
    } else {
        brought(visit, names.session).map(|token| token.hash())
    };
    if let Some(token) = session {
        tx.session_delete(token).await?;
    }
    let pending = brought(visit, names.pending);
    if let Some(token) = &pending {
        tx.pending_delete_by_hash(token.hash()).await?;
    }
    Ok(Earlier { session, pending: pending.is_some() })
}

/// The token in one of our cookies.
fn brought(visit: &Visit, name: &str) -> Option<Token> {
    match cookie::find(&visit.headers, name) {
        Found::One(value) => Token::parse(value),
        Found::Nothing | Found::Conflict => None,
    }
}

/// What the browser shows to be known again.
pub(super) fn shown<'v>(app: &App, visit: &'v Visit) -> Shown<'v> {
    match cookie::find(&visit.headers, app.sessions.cookies.device) {
        Found::One(value) => Shown::read(value),
        Found::Nothing | Found::Conflict => Shown::default(),
    }
}

/// Trusts the browser of this visit with a user whose mailbox was proved in it just now. Returns the
/// `Set-Cookie` value.
pub(super) async fn trust_here(
    app: &App,
    visit: &Visit,
    tx: &mut Tx,
    user: &User,
) -> Result<HeaderValue, Error> {
    trust(app, visit, tx, user, evidence::here(app, visit)).await
}

/// Trusts the browser with this user, under another secret than before.
async fn trust(
    app: &App,
    visit: &Visit,
    tx: &mut Tx,
    user: &User,
    here: Sighting,
) -> Result<HeaderValue, Error> {
    let shown = shown(app, visit);
    let secret = app.device_key.issue();
    if let Some(earlier) = &shown.secret {
        tx.device_rotate(earlier.hash(), secret.hash()).await?;
    }
    tx.device_trust(&user.id, &device(secret.hash(), here, visit.now), DEVICES).await?;
    // An imported address may be one that no sign-in form takes: nobody needs a proof for it.
    let email = Email::parse(&user.email).ok();
    let value = shown.next(&app.device_key, &secret, email.as_ref());
    let names = &app.sessions.cookies;
    Ok(names.set(names.device, value, Some(DEVICE_COOKIE)))
}

/// Trusts a program with this user. It keeps no secret, so its line is found by what it looks like and where it
/// is: however often it signs in, it takes the place of one browser.
async fn trust_program(
    app: &App,
    visit: &Visit,
    tx: &mut Tx,
    user: &User,
    here: Sighting,
) -> Result<(), Error> {
    let looks = format!("program {} {} {}", user.id.as_str(), here.place.network, here.agent);
    let nobodys = TokenHash(app.device_key.mac(looks.as_bytes()));
    Ok(tx.device_trust(&user.id, &device(nobodys, here, visit.now), DEVICES).await?)
}

fn device(secret: TokenHash, here: Sighting, now: Now) -> DeviceRow {
    DeviceRow {
        secret,
        created: now,
        seen: now,
        agent: here.agent,
        network: here.place.network,
        country: here.place.country,
        asn: here.place.asn.map(i64::from),
        revoked: None,
    }
}

/// The line of the log for this sign-in, with the rules that fired.
fn entry(visit: &Visit, proved: Proved<'_>, error: Option<&'static str>, rules: String) -> LogEntry {
    let detail = Some(rules).filter(|rules| !rules.is_empty());
    let way = match proved.by {
        By::Password => "password",
        By::Mailbox => "mailbox",
        By::Provider(by) => &by.provider,
    };
    let way = Some(way.to_owned());
    LogEntry { detail, way, ..log_entry(visit, Action::SignIn, Some(&proved.user.id), error) }
}
