//! Requests that were given up before their answer began. Their streams are reset a little later: apps take many resets
//! of what they have not looked at for an attack (CVE-2023-44487) and end the connection that others share, and most
//! answers come to their end by then, so that there is nothing to reset. What comes of them until then is not kept.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};

use crate::proxy::http2::upload::Upload;
use crate::proxy::interim;
use crate::proxy::ticker::Ticker;

/// How much later.
const LATER: Duration = Duration::from_secs(1);
/// Calls of gRPC that are reset at once, of those given up within that time: who cancels one means it.
const AT_ONCE: usize = 8;
/// Most that wait at a time.
const MOST: usize = 256;

/// Those of one worker, the oldest first.
#[derive(Default)]
pub(super) struct GivenUp {
    list: RefCell<VecDeque<Left>>,
    /// Something has come for one of them.
    stirred: Arc<Stirred>,
    /// Calls that were reset at once, since when.
    at_once: Cell<(u64, usize)>,
    /// Nobody looks after them any more.
    retired: Cell<bool>,
}

/// Notes that there is something to take; whoever reads from the connection looks.
#[derive(Default)]
struct Stirred(AtomicBool);

impl Wake for Stirred {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One that was given up. Dropped, it is reset unless it has ended.
struct Left {
    /// When, in milliseconds of the worker.
    since: u64,
    answer: Answer,
    /// Interim answers that came since.
    interim: usize,
    /// Kept so that nothing is reset.
    _to: SendStream<Bytes>,
}

/// How far the answer is that nobody waits for.
enum Answer {
    Awaited(ResponseFuture),
    Begun(RecvStream),
}

impl Left {
    /// Takes what has come, so that it is not kept. False once it has ended, or said more than it may ahead of an answer.
    fn drain(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match &mut self.answer {
                Answer::Awaited(response) => {
                    while let Poll::Ready(Some(told)) = response.poll_informational(cx) {
                        self.interim += 1;
                        if told.is_err() || self.interim > interim::MOST {
                            return false;
                        }
                    }
                    match Pin::new(response).poll(cx) {
                        Poll::Pending => return true,
                        Poll::Ready(Ok(head)) => self.answer = Answer::Begun(head.into_body()),
                        Poll::Ready(Err(_)) => return false,
                    }
                }
                // Its part of the windows is not given back: the app stops there.
                Answer::Begun(body) => match body.poll_data(cx) {
                    Poll::Pending => return true,
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(_)) | None) => return false,
                },
            }
        }
    }
}

impl GivenUp {
    fn add(&self, now: u64, response: ResponseFuture, to: SendStream<Bytes>) {
        if self.retired.get() {
            return;
        }
        let mut left = Left { since: now, answer: Answer::Awaited(response), interim: 0, _to: to };
        if !left.drain(&mut Context::from_waker(&self.waker())) {
            return;
        }
        let mut list = self.list.borrow_mut();
        if list.len() == MOST {
            list.pop_front();
        }
        list.push_back(left);
    }

    fn waker(&self) -> Waker {
        Arc::clone(&self.stirred).into()
    }

    /// Takes what has come for them. Those that have ended, or said more than they may ahead of an answer, go.
    pub(super) fn drain(&self) {
        // Read before it is written: at most turns nothing has come.
        if self.stirred.0.load(Ordering::Relaxed) {
            self.stirred.0.store(false, Ordering::Relaxed);
            let waker = self.waker();
            let mut cx = Context::from_waker(&waker);
            self.list.borrow_mut().retain_mut(|left| left.drain(&mut cx));
        }
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
        while list.front().is_some_and(|left| ticker.has_passed(left.since, LATER)) {
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
