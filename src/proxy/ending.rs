//! Why an answer ended before it was whole, as it is logged and counted.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::io;

use crate::metrics::worker::Trouble;

/// What the log is told of an instance whose answers the app breaks off. That one pauses for long is no fault: streams of
/// events do.
pub(super) const BREAK_OFF: &str = "its answers break off";

/// Why an answer ended before it was whole. Travels as the source of an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client has gone, or took or sent too little for too long.
    Client,
    /// The app broke it off, or went on with what is no HTTP.
    App,
    /// The app, or both sides of a tunnel, were silent for too long.
    Idle,
    /// The session that it was for has ended.
    Session,
    /// It was not done when `limits.drain` was over.
    Drain,
}

impl Ending {
    /// What the access log calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::App => "app",
            Self::Idle => "idle",
            Self::Session => "session",
            Self::Drain => "drain",
        }
    }

    /// What a body that failed with this `error` ended by: whatever is not known better comes from the app.
    pub fn of(error: &io::Error) -> Self {
        error.get_ref().and_then(|source| source.downcast_ref()).copied().unwrap_or(Self::App)
    }

    /// What is counted of it, if it is the app's.
    pub fn trouble(self) -> Option<Trouble> {
        match self {
            Self::App => Some(Trouble::BrokenOff),
            Self::Idle => Some(Trouble::IdleTimeout),
            Self::Client | Self::Session | Self::Drain => None,
        }
    }
}

impl Display for Ending {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Error for Ending {}

impl From<Ending> for io::Error {
    fn from(ending: Ending) -> Self {
        Self::other(ending)
    }
}
