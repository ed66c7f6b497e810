//! The route of a request: the rule that speaks of it, or what is there without one. Routes have names, which the log
//! and the metrics tell; no request can make one.

use crate::config::rule::{AUTH, DEFAULT, NONE, OWNER, Rule};
use crate::gate::rules::{Demand, Owner, Rules};

/// A place among the routes of a configuration, which has fewer rules than a `u16` can count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route(u16);

impl Route {
    /// The message could not be read, or its path can be read in two ways.
    pub const NONE: Self = Self(0);
    /// What we answer ourselves.
    pub const AUTH: Self = Self(1);
    /// An owner path of which no rule speaks.
    pub const OWNER: Self = Self(2);
    /// All else of which no rule speaks.
    pub const DEFAULT: Self = Self(3);

    /// That of a path which asks for this.
    pub(super) fn of(demand: Demand) -> Self {
        match (demand.rule, demand.owner) {
            (Some(rule), _) => Self(rule.saturating_add(Self::DEFAULT.0)),
            (None, Owner::Nobody) => Self::DEFAULT,
            (None, Owner::Visitor | Owner::Other) => Self::OWNER,
        }
    }

    /// Its place in [`Rules::routes`].
    pub fn place(self) -> usize {
        usize::from(self.0)
    }

    /// The rule, counted from 1, if it is one.
    pub fn rule(self) -> Option<u16> {
        self.0.checked_sub(Self::DEFAULT.0).filter(|rule| *rule > 0)
    }
}

impl Rules {
    /// All routes with their names, each at its [`Route::place`]. Several may have the same one.
    pub fn routes(&self) -> Vec<(Route, String)> {
        let always = [NONE, AUTH, OWNER, DEFAULT].map(str::to_owned);
        let names = always.into_iter().chain(self.rules.iter().map(Rule::route));
        (0..).map(Route).zip(names).collect()
    }
}
