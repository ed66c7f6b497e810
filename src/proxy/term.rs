//! For how long an answer may go on: as long as the session it is for.

use std::sync::Arc;
use std::time::Duration;

use crate::session::live::{Line, Live};
use crate::visitor::Session;

/// An answer that takes longer is long. Also how often a waiting one is looked at.
pub(super) const LONG: Duration = Duration::from_secs(1);

/// The term of one answer.
#[derive(Default)]
pub(super) struct Term {
    session: Option<Arc<Session>>,
    /// When the answer began, in milliseconds of the worker.
    begun: u64,
    /// Cut when the session ends; there once the answer is a long one.
    line: Option<Line>,
}

impl Term {
    /// Of an answer for this session that begins now.
    pub(super) fn begin(session: Option<Arc<Session>>, now: u64) -> Self {
        Self { session, begun: now, line: None }
    }

    /// Whether the session is over. Short answers are spared the question.
    pub(super) fn is_over(&mut self, now: u64, live: &Live) -> bool {
        let Some(session) = &self.session else { return false };
        if self.line.is_none() && u128::from(now.saturating_sub(self.begun)) >= LONG.as_millis() {
            self.line = Some(live.open(session));
        }
        self.line.as_ref().is_some_and(Line::is_cut)
    }
}
