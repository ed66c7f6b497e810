//! How long an HTTP/2 connection is waited for: between its requests, and while the client reads nothing.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::proxy::ticker::{Deadline, Ticker};
use crate::server::crowd::Requests;

/// So many requests are counted for an address at a time, as long as not a quarter of them is taken: what all workers
/// count is touched the more rarely.
const LOT: u32 = 8;

/// What a connection has of the requests that its address may have under way.
pub(super) struct Share {
    requests: Requests,
    most: u32,
    taken: Cell<u32>,
}

impl Share {
    /// Nothing yet, of `most` in all.
    pub(super) fn new(requests: Requests, most: u32) -> Self {
        Self { requests, most, taken: Cell::new(0) }
    }

    /// Whether there is room for one more than those that are `open`. The first is what every connection may have.
    fn has_room(&self, open: u32) -> bool {
        if open <= self.taken.get() {
            return true;
        }
        let lots = [(LOT, self.most / 4), (1, self.most)];
        let took = lots.into_iter().find(|(count, most)| self.requests.take(*count, *most));
        self.taken.set(self.taken.get() + took.map_or(0, |(count, _)| count));
        took.is_some()
    }

    /// Only so many are `open` now.
    fn gives_back(&self, open: u32) {
        let (taken, needs) = (self.taken.get(), open.saturating_sub(1));
        if taken <= needs {
            return;
        }
        let keeps =
            if needs == 0 || self.requests.are_more_than(self.most / 4) { needs } else { needs + LOT };
        if taken > keeps {
            self.requests.give(taken - keeps);
            self.taken.set(keeps);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.gives_back(0);
    }
}

/// What a connection and its requests tell each other.
pub(super) struct Client {
    /// Requests that may still come.
    left: Cell<u64>,
    /// Streams that are open; as long as there are any, silence is no idleness.
    open: Cell<u32>,
    /// For the next request.
    silence: Deadline,
    keep_alive: Duration,
    /// Of the requests of its address, where those are counted.
    share: Option<Share>,
}

impl Client {
    /// A client that has just connected, for so many requests, with at most so long between them.
    pub(super) fn new(requests: u64, keep_alive: Duration, share: Option<Share>, ticker: &Ticker) -> Self {
        let silence = ticker.deadline();
        silence.arm_idle(keep_alive);
        Self { left: Cell::new(requests), open: Cell::new(0), silence, keep_alive, share }
    }

    /// Whether it shall make no more requests here.
    pub(super) fn has_had_enough(&self) -> bool {
        self.left.get() == 0
    }

    /// A request has come: its stream is open as long as what is returned is kept. `None` if its address has too many
    /// under way.
    pub(super) fn asks(self: &Rc<Self>) -> Option<Open> {
        if self.share.as_ref().is_some_and(|share| !share.has_room(self.open.get())) {
            return None;
        }
        self.left.set(self.left.get().saturating_sub(1));
        self.open.set(self.open.get() + 1);
        self.silence.disarm();
        Some(Open(Rc::clone(self)))
    }

    /// Whether any of its streams is open.
    pub(super) fn has_open(&self) -> bool {
        self.open.get() > 0
    }

    /// What it waits with between its requests.
    pub(super) fn silence(&self) -> &Deadline {
        &self.silence
    }

    /// Ready once it has asked for nothing for too long. Asked while nothing comes from it.
    pub(super) fn poll_idle(&self, cx: &Context<'_>) -> Poll<()> {
        if self.open.get() == 0 { self.silence.poll(cx) } else { Poll::Pending }
    }
}

/// One stream, open until its answer is sent, its tunnel ends, or a while after it was given up.
pub(super) struct Open(Rc<Client>);

impl Drop for Open {
    fn drop(&mut self) {
        let client = &self.0;
        client.open.set(client.open.get().saturating_sub(1));
        if let Some(share) = &client.share {
            share.gives_back(client.open.get());
        }
        if client.open.get() == 0 {
            client.silence.arm_idle(client.keep_alive);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_6_requests_are_counted_in_lots_while_there_are_many_left_and_given_back() {
        let (requests, ticker) = (Requests::default(), Ticker::default());
        let connects = || {
            let share = Share::new(requests.clone(), 64);
            Rc::new(Client::new(100, Duration::from_secs(1), Some(share), &ticker))
        };
        let ask = |client: &Rc<Client>, count| -> Vec<Open> {
            std::iter::from_fn(|| client.asks()).take(count).collect()
        };
        let (first, second) = (connects(), connects());
        let mut open = ask(&first, 1);
        assert_eq!(requests.count(), 0, "the first of a connection");
        open.extend(ask(&first, 9));
        assert_eq!(requests.count(), 16, "nine, in two lots");
        let mut all = ask(&second, 2);
        assert_eq!(requests.count(), 17, "a quarter is taken");
        all.extend(ask(&second, 100));
        assert_eq!((all.len(), requests.count()), (49, 64), "one by one, and no more");
        assert!(second.asks().is_none());
        open.truncate(9);
        assert_eq!(requests.count(), 56, "nothing is kept for later");
        drop(all);
        assert_eq!(requests.count(), 8);
        open.truncate(2);
        assert_eq!(requests.count(), 8, "a lot is kept");
        open.truncate(1);
        assert_eq!(requests.count(), 0);
        open.extend(ask(&first, 2));
        drop((open, first, second));
        assert_eq!(requests.count(), 0);
    }
}
