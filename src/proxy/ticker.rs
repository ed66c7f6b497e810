//! Deadlines without timers: one coarse ticker per worker looks at all of them.
//!
//! A timer per request costs a registration, a cancellation and often a wake-up of the reactor; a deadline
//! here is one stored number. The price is that it strikes up to one [`TICK`] late, which is nothing against
//! seconds.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How often the deadlines are looked at.
pub const TICK: Duration = Duration::from_millis(250);

/// The due time of a deadline that is not armed.
const NEVER: u64 = u64::MAX;
/// The due time of a wait that was cut short.
const AT_ONCE: u64 = 0;

/// The ticker of one worker.
#[derive(Clone, Default)]
pub struct Ticker(Rc<Inner>);

#[derive(Default)]
struct Inner {
    /// Milliseconds since the worker started, as of the last tick.
    now: Cell<u64>,
    slots: RefCell<Vec<Weak<Slot>>>,
    /// What has no end of its own ends now.
    cut: Cell<bool>,
}

struct Slot {
    /// In milliseconds of the worker; odd while the wait may be cut short.
    due: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

/// One deadline, armed and disarmed as often as needed.
pub struct Deadline {
    ticker: Ticker,
    slot: Rc<Slot>,
}

/// A wait that somebody else may cut short as long as its deadline is armed for that ([`Deadline::arm_idle`]).
#[derive(Default)]
pub struct Idle(Weak<Slot>);

impl Idle {
    /// When it ends by itself, in milliseconds of the worker; `None` while it may not be cut short.
    pub fn due(&self) -> Option<u64> {
        let due = self.0.upgrade()?.due.get();
        (due % 2 == 1 && due != NEVER).then_some(due)
    }

    /// Ends it, if it may be cut short.
    pub fn end(&self) {
        if self.due().is_some()
            && let Some(slot) = self.0.upgrade()
        {
            slot.due.set(AT_ONCE);
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Ticker {
    /// Runs for ever: the one always-armed timer of a worker's runtime.
    pub async fn run(self, mut each: impl FnMut()) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let start = ticks.tick().await;
        loop {
            let at = ticks.tick().await;
            let now = u64::try_from(at.duration_since(start).as_millis()).unwrap_or(NEVER - 1);
            self.0.now.set(now);
            self.strike(now);
            each();
        }
    }

    /// Wakes every task that waits for a deadline, struck or not.
    pub fn wake_all(&self) {
        self.strike(NEVER - 1);
    }

    /// Ends what has no end of its own.
    pub fn cut(&self) {
        self.0.cut.set(true);
        self.wake_all();
    }

    /// Whether what has no end of its own has to end.
    pub fn is_cut(&self) -> bool {
        self.0.cut.get()
    }

    fn strike(&self, now: u64) {
        self.0.slots.borrow_mut().retain(|slot| {
            let Some(slot) = slot.upgrade() else { return false };
            if slot.due.get() <= now
                && let Some(waker) = slot.waker.take()
            {
                waker.wake();
            }
            true
        });
    }

    /// Milliseconds since the worker started, as of the last tick.
    pub fn now(&self) -> u64 {
        self.0.now.get()
    }

    /// Whether it is at least as long as `than` since a moment in milliseconds of the worker.
    pub(super) fn has_passed(&self, since: u64, than: Duration) -> bool {
        u128::from(self.now().saturating_sub(since)) >= than.as_millis()
    }

    /// Waits so long, or up to one tick longer.
    pub async fn after(&self, time: Duration) {
        let deadline = self.deadline();
        deadline.arm(time);
        poll_fn(|cx| deadline.poll(cx)).await;
    }

    /// A new deadline, not armed.
    pub fn deadline(&self) -> Deadline {
        let slot = Rc::new(Slot { due: Cell::new(NEVER), waker: RefCell::new(None) });
        self.0.slots.borrow_mut().push(Rc::downgrade(&slot));
        Deadline { ticker: self.clone(), slot }
    }
}

impl Deadline {
    /// Strikes `after` this moment, or up to one tick later.
    pub fn arm(&self, after: Duration) {
        self.slot.due.set(self.due(after) & !1);
    }

    /// The same, for a wait that may be cut short.
    pub fn arm_idle(&self, after: Duration) {
        self.slot.due.set(self.due(after) | 1);
    }

    fn due(&self, after: Duration) -> u64 {
        let after = u64::try_from((after + TICK).as_millis()).unwrap_or(NEVER);
        self.ticker.now().saturating_add(after)
    }

    /// What others have of it.
    pub fn idle(&self) -> Idle {
        Idle(Rc::downgrade(&self.slot))
    }

    /// Whether its wait was cut short, and it has not been armed since.
    pub fn was_cut_short(&self) -> bool {
        self.slot.due.get() == AT_ONCE
    }

    /// Arms it unless it is armed already.
    pub fn arm_once(&self, after: Duration) {
        if self.slot.due.get() == NEVER {
            self.arm(after);
        }
    }

    /// Whether the worker ends what has no end of its own.
    pub fn is_cut(&self) -> bool {
        self.ticker.is_cut()
    }

    /// Milliseconds since the worker started, as of the last tick.
    pub fn now(&self) -> u64 {
        self.ticker.now()
    }

    /// Strikes no more.
    pub fn disarm(&self) {
        self.slot.due.set(NEVER);
    }

    /// Ready once the deadline has passed; until then the task is woken when it does.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let due = self.slot.due.get();
        if due <= self.ticker.now() {
            return Poll::Ready(());
        }
        if due != NEVER {
            match &mut *self.slot.waker.borrow_mut() {
                Some(known) => known.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wait_that_may_be_cut_short_is_and_only_until_it_is_armed_again() {
        let ticker = Ticker::default();
        let deadline = ticker.deadline();
        let (idle, cx) = (deadline.idle(), Context::from_waker(Waker::noop()));
        let minute = Duration::from_mins(1);
        for arm in [Deadline::arm, |deadline: &Deadline, _| deadline.disarm()] {
            arm(&deadline, minute);
            idle.end();
            assert!(idle.due().is_none() && deadline.poll(&cx).is_pending() && !deadline.was_cut_short());
        }
        deadline.arm_idle(minute);
        assert!(idle.due().is_some_and(|due| due >= 60_000) && deadline.poll(&cx).is_pending());
        idle.end();
        assert!(idle.due().is_none() && deadline.poll(&cx).is_ready() && deadline.was_cut_short());
        deadline.arm(minute);
        assert!(deadline.poll(&cx).is_pending() && !deadline.was_cut_short());
        drop(deadline);
        idle.end();
    }
}
