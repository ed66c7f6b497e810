//! `sidegate user`: the accounts, past the pages: shown, made, kept out, removed, given another password.
//!
//! Replicas on PostgreSQL hear at once of sessions that end here. A server on SQLite does not: it sees it as soon as it
//! asks the database again, after `session.cache_age` (or, with signed cookies, `session.jwt_lifetime`) at worst.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, Write as _};

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::{Failure, Settings, serve};
use crate::account::email::Email;
use crate::account::password::Passwords;
use crate::account::profile::is_name;
use crate::config::{self, Config, NewSecret};
use crate::error::{Error, Fault};
use crate::flow::ending;
use crate::id::UserId;
use crate::refusal::Refusal;
use crate::store::auth_log::{Action, LogEntry};
use crate::store::disabled::Listed;
use crate::store::{Store, Tx};
use crate::time::{Clock, Now};
use crate::visitor::User;

/// Who acts here, in the log.
const ACTOR: &str = "sidegate command line";
/// Longest line that is read as a password, in bytes.
const LONGEST_LINE: u64 = 4096;

/// What is done with users.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    deed: Deed,
}

#[derive(Subcommand)]
enum Deed {
    /// List users by address.
    List(List),
    /// Show one user: address, ways to sign in, sessions.
    Show(Who),
    /// Make an account.
    Create(Create),
    /// Give a user another password, read from standard input; ends all sessions and personal access tokens.
    SetPassword(Who),
    /// Keep a user out; ends all sessions and personal access tokens.
    Disable(Who),
    /// Let a user in again.
    Enable(Who),
    /// Delete a user with everything that belongs to it.
    Delete(Delete),
}

#[derive(Args)]
pub(super) struct Who {
    /// The user's id or address.
    #[arg(value_name = "USER")]
    pub(super) user: String,
    #[command(flatten)]
    pub(super) settings: Settings,
}

#[derive(Args)]
struct List {
    /// Begin after this address.
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    after: String,
    /// At most so many.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
struct Create {
    /// The address.
    #[arg(value_name = "ADDRESS")]
    email: String,
    /// The display name.
    #[arg(long, default_value = "")]
    name: String,
    /// The mailbox is known to be theirs.
    #[arg(long)]
    verified: bool,
    /// Read a password from standard input; without it, the user sets one by a link, or comes through a provider.
    #[arg(long)]
    password: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
struct Delete {
    /// It cannot be undone.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    who: Who,
}

/// Does it, and says what came of it.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let settings = match &options.deed {
        Deed::List(list) => &list.settings,
        Deed::Show(who) | Deed::SetPassword(who) | Deed::Disable(who) | Deed::Enable(who) => &who.settings,
        Deed::Create(create) => &create.settings,
        Deed::Delete(delete) => &delete.who.settings,
    };
    if let Deed::Delete(Delete { yes: false, .. }) = options.deed {
        return Err(Failure::Usage("it cannot be undone: say --yes".to_owned()));
    }
    with_store(settings, async |config, store, now| match &options.deed {
        Deed::List(list) => {
            Ok(store.users(&list.after, list.limit).await?.iter().map(line).collect::<String>())
        }
        Deed::Show(who) => show(store, &who.user, now).await,
        Deed::Create(wish) => create(config, store, wish, now).await,
        Deed::SetPassword(who) => set_password(config, store, &who.user, now).await,
        Deed::Disable(who) => {
            change(store, &who.user, now, async |tx: &mut Tx, user: &User| {
                tx.user_disable(&user.id, now).await?;
                tx.devices_revoke_of_user(&user.id, None, now).await?;
                ending::end_all(tx, &user.id, None).await?;
                Ok((Action::Disable, "is kept out"))
            })
            .await
        }
        Deed::Enable(who) => {
            change(store, &who.user, now, async |tx: &mut Tx, user: &User| {
                tx.user_enable(&user.id).await?;
                Ok((Action::Enable, "may sign in"))
            })
            .await
        }
        Deed::Delete(delete) => {
            change(store, &delete.who.user, now, async |tx: &mut Tx, user: &User| {
                ending::end_all(tx, &user.id, None).await?;
                tx.user_delete(&user.id).await?;
                Ok((Action::Delete, "is deleted"))
            })
            .await
        }
    })
}

/// Opens the store, does `work` and prints what it says.
pub(super) fn with_store(
    settings: &Settings,
    work: impl AsyncFnOnce(&Config, &Store, Now) -> Result<String, Wrong>,
) -> Result<(), Failure> {
    let config = settings.load(NewSecret::Leave)?;
    let done = serve::office()?.block_on(async {
        let store = Store::open(&config.store, &Clock::System).await?;
        let said = work(&config, &store, Clock::System.now()).await;
        store.close().await;
        said
    });
    let text = done.map_err(|Wrong(what)| Failure::Other(what))?;
    io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::Other(format!("writing the answer: {error}")))
}

/// What is wrong, in one line.
pub(super) struct Wrong(pub(super) String);

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Self {
        Self(fault.to_string())
    }
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => Self(refusal.code().to_owned()),
            Error::Fault(fault) => fault.into(),
        }
    }
}

/// The user with this id or address, whom nobody else changes until `tx` ends.
pub(super) async fn find(tx: &mut Tx, name: &str, now: Now) -> Result<User, Wrong> {
    let by_id = match UserId::parse(name) {
        Some(id) => tx.user_by_id(&id).await?,
        None => None,
    };
    let found = match (by_id, Email::parse(name)) {
        (Some(user), _) => Some(user),
        (None, Ok(email)) => tx.user_by_email(email.as_str()).await?,
        (None, Err(_)) => None,
    };
    let user = found.ok_or_else(|| Wrong(format!("there is no user {name:?}")))?;
    tx.user_touch(&user.id, now).await?;
    Ok(user)
}

