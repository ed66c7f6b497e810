//! What is wrong with a configuration: all of it at once, each with its key, the problem and the remedy.

use std::collections::HashSet;
use std::fmt;

/// One thing that is wrong.
#[derive(Debug)]
pub struct Problem {
    /// Key path as in the file: `upstream.url`, `rules[2].path`.
    pub key: String,
    /// Where the value was given: `sidegate.toml:12`, an environment variable, a flag.
    pub place: Option<Place>,
    /// What is wrong. Never holds the value of a secret.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Where a value was given. Ordered as they are reported: the file from top to bottom, then the rest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of the configuration file.
    Line(String, usize),
    /// An environment variable.
    Variable(String),
    /// A command line flag.
    Flag(&'static str),
}

/// Everything that is wrong with a configuration; one line each when displayed.
#[derive(Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
    /// Keys whose value holds something of the environment, which may be a secret.
    hidden: HashSet<String>,
}

impl Problems {
    /// Notes one: the key, what is wrong and what to do about it.
    pub fn add(&mut self, key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) {
        self.list.push(Problem { key: key.into(), place: None, what: what.into(), remedy: remedy.into() });
    }

    /// Notes one whose place is known already.
    pub(super) fn add_at(
        &mut self,
        place: Place,
        key: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(key, what, remedy);
        if let Some(last) = self.list.last_mut() {
            last.place = Some(place);
        }
    }

    /// This one alone.
    pub fn one(key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        let mut problems = Self::default();
        problems.add(key, what, remedy);
        problems
    }

    /// What came of something, unless that is problems, which are noted.
    pub fn take<T>(&mut self, outcome: Result<T, Self>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(others) => {
                self.extend(others);
                None
            }
        }
    }

    /// Notes all of `others` too.
    pub fn extend(&mut self, others: Self) {
        self.list.extend(others.list);
    }

    /// The value of `key` is never to be shown.
    pub(super) fn hide(&mut self, key: &str) {
        self.hidden.insert(key.to_owned());
    }

    /// A value as a problem shows it.
    pub(super) fn quote(&self, key: &str, value: &str) -> String {
        if self.hidden.contains(key) { "its value (not shown)".to_owned() } else { format!("{value:?}") }
    }

    /// Whether something was said about this key or a section that holds it, so that what follows
    /// from it need not be said as well.
    pub(super) fn about(&self, key: &str) -> bool {
        self.list.iter().any(|p| {
            key.strip_prefix(p.key.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// Whether something was said about this section or anything in it, so that what stands there may lack a part.
    pub fn within(&self, section: &str) -> bool {
        self.list.iter().any(|p| {
            p.key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// Fills in places that are not known yet and puts the list in their order.
    pub(super) fn locate(&mut self, place_of: impl Fn(&str) -> Option<Place>) {
        for problem in &mut self.list {
            if problem.place.is_none() {
                problem.place = place_of(&problem.key);
            }
        }
        self.list.sort_by(|a, b| match (&a.place, &b.place) {
            (Some(a), Some(b)) => a.cmp(b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        });
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What was collected, if it is nothing.
    pub fn none_or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }

    /// The single problems, in the order in which they are displayed.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(f, "{file}:{line}"),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key.escape_debug())?;
        }
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            writeln!(f, "{problem}")?;
        }
        Ok(())
    }
}
