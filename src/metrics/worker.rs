//! What one worker counts of its requests. Only that worker writes here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};

use super::{Counter, Histogram};
use crate::refusal::Refusal;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The app answered.
    Forwarded,
    /// It was for the app, and there is no answer of the app's to pass on.
    Failed,
    /// It was for one of our endpoints.
    Answered,
    /// It was neither: refused, or the visitor was asked to sign in.
    Refused,
}

impl Outcome {
    /// Their names in metrics and log lines, in the order of the variants.
    pub const NAMES: [&str; 4] = ["forwarded", "failed", "answered", "refused"];

    /// Its name.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// The methods that are told apart; every other is `other`.
pub const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];
/// Classes of status codes: 1xx to 5xx.
pub const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Ways in which the app can fail to answer, or to go on with its answer.
pub const TROUBLES: [&str; 9] = [
    "unreachable",
    "connect_timeout",
    "closed",
    "invalid",
    "response_timeout",
    "none_well",
    "no_room",
    "broken_off",
    "idle_timeout",
];

/// How the app failed to answer: a place in [`TROUBLES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No connection.
    Unreachable,
    /// No connection in time.
    ConnectTimeout,
    /// The connection ended before the answer began.
    Closed,
    /// Its answer is no HTTP.
    Invalid,
    /// No answer in time.
    ResponseTimeout,
    /// No instance is well.
    NoneWell,
    /// We cannot have any more connections.
    NoRoom,
    /// The answer broke off.
    BrokenOff,
    /// The answer paused for too long.
    IdleTimeout,
}

/// What clients are waited for before they ask for anything.
pub const AWAITING: [&str; 2] = ["handshake", "head"];

/// What a client was waited for in vain: a place in [`AWAITING`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaiting {
    /// The handshake of TLS, or the header of the PROXY protocol.
    Handshake,
    /// The rest of a head that has begun, or of the greeting of HTTP/2.
    Head,
}

/// What one worker counts of the requests of one route: by outcome, method and class of the status.
#[derive(Default)]
#[repr(align(128))]
pub struct Requests([[[Counter; CLASSES.len()]; METHODS.len()]; Outcome::NAMES.len()]);

impl Requests {
    /// Counts a request whose answer has begun.
    pub fn answered(&self, outcome: Outcome, method: usize, status: StatusCode) {
        self.0[outcome as usize][method][class(status)].add_alone(1);
    }

    /// How often there were this outcome, method and class of the status.
    pub fn get(&self, outcome: usize, method: usize, class: usize) -> u64 {
        self.0[outcome][method][class].get()
    }
}

/// What one worker counts, on cache lines of its own.
#[repr(align(128))]
pub struct Worker {
    /// Requests that began and those that ended.
    pub begun: Counter,
    /// See [`Self::begun`].
    pub ended: Counter,
    /// Requests whose client went before there was an answer.
    pub abandoned: Counter,
    /// Requests by the name of their route. Those that a configuration had and the next one has not are kept: what is
    /// under way may still count for them, and no number goes backwards.
    routes: Mutex<BTreeMap<String, Arc<Requests>>>,
    /// Requests that the gate let through to the app, without and with an identity.
    pub allowed: [Counter; 2],
    /// Those that it did not, in the order of [`Refusal::ALL`].
    pub denied: [Counter; Refusal::ALL.len()],
    /// From the head of the request to the end of the answer, by outcome.
    pub durations: [Histogram; Outcome::NAMES.len()],
    /// From asking the app to the head of its answer.
    pub upstream: Histogram,
    /// How the app failed.
    pub troubles: [Counter; TROUBLES.len()],
    /// Refusals, in the order of [`Refusal::ALL`].
    pub refusals: [Counter; Refusal::ALL.len()],
    /// Requests for our endpoints, by class of the status.
    pub endpoints: Box<[[Counter; CLASSES.len()]]>,
    /// Bytes of bodies that were sent to clients.
    pub sent: Counter,
    /// Visitors whose session was in memory.
    pub hits: Counter,
    /// Visitors for whom the store, or a key, had to be asked.
    pub misses: Counter,
    /// Connections of clients that are open.
    pub connections: Counter,
    /// Connections that were turned away because there were too many.
    pub turned_away: Counter,
    /// Idle connections that were closed to make room for others.
    pub shed: Counter,
    /// Connections that were closed because something did not come in time, in the order of [`AWAITING`].
    pub timed_out: [Counter; AWAITING.len()],
    /// Connections that have left HTTP, begun and ended.
    pub tunnels: [Counter; 2],
}

