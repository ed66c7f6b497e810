//! Connections that outlive their request and must end with their session: web sockets and other tunnels.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::secret::TokenHash;
use crate::session::cache::Cache;
use crate::visitor::Session;

/// The open lines of every session that has any.
pub struct Live {
    lines: Mutex<Lines>,
    /// Knows what has ended.
    cache: Arc<Cache>,
}

type Lines = HashMap<TokenHash, Vec<Weak<AtomicBool>>>;

/// One open connection of a session.
pub struct Line(Arc<AtomicBool>);

impl Live {
    /// None so far.
    pub(super) fn new(cache: Arc<Cache>) -> Self {
        Self { lines: Mutex::default(), cache }
    }

    /// Registers a connection that `session` has opened.
    pub fn open(&self, session: &Session) -> Line {
        let cut = Arc::new(AtomicBool::new(false));
        let mut lines = self.lock();
        let of_session = lines.entry(session.token).or_default();
        // Only when it has doubled: whoever has thousands open must not have all of them looked at each time.
        if of_session.len() == of_session.capacity() {
            of_session.retain(|line| line.strong_count() > 0);
            of_session.reserve(of_session.len() + 1);
        }
        of_session.push(Arc::downgrade(&cut));
        drop(lines);
        // Asked once it is registered, because an end is listed before it is cut. The list tells it also of a copy that
        // memory does not hold, which no end reaches.
        if session.is_over() || self.cache.has_ended(&session.token) {
            cut.store(true, Ordering::Release);
        }
        Line(cut)
    }

    /// Cuts every connection of a session.
    pub fn cut(&self, token: &TokenHash) {
        let mut lines = self.lock();
        for line in lines.remove(token).unwrap_or_default() {
            if let Some(line) = line.upgrade() {
                line.store(true, Ordering::Release);
            }
        }
    }

    /// Forgets sessions whose connections are all closed, and names those that still have some.
    pub fn sweep(&self) -> Vec<TokenHash> {
        let mut lines = self.lock();
        lines.retain(|_, of_session| of_session.iter().any(|line| line.strong_count() > 0));
        lines.keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Whether the session is over.
    pub fn is_cut(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
