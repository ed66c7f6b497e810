//! Tasks that do one job after the other: a new one takes two large pieces of memory, which the allocator has to look
//! for.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

/// Most tasks that are kept while they have nothing to do.
const MOST: usize = 64;

/// The tasks of a worker that have nothing to do, the one that worked last first.
pub(super) struct Hands<J> {
    idle: RefCell<Vec<Rc<Hand<J>>>>,
    /// All that there are, and some that have gone.
    all: RefCell<Vec<Weak<Hand<J>>>>,
}

/// One of them.
struct Hand<J> {
    job: Cell<Option<J>>,
    waker: OnceCell<Waker>,
}

impl<J> Default for Hands<J> {
    fn default() -> Self {
        Self { idle: RefCell::default(), all: RefCell::default() }
    }
}

impl<J: 'static> Hands<J> {
    /// Has a task do this job: one that has nothing to do, or a new one. All are done by the same `work`.
    pub(super) fn give<F: Future<Output = ()> + 'static>(
        self: &Rc<Self>,
        job: J,
        work: impl Fn(J) -> F + 'static,
    ) {
        if let Some(hand) = self.idle.borrow_mut().pop() {
            hand.job.set(Some(job));
            hand.wake();
            return;
        }
        let (hands, hand) =
            (Rc::downgrade(self), Rc::new(Hand { job: Cell::new(Some(job)), waker: OnceCell::new() }));
        self.enlist(&hand);
        // Boxed: a task is copied several times before it runs, and this one is large.
        tokio::task::spawn_local(Box::pin(async move {
            loop {
                let job = hand.job().await;
                work(job).await;
                if !hand.rests(&hands) {
                    return;
                }
            }
        }));
    }

    fn enlist(&self, hand: &Rc<Hand<J>>) {
        let mut all = self.all.borrow_mut();
        // Only when it has doubled: who has thousands must not have all of them looked at each time.
        if all.len() == all.capacity() {
            all.retain(|hand| hand.strong_count() > 0);
            let more = all.len() + 1;
            all.reserve(more);
        }
        all.push(Rc::downgrade(hand));
    }

    /// Wakes all of them, so that they look at what has changed for all.
    pub(super) fn wake_all(&self) {
        self.all.borrow().iter().filter_map(Weak::upgrade).for_each(|hand| hand.wake());
    }
}

impl<J> Hand<J> {
    /// The next job.
    async fn job(&self) -> J {
        poll_fn(|cx| {
            // That of a task is always the same.
            self.waker.get_or_init(|| cx.waker().clone());
            self.job.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Has nothing to do. False if there are enough of those.
    fn rests(self: &Rc<Self>, hands: &Weak<Hands<J>>) -> bool {
        let Some(hands) = hands.upgrade() else { return false };
        let mut idle = hands.idle.borrow_mut();
        let few = idle.len() < MOST;
        if few {
            idle.push(Rc::clone(self));
        }
        few
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::{Sender, channel};
    use tokio::task::LocalSet;

    use super::*;

    /// Says its number once it is done, unless that is 13.
    async fn work((number, done): (usize, Sender<usize>)) {
        tokio::task::yield_now().await;
        assert_ne!(number, 13);
        let _ = done.send(number);
    }

    #[tokio::test]
    async fn every_job_is_done_and_a_task_that_is_free_does_the_next() {
        let all = async {
            let hands = Rc::<Hands<_>>::default();
            for number in 0..3 {
                let (done, said) = channel();
                hands.give((number, done), work);
                assert_eq!(said.await, Ok(number));
                tokio::task::yield_now().await;
                assert_eq!(hands.idle.borrow().len(), 1);
            }
            let all: Vec<_> = (0..3 * MOST)
                .map(|number| {
                    let (done, said) = channel();
                    hands.give((number, done), work);
                    said
                })
                .collect();
            for (number, said) in all.into_iter().enumerate() {
                // One that panics takes nobody along.
                assert_eq!(said.await.ok(), (number != 13).then_some(number));
            }
            tokio::task::yield_now().await;
            assert_eq!(hands.idle.borrow().len(), MOST, "no more are kept");
        };
        LocalSet::new().run_until(all).await;
    }
}
