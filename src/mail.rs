//! Mail on its way out: a message, what carries it, and why it was not taken.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::ZeroizeOnDrop;

use crate::config::mail::{Mail, Transport};
use crate::error::Fault;
use crate::id::RowId;

pub mod catcher;
mod smtp;

use catcher::Catcher;
use smtp::Smtp;

/// A mail as it waits in the outbox, sealed. It holds links and codes: no `Debug`, wiped when dropped.
#[derive(Serialize, Deserialize, ZeroizeOnDrop)]
pub struct Message {
    /// The id of its line in the outbox: names it to mail programs too, so that one that arrives twice is
    /// known for the same.
    pub id: String,
    /// When it was decided on, in milliseconds since the epoch.
    pub at: i64,
    /// One address.
    pub to: String,
    /// One line.
    pub subject: String,
    /// For programs that show text.
    pub text: String,
    /// For programs that show more.
    pub html: String,
}

/// The purpose under which a message is sealed: it opens in its own line only.
pub fn sealed_for(id: &RowId) -> String {
    format!("outbox/{id}")
}

/// What carries mails away.
pub enum Mailer {
    /// A mail server.
    Smtp(Box<Smtp>),
    /// Memory.
    Catcher(Catcher),
}

/// Why a mail was not taken, for the log.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may be taken later.
    Transient(String),
    /// It will never be taken.
    Permanent(String),
}

impl Mailer {
    /// From the configuration; connects nowhere yet.
    ///
    /// # Errors
    /// A [`Fault`] if the settings for TLS cannot be used.
    pub fn new(config: &Mail) -> Result<Self, Fault> {
        Ok(match &config.transport {
            Transport::Smtp(server) => Self::Smtp(Box::new(Smtp::new(config, server)?)),
            Transport::Catcher => Self::Catcher(Catcher::default()),
        })
    }

    /// From another configuration: what was caught is kept, and connections are made anew.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn under(&self, config: &Mail) -> Result<Self, Fault> {
        match (self, &config.transport) {
            (Self::Catcher(catcher), Transport::Catcher) => Ok(Self::Catcher(catcher.clone())),
            _ => Self::new(config),
        }
    }

    /// Hands over one mail. With SMTP it may be delivered although this failed, when the connection broke after
    /// the text and before the answer: then it will arrive twice, with the same `Message-ID`.
    pub async fn send(&self, message: &Message) -> Result<(), Failure> {
        match self {
            Self::Smtp(smtp) => smtp.send(message).await,
            Self::Catcher(catcher) => {
                catcher.keep(message);
                Ok(())
            }
        }
    }

    /// Ends what connections are open and unused.
    pub async fn rest(&self) {
        match self {
            Self::Smtp(smtp) => smtp.rest().await,
            Self::Catcher(_) => {}
        }
    }

    /// Goes as far as a mail would before its first address: connects, encrypts, signs in.
    ///
    /// # Errors
    /// What went wrong, for people.
    pub async fn check(&self) -> Result<(), String> {
        match self {
            Self::Smtp(smtp) => smtp.check().await,
            Self::Catcher(_) => Ok(()),
        }
    }

    /// How many mails can be under way at a time.
    pub fn lanes(&self) -> usize {
        match self {
            Self::Smtp(smtp) => smtp.lanes(),
            Self::Catcher(_) => 1,
        }
    }

    /// Longest time that [`Self::send`] takes.
    pub fn patience(&self) -> Duration {
        match self {
            Self::Smtp(smtp) => smtp.patience(),
            Self::Catcher(_) => Duration::from_secs(1),
        }
    }
}

impl fmt::Display for Mailer {
    /// For people: where mails go.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smtp(smtp) => smtp.fmt(f),
            Self::Catcher(_) => f.write_str("the catcher, in memory"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transient(why) | Self::Permanent(why) => f.write_str(why),
        }
    }
}
