//! Tasks that do one job after the other: a new one takes two large pieces of memory, which the allocator has to look
//! for.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

/// Most tasks that are kept while they have nothing to do.
const MOST: usize = 64;

/// The tasks of a worker that have nothing to do, the one that worked last first.
pub(super) struct Hands<J> {
    idle: RefCell<Vec<Rc<Hand<J>>>>,
}

/// One of them.
struct Hand<J> {
    job: Cell<Option<J>>,
    waker: Cell<Option<Waker>>,
}

impl<J> Default for Hands<J> {
    fn default() -> Self {
        Self { idle: RefCell::default() }
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
            if let Some(waker) = hand.waker.take() {
                waker.wake();
            }
            return;
        }
        let (hands, hand) =
            (Rc::downgrade(self), Rc::new(Hand { job: Cell::new(Some(job)), waker: Cell::default() }));
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
}

impl<J> Hand<J> {
    /// The next job.
    async fn job(&self) -> J {
        poll_fn(|cx| {
            if let Some(job) = self.job.take() {
                return Poll::Ready(job);
            }
            self.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
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
