//! `sidegate keys`: shows the keys that sign tokens, or makes a new one.

use std::io::{self, Write};

use clap::{Args, Subcommand};

use super::{Failure, Settings, serve};
use crate::config::NewSecret;
use crate::error::Fault;
use crate::store::Store;
use crate::time::{Clock, Now};
use crate::token::Tokens;
use crate::token::keys::SigningKey;

/// What is done with the keys.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    deed: Deed,
}

#[derive(Subcommand)]
enum Deed {
    /// Show when each key signs, and until when it is believed.
    List(Settings),
    /// Make a new key now rather than when it is due.
    Rotate(Rotate),
}

#[derive(Args)]
struct Rotate {
    /// For a key that others have got hold of: the new one signs at once, and within a minute nothing is
    /// believed that another one signed.
    #[arg(long)]
    at_once: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Does it, and shows the keys as they are then.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let (settings, rotate) = match &options.deed {
        Deed::List(settings) => (settings, None),
        Deed::Rotate(rotate) => (&rotate.settings, Some(rotate.at_once)),
    };
    // A key is worth something only under a secret that is kept.
    let new_secret = if rotate.is_some() { NewSecret::Keep } else { NewSecret::Leave };
    let config = settings.load(new_secret)?;
    let now = Clock::System.now();
    let work = async {
        let store = Store::open(&config.store, &Clock::System).await?;
        let tokens = Tokens::new(store.clone(), &config);
        tokens.reload(now).await?;
        if let Some(at_once) = rotate {
            tokens.rotate(now, at_once).await?;
        }
        store.close().await;
        Ok::<_, Fault>(tokens)
    };
    let tokens = serve::office()?.block_on(work).map_err(|fault| Failure::Other(fault.to_string()))?;
    print(tokens.ring().keys(), now, &mut io::stdout().lock())
        .map_err(|error| Failure::Other(format!("writing the list: {error}")))
}

fn print<'k>(keys: impl Iterator<Item = &'k SigningKey>, now: Now, out: &mut impl Write) -> io::Result<()> {
    let mut signs = true;
    for key in keys {
        let state = if key.active_from() > now {
            "waits"
        } else if std::mem::take(&mut signs) {
            "signs"
        } else {
            "is believed"
        };
        let retires = key.retires().map_or_else(|| "-".to_owned(), Now::iso);
        let (id, algorithm, from) = (key.id(), key.algorithm().name(), key.active_from().iso());
        writeln!(out, "{id}  {algorithm}  {state:<11}  from {from}  until {retires}")?;
    }
    if signs {
        writeln!(out, "no key signs yet: one is made at the first start")?;
    }
    Ok(())
}
