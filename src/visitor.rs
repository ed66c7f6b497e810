//! Who is asking: plain data, and the questions that can be asked of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::id::{PendingId, SessionId, UserId};
use crate::pattern::Pattern;
use crate::secret::TokenHash;
use crate::time::Now;

/// Who is asking.
#[derive(Clone)]
pub enum Visitor {
    /// Nobody we know.
    Stranger,
    /// Somebody who owes the code of an unusual sign-in: a stranger who is led to the page that takes it.
    Pending(PendingId),
    /// The owner of a live session.
    Known(Arc<Session>),
    /// The store did not answer the question; nothing that needs the answer is allowed.
    Unsure,
}

impl Visitor {
    /// The session, if there is one.
    pub fn session(&self) -> Option<&Arc<Session>> {
        match self {
            Self::Stranger | Self::Pending(_) | Self::Unsure => None,
            Self::Known(session) => Some(session),
        }
    }

    /// The sign-in that waits for its code, if there is one.
    pub fn pending(&self) -> Option<&PendingId> {
        match self {
            Self::Pending(id) => Some(id),
            Self::Stranger | Self::Known(_) | Self::Unsure => None,
        }
    }
}

/// A user as the pages, the JSON bodies and the identity headers show one.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The id, which never changes.
    pub id: UserId,
    /// The display name; may be empty.
    pub name: String,
    /// The address in its one canonical form.
    pub email: String,
    /// Whether the mailbox was proved.
    pub email_verified: bool,
    /// Where a picture is.
    pub image: Option<String>,
    /// When the user was created.
    pub created: Now,
    /// When the row last changed.
    pub updated: Now,
}

/// A live session as it is cached. The row in the store is the truth; this copy is valid while
/// [`Session::usable`] says so.
pub struct Session {
    /// The public handle.
    pub id: SessionId,
    /// The key under which it is stored and cached.
    pub token: TokenHash,
    /// Whose it is.
    pub user: User,
    /// When it was opened.
    pub opened: Now,
    /// When it was last renewed.
    pub renewed: Now,
    /// When it ends if it is not renewed.
    pub expires: Now,
    /// Whether it outlives the browser and slides with use.
    pub remember: bool,
    /// From which address it was opened.
    pub address: Option<String>,
    /// By which browser it was opened.
    pub agent: Option<String>,
    /// Until when this copy may be used without asking the store again.
    pub fresh_until: Now,
    /// Set when this copy is no longer the shared one; whoever holds it asks again.
    pub stale: AtomicBool,
    /// Set when the session itself is over; every holder of a copy sees it on the next request.
    pub over: AtomicBool,
    /// Set while one request renews the session, so that others do not.
    pub renewing: AtomicBool,
    /// The identity in a signed token, made when it is first needed.
    pub assertion: OnceLock<Box<str>>,
    /// What a personal access token may do; `None` for a session that somebody signed in to.
    pub grant: Option<Box<Grant>>,
}

/// What a personal access token may do of what its owner may. Such a token is kept as a session is, under its
/// own hash and id, and ends in the same ways; it opens the app and nothing that changes the account.
pub struct Grant {
    /// The paths it is for; `None` for all. An empty list would be none.
    pub paths: Option<Vec<Pattern>>,
    /// Whether it is for reading only: `GET` and `HEAD`.
    pub read_only: bool,
}

impl Session {
    /// Whether this copy may still be used at `now` without asking the store.
    pub fn usable(&self, now: Now) -> bool {
        !self.stale.load(Ordering::Acquire) && !self.is_over() && now < self.expires && now < self.fresh_until
    }

    /// Whether the session has been ended.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}
