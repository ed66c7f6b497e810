//! What can go wrong on the way to an answer: a [`Refusal`] the client is told, or a [`Fault`] only the log
//! knows.
//!
//! A fault is logged once, where errors become responses (`answer::refuse`), with the request id
//! under which the client can name it.

use std::error::Error as StdError;
use std::fmt;

use crate::refusal::Refusal;

/// Why there is no proper answer.
#[derive(Debug)]
pub enum Error {
    /// The client is told why.
    Refused(Refusal),
    /// The client is told that it is our fault.
    Fault(Fault),
}

/// A fault of ours, with what we were doing and the chain of causes.
#[derive(Debug)]
pub struct Fault {
    doing: &'static str,
    source: Option<Box<dyn StdError + Send + Sync>>,
    refusal: Refusal,
}

impl Fault {
    /// A fault while `doing` something ("reading a session").
    pub fn new(doing: &'static str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { doing, source: Some(source.into()), refusal: Refusal::Internal }
    }

    /// The store did not answer: the client hears 503 and may try again.
    pub fn store(doing: &'static str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { doing, source: Some(source.into()), refusal: Refusal::StoreUnavailable }
    }

    /// What the client is told of it.
    pub fn refusal(&self) -> Refusal {
        self.refusal
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.doing)?;
        let mut cause = self.source.as_deref().map(|e| e as &dyn StdError);
        let mut said = String::new();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many errors say their cause themselves.
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Fault {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
