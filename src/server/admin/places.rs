//! The places of the admin listener, and who makes room for whoever comes when all of them are taken.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// Connections at a time: probes and scrapes are few.
const MOST: usize = 64;
/// How soon those who were being answered are looked at again: one of them may be done.
const AGAIN: Duration = Duration::from_millis(50);
/// Stands for no turn: the connection is being answered.
const BUSY: u64 = u64::MAX;

/// The connections of the admin listener.
#[derive(Default)]
pub(super) struct Places {
    tasks: JoinSet<()>,
    taken: Vec<(Guest, AbortHandle)>,
    turns: Arc<AtomicU64>,
}

/// One connection that has a place.
#[derive(Clone)]
pub(super) struct Guest {
    turns: Arc<AtomicU64>,
    /// When it was last heard of, counted in connections and answers of all; [`BUSY`] while it is being answered.
    heard: Arc<AtomicU64>,
}

impl Guest {
    fn new(turns: &Arc<AtomicU64>) -> Self {
        let guest = Self { turns: Arc::clone(turns), heard: Arc::default() };
        guest.hear();
        guest
    }

    fn hear(&self) {
        self.heard.store(self.turns.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Awaits the answer to a question of this connection, which does not make room meanwhile.
    pub(super) async fn while_busy<T>(&self, answer: impl Future<Output = T>) -> T {
        self.heard.store(BUSY, Ordering::Relaxed);
        let answer = answer.await;
        self.hear();
        answer
    }
}

impl Places {
    /// Waits until there is a place. Whoever has been silent for the longest, or has not taken its answer, makes room.
    pub(super) async fn make_room(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.taken.retain(|(_, task)| !task.is_finished());
        while self.tasks.len() >= MOST {
            let heard = |(guest, _): &&(Guest, AbortHandle)| guest.heard.load(Ordering::Relaxed);
            if let Some(longest) =
                self.taken.iter().min_by_key(heard).filter(|longest| heard(longest) != BUSY)
            {
                longest.1.abort();
            }
            // It may take a moment to be gone, and another may be gone before it.
            let _ = timeout(AGAIN, self.tasks.join_next()).await;
        }
    }

    /// Has `connection` run at a place.
    pub(super) fn seat<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        connection: impl FnOnce(Guest) -> F,
    ) {
        let guest = Guest::new(&self.turns);
        let task = self.tasks.spawn(connection(guest.clone()));
        self.taken.push((guest, task));
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn dos_5_the_one_that_was_silent_for_the_longest_makes_room_and_none_that_is_being_answered() {
        let mut places = Places::default();
        places.seat(|guest| async move { guest.while_busy(pending()).await });
        tokio::task::yield_now().await;
        for _ in 1..MOST {
            places.seat(|_| pending());
        }
        places.taken[1].0.while_busy(ready(())).await;
        let tasks: Vec<_> = places.taken.iter().map(|(_, task)| task.clone()).collect();
        let gone = || tasks.iter().map(AbortHandle::is_finished).collect::<Vec<_>>();
        places.make_room().await;
        assert_eq!(places.tasks.len(), MOST - 1);
        assert_eq!(
            gone().iter().position(|gone| *gone),
            Some(2),
            "the first is being answered, the second was"
        );
    }
}
