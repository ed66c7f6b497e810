//! A job is counted, told of, and started again when it failed or panicked.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::app::App;
use crate::error::Fault;
use crate::metrics::{Job, Metrics};
use crate::time::Moment;

/// Runs `work` again and again, each time after a `pause`, until it says that there is nothing to do for it.
pub(super) async fn keep<F>(metrics: &Metrics, job: Job, pause: Duration, work: impl Fn() -> F)
where
    F: Future<Output = Result<(), Fault>> + Send + 'static,
{
    loop {
        // A set ends what runs in it when it is dropped.
        let mut run = JoinSet::new();
        run.spawn(work());
        match run.join_next().await {
            None | Some(Ok(Ok(()))) => return,
            Some(Ok(Err(fault))) => tracing::warn!(job = job.name(), "{fault}"),
            // With everything else, at the end of the process.
            Some(Err(end)) if end.is_cancelled() => return,
            Some(Err(panic)) => tracing::error!(job = job.name(), "a job ended by a panic: {panic}"),
        }
        metrics.job(job).failures.add(1);
        sleep(pause).await;
    }
}

/// Does the work of a job once. That it failed is counted by [`keep`].
pub(super) async fn once<T>(
    app: &App,
    job: Job,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let begun = Moment::now();
    let outcome = work.await;
    let (took, counts) = (begun.elapsed(), app.metrics.job(job));
    counts.runs.add(1);
    counts.took.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    tracing::debug!(job = job.name(), ?took, failed = outcome.is_err(), "a job has run");
    outcome
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_job_that_fails_or_panics_is_counted_and_begins_again() {
        let (metrics, turn) = (Metrics::default(), Arc::new(AtomicU32::new(0)));
        keep(&metrics, Job::Delete, Duration::from_millis(1), || {
            let turn = turn.fetch_add(1, Ordering::Relaxed);
            async move {
                match turn {
                    0 => panic!("a panic of a job"),
                    1 => Err(Fault::new("working", "a fault of a job")),
                    _ => Ok(()),
                }
            }
        })
        .await;
        assert_eq!(turn.load(Ordering::Relaxed), 3);
        assert_eq!(metrics.job(Job::Delete).failures.get(), 2);
        assert_eq!(metrics.job(Job::Keys).failures.get(), 0);
    }
}
