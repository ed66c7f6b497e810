//! What goes on without anybody asking: hearing of sessions that other replicas ended, cutting connections
//! whose session is over, deleting what is old, sending mails, new keys to sign with.
//!
//! A job that fails or panics is logged and started again after a pause; it never takes the process with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

mod old;
mod outbox;

use crate::app::App;
use crate::error::Fault;
use crate::metrics::Job;
use crate::token::Change;
use crate::token::access::SKEW;

mod counted;

use counted::{keep, once};

/// The pause after a job has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often open connections are held against the store.
const CUT_EVERY: Duration = Duration::from_secs(15);
/// How often signing keys are read again, and looked after.
const TEND_EVERY: Duration = Duration::from_mins(1);

/// The jobs that run; they end when this is dropped.
pub struct Jobs(Vec<JoinHandle<()>>);

impl Jobs {
    /// Starts all jobs in the office.
    pub fn start(app: &Arc<App>) -> Self {
        Self(vec![
            kept_running(app, Job::Hear, hear_of_ended),
            kept_running(app, Job::Cut, cut_connections),
            kept_running(app, Job::Delete, old::delete),
            kept_running(app, Job::Mail, outbox::send_mails),
            kept_running(app, Job::Keys, tend_keys),
        ])
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        for job in &self.0 {
            job.abort();
        }
    }
}

/// Runs `work` again and again until it says that there is nothing to do for it.
fn kept_running<F>(app: &Arc<App>, job: Job, work: fn(Arc<App>) -> F) -> JoinHandle<()>
where
    F: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let (app, metrics) = (Arc::clone(app), Arc::clone(&app.metrics));
    app.office.clone().spawn(async move { keep(&metrics, job, PAUSE, || work(Arc::clone(&app))).await })
}

/// Ends in memory what another replica has ended in the store. Whenever the feed was interrupted something
/// may have been missed, so all copies are dropped before it is trusted again.
async fn hear_of_ended(app: Arc<App>) -> Result<(), Fault> {
    let Some(mut feed) = app.store.ended_feed() else {
        // Nobody else ends anything of which we would have to hear.
        app.sessions.cache.hears_from(app.clock.now());
        return Ok(());
    };
    feed.listen().await?;
    // By the clock of the replica that signs, which may be ahead of ours.
    app.sessions.cache.hears_from(app.clock.now().plus(SKEW));
    app.sessions.forget_all();
    loop {
        let token = feed.next().await?;
        let ended = async {
            app.sessions.ended(&[token]);
            Ok(())
        };
        once(&app, Job::Hear, ended).await?;
    }
}

async fn cut_connections(app: Arc<App>) -> Result<(), Fault> {
    loop {
        tokio::time::sleep(CUT_EVERY).await;
        once(&app, Job::Cut, app.sessions.cut_ended(app.clock.now())).await?;
    }
}

/// Makes a new signing key when it is time, and learns of those that other replicas made or took back.
async fn tend_keys(app: Arc<App>) -> Result<(), Fault> {
    loop {
        if once(&app, Job::Keys, app.tokens.tend(app.clock.now())).await? == Change::Gone {
            app.sessions.forget_all();
        }
        tokio::time::sleep(TEND_EVERY).await;
    }
}
