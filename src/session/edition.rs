//! The same sessions under another configuration, and whose copies of them memory holds.

use std::sync::Arc;

use crate::config;
use crate::secret::RootSecret;
use crate::session::Sessions;

impl Sessions {
    /// The same sessions under another configuration. If copies of them would not be the `same` under it, memory is
    /// emptied when it takes over.
    #[must_use]
    pub fn under(&self, limits: config::Session, secret: &RootSecret, https: bool, same: bool) -> Self {
        Self {
            cache: Arc::clone(&self.cache),
            edition: if same { self.edition } else { self.edition + 1 },
            live: Arc::clone(&self.live),
            renewals: Arc::clone(&self.renewals),
            ..Self::new(self.store.clone(), limits, secret, https)
        }
    }

    /// Has memory hold what is made under this configuration from now on.
    pub fn take_over(&self) {
        self.cache.supersede(self.edition);
    }

    /// Whether memory holds what is made under this configuration. A request that began before a reload asks the
    /// store, and keeps the answer to itself.
    pub(super) fn is_current(&self) -> bool {
        self.cache.edition() == self.edition
    }
}