/// Changes one user and notes it in the log.
async fn change(
    store: &Store,
    name: &str,
    now: Now,
    deed: impl AsyncFnOnce(&mut Tx, &User) -> Result<(Action, &'static str), Fault>,
) -> Result<String, Wrong> {
    let mut tx = store.begin().await?;
    let user = find(&mut tx, name, now).await?;
    let (action, done) = deed(&mut tx, &user).await?;
    log(&mut tx, action, &user.id, now).await?;
    tx.commit().await?;
    Ok(format!("{} {done}\n", plain(&user.email)))
}

/// Writes a line of the log.
pub(super) async fn log(tx: &mut Tx, action: Action, user: &UserId, now: Now) -> Result<(), Fault> {
    let user = Some(user.clone());
    let agent = Some(ACTOR.to_owned());
    let entry = LogEntry {
        user,
        action,
        at: now,
        success: true,
        error: None,
        address: None,
        agent,
        detail: None,
        way: None,
    };
    tx.auth_log_insert(&entry).await
}

async fn create(config: &Config, store: &Store, wish: &Create, now: Now) -> Result<String, Wrong> {
    let email = Email::parse(&wish.email).map_err(|_| Wrong(format!("{:?} is no address", wish.email)))?;
    let name = wish.name.trim();
    if !is_name(name) {
        return Err(Wrong("the name is too long, or holds a control character".to_owned()));
    }
    let hash = if wish.password { Some(hashed(config, email.as_str()).await?) } else { None };
    let user = User {
        id: UserId::random(),
        name: name.to_owned(),
        email: email.as_str().to_owned(),
        email_verified: wish.verified,
        image: None,
        created: now,
        updated: now,
    };
    let mut tx = store.begin().await?;
    if !tx.user_insert(&user).await? {
        return Err(Wrong(format!("{} has an account", user.email)));
    }
    if let Some(hash) = hash {
        tx.account_insert_credential(&user.id, &hash, now).await?;
    }
    log(&mut tx, Action::SignUp, &user.id, now).await?;
    tx.commit().await?;
    Ok(line(&Listed { user, disabled: None }))
}

async fn set_password(config: &Config, store: &Store, name: &str, now: Now) -> Result<String, Wrong> {
    let mut tx = store.begin().await?;
    let email = find(&mut tx, name, now).await?.email;
    // Nobody waits for whoever types.
    drop(tx);
    let hash = hashed(config, &email).await?;
    change(store, name, now, async |tx: &mut Tx, user: &User| {
        tx.account_set_password(&user.id, &hash, now).await?;
        tx.devices_revoke_of_user(&user.id, None, now).await?;
        ending::end_all(tx, &user.id, None).await?;
        Ok((Action::PasswordReset, "has another password"))
    })
    .await
}

/// The hash of the password in the first line of standard input.
async fn hashed(config: &Config, email: &str) -> Result<String, Wrong> {
    let mut line = Zeroizing::new(String::new());
    io::Read::take(io::stdin().lock(), LONGEST_LINE)
        .read_line(&mut line)
        .map_err(|error| Wrong(format!("reading the password: {error}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Wrong("no password came by standard input: give it there as one line".to_owned()));
    }
    let passwords = Passwords::new(&config.password);
    passwords
        .policy(password, &[email, &config.public.name])
        .map_err(|refusal| Wrong(refused_password(refusal, config.password.min_length)))?;
    Ok(passwords.hash(password).await?)
}

/// What the policy has against a password, with the code by which programs know it.
fn refused_password(refusal: Refusal, min_length: usize) -> String {
    let code = refusal.code();
    match refusal {
        Refusal::PasswordTooShort => format!("a password needs at least {min_length} characters ({code})"),
        Refusal::PasswordTooLong => {
            format!("a password has at most {} characters ({code})", config::Password::LONGEST)
        }
        Refusal::PasswordTooCommon => {
            format!("this password is among the first that anybody would try ({code})")
        }
        _ => code.to_owned(),
    }
}

async fn show(store: &Store, name: &str, now: Now) -> Result<String, Wrong> {
    let mut tx = store.begin().await?;
    let user = find(&mut tx, name, now).await?;
    let disabled = tx.user_disabled(&user.id).await?;
    // Only looked at.
    drop(tx);
    let accounts = store.accounts_of_user(&user.id).await?;
    let sessions = store.sessions_of_user(&user.id, now).await?.len();
    let tokens = store.personal_tokens_of_user(&user.id, now).await?.len();
    let mut text = line(&Listed { user, disabled });
    for account in accounts {
        let (provider, subject) = (plain(&account.provider), plain(&account.subject));
        let _ = writeln!(text, "  signs in by {provider} as {subject}, since {}", account.created.iso());
    }
    let _ = writeln!(text, "  {sessions} sessions, {tokens} personal access tokens");
    Ok(text)
}

/// A user in one line.
fn line(Listed { user, disabled }: &Listed) -> String {
    let proved = if user.email_verified { "verified" } else { "unverified" };
    let standing = disabled.map_or_else(String::new, |since| format!("  disabled since {}", since.iso()));
    let (email, name) = (plain(&user.email), plain(&user.name));
    format!("{}  {email}  {proved}  since {}{standing}  {name}\n", user.id, user.created.iso())
}

/// Text of somebody else's as a terminal may show it.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
