//! TLS handshakes that are under way on one worker: so many at once, and one step of one of them at a time.
//!
//! A client can begin one and be silent, and every one that goes on costs a signature. Neither may hurt those who have
//! come further: what is silent makes room for others, and between two steps everything else that is ready has its
//! turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::proxy::ticker::{TICK, Ticker};
use crate::server::silenced::Silenced;

/// How long a handshake may take where others wait, in milliseconds: two ways to a far client and back.
const GRACE: u64 = 1000;

/// The handshakes of one worker.
pub(super) struct Handshakes {
    ticker: Ticker,
    most: Cell<usize>,
    /// The oldest first.
    open: RefCell<VecDeque<Rc<Begun>>>,
    /// Told whenever one has come to its end.
    one_less: Notify,
    /// Whoever has it may take a step.
    turn: Arc<Semaphore>,
    given_up: RefCell<Silenced>,
}

struct Begun {
    /// In milliseconds of the worker.
    at: u64,
    peer: IpAddr,
    /// Another one has its place.
    given_up: Notify,
}

/// One handshake, counted as long as this is kept.
pub(super) struct Handshake {
    all: Rc<Handshakes>,
    begun: Rc<Begun>,
}

impl Handshakes {
    /// None yet, and room for `most`.
    pub(super) fn new(most: usize, ticker: Ticker) -> Rc<Self> {
        Rc::new(Self {
            ticker,
            most: Cell::new(most),
            open: RefCell::default(),
            one_less: Notify::new(),
            turn: Arc::new(Semaphore::new(1)),
            given_up: RefCell::new(Silenced::new("TLS handshakes were given up: there are too many")),
        })
    }

    /// Has room for `most` from now on.
    pub(super) fn allow(&self, most: usize) {
        self.most.set(most);
    }