fn none() -> [Counter; CLASSES.len()] {
    std::array::from_fn(|_| Counter::new())
}

impl Worker {
    /// Nothing counted yet, for so many endpoints.
    pub(super) fn new(endpoints: usize) -> Self {
        Self {
            begun: Counter::new(),
            ended: Counter::new(),
            abandoned: Counter::new(),
            routes: Mutex::default(),
            allowed: [Counter::new(), Counter::new()],
            denied: [const { Counter::new() }; Refusal::ALL.len()],
            durations: Default::default(),
            upstream: Histogram::default(),
            troubles: [const { Counter::new() }; TROUBLES.len()],
            refusals: [const { Counter::new() }; Refusal::ALL.len()],
            endpoints: (0..endpoints).map(|_| none()).collect(),
            sent: Counter::new(),
            hits: Counter::new(),
            misses: Counter::new(),
            connections: Counter::new(),
            turned_away: Counter::new(),
            shed: Counter::new(),
            timed_out: [const { Counter::new() }; AWAITING.len()],
            tunnels: [Counter::new(), Counter::new()],
        }
    }

    /// Where requests of the route of this name are counted. Asked once for each configuration.
    pub fn route(&self, name: &str) -> Arc<Requests> {
        Arc::clone(self.names().entry(name.to_owned()).or_default())
    }

    /// All routes that ever were.
    pub fn routes(&self) -> BTreeMap<String, Arc<Requests>> {
        self.names().clone()
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Requests>>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request that has come to its end, after so long if it was answered.
    pub fn done(&self, answered: Option<(Outcome, Duration)>, bytes: u64) {
        self.ended.add_alone(1);
        self.sent.add_alone(bytes);
        match answered {
            Some((outcome, took)) => self.durations[outcome as usize].note(took),
            None => self.abandoned.add_alone(1),
        }
    }

    /// Counts a refusal.
    #[cold]
    pub fn refused(&self, refusal: Refusal) {
        count(&self.refusals, refusal);
    }

    /// Counts a request that the gate did not let through.
    #[cold]
    pub fn denied(&self, refusal: Refusal) {
        count(&self.denied, refusal);
    }

    /// Counts an answer of an endpoint.
    pub fn endpoint(&self, endpoint: usize, status: StatusCode) {
        if let Some(counts) = self.endpoints.get(endpoint) {
            counts[class(status)].add_alone(1);
        }
    }
}

fn count(counts: &[Counter; Refusal::ALL.len()], refusal: Refusal) {
    let same = |known: &Refusal| std::mem::discriminant(known) == std::mem::discriminant(&refusal);
    if let Some(count) = Refusal::ALL.iter().position(same).and_then(|at| counts.get(at)) {
        count.add_alone(1);
    }
}

/// The place of a method in [`METHODS`].
pub fn method(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        _ => METHODS.len() - 1,
    }
}

/// The place of a status in [`CLASSES`].
fn class(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_can_invent_counts_under_other() {
        assert_eq!(METHODS[method(&Method::from_bytes(b"BREW").expect("a method"))], "other");
        for (place, name) in METHODS.iter().enumerate().take(METHODS.len() - 1) {
            assert_eq!(method(&Method::from_bytes(name.as_bytes()).expect("a method")), place);
        }
        for (status, name) in [(101, "1xx"), (200, "2xx"), (599, "5xx"), (999, "5xx")] {
            assert_eq!(CLASSES[class(StatusCode::from_u16(status).expect("a status"))], name);
        }
    }

    #[test]
    fn every_refusal_has_a_place_of_its_own() {
        let worker = Worker::new(0);
        for refusal in Refusal::ALL {
            worker.refused(*refusal);
        }
        worker.refused(Refusal::TooManyRequests(77));
        let counted: Vec<u64> = worker.refusals.iter().map(Counter::get).collect();
        assert_eq!(counted.iter().sum::<u64>(), Refusal::ALL.len() as u64 + 1);
        assert_eq!(counted.iter().filter(|&&count| count == 2).count(), 1);
    }
}
