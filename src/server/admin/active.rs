//! How many sessions there are, counted by the store when a scrape asks for it, and not for every one.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::app::App;
use crate::time::Moment;

/// A count is told for so long at least.
const FRESH: Duration = Duration::from_secs(1);
/// It is told for so many times as long as it took, so that the store counts for a hundredth of the time at most.
const SHARE: u32 = 100;
/// How long the store may take. What cannot be counted in time is left out, rather than told wrongly.
const PATIENCE: Duration = Duration::from_secs(1);

/// The latest count of sessions.
#[derive(Default)]
pub(super) struct Active(Mutex<Option<Counted>>);

struct Counted {
    at: Moment,
    took: Duration,
    /// None if it took too long or failed.
    sessions: Option<u64>,
}

impl Active {
    /// The sessions in the store that have not expired, as of not long ago.
    pub(super) async fn sessions(&self, app: &App) -> Option<u64> {
        let mut latest = self.0.lock().await;
        if let Some(counted) = &*latest
            && counted.at.elapsed() < FRESH.max(counted.took * SHARE)
        {
            return counted.sessions;
        }
        let at = Moment::now();
        let counted = timeout(PATIENCE, app.store.sessions_active(app.clock.now())).await;
        let sessions = counted.ok().and_then(Result::ok);
        *latest = Some(Counted { at, took: at.elapsed(), sessions });
        sessions
    }
}
