//! `[unusual]` and `[geo]` as the rest of the house uses them: what follows an unusual sign-in, and the files
//! that say where an address is.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

/// `[unusual]`
#[derive(Clone, Copy)]
pub struct Unusual {
    /// How much follows.
    pub mode: Mode,
    /// Whether a sign-in at a provider is held against the rules too.
    pub providers: bool,
    /// Whether a user whose mailbox was never proved is turned away where a code would be sent; else the user
    /// is only told.
    pub block_unverified: bool,
}

/// `unusual.mode`: how much follows an unusual sign-in.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing: no sign-in is judged.
    Off,
    /// A mail.
    Notify,
    /// A code by mail for a browser that is new, a mail for what is odd.
    Balanced,
    /// A code by mail for all of it.
    Strict,
}

impl fmt::Display for Mode {
    /// As it is written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Notify => "notify",
            Self::Balanced => "balanced",
            Self::Strict => "strict",
        })
    }
}

/// `unusual.apply_to`: a way to sign in that is held against the rules.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// By password; always among them.
    Password,
    /// At a provider, which has rules of its own.
    Provider,
}

/// `unusual.unverified`: what becomes of a user whose mailbox was never proved, where a code would be sent.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Unverified {
    /// The sign-in is refused.
    Block,
    /// The sign-in goes on, and a mail says so.
    Allow,
}

/// `[geo]`: each file is loaded at start.
#[derive(Clone, Default)]
pub struct Geo {
    /// Countries, perhaps with positions, in `MaxMind` DB format.
    pub country_file: Option<PathBuf>,
    /// Operators of networks, in `MaxMind` DB format.
    pub asn_file: Option<PathBuf>,
    /// Networks that hide where somebody is: one a line.
    pub anonymizers_file: Option<PathBuf>,
}
