//! What goes on without anybody asking: hearing of sessions that other replicas ended, cutting connections
//! whose session is over, deleting what is old, sending mails, new keys to sign with.
//!
//! A job that fails or panics is logged and started again after a pause; it never takes the process with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};

mod old;
mod outbox;

use crate::app::App;
use crate::error::Fault;
use crate::token::Change;
use crate::token::access::SKEW;

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
            kept_running(app, "hearing of ended sessions", hear_of_ended),
            kept_running(app, "cutting connections of ended sessions", cut_connections),
            kept_running(app, "deleting what is old", old::delete),
            kept_running(app, "sending mails", outbox::send_mails),
            kept_running(app, "tending the signing keys", tend_keys),
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

/// Runs `job` again and again until it says that there is nothing to do for it.
fn kept_running<F>(app: &Arc<App>, name: &'static str, job: fn(Arc<App>) -> F) -> JoinHandle<()>
where
    F: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let app = Arc::clone(app);
    app.office.clone().spawn(async move { again_and_again(name, PAUSE, || job(Arc::clone(&app))).await })
}

async fn again_and_again<F>(name: &'static str, pause: Duration, mut job: impl FnMut() -> F)
where
    F: Future<Output = Result<(), Fault>> + Send + 'static,
{
    loop {
        // A set ends what runs in it when it is dropped.
        let mut run = JoinSet::new();
        run.spawn(job());
        match run.join_next().await {
            None | Some(Ok(Ok(()))) => return,
            Some(Ok(Err(fault))) => tracing::warn!(job = name, "{fault}"),
            Some(Err(panic)) => tracing::error!(job = name, "a job ended by a panic: {panic}"),
        }
        tokio::time::sleep(pause).await;
    }
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
        app.sessions.ended(&[token]);
    }
}

async fn cut_connections(app: Arc<App>) -> Result<(), Fault> {
    loop {
        tokio::time::sleep(CUT_EVERY).await;
        app.sessions.cut_ended(app.clock.now()).await?;
    }
}

/// Makes a new signing key when it is time, and learns of those that other replicas made or took back.
async fn tend_keys(app: Arc<App>) -> Result<(), Fault> {
    loop {
        if app.tokens.tend(app.clock.now()).await? == Change::Gone {
            app.sessions.forget_all();
        }
        tokio::time::sleep(TEND_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_or_fails_runs_again_and_takes_nothing_with_it() {
        let runs = Cell::new(0);
        again_and_again("of a test", Duration::ZERO, || {
            runs.set(runs.get() + 1);
            let run = runs.get();
            async move {
                match run {
                    1 => panic!("a job of a test panics"),
                    2 => Err(Fault::new("failing in a test", "on purpose")),
                    _ => Ok(()),
                }
            }
        })
        .await;
        assert_eq!(runs.get(), 3);
    }
}
