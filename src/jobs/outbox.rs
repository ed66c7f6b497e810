//! Sending the mails of the outbox: claimed for a while, handed over, tried again with growing pauses, given
//! up aloud.
//!
//! **At least once.** A mail is marked as sent after the server has taken it. If this process or the store
//! fails in between, the claim runs out and the mail is sent again, with the same `Message-ID`; SMTP has no
//! way to ask whether it was taken.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::app::App;
use crate::error::Fault;
use crate::jobs::{Latest, once};
use crate::mail::{self, Failure, Mailer, Message};
use crate::metrics::Job;
use crate::secret::random;
use crate::store::outbox::{Claimed, Outcome};

/// How often the outbox is looked through without being told to: for mails whose pause is over, and those
/// that a replica left behind.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Mails that are looked up at a time.
const AT_ONCE: u32 = 16;
/// The pause after the first failure; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(15);
/// What a claim lasts beyond the time that sending may take.
const SPARE: Duration = Duration::from_secs(5);

/// Sends as many mails at a time as there are connections to the server. Under another configuration other lanes
/// begin at once, beside which those of before end what they have in hand.
pub(super) async fn send_mails(mut latest: Latest) -> Result<(), Fault> {
    let mut lanes = JoinSet::new();
    loop {
        let app = Arc::clone(&latest.borrow_and_update());
        for _ in 0..app.mailer.as_ref().map_or(0, |mailer| mailer.lanes()) {
            lanes.spawn(lane(Arc::clone(&app), latest.clone()));
        }
        drop(app);
        loop {
            tokio::select! {
                changed = latest.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return Ok(()),
                },
                Some(ended) = lanes.join_next() => match ended {
                    Ok(Ok(())) => {}
                    // After a fault or a panic all begin anew.
                    Ok(Err(fault)) => return Err(fault),
                    Err(error) => if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    },
                },
            }
        }
    }
}

/// Sends one mail after the other, until there is another configuration.
async fn lane(app: Arc<App>, mut latest: Latest) -> Result<(), Fault> {
    let Some(mailer) = &app.mailer else { return Ok(()) };
    loop {
        loop {
            let due = app.store.outbox_due(app.clock.now(), AT_ONCE).await?;
            if due.is_empty() {
                break;
            }
            for id in due {
                if latest.has_changed().unwrap_or(true) {
                    mailer.rest().await;
                    return Ok(());
                }
                let now = app.clock.now();
                let until = now.plus(mailer.patience() + SPARE);
                let mut tx = app.store.begin().await?;
                let claimed = tx.outbox_claim(&id, now, until).await?;
                tx.commit().await?;
                if let Some(claimed) = claimed {
                    // Boxed: it is large, and rare.
                    once(&app, Job::Mail, Box::pin(deliver(&app, mailer, &claimed))).await?;
                }
            }
        }
        mailer.rest().await;
        tokio::select! {
            _ = latest.changed() => return Ok(()),
            _ = tokio::time::timeout(LOOK_EVERY, app.store.mail_news()) => {}
        }
    }
}

/// Tries once and writes down what came of it.
async fn deliver(app: &App, mailer: &Mailer, claimed: &Claimed) -> Result<(), Fault> {
    let Claimed { id, attempt, .. } = claimed;
    let result = if app.clock.now() >= claimed.give_up {
        Err(Failure::Permanent("its time was over".to_owned()))
    } else {
        match opened(app, claimed) {
            Some(message) => mailer.send(&message).await,
            // A replica with the right secret may come.
            None => Err(Failure::Transient("it cannot be opened: was the root secret changed?".to_owned())),
        }
    };
    let now = app.clock.now();
    let (outcome, error) = match result {
        Ok(()) => (Outcome::Sent, None),
        Err(Failure::Transient(why)) => {
            let next = now.plus(pause(*attempt));
            (if next < claimed.give_up { Outcome::Again(next) } else { Outcome::GivenUp }, Some(why))
        }
        Err(Failure::Permanent(why)) => (Outcome::GivenUp, Some(why)),
    };
    let mut tx = app.store.begin().await?;
    let ours = tx.outbox_note(claimed, outcome, error.as_deref(), now).await?;
    tx.commit().await?;
    tell(app, claimed, outcome, error.as_deref().unwrap_or_default());
    if !ours {
        tracing::warn!(mail = %id, attempt, "the claim on a mail had run out: it may be sent twice");
    }
    Ok(())
}

fn tell(app: &App, claimed: &Claimed, outcome: Outcome, why: &str) {
    let (mail, attempt, counts) = (&claimed.id, claimed.attempt, &app.store.counts().mails);
    match outcome {
        Outcome::Sent => counts.sent.add(1),
        Outcome::Again(_) => counts.put_off.add(1),
        Outcome::GivenUp => counts.given_up.add(1),
    }
    match outcome {
        Outcome::Sent => tracing::info!(%mail, attempt, "a mail was sent"),
        Outcome::Again(next) => {
            tracing::warn!(%mail, attempt, next = %next.iso(), "a mail was not taken: {why}");
        }
        Outcome::GivenUp => tracing::error!(%mail, attempt, "a mail is given up: {why}"),
    }
}

fn opened(app: &App, claimed: &Claimed) -> Option<Message> {
    let clear = app.seal.open(&mail::sealed_for(&claimed.id), &claimed.body)?;
    serde_json::from_slice(&clear).ok()
}

/// How long to wait after this many attempts: doubled each time, and spread by a quarter in both directions so
/// that what failed together does not come together again.
fn pause(attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(1, 16) - 1).unwrap_or(0);
    let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
    pause * 3 / 4 + pause * u32::from(random::<1>()[0]) / 510
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_are_spread() {
        for (attempts, middle) in [(0, 5), (1, 5), (2, 10), (5, 80), (8, 640), (9, 900), (i64::MAX, 900)] {
            let middle = Duration::from_secs(middle);
            for _ in 0..50 {
                let pause = pause(attempts);
                assert!(pause >= middle * 3 / 4 && pause <= middle * 5 / 4, "{attempts}: {pause:?}");
            }
        }
        let spread: std::collections::BTreeSet<_> = (0..50).map(|_| pause(3)).collect();
        assert!(spread.len() > 5);
    }
}
