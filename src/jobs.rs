//! What goes on without anybody asking: hearing of sessions that other replicas ended, cutting connections
//! whose session is over, deleting what is old, sending mails, new keys to sign with.
//!
//! A job that fails or panics is logged and started again after a pause; it never takes the process with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
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
pub struct Jobs {
    running: Vec<JoinHandle<()>>,
    latest: watch::Sender<Arc<App>>,
}

/// The application under the configuration that counts now, and word of another. A job looks at it anew at each step.
type Latest = watch::Receiver<Arc<App>>;

impl Jobs {
    /// Starts all jobs in the office.
    pub fn start(app: &Arc<App>) -> Self {
        let (latest, word) = watch::channel(Arc::clone(app));
        let running = vec![
            kept_running(&word, Job::Hear, hear_of_ended),
            kept_running(&word, Job::Cut, cut_connections),
            kept_running(&word, Job::Delete, old::delete),
            kept_running(&word, Job::Mail, outbox::send_mails),
            kept_running(&word, Job::Keys, tend_keys),
        ];
        Self { running, latest }
    }

    /// Has all jobs work with `app` from now on. What one is in the middle of, a mail that is handed over, ends as it
    /// began.
    pub fn apply(&self, app: &Arc<App>) {
        self.latest.send_replace(Arc::clone(app));
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        for job in &self.running {
            job.abort();
        }
    }
}

/// Runs `work` again and again until it says that there is nothing to do for it.
fn kept_running<F>(latest: &Latest, job: Job, work: fn(Latest) -> F) -> JoinHandle<()>
where
    F: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let (app, latest) = (now(latest), latest.clone());
    app.office.spawn({
        let metrics = Arc::clone(&app.metrics);
        async move { keep(&metrics, job, PAUSE, || work(latest.clone())).await }
    })
}

/// The application as it is now.
fn now(latest: &Latest) -> Arc<App> {
    Arc::clone(&latest.borrow())
}

/// Waits for so long, but no longer than until there is another configuration. False if there is none.
async fn sleep_unless_changed(latest: &mut Latest, time: Duration) -> bool {
    tokio::select! {
        Ok(()) = latest.changed() => true,
        () = tokio::time::sleep(time) => false,
    }
}

/// Ends in memory what another replica has ended in the store. Whenever the feed was interrupted something
/// may have been missed, so all copies are dropped before it is trusted again.
async fn hear_of_ended(latest: Latest) -> Result<(), Fault> {
    let app = now(&latest);
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

async fn cut_connections(latest: Latest) -> Result<(), Fault> {
    loop {
        tokio::time::sleep(CUT_EVERY).await;
        let app = now(&latest);
        once(&app, Job::Cut, app.sessions.cut_ended(app.clock.now())).await?;
    }
}

/// Makes a new signing key when it is time, or when a configuration asks for one of another kind, and learns of those
/// that other replicas made or took back.
async fn tend_keys(mut latest: Latest) -> Result<(), Fault> {
    loop {
        let app = Arc::clone(&latest.borrow_and_update());
        if once(&app, Job::Keys, app.tokens.tend(app.clock.now())).await? == Change::Gone {
            app.sessions.forget_all();
        }
        sleep_unless_changed(&mut latest, TEND_EVERY).await;
    }
}
