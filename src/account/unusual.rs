//! What is unusual about a sign-in, and what follows: pure rules over what is known of the browser, the place
//! and the account.
//!
//! Each rule that fires asks for something, and the most that is asked for is done.

use std::time::Duration;

use crate::account::place::{Fix, Place};
use crate::config::unusual::Mode;
use crate::time::Now;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// How long a browser is known after it was last seen, and a place remembered.
const KNOWN: Duration = Duration::from_hours(90 * 24);
/// How long a network with the same browser in it counts for a browser that shows nothing.
const NEIGHBOUR: Duration = Duration::from_hours(30 * 24);
/// An account that nobody has signed in to for longer is dormant; one that is older is not new.
const DORMANT: Duration = Duration::from_hours(180 * 24);
/// Wrong guesses from elsewhere that make the right one suspicious.
const GUESSES: usize = 5;
/// Fastest journey, in kilometres an hour.
const FASTEST: f64 = 900.0;
/// Shortest distance that is called a journey, in kilometres.
const JOURNEY: f64 = 500.0;
/// Largest uncertainty of a position that is used, in kilometres.
const SHARP: u16 = 50;

/// In how long a stretch guesses and changes are counted: what a flow has to look up.
pub const GUESSES_WITHIN: Duration = HOUR;
/// See [`GUESSES_WITHIN`].
pub const CHANGES_WITHIN: Duration = DAY;

/// How somebody proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By a password.
    Password,
    /// By a password, in the browser in which the mailbox was proved just now.
    Mailbox,
    /// At an identity provider.
    Provider,
    /// By a passkey, or by a second factor besides the first.
    Strong,
}

/// A browser somewhere at some time.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// When.
    pub at: Now,
    /// Browser and system.
    pub agent: String,
    /// Where.
    pub place: Place,
}

/// What is known when somebody has proved who they are.
pub struct Signs {
    /// How it was proved.
    pub proof: Proof,
    /// Whether proofs of this kind are held against the rules at all.
    pub applies: bool,
    /// The browser that did it.
    pub here: Sighting,
    /// When it last signed this user in, if it is trusted with the user.
    pub known: Option<Now>,
    /// The browsers that are trusted with the user, as they were last seen; the last one first.
    pub trusted: Vec<Sighting>,
    /// Whether nobody ever signed in to the account.
    pub never: bool,
    /// When the account was made.
    pub created: Now,
    /// When the user last signed in, as far as is known.
    pub last: Option<Now>,
    /// Wrong guesses at the account of late from other browsers.
    pub guesses: usize,
    /// Whether the password or the address was changed of late from another browser.
    pub changed_elsewhere: bool,
}

/// A rule that fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// R0: nobody ever signed in to this account, which is new; or its mailbox was just proved in this browser.
    FirstSignIn,
    /// R1: the proof was strong.
    StrongProof,
    /// R2: the browser is known.
    KnownBrowser,
    /// R3: the browser shows nothing, but one like it was seen in this network.
    KnownNetwork,
    /// R4: the browser is new.
    NewBrowser,
    /// R5: the browser is known, but the country and the operator of the network are new.
    NewCountry,
    /// R6: many wrong guesses came before.
    AfterGuesses,
    /// R7: nobody signed in for long.
    Dormant,
    /// R7: the password or the address was just changed from elsewhere.
    AfterChange,
    /// R8: nobody travels so fast.
    Journey,
    /// R9: a provider has judged it.
    Provider,
}

/// What follows, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Nothing.
    Trust,
    /// The user is told.
    Notice,
    /// The user must type a code.
    Challenge,
}

/// What follows, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What follows.
    pub outcome: Outcome,
    /// The rules that fired.
    pub rules: Vec<Rule>,
}

