//! `sidegate session`: the sessions of a user, shown or ended.
//!
//! How soon a running server sees the end is said in [`super::user`].

use clap::{Args, Subcommand};

use super::user::{Who, Wrong, find, log, plain, with_store};
use super::{Failure, Settings};
use crate::flow::ending;
use crate::id::SessionId;
use crate::store::Store;
use crate::store::auth_log::Action;
use crate::time::Now;

/// What is done with sessions.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    deed: Deed,
}

#[derive(Subcommand)]
enum Deed {
    /// List the sessions of a user, newest first.
    List(Who),
    /// End one session of a user, or all of them with their personal access tokens.
    End(End),
}

#[derive(Args)]
struct End {
    /// The session's id, as `list` shows it; without it, all.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    #[command(flatten)]
    who: Who,
}

/// Does it, and says what came of it.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let settings: &Settings = match &options.deed {
        Deed::List(who) => &who.settings,
        Deed::End(end) => &end.who.settings,
    };
    with_store(settings, async |_, store, now| match &options.deed {
        Deed::List(who) => list(store, &who.user, now).await,
        Deed::End(wish) => end(store, wish, now).await,
    })
}

async fn list(store: &Store, name: &str, now: Now) -> Result<String, Wrong> {
    let mut tx = store.begin().await?;
    let user = find(&mut tx, name, now).await?;
    // Only looked at.
    drop(tx);
    let sessions = store.sessions_of_user(&user.id, now).await?;
    Ok(sessions.iter().fold(String::new(), |text, session| {
        let (opened, expires) = (session.opened.iso(), session.expires.iso());
        let address = plain(session.address.as_deref().unwrap_or("-"));
        let agent = plain(session.agent.as_deref().unwrap_or("-"));
        format!("{text}{}  since {opened}  until {expires}  {address}  {agent}\n", session.id)
    }))
}

async fn end(store: &Store, wish: &End, now: Now) -> Result<String, Wrong> {
    let mut tx = store.begin().await?;
    let user = find(&mut tx, &wish.who.user, now).await?;
    let ended = match &wish.session {
        Some(id) => {
            let id = SessionId::parse(id).ok_or_else(|| Wrong(format!("{id:?} is no session's id")))?;
            let ended = tx.session_delete_by_id(&user.id, &id).await?;
            usize::from(ended.is_some())
        }
        None => ending::end_all(&mut tx, &user.id, None).await?.len(),
    };
    if ended > 0 {
        log(&mut tx, Action::Revoke, &user.id, now).await?;
    }
    tx.commit().await?;
    Ok(format!("{ended} ended\n"))
}
