//! Connections that outlive their request and must end with their session: web sockets and other tunnels.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::secret::TokenHash;
use crate::visitor::Session;

/// The open lines of every session that has any.
#[derive(Default)]
pub struct Live(Mutex<HashMap<TokenHash, Vec<Weak<AtomicBool>>>>);

/// One open connection of a session.
pub struct Line(Arc<AtomicBool>);

impl Live {
    /// Registers a connection that `session` has opened.
    pub fn open(&self, session: &Session) -> Line {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = Arc::new(AtomicBool::new(session.is_over()));
        let of_session = lines.entry(session.token).or_default();
        of_session.retain(|line| line.strong_count() > 0);
        of_session.push(Arc::downgrade(&cut));
        Line(cut)
    }

    /// Cuts every connection of a session.
    pub fn cut(&self, token: &TokenHash) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.remove(token).unwrap_or_default() {
            if let Some(line) = line.upgrade() {
                line.store(true, Ordering::Release);
            }
        }
    }

    /// Forgets sessions whose connections are all closed, and names those that still have some.
    pub fn sweep(&self) -> Vec<TokenHash> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|_, of_session| of_session.iter().any(|line| line.strong_count() > 0));
        lines.keys().copied().collect()
    }
}

impl Line {
    /// Whether the session is over.
    pub fn is_cut(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