impl Judgement {
    /// The rules as they are logged: `R4 R6`.
    pub fn names(&self) -> String {
        self.rules.iter().map(|rule| rule.name()).collect::<Vec<_>>().join(" ")
    }
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 11] = [
        Self::FirstSignIn,
        Self::StrongProof,
        Self::KnownBrowser,
        Self::KnownNetwork,
        Self::NewBrowser,
        Self::NewCountry,
        Self::AfterGuesses,
        Self::Dormant,
        Self::AfterChange,
        Self::Journey,
        Self::Provider,
    ];

    /// From its name in the log; `None` for any other text.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// The stable name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FirstSignIn => "R0",
            Self::StrongProof => "R1",
            Self::KnownBrowser => "R2",
            Self::KnownNetwork => "R3",
            Self::NewBrowser => "R4",
            Self::NewCountry => "R5",
            Self::AfterGuesses => "R6",
            Self::Dormant => "R7",
            Self::AfterChange => "R7-change",
            Self::Journey => "R8",
            Self::Provider => "R9",
        }
    }

    /// What it asks for. `known` is whether the browser is known too.
    const fn outcome(self, mode: Mode, known: bool) -> Outcome {
        match (self, mode) {
            (_, Mode::Off)
            | (Self::FirstSignIn | Self::StrongProof | Self::KnownBrowser | Self::Provider, _)
            | (Self::KnownNetwork | Self::NewCountry, Mode::Notify) => Outcome::Trust,
            (
                Self::NewBrowser | Self::AfterGuesses | Self::Dormant | Self::AfterChange | Self::Journey,
                Mode::Notify,
            )
            | (Self::KnownNetwork | Self::NewCountry | Self::Journey, Mode::Balanced) => Outcome::Notice,
            // No mode does less than a milder one.
            (Self::AfterGuesses | Self::Dormant | Self::AfterChange, Mode::Balanced) if known => {
                Outcome::Notice
            }
            (Self::NewBrowser | Self::AfterGuesses | Self::Dormant | Self::AfterChange, Mode::Balanced)
            | (_, Mode::Strict) => Outcome::Challenge,
        }
    }
}

/// Judges a sign-in whose first factor was proved.
pub fn judge(mode: Mode, signs: &Signs) -> Judgement {
    let rules = fired(signs);
    let known = rules.contains(&Rule::KnownBrowser);
    let outcome = rules.iter().map(|rule| rule.outcome(mode, known)).max().unwrap_or(Outcome::Trust);
    Judgement { outcome, rules }
}

fn fired(signs: &Signs) -> Vec<Rule> {
    if signs.proof == Proof::Strong {
        return vec![Rule::StrongProof];
    }
    if signs.proof == Proof::Mailbox {
        return vec![Rule::FirstSignIn];
    }
    if !signs.applies {
        return vec![Rule::Provider];
    }
    let now = signs.here.at;
    let known = signs.known.is_some_and(|seen| now.since(seen) <= KNOWN);
    let mut rules = Vec::new();
    rules.push(if known {
        Rule::KnownBrowser
    } else if signs.never && now.since(signs.created) <= DORMANT {
        Rule::FirstSignIn
    } else if neighbour(signs) {
        Rule::KnownNetwork
    } else {
        Rule::NewBrowser
    });
    if known && new_country(signs) {
        rules.push(Rule::NewCountry);
    }
    if signs.guesses >= GUESSES {
        rules.push(Rule::AfterGuesses);
    }
    if signs.last.is_some_and(|last| now.since(last) > DORMANT) {
        rules.push(Rule::Dormant);
    }
    if signs.changed_elsewhere {
        rules.push(Rule::AfterChange);
    }
    if impossible_journey(signs) {
        rules.push(Rule::Journey);
    }
    rules
}

/// Whether a browser like this one was seen in this network.
fn neighbour(signs: &Signs) -> bool {
    let here = &signs.here;
    signs.trusted.iter().any(|seen| {
        here.at.since(seen.at) <= NEIGHBOUR
            && seen.place.network == here.place.network
            && seen.agent == here.agent
    })
}

/// Whether neither country nor operator was seen before; what is not known is not new.
fn new_country(signs: &Signs) -> bool {
    let here = &signs.here;
    let (Some(country), Some(asn)) = (&here.place.country, here.place.asn) else { return false };
    let mut places = signs
        .trusted
        .iter()
        .filter(|seen| here.at.since(seen.at) <= KNOWN)
        .filter_map(|seen| Some((seen.place.country.as_ref()?, seen.place.asn?)))
        .peekable();
    places.peek().is_some() && places.all(|(other, operator)| other != country && operator != asn)
}

/// Whether nobody could have come here from where the user was last seen.
fn impossible_journey(signs: &Signs) -> bool {
    let here = &signs.here;
    let Some(last) = signs.trusted.first() else { return false };
    let (Some(from), Some(to)) = (last.place.fix, here.place.fix) else { return false };
    if from.radius > SHARP || to.radius > SHARP {
        return false;
    }
    let distance = kilometres(from, to);
    distance > JOURNEY && distance > FASTEST * here.at.since(last.at).as_secs_f64() / HOUR.as_secs_f64()
}

/// The length of the great circle between two positions (haversine), on a sphere of the Earth's mean radius.
fn kilometres(from: Fix, to: Fix) -> f64 {
    const RADIUS: f64 = 6371.0;
    let half = |a: f64, b: f64| ((b - a).to_radians() / 2.0).sin().powi(2);
    let across = from.latitude.to_radians().cos() * to.latitude.to_radians().cos();
    let chord = half(from.latitude, to.latitude) + across * half(from.longitude, to.longitude);
    2.0 * RADIUS * chord.clamp(0.0, 1.0).sqrt().asin()
}

#[cfg(test)]
mod tests;
