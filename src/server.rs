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
use crate::metrics::Metrics;
use crate::proxy::connect::Connector;
use crate::proxy::health::Rounds;
use crate::proxy::instances::Instances;
use admin::Admin;
use crowd::Crowd;
use listen::{Places, SocketFile};
use otlp::Exporter;
use tls::Tls;
use worker::{Orders, Serving, Shared};

mod admin;
mod connection;
mod crowd;
mod der;
mod files;
mod front;
mod handshakes;
mod http1;
mod http2;
pub mod listen;
mod otlp;
mod proxy_protocol;
pub(crate) mod read;
mod recognise;
mod record;
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
    serving: watch::Sender<Serving>,
    exporter: Option<Exporter>,
    /// Ended last, so that it can tell that we are going down.
    _admin: Option<Admin>,
    admin_address: Option<SocketAddr>,
    metrics: Arc<Metrics>,
    workers: Vec<JoinHandle<()>>,
    /// Removed once nobody is served any more.
    _files: Vec<SocketFile>,
}

impl Server {
    /// Binds and starts all workers. Connections are taken when this returns.
    ///
    /// # Errors
    /// If a certificate cannot be used, the address cannot be bound or a thread cannot be started.
    pub fn start(app: &Arc<App>) -> io::Result<Self> {
        let tls = app.config.tls.as_ref().map(Tls::load).transpose().map_err(io::Error::other)?;
        let most = files::make_room(app.config.limits.connections);
        let exporter = Exporter::start(app).map_err(io::Error::other)?;
        let shared = Shared {
            serving: serving(app).map_err(io::Error::other)?,
            crowd: Crowd::new(most, app.config.limits.connections_per_address, app.config.uncounted.clone()),
            tls: tls.clone(),
            tracing: exporter.as_ref().map(Exporter::tracing),
        };
        let admin = app.config.admin.map(|address| Admin::start(app, address, tls.clone())).transpose()?;
        let Places { shares, first: place, redirect, files } = listen::bind(&app.config.listen)?;
        let (stopping, stop) = watch::channel(false);
        let (serve, served) = watch::channel(shared.serving.clone());
        let orders = Orders { stop, serve: served };
        let workers = shares
            .into_iter()
            .enumerate()
            .map(|(number, shares)| worker::start(number, shared.clone(), shares, orders.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            place,
            redirect,
            tls,
            stopping,
            serving: serve,
            exporter,
            admin_address: admin.as_ref().map(Admin::address),
            _admin: admin,
            metrics: Arc::clone(&app.metrics),
            workers,
            _files: files,
        })
    }

    /// Where it listens first: the port that the system chose if 0 was asked for.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Where plain http is led to https, if it is.
    pub fn redirect(&self) -> Option<SocketAddr> {
        self.redirect
    }

    /// Where the admin listener is, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Serves with `app` from now on, and with the certificates as they are in their files. Requests that have
    /// begun end as they began.
    ///
    /// # Errors
    /// If a file that the configuration names cannot be used; then all stays as it was.
    pub fn apply(&self, app: &Arc<App>) -> Result<(), Unusable> {
        let serving = serving(app)?;
        if let (Some(tls), Some(config)) = (&self.tls, &app.config.tls) {
            tls.reload(config)?;
        }
        self.serving.send_replace(serving);
        Ok(())
    }

    /// Says that nobody new should be sent here; everything is answered as before.
    pub fn announce_end(&self) {
        self.metrics.begin_draining();
    }

    /// Takes no new connections, lets running requests finish within `limits.drain`, and returns when every
    /// worker has ended. Blocks the calling thread.
    pub fn stop(self) {
        self.announce_end();
        let _ = self.stopping.send(true);
        for worker in self.workers {
            if worker.join().is_err() {
                tracing::error!("a worker ended by a panic");
            }
        }
        if let Some(exporter) = self.exporter {
            exporter.finish();
        }
    }
}

/// What the workers need of an application.
fn serving(app: &Arc<App>) -> Result<Serving, Unusable> {
    let upstream = &app.config.upstream;
    let connector = Connector::new(&upstream.tls)?;
    let instances = Arc::new(Instances::new(upstream));
    let rounds = Rounds::begin(upstream, &connector, &instances, &app.office);
    Ok(Serving { app: Arc::clone(app), connector, instances, _rounds: Arc::new(rounds) })
}
