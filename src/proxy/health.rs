//! Asks every instance of the app at intervals whether it is well, and tells all workers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::config::upstream::{Health, Protocol, Target, Upstream};
use crate::http::grammar;
use crate::http::head::Search;
use crate::proxy::connect::{Connector, Offer, Stream, is_shortage};
use crate::proxy::http2;
use crate::proxy::instances::Instances;

/// Most of an answer that is read for its status, in bytes.
const MOST: usize = 16 * 1024;
/// Most of its fields.
const MOST_FIELDS: usize = 128;

/// The questions, asked until this is dropped.
pub struct Rounds(Vec<JoinHandle<()>>);

impl Drop for Rounds {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Rounds {
    /// Begins to ask, in the `office`; nobody is asked if none is to be.
    pub fn begin(
        upstream: &Upstream,
        connector: &Connector,
        instances: &Arc<Instances>,
        office: &Handle,
    ) -> Self {
        let Some(health) = &upstream.health else { return Self(Vec::new()) };
        let round = |(place, target): (usize, &Target)| {
            let (target, protocol) = (target.clone(), upstream.protocol);
            let patient = Patient { place, target, protocol, instances: Arc::clone(instances) };
            office.spawn(patient.attend(health.clone(), connector.clone()))
        };
        Self(upstream.targets.iter().enumerate().map(round).collect())
    }
}

/// One instance that is asked.
struct Patient {
    place: usize,
    target: Target,
    protocol: Protocol,
    instances: Arc<Instances>,
}

impl Patient {
    async fn attend(self, health: Health, connector: Connector) {
        let mut beats = interval(health.interval);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut well, mut in_a_row) = (self.instances.is_well(self.place), 0);
        loop {
            beats.tick().await;
            let found = self.ask(&connector, &health).await;
            // No word on the instance: it was not asked.
            if found.as_ref().is_err_and(is_shortage) {
                continue;
            }
            if found.is_ok() == well {
                in_a_row = 0;
                continue;
            }
            in_a_row += 1;
            if in_a_row < if well { health.unhealthy } else { health.healthy } {
                continue;
            }
            (well, in_a_row) = (!well, 0);
            self.instances.asked(self.place, well);
            let instance = &self.target;
            match found {
                Ok(()) => tracing::info!(%instance, "an instance of the app is well again"),
                Err(error) => tracing::warn!(%instance, %error, "an instance of the app is not well"),
            }
        }
    }

    /// Whether the instance answers in time, with a status that says that it is well (200 to 399).
    async fn ask(&self, connector: &Connector, health: &Health) -> io::Result<()> {
        let patience: Duration = health.timeout;
        let status = timeout(patience, self.status(connector, health)).await??;
        if (200..400).contains(&status) {
            Ok(())
        } else {
            Err(io::Error::other(format!("it answered {status}")))
        }
    }

    async fn status(&self, connector: &Connector, health: &Health) -> io::Result<u16> {
        let stream = connector.uncounted(&self.target, Offer::of(self.protocol)).await?;
        if self.protocol == Protocol::H2c || stream.agreed_on_http2() {
            http2::status(stream, &health.host, &health.path).await
        } else {
            status(stream, health).await
        }
    }
}

/// The status of an answer by HTTP/1.1.
async fn status(mut stream: Stream, health: &Health) -> io::Result<u16> {
    let question = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: sidegate-health\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        health.path, health.host
    );
    stream.write_all(question.as_bytes()).await?;
    let (mut search, mut answer) = (Search::default(), BytesMut::new());
    loop {
        match search.take(&mut answer, MOST) {
            Ok(Some(mut head)) => {
                let line = grammar::status_line(&head).ok_or(io::ErrorKind::InvalidData)?;
                grammar::fields(&mut head, line.end, MOST_FIELDS).map_err(|_| io::ErrorKind::InvalidData)?;
                // An interim one is not its last word (RFC 9110 §15.2).
                if !(100..200).contains(&line.status) {
                    return Ok(line.status);
                }
                continue;
            }
            Ok(None) => {}
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::Error::other("it gave no answer"));
        }
    }
}
