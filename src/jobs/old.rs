//! Deleting what nothing needs any more, by one replica at a time.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::error::Fault;
use crate::jobs::{Latest, once, sleep_unless_changed};
use crate::metrics::Job;
use crate::store::Tx;
use crate::time::Now;

/// How often it is looked for.
const EVERY: Duration = Duration::from_mins(10);
/// How soon it is tried again after a failure.
const SOON: Duration = Duration::from_secs(30);
/// Rows deleted in one transaction, so that no other waits long for its turn.
const AT_ONCE: u32 = 500;
/// How long a way through a provider is kept after its time, so that who comes late is led back to where it
/// began.
const KEEP_FLOWS: Duration = Duration::from_hours(24);
/// How long the line of a mail that was given up is kept.
const KEEP_FAILED_MAILS: Duration = Duration::from_hours(30 * 24);

/// How long a browser is remembered that was not seen; its cookie lives no longer.
const KEEP_DEVICES: Duration = Duration::from_hours(400 * 24);

/// What grows old.
#[derive(Clone, Copy)]
enum Old {
    /// Sessions that have expired.
    Sessions,
    /// Personal access tokens that have expired.
    PersonalTokens,
    /// Sign-ins that waited for their code too long.
    Pending,
    /// Browsers that were not seen for too long.
    Devices,
    /// Ways through a provider that were not gone to their end.
    Flows,
    /// Logout tokens that have expired, so that nobody can send them again.
    LogoutTokens,
    /// Links that have expired.
    Tickets,
    /// Lines of mails that were sent or given up.
    Mails,
    /// Lines of the log of sign-ins.
    SignIns,
}

impl Old {
    const ALL: [Self; 9] = [
        Self::Sessions,
        Self::PersonalTokens,
        Self::Pending,
        Self::Devices,
        Self::Flows,
        Self::LogoutTokens,
        Self::Tickets,
        Self::Mails,
        Self::SignIns,
    ];

    /// Names it in the log, and for the lock that keeps other replicas from the same work.
    const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::PersonalTokens => "personal access tokens",
            Self::Pending => "pending sign-ins",
            Self::Devices => "devices",
            Self::Flows => "flows at providers",
            Self::LogoutTokens => "logout tokens",
            Self::Tickets => "links",
            Self::Mails => "mails",
            Self::SignIns => "lines of the log of sign-ins",
        }
    }

    /// Deletes some, and returns how many.
    async fn delete(self, app: &App, tx: &mut Tx, now: Now) -> Result<u64, Fault> {
        match self {
            Self::Sessions => tx.sessions_delete_expired(now, AT_ONCE).await,
            Self::PersonalTokens => tx.personal_tokens_delete_expired(now, AT_ONCE).await,
            Self::Pending => tx.pendings_delete_expired(now, AT_ONCE).await,
            Self::Devices => tx.devices_delete_stale(now.minus(KEEP_DEVICES), AT_ONCE).await,
            Self::Flows => tx.oauth_flows_delete_expired(now.minus(KEEP_FLOWS), AT_ONCE).await,
            Self::LogoutTokens => tx.logout_tokens_delete_expired(now, AT_ONCE).await,
            Self::Tickets => tx.tickets_delete_expired(now, AT_ONCE).await,
            Self::Mails => {
                let keep = app.config.mail.as_ref().map_or(KEEP_FAILED_MAILS, |mail| mail.keep_sent);
                tx.outbox_delete_ended(now.minus(keep), now.minus(KEEP_FAILED_MAILS), AT_ONCE).await
            }
            Self::SignIns => tx.auth_log_delete_old(now.minus(app.config.log.keep_sign_ins), AT_ONCE).await,
        }
    }
}

/// Deletes what is old, now and again and again, and when what is old may be another.
pub(super) async fn delete(mut latest: Latest) -> Result<(), Fault> {
    loop {
        let app = Arc::clone(&latest.borrow_and_update());
        // What failed is tried again sooner.
        let all = once(&app, Job::Delete, delete_all(&app)).await?;
        sleep_unless_changed(&mut latest, if all { EVERY } else { SOON }).await;
    }
}

/// Deletes all that is old. False if some of it could not be.
async fn delete_all(app: &App) -> Result<bool, Fault> {
    let mut all = true;
    for old in Old::ALL {
        let mut deleted = 0;
        loop {
            // Without a store there is nothing to go on with.
            let tx = app.store.begin().await?;
            let some = match some_of(old, app, tx).await {
                Ok(some) => some,
                // What cannot be deleted keeps nothing else from being deleted.
                Err(fault) => {
                    tracing::warn!(what = old.name(), "what is old cannot be deleted: {fault}");
                    app.metrics.job(Job::Delete).failures.add(1);
                    all = false;
                    break;
                }
            };
            deleted += some;
            if some < u64::from(AT_ONCE) {
                break;
            }
        }
        if deleted > 0 {
            app.metrics.deleted.add(old.name(), "rows", deleted);
            tracing::info!(what = old.name(), deleted, "deleted what is old");
        }
    }
    Ok(all)
}

/// Deletes some of one kind, unless another replica is at it, and returns how many.
async fn some_of(old: Old, app: &App, mut tx: Tx) -> Result<u64, Fault> {
    if !tx.alone(old.name()).await? {
        return Ok(0);
    }
    let some = old.delete(app, &mut tx, app.clock.now()).await?;
    tx.commit().await?;
    Ok(some)
}
