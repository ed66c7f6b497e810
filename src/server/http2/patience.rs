//! How long an HTTP/2 connection is waited for: between its requests, and while the client reads nothing.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::proxy::ticker::{Deadline, Ticker};

/// What a connection and its requests tell each other.
pub(super) struct Client {
    /// Requests that may still come.
    left: Cell<u64>,
    /// Streams that are open; as long as there are any, silence is no idleness.
    open: Cell<u32>,
    /// For the next request.
    silence: Deadline,
    keep_alive: Duration,
}

impl Client {
    /// A client that has just connected, for so many requests, with at most so long between them.
    pub(super) fn new(requests: u64, keep_alive: Duration, ticker: &Ticker) -> Self {
        let silence = ticker.deadline();
        silence.arm(keep_alive);
        Self { left: Cell::new(requests), open: Cell::new(0), silence, keep_alive }
    }

    /// Whether it shall make no more requests here.
    pub(super) fn has_had_enough(&self) -> bool {
        self.left.get() == 0
    }

    /// A request has come: its stream is open as long as what is returned is kept.
    pub(super) fn asks(self: &Rc<Self>) -> Open {
        self.left.set(self.left.get().saturating_sub(1));
        self.open.set(self.open.get() + 1);
        self.silence.disarm();
        Open(Rc::clone(self))
    }

    /// Ready once it has asked for nothing for too long. Asked while nothing comes from it.
    pub(super) fn poll_idle(&self, cx: &Context<'_>) -> Poll<()> {
        if self.open.get() == 0 { self.silence.poll(cx) } else { Poll::Pending }
    }
}

/// One stream, open until its answer is sent, it is given up or its tunnel ends.
pub(super) struct Open(Rc<Client>);

impl Drop for Open {
    fn drop(&mut self) {
        let client = &self.0;
        client.open.set(client.open.get().saturating_sub(1));
        if client.open.get() == 0 {
            client.silence.arm(client.keep_alive);
        }
    }
}
