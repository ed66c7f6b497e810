//! Deadlines without timers: one coarse ticker per worker looks at all of them.
//!
//! A timer per request costs a registration, a cancellation and often a wake-up of the reactor; a deadline
//! here is one stored number. The price is that it strikes up to one [`TICK`] late, which is nothing against
//! seconds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How often the deadlines are looked at.
pub const TICK: Duration = Duration::from_millis(250);

/// The due time of a deadline that is not armed.
const NEVER: u64 = u64::MAX;

/// The ticker of one worker.
#[derive(Clone, Default)]
pub struct Ticker(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Milliseconds since the worker started, as of the last tick.
    now: AtomicU64,
    slots: Mutex<Vec<Weak<Slot>>>,
    /// What has no end of its own ends now.
    cut: AtomicBool,
}

struct Slot {
    due: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

/// One deadline, armed and disarmed as often as needed.
pub struct Deadline {
    ticker: Ticker,
    slot: Arc<Slot>,
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
            self.0.now.store(now, Ordering::Relaxed);
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
        self.0.cut.store(true, Ordering::Relaxed);
        self.wake_all();
    }

    fn strike(&self, now: u64) {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|slot| {
            let Some(slot) = slot.upgrade() else { return false };
            if slot.due.load(Ordering::Relaxed) <= now {
                let waker = slot.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            true
        });
    }

    /// Milliseconds since the worker started, as of the last tick.
    pub fn now(&self) -> u64 {
        self.0.now.load(Ordering::Relaxed)
    }

    /// A new deadline, not armed.
    pub fn deadline(&self) -> Deadline {
        let slot = Arc::new(Slot { due: AtomicU64::new(NEVER), waker: Mutex::new(None) });
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&slot));
        Deadline { ticker: self.clone(), slot }
    }
}

impl Deadline {
    /// Strikes `after` this moment, or up to one tick later.
    pub fn arm(&self, after: Duration) {
        let after = u64::try_from((after + TICK).as_millis()).unwrap_or(NEVER);
        self.slot.due.store(self.ticker.now().saturating_add(after), Ordering::Relaxed);
    }

    /// Arms it unless it is armed already.
    pub fn arm_once(&self, after: Duration) {
        if self.slot.due.load(Ordering::Relaxed) == NEVER {
            self.arm(after);
        }
    }

    /// Whether the worker ends what has no end of its own.
    pub fn is_cut(&self) -> bool {
        self.ticker.0.cut.load(Ordering::Relaxed)
    }

    /// Milliseconds since the worker started, as of the last tick.
    pub fn now(&self) -> u64 {
        self.ticker.now()
    }

    /// Strikes no more.
    pub fn disarm(&self) {
        self.slot.due.store(NEVER, Ordering::Relaxed);
    }

    /// Ready once the deadline has passed; until then the task is woken when it does.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let due = self.slot.due.load(Ordering::Relaxed);
        if due <= self.ticker.now() {
            return Poll::Ready(());
        }
        if due != NEVER {
            let mut waker = self.slot.waker.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *waker {
                Some(known) => known.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        Poll::Pending
    }
}
