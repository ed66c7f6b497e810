//! For how long an answer may go on: as long as the session it is for, and as the app is not silent.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::proxy::ending::Ending;
use crate::proxy::ticker::{Deadline, TICK};
use crate::session::live::{Line, Live};
use crate::time::Now;
use crate::visitor::Session;

/// An answer that takes longer is long. Also how often a waiting one is looked at.
const LONG: Duration = Duration::from_secs(1);

/// The term of one answer, from the request on.
pub(super) struct Term {
    session: Option<Arc<Session>>,
    /// When the request came; also in milliseconds of the worker.
    at: Now,
    begun: u64,
    /// Cut when the session ends; there once the answer is a long one.
    line: Option<Line>,
    /// When something moved last, likewise.
    moved: u64,
}

/// Why an answer goes on no longer.
pub(super) enum Over {
    /// Its session has ended.
    Session,
    /// The app was silent for longer than there is patience.
    Patience,
}

impl From<Over> for Ending {
    fn from(over: Over) -> Self {
        match over {
            Over::Session => Self::Session,
            Over::Patience => Self::Idle,
        }
    }
}

impl Term {
    /// Of the answer to a request of this session that comes now, told as time of day and in milliseconds of the worker.
    pub(super) fn begin(session: Option<Arc<Session>>, (at, now): (Now, u64)) -> Self {
        Self { session, at, begun: now, line: None, moved: now }
    }

    /// The same term, for what goes on beside the answer.
    pub(super) fn beside(&self) -> Self {
        Self { session: self.session.clone(), line: None, ..*self }
    }

    /// The time of day, at this millisecond of the worker.
    pub(super) fn at(&self, now: u64) -> Now {
        self.at.plus(Duration::from_millis(now.saturating_sub(self.begun)))
    }

    /// Whether the session is over. Short answers are spared the question.
    pub(super) fn is_over(&mut self, now: u64, live: &Live) -> bool {
        let Some(session) = &self.session else { return false };
        if self.line.is_none() && u128::from(now.saturating_sub(self.begun)) >= LONG.as_millis() {
            self.line = Some(live.open(session));
        }
        self.line.as_ref().is_some_and(Line::is_cut)
    }

    /// Something moved: the silence is over.
    pub(super) fn moved(&mut self, deadline: &Deadline) {
        self.moved = deadline.now();
        deadline.disarm();
    }

    /// Waits until the session ends, however long the app is silent: while nobody takes what it says it has no reason to
    /// speak.
    pub(super) fn poll_cut(&mut self, cx: &Context<'_>, deadline: &Deadline, live: &Live) -> Poll<Ending> {
        self.poll_over(cx, deadline, Duration::MAX, live).map(Ending::from)
    }

    /// Waits until there has been nothing for `patience`, or the session ends.
    pub(super) fn poll_over(
        &mut self,
        cx: &Context<'_>,
        deadline: &Deadline,
        patience: Duration,
        live: &Live,
    ) -> Poll<Over> {
        loop {
            if self.is_over(deadline.now(), live) {
                return Poll::Ready(Over::Session);
            }
            deadline.arm_once(LONG.min(patience));
            ready!(deadline.poll(cx));
            deadline.disarm();
            let silent = Duration::from_millis(deadline.now().saturating_sub(self.moved));
            // The moment of a movement is known to a tick.
            if silent >= patience.saturating_add(TICK) {
                return Poll::Ready(Over::Patience);
            }
        }
    }
}
