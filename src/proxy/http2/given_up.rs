//! Requests that were given up before their answer began. Their streams are reset a little later: apps take many resets
//! of what they have not looked at for an attack (CVE-2023-44487) and end the connection that others share, and most
//! answers come to their end by then, so that there is nothing to reset.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;

use crate::proxy::http2::upload::Upload;
use crate::proxy::ticker::Ticker;

/// How much later.
const LATER: Duration = Duration::from_secs(1);
/// Calls of gRPC that are reset at once, of those given up within that time: who cancels one means it.
const AT_ONCE: usize = 8;
/// Most that wait at a time. Each may hold what the app may send ahead.
const MOST: usize = 256;

/// Those of one worker, the oldest first, each with the time when it was given up in milliseconds of the worker.
#[derive(Default)]
pub(super) struct GivenUp {
    list: RefCell<VecDeque<(u64, ResponseFuture, SendStream<Bytes>)>>,
    /// Calls that were reset at once, since when.
    at_once: Cell<(u64, usize)>,
    /// Nobody looks after them any more.
    retired: Cell<bool>,
}

impl GivenUp {
    fn add(&self, now: u64, response: ResponseFuture, to: SendStream<Bytes>) {
        if self.retired.get() {
            return;
        }
        let mut list = self.list.borrow_mut();
        if list.len() == MOST {
            list.pop_front();
        }
        list.push_back((now, response, to));
    }

    /// Whether a call may be reset at once.
    fn may_at_once(&self, ticker: &Ticker) -> bool {
        let (since, count) = self.at_once.get();
        let (since, count) = if ticker.has_passed(since, LATER) { (ticker.now(), 0) } else { (since, count) };
        self.at_once.set((since, count + 1));
        count < AT_ONCE
    }

    /// Resets those that have waited.
    pub(super) fn sweep(&self, ticker: &Ticker) {
        let mut list = self.list.borrow_mut();
        while list.front().is_some_and(|(since, ..)| ticker.has_passed(*since, LATER)) {
            list.pop_front();
        }
    }

    /// Resets all: their connections are needed.
    pub(super) fn shed(&self) {
        self.list.borrow_mut().clear();
    }

    /// Resets all, and from now on each at once.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.shed();
    }
}

/// A stream whose answer is waited for. Dropped before it begins, it is given up.
pub(super) struct Waiting<'c> {
    /// Where it goes when it is given up.
    given_up: &'c GivenUp,
    ticker: &'c Ticker,
    stream: Option<(ResponseFuture, Upload)>,
    /// It is a call of gRPC.
    call: bool,
}

impl<'c> Waiting<'c> {
    /// For the answer to a request that has begun.
    pub(super) fn new(
        (given_up, ticker): (&'c GivenUp, &'c Ticker),
        (response, upload): (ResponseFuture, Upload),
        call: bool,
    ) -> Self {
        Self { given_up, ticker, stream: Some((response, upload)), call }
    }

    /// The answer, and what is sent meanwhile. `None` once there is nothing to wait for.
    pub(super) fn stream(&mut self) -> Option<&mut (ResponseFuture, Upload)> {
        self.stream.as_mut()
    }

    /// The answer has begun, or will not. What is still to be sent.
    pub(super) fn over(&mut self) -> Option<Upload> {
        self.stream.take().map(|(_, upload)| upload)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some((response, upload)) = self.stream.take() {
            if self.call && self.given_up.may_at_once(self.ticker) {
                return;
            }
            let mut to = upload.into_stream();
            // What was asked for of the window of all is for others.
            to.reserve_capacity(0);
            self.given_up.add(self.ticker.now(), response, to);
        }
    }
}
