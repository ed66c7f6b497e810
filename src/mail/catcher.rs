//! The catcher: the last mails in memory, for development and the demo.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::mail::Message;
use crate::time::Now;

/// How many mails are kept.
const KEPT: usize = 100;

/// A mail that was caught.
pub struct Caught {
    /// Names it.
    pub id: String,
    /// When it was decided on.
    pub at: Now,
    /// Whom it was for.
    pub to: String,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub text: String,
    /// Its markup.
    pub html: String,
}

/// The last mails. Clones share them.
#[derive(Clone, Default)]
pub struct Catcher(Arc<Mutex<VecDeque<Arc<Caught>>>>);

impl Catcher {
    /// Keeps a mail, and forgets the oldest of too many.
    pub(super) fn keep(&self, message: &Message) {
        let caught = Caught {
            id: message.id.clone(),
            at: Now::from_millis(message.at),
            to: message.to.clone(),
            subject: message.subject.clone(),
            text: message.text.clone(),
            html: message.html.clone(),
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One whose line could not be marked comes again.
        kept.retain(|known| known.id != caught.id);
        kept.push_front(Arc::new(caught));
        kept.truncate(KEPT);
    }

    /// What is kept, the latest first.
    pub fn list(&self) -> Vec<Arc<Caught>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// One of them.
    pub fn find(&self, id: &str) -> Option<Arc<Caught>> {
        self.list().into_iter().find(|caught| caught.id == id)
    }
}
