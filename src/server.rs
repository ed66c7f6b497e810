//! The engine: workers that carry traffic, each with a runtime, a share of the listener and connections of
//! its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::app::App;
use crate::config::listen::Place;
use crate::config::tls::Unusable;
use crate::proxy::connect::Connector;
use crate::proxy::health::Rounds;
use crate::proxy::instances::Instances;
use crowd::Crowd;
use listen::{Places, SocketFile};
use tls::Tls;
use worker::Shared;

mod connection;
mod crowd;
mod files;
mod front;
mod http1;
mod http2;
pub mod listen;
mod proxy_protocol;
pub(crate) mod read;
mod recognise;
mod redirect;
mod reply;
pub mod tls;
mod worker;

/// A server that is running.
pub struct Server {
    place: Place,
    redirect: Option<SocketAddr>,
    tls: Option<Tls>,
    stopping: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    /// Ends with the server.
    _rounds: Rounds,
    /// Removed once nobody is served any more.
    _files: Vec<SocketFile>,
}

impl Server {
    /// Binds and starts all workers. Connections are taken when this returns.
    ///
    /// # Errors
    /// If a certificate cannot be used, the address cannot be bound or a thread cannot be started.
    pub fn start(app: &Arc<App>) -> io::Result<Self> {
        let upstream = &app.config.upstream;
        let tls = app.config.tls.clone().map(Tls::load).transpose().map_err(io::Error::other)?;
        let most = files::make_room(app.config.limits.connections);
        let shared = Shared {
            crowd: Crowd::new(most, app.config.limits.connections_per_address, app.config.uncounted.clone()),
            app: Arc::clone(app),
            tls: tls.clone(),
            connector: Connector::new(&upstream.tls).map_err(io::Error::other)?,
            instances: Arc::new(Instances::new(upstream)),
        };
        let rounds = Rounds::begin(upstream, &shared.connector, &shared.instances, &app.office);
        let Places { shares, first: place, redirect, files } = listen::bind(&app.config.listen)?;
        let (stopping, stop) = watch::channel(false);
        let workers = shares
            .into_iter()
            .enumerate()
            .map(|(number, shares)| worker::start(number, shared.clone(), shares, stop.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { place, redirect, tls, stopping, workers, _files: files, _rounds: rounds })
    }

    /// Where it listens first: the port that the system chose if 0 was asked for.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Where plain http is led to https, if it is.
    pub fn redirect(&self) -> Option<SocketAddr> {
        self.redirect
    }

    /// Reads the certificates again.
    ///
    /// # Errors
    /// If one of them cannot be used; then all stay as they were.
    pub fn reload(&self) -> Result<(), Unusable> {
        self.tls.as_ref().map_or(Ok(()), Tls::reload)
    }

    /// Takes no new connections, lets running requests finish within `limits.drain`, and returns when every
    /// worker has ended. Blocks the calling thread.
    pub fn stop(self) {
        let _ = self.stopping.send(true);
        for worker in self.workers {
            if worker.join().is_err() {
                tracing::error!("a worker ended by a panic");
            }
        }
    }
}