    /// Waits until another one can begin: one has come to its end, or the oldest, which had its time, has been given
    /// up. As many are as are too many; returns how many that were.
    pub(super) async fn room(&self) -> u64 {
        let mut given_up = 0;
        while self.open.borrow().len() >= self.most.get() {
            if let Some(oldest) = self.give_up_oldest() {
                given_up += 1;
                self.given_up.borrow_mut().note(oldest.peer, self.ticker.now());
                continue;
            }
            tokio::select! {
                () = self.one_less.notified() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
        given_up
    }

    /// From here on it is not counted, so that whoever else waits gives up another one.
    fn give_up_oldest(&self) -> Option<Rc<Begun>> {
        let mut open = self.open.borrow_mut();
        open.front().filter(|oldest| self.ticker.now().saturating_sub(oldest.at) >= GRACE)?;
        let oldest = open.pop_front()?;
        oldest.given_up.notify_one();
        Some(oldest)
    }

    /// Counts one more.
    pub(super) fn begin(self: &Rc<Self>, peer: IpAddr) -> Handshake {
        let begun = Rc::new(Begun { at: self.ticker.now(), peer, given_up: Notify::new() });
        self.open.borrow_mut().push_back(Rc::clone(&begun));
        Handshake { all: Rc::clone(self), begun }
    }
}

impl Handshake {
    /// Carries it out.
    ///
    /// # Errors
    /// If the client breaks it off or the rules.
    pub(super) async fn accept(
        &self,
        acceptor: &TlsAcceptor,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        // Who says nothing needs no turn.
        stream.readable().await?;
        self.in_turn(acceptor.accept(stream)).await
    }

    /// What comes of `work`, which is this handshake and whatever comes before it.
    ///
    /// # Errors
    /// Those of `work`, or if it is given up for another one.
    pub(super) async fn unless_given_up<T>(
        &self,
        work: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        tokio::select! {
            outcome = work => outcome,
            () = self.begun.given_up.notified() => Err(io::Error::other("a handshake in the way of others")),
        }
    }

    /// Takes each step of `handshake` when it is its turn.
    async fn in_turn<F: Future>(&self, handshake: F) -> F::Output {
        let mut handshake = pin!(handshake);
        loop {
            // It is never closed; if it were, nobody would have to wait.
            let turn = Arc::clone(&self.all.turn).acquire_owned().await;
            let step = poll_fn(|cx| Poll::Ready(handshake.as_mut().poll(cx))).await;
            // Behind everything that is ready now.
            tokio::task::spawn_local(async move { drop(turn) });
            if let Poll::Ready(outcome) = step {
                return outcome;
            }
            let mut woken = false;
            poll_fn(|_| if std::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending })
                .await;
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut open = self.all.open.borrow_mut();
        if let Some(place) = open.iter().position(|begun| Rc::ptr_eq(begun, &self.begun)) {
            open.remove(place);
        }
        self.all.one_less.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::runtime::{Builder, LocalOptions};
    use tokio::task::JoinSet;

    use super::*;

    const SOMEBODY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn run<F: Future>(future: F) -> F::Output {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        runtime.expect("a runtime").block_on(future)
    }

    #[test]
    fn r_12_between_two_steps_of_any_handshake_all_others_have_their_turn() {
        run(async {
            let (all, steps) = (Handshakes::new(100, Ticker::default()), Rc::new(Cell::new(0)));
            let mut tasks = JoinSet::new();
            for _ in 0..50 {
                let (handshake, steps) = (all.begin(SOMEBODY), Rc::clone(&steps));
                tasks.spawn_local(async move {
                    let mut left = 3;
                    let work = poll_fn(|cx| {
                        steps.set(steps.get() + 1);
                        left -= 1;
                        cx.waker().wake_by_ref();
                        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
                    });
                    handshake.in_turn(work).await;
                });
            }
            let seen = Rc::clone(&steps);
            let (mut before, mut most) = (0, 0);
            // Ready again at once, as who carries a large answer.
            let most = tokio::task::spawn_local(poll_fn(move |cx| {
                most = most.max(seen.get() - before);
                before = seen.get();
                cx.waker().wake_by_ref();
                if before == 150 { Poll::Ready(most) } else { Poll::Pending }
            }));
            assert_eq!(most.await.expect("no panic"), 1, "steps between two turns of somebody else");
            while tasks.join_next().await.is_some() {}
            assert!(all.open.borrow().is_empty());
        });
    }

    #[test]
    fn r_12_where_there_is_no_room_the_oldest_goes_once_it_had_its_time() {
        run(async {
            let ticker = Ticker::default();
            tokio::task::spawn_local(ticker.clone().run(|| {}));
            let all = Handshakes::new(2, ticker.clone());
            let first = all.begin(SOMEBODY);
            assert_eq!(all.room().await, 0);
            let second = all.begin(SOMEBODY);
            let gone = tokio::task::spawn_local(async move { first.begun.given_up.notified().await });
            assert_eq!(all.room().await, 1);
            assert!(ticker.now() >= GRACE, "not before");
            gone.await.expect("it is told");
            assert_eq!(all.room().await, 0, "there is room now");
            drop(second);
            assert!(all.open.borrow().is_empty(), "each is counted once");
        });
    }

    /// Longer than it takes by far.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Handshakes of clients that say nothing, who go when they are given up.
    async fn silent(all: &Rc<Handshakes>, count: usize) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let handshake = all.begin(SOMEBODY);
            tasks.spawn_local(async move { handshake.begun.given_up.notified().await });
        }
        while all.ticker.now() < GRACE {
            tokio::time::sleep(TICK).await;
        }
        tasks
    }

    #[test]
    fn r_12_two_who_wait_are_each_made_room_for() {
        run(async {
            let ticker = Ticker::default();
            tokio::task::spawn_local(ticker.clone().run(|| {}));
            let all = Handshakes::new(2, ticker);
            let _silent = silent(&all, 2).await;
            let begins = async || {
                all.room().await;
                all.begin(SOMEBODY)
            };
            let both = async { tokio::join!(begins(), begins()) };
            assert!(tokio::time::timeout(PATIENCE, both).await.is_ok(), "one waits for ever");
        });
    }

    #[test]
    fn r_12_where_fewer_are_allowed_from_now_on_as_many_go_as_are_too_many() {
        run(async {
            let ticker = Ticker::default();
            tokio::task::spawn_local(ticker.clone().run(|| {}));
            let all = Handshakes::new(10, ticker);
            let _silent = silent(&all, 10).await;
            all.allow(3);
            assert!(tokio::time::timeout(PATIENCE, all.room()).await.is_ok(), "it waits for ever");
            assert_eq!(all.open.borrow().len(), 2);
        });
    }
}
