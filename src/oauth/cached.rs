//! Something that a provider publishes, kept for a while: asked for when needed, by one at a time, and not again
//! at once after a failure.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::failure::{Failure, Outage, Step};
use crate::time::Now;

/// How long it is used without asking again.
const FRESH: Duration = Duration::from_hours(1);
/// How long it is used when it cannot be had again.
const STALE: Duration = Duration::from_hours(24);
/// How often it is asked for because something was missing in it, whatever is missing.
const FLOOR: Duration = Duration::from_secs(10);
/// How long nothing is asked after a first failure; doubled with each further one.
const BACK_OFF: Duration = Duration::from_secs(2);
/// The longest such time.
const LONGEST_BACK_OFF: Duration = Duration::from_mins(5);

/// The last that was published, as far as we know.
pub(super) struct Cached<T> {
    step: Step,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Option<(Arc<T>, Now)>,
    /// When it was last asked for, whatever came of it.
    asked: Option<Now>,
    /// Failures since the last success.
    failures: u32,
}

impl<T> Cached<T> {
    pub(super) fn new(step: Step) -> Self {
        Self { step, state: Mutex::new(State { value: None, asked: None, failures: 0 }) }
    }

    /// What was published, fresh or, when it cannot be had, up to a day old.
    pub(super) async fn get(
        &self,
        now: Now,
        fetch: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Arc<T>, Failure> {
        let mut state = self.state.lock().await;
        match &state.value {
            Some((value, at)) if now.since(*at) < FRESH => Ok(value.clone()),
            _ => state.ask(now, self.step, fetch).await,
        }
    }

    /// What was published, up to a day old; only if nothing is known is it asked for.
    pub(super) async fn known(
        &self,
        now: Now,
        fetch: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Arc<T>, Failure> {
        let mut state = self.state.lock().await;
        match &state.value {
            Some((value, at)) if now.since(*at) < STALE => Ok(value.clone()),
            _ => state.ask(now, self.step, fetch).await,
        }
    }

    /// What is published now, because something was missing in `seen`; but asked for only so often.
    pub(super) async fn again(
        &self,
        now: Now,
        seen: &Arc<T>,
        fetch: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Arc<T>, Failure> {
        let mut state = self.state.lock().await;
        match &state.value {
            // Somebody else asked while we waited.
            Some((value, _)) if !Arc::ptr_eq(value, seen) => Ok(value.clone()),
            Some((value, _)) if state.asked.is_some_and(|at| now.since(at) < FLOOR) => Ok(value.clone()),
            _ => state.ask(now, self.step, fetch).await,
        }
    }
}

impl<T> State<T> {
    async fn ask(
        &mut self,
        now: Now,
        step: Step,
        fetch: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Arc<T>, Failure> {
        let resting = self.failures > 0 && self.asked.is_some_and(|at| now.since(at) < self.back_off());
        let failure = if resting {
            Failure::Unavailable(step, Outage::BackOff)
        } else {
            self.asked = Some(now);
            match fetch.await {
                Ok(value) => {
                    let value = Arc::new(value);
                    self.value = Some((value.clone(), now));
                    self.failures = 0;
                    return Ok(value);
                }
                Err(failure) => {
                    self.failures = self.failures.saturating_add(1);
                    failure
                }
            }
        };
        match &self.value {
            Some((value, at)) if now.since(*at) < STALE => Ok(value.clone()),
            _ => Err(failure),
        }
    }

    fn back_off(&self) -> Duration {
        BACK_OFF.saturating_mul(1 << self.failures.saturating_sub(1).min(16)).min(LONGEST_BACK_OFF)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const DOWN: Failure = Failure::Unavailable(Step::Keys, Outage::Timeout);

    fn at(seconds: u64) -> Now {
        Now::from_millis(1_700_000_000_000).plus(Duration::from_secs(seconds))
    }

    /// Runs on a runtime of its own.
    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn a_failure_is_not_repeated_at_once_and_what_is_old_is_used_for_a_day() {
        run(async {
            let cached = Cached::new(Step::Keys);
            let asked = Cell::new(0);
            let fetch = |answer: Result<u32, Failure>| {
                let asked = &asked;
                async move {
                    asked.set(asked.get() + 1);
                    answer
                }
            };
            assert_eq!(cached.get(at(0), fetch(Err(DOWN))).await, Err(DOWN));
            let resting = Err(Failure::Unavailable(Step::Keys, Outage::BackOff));
            assert_eq!(cached.get(at(1), fetch(Ok(1))).await, resting);
            assert_eq!(cached.get(at(2), fetch(Err(DOWN))).await, Err(DOWN));
            assert_eq!(cached.get(at(5), fetch(Ok(1))).await, resting);
            assert_eq!(asked.get(), 2);
            assert_eq!(cached.get(at(6), fetch(Ok(1))).await, Ok(Arc::new(1)));
            assert_eq!(cached.get(at(3605), fetch(Ok(2))).await, Ok(Arc::new(1)));
            assert_eq!(asked.get(), 3);
            assert_eq!(cached.get(at(3606), fetch(Err(DOWN))).await, Ok(Arc::new(1)));
            assert_eq!(cached.get(at(86_405), fetch(Err(DOWN))).await, Ok(Arc::new(1)));
            assert_eq!(cached.get(at(86_500), fetch(Err(DOWN))).await, Err(DOWN));
            assert_eq!(cached.get(at(99_999), fetch(Ok(3))).await, Ok(Arc::new(3)));
        });
    }

    #[test]
    fn what_is_missing_is_looked_for_once_in_a_while() {
        run(async {
            let cached = Cached::new(Step::Keys);
            let one = cached.get(at(0), async { Ok(1) }).await.expect("published");
            let again = |seconds, answer| cached.again(at(seconds), &one, async move { answer });
            assert_eq!(again(9, Ok(2)).await, Ok(Arc::new(1)));
            assert_eq!(again(10, Err(DOWN)).await, Ok(Arc::new(1)));
            assert_eq!(again(19, Ok(2)).await, Ok(Arc::new(1)));
            assert_eq!(again(20, Ok(2)).await, Ok(Arc::new(2)));
            assert_eq!(again(21, Ok(3)).await, Ok(Arc::new(2)), "it is another one than was seen");
        });
    }
}
