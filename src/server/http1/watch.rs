//! Whether an answer is still waited for.

use std::cell::RefCell;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::http::wire::Wire;
use crate::proxy::ticker::{Deadline, Ticker};
use crate::server::http1::READ;

/// After this time without an answer it is looked whether the client is still there.
const LOOK: Duration = Duration::from_millis(250);
/// Longer than anything lasts.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);
/// What a client may send ahead while it waits for an answer, in bytes.
const MOST_AHEAD: usize = 16 * 1024;

/// Looks whether a client that waits for its answer is still there. Not at once: most answers are quick, and to
/// be woken by what the client does would cost each of them.
pub(super) struct Watch {
    /// Armed as long as it is looked, so that who waits is woken when what is under way is cut.
    deadline: Deadline,
    looking: bool,
}

impl Watch {
    /// Not begun.
    pub(super) fn new(ticker: &Ticker) -> Self {
        Self { deadline: ticker.deadline(), looking: false }
    }

    /// A request has come.
    pub(super) fn begin(&mut self) {
        self.looking = false;
        self.deadline.arm(LOOK);
    }

    /// It is answered.
    pub(super) fn end(&self) {
        self.deadline.disarm();
    }

    /// Whether what is under way is cut.
    pub(super) fn is_cut(&self) -> bool {
        self.deadline.is_cut()
    }

    /// Ready once the client has gone, or what is under way is cut. What the client sends ahead is kept.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>, wire: &RefCell<Wire>) -> Poll<()> {
        if self.is_cut() {
            return Poll::Ready(());
        }
        if let Poll::Ready(Err(_)) = wire.borrow_mut().poll_inform(cx) {
            return Poll::Ready(());
        }
        if !self.looking {
            ready!(self.deadline.poll(cx));
            self.looking = true;
            self.deadline.arm(FOR_EVER);
        }
        let _ = self.deadline.poll(cx);
        let mut wire = wire.borrow_mut();
        // Who reads the body hears of the end by it.
        while wire.complete() && wire.unread.len() < MOST_AHEAD {
            if !matches!(ready!(wire.poll_read(cx, READ)), Ok(1..)) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}
