//! What one request has of a connection to the app.

use std::cell::Cell;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Error, SendStream};
use http::Request;

use crate::proxy::failure::{Failed, Failure};
use crate::proxy::http2::connection::{State, places};
use crate::proxy::http2::trouble::full;
use crate::proxy::instances::{Instances, UnderWay};
use crate::proxy::ticker::Ticker;
use crate::time::Now;

/// Requests in a row that wait in vain for an answer on a connection on which there is none to others either.
const MOST_IN_VAIN: usize = 3;

/// One request's part of a connection.
pub(in crate::proxy) struct Lease {
    /// Taken when the request begins.
    sender: SendRequest<Bytes>,
    state: Arc<State>,
    ticker: Ticker,
    instances: Arc<Instances>,
    place: usize,
    /// Nobody else gets a stream of the connection.
    apart: bool,
    /// The app knows of the request and has not come to its end.
    open: Cell<bool>,
    _under_way: Option<UnderWay>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.state.streams.fetch_sub(1, Ordering::Relaxed);
        self.state.idle_since.store(self.ticker.now(), Ordering::Relaxed);
        if self.open.get() {
            let given_up = self.state.given_up.fetch_add(1, Ordering::Relaxed) + 1;
            // Before there is hardly a place left.
            if 2 * given_up >= places(&self.sender) {
                self.retire();
            }
        }
    }
}

impl Lease {
    /// A part of the connection that this sender belongs to, and this state: for a request to the instance at this
    /// place, which is counted there.
    pub(super) fn new(
        (sender, state): (SendRequest<Bytes>, Arc<State>),
        (instances, place): (&Arc<Instances>, usize),
        ticker: &Ticker,
        (apart, under_way): (bool, Option<UnderWay>),
    ) -> Self {
        state.streams.fetch_add(1, Ordering::Relaxed);
        Self {
            sender,
            state,
            ticker: ticker.clone(),
            instances: Arc::clone(instances),
            place,
            apart,
            open: Cell::new(false),
            _under_way: under_way,
        }
    }

    /// Begins the request.
    ///
    /// # Errors
    /// If the connection takes no more.
    pub(super) fn begin(
        &mut self,
        request: Request<()>,
        whole: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), Error> {
        let begun = self.sender.send_request(request, whole)?;
        self.open.set(true);
        Ok(begun)
    }

    /// The app has come to the end of the request, and need not hear that it is not wanted any more.
    pub(super) fn ended(&self) {
        self.open.set(false);
    }

    /// The stream has failed.
    pub(super) fn ended_by(&self, error: &Error) {
        if error.is_remote() || error.is_io() {
            self.ended();
        }
        if full(error) {
            self.retire();
        }
    }

    /// Whether the app has not come to the end of the request.
    pub(super) fn is_open(&self) -> bool {
        self.open.get()
    }

    /// Whether WebSockets may be opened (RFC 8441 §3).
    pub(super) fn takes_tunnels(&self) -> bool {
        self.sender.is_extended_connect_protocol_enabled()
    }

    /// No further request is sent on this connection.
    pub(super) fn retire(&self) {
        self.state.retired.store(true, Ordering::Relaxed);
    }

    /// The answer can be passed on.
    pub(super) fn heard(&self) {
        self.state.answered_at.store(self.ticker.now().max(1), Ordering::Relaxed);
        self.state.in_vain.store(0, Ordering::Relaxed);
        self.instances.heard(self.place);
    }

    /// The answer has come to its end.
    pub(super) fn answered(&self) {
        self.instances.answered(self.place);
    }

    /// The exchange broke, and that was the app's doing, unless it alone had the connection, which may have ended by
    /// what it is.
    #[cold]
    pub(super) fn broke(&self, now: Now, error: impl Display) {
        if !self.apart {
            self.instances.broke(self.place, now, error);
        }
    }

    /// The same of the whole connection, which counts once however many requests were on it.
    #[cold]
    pub(super) fn lost(&self, now: Now, error: impl Display) {
        if !self.state.lost.swap(true, Ordering::Relaxed) {
            self.broke(now, error);
        }
    }

    /// What failed on its stream.
    #[cold]
    pub(super) fn failed(&self, failure: Failure) -> Failed {
        Failed::at(self.place, failure)
    }

    /// Whether the connection has carried an answer before, so that the app may have closed it meanwhile.
    pub(super) fn has_answered(&self) -> bool {
        self.state.answered_at.load(Ordering::Relaxed) > 0
    }

    /// No answer came in time to the request that began then, in milliseconds of the worker. That may be this request
    /// alone; but not if nothing at all has come meanwhile, nor if others fare alike, however much an app talks of other
    /// things.
    pub(super) fn waited_in_vain(&self, begun: u64) {
        let State { heard, answered_at, in_vain, .. } = &*self.state;
        let silent = heard.load(Ordering::Relaxed) < begun;
        let others_are_answered = answered_at.load(Ordering::Relaxed) >= begun.max(1);
        if silent || !others_are_answered && in_vain.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_IN_VAIN {
            self.retire();
        }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.state.encrypted
    }

    /// Which instance it leads to.
    pub(super) fn place(&self) -> usize {
        self.place
    }
}
