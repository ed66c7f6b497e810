//! What can go wrong between us and the app, and what the client hears of it.

use std::io;

use crate::metrics::worker::Trouble;
use crate::refusal::Refusal;

/// Why an exchange with the app failed.
#[derive(Debug)]
pub enum Failure {
    /// No instance of the app is well.
    NoneWell,
    /// We cannot have any more connections.
    NoRoom,
    /// No connection could be made.
    Unreachable(io::Error),
    /// No connection could be made in time.
    ConnectTimeout,
    /// The connection ended before the head of an answer was complete.
    Closed {
        /// Not one byte of an answer had come, so that a request without effect may be sent again.
        untouched: bool,
    },
    /// The app gave the request up, with these words (RFC 9113 §7).
    GivenUp(String),
    /// We ended the connection, which it shared with others, for what came of one of them.
    Shared,
    /// The session that the request came with ended before there was an answer.
    SessionEnded,
    /// The head of the answer is not HTTP that can be passed on without a doubt.
    Invalid(&'static str),
    /// The app answered the handshake of a tunnel with success, and did not switch.
    NotSwitched,
    /// The head of the answer did not come in time.
    ResponseTimeout,
    /// The client's body grew past the limit.
    BodyTooLarge,
    /// The client says that its body is larger than the limit; the app was not asked.
    DeclaredTooLarge,
    /// The client's body ended early or broke its framing.
    BadBody,
    /// The client's body paused too long.
    BodyTimeout,
}

/// A request that failed, and where.
#[derive(Debug)]
pub struct Failed {
    /// How.
    pub failure: Failure,
    /// The instance of the app that was asked last, counted from 0.
    pub instance: Option<u16>,
}

impl Failed {
    pub(super) fn at(instance: usize, failure: Failure) -> Self {
        Self { failure, instance: u16::try_from(instance).ok() }
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure, instance: None }
    }
}

impl Failure {
    /// Whether it was counted already, with those of the same kind that a further try has mended.
    pub fn is_counted(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::ConnectTimeout)
    }

    /// Whether it speaks against the instance that was asked, rather than against the client.
    pub(super) fn of_the_app(&self) -> bool {
        match self {
            Self::Closed { .. } | Self::GivenUp(_) | Self::Invalid(_) | Self::ResponseTimeout => true,
            Self::NoneWell
            | Self::NoRoom
            | Self::Unreachable(_)
            | Self::ConnectTimeout
            | Self::Shared
            | Self::SessionEnded
            | Self::NotSwitched
            | Self::BodyTooLarge
            | Self::DeclaredTooLarge
            | Self::BadBody
            | Self::BodyTimeout => false,
        }
    }

    /// Whether the client, or the end of its session, is why there is no answer of the app's.
    pub fn of_the_client(&self) -> bool {
        match self {
            Self::SessionEnded
            | Self::BodyTooLarge
            | Self::DeclaredTooLarge
            | Self::BadBody
            | Self::BodyTimeout => true,
            Self::NoneWell
            | Self::NoRoom
            | Self::Unreachable(_)
            | Self::ConnectTimeout
            | Self::Closed { .. }
            | Self::GivenUp(_)
            | Self::Shared
            | Self::Invalid(_)
            | Self::NotSwitched
            | Self::ResponseTimeout => false,
        }
    }

    /// What the client is told.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::NoneWell => Refusal::UpstreamUnavailable,
            Self::NoRoom => Refusal::Overloaded,
            Self::Unreachable(_) => Refusal::UpstreamUnreachable,
            Self::Closed { .. } | Self::GivenUp(_) | Self::Shared | Self::Invalid(_) | Self::NotSwitched => {
                Refusal::UpstreamInvalid
            }
            Self::SessionEnded => Refusal::SignInRequired,
            Self::ConnectTimeout | Self::ResponseTimeout => Refusal::UpstreamTimeout,
            Self::BodyTooLarge | Self::DeclaredTooLarge => Refusal::BodyTooLarge,
            Self::BadBody => Refusal::BadBody,
            Self::BodyTimeout => Refusal::BodyTimeout,
        }
    }

    /// What is counted of it, unless it was the client's fault.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::NoRoom => Some(Trouble::NoRoom),
            Self::Unreachable(_) => Some(Trouble::Unreachable),
            Self::ConnectTimeout => Some(Trouble::ConnectTimeout),
            Self::Closed { .. } | Self::GivenUp(_) | Self::Shared => Some(Trouble::Closed),
            Self::Invalid(_) => Some(Trouble::Invalid),
            Self::ResponseTimeout => Some(Trouble::ResponseTimeout),
            Self::NoneWell => Some(Trouble::NoneWell),
            Self::SessionEnded
            | Self::NotSwitched
            | Self::BodyTooLarge
            | Self::DeclaredTooLarge
            | Self::BadBody
            | Self::BodyTimeout => None,
        }
    }

    /// What the log is told.
    pub fn reason(&self) -> String {
        match self {
            Self::NoneWell => "no instance of the app is well".to_owned(),
            Self::NoRoom => "there is no room for another connection to the app".to_owned(),
            Self::Unreachable(error) => format!("the app cannot be reached: {error}"),
            Self::ConnectTimeout => "connecting to the app took too long".to_owned(),
            Self::Closed { .. } => "the app closed the connection before it answered".to_owned(),
            Self::GivenUp(why) => format!("the app gave the request up: {why}"),
            Self::Shared => "the connection that it shared was ended for others".to_owned(),
            Self::SessionEnded => "its session ended before the app answered".to_owned(),
            Self::Invalid(what) => format!("the app's answer is not valid HTTP: {what}"),
            Self::NotSwitched => "the app answered a handshake with success and did not switch".to_owned(),
            Self::ResponseTimeout => "the app did not answer in time".to_owned(),
            Self::BodyTooLarge | Self::DeclaredTooLarge => {
                "the request body is larger than limits.body".to_owned()
            }
            Self::BadBody => "the request body broke off".to_owned(),
            Self::BodyTimeout => "the request body paused too long".to_owned(),
        }
    }
}
