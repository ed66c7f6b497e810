//! `sidegate migrate`: brings the tables up to date by hand, for those who switched that off at start.

use std::io::Write as _;

use super::{Failure, Settings, serve};
use crate::config::NewSecret;
use crate::store::Store;
use crate::time::Clock;

/// Applies what is missing and names it.
pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let config = settings.load(NewSecret::Leave)?;
    let office = serve::office()?;
    let applied = office
        .block_on(Store::migrate(&config.store, &Clock::System))
        .map_err(|fault| Failure::Other(fault.to_string()))?;
    let mut out = std::io::stdout().lock();
    for name in &applied {
        let _ = writeln!(out, "applied {name}");
    }
    if applied.is_empty() {
        let _ = writeln!(out, "the tables are up to date");
    }
    Ok(())
}
