//! The engine: workers that carry traffic, each with a runtime, a share of the listener and connections of
//! its own.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::app::App;
use crate::config::listen::Place;
use crate::config::problem::Problems;
use crate::metrics::Metrics;
use crate::proxy::connect::Connector;
use crate::proxy::health::Rounds;
use crate::proxy::instances::Instances;
use admin::Admin;
use crowd::Crowd;
use listen::{Places, SocketFile};
use otlp::Exporter;
use passed::Passed;
use thread::Orders;
use tls::Tls;
use worker::Serving;

mod admin;
mod connection;
mod crowd;
mod date;
mod der;
mod files;
mod front;
mod hands;
mod handshakes;
mod http1;
mod http2;
mod inherited;
mod linger;
pub mod listen;
mod otlp;
pub mod passed;
mod plain_http;
mod proxy_protocol;
pub(crate) mod read;
mod recognise;
mod record;
mod redirect;
mod reply;
mod seats;
mod silenced;
mod thread;
pub mod tls;
pub mod unbound;
mod worker;

/// A server that is running.
pub struct Server {
    place: Place,
    redirect: Option<SocketAddr>,
    stopping: watch::Sender<bool>,
    serving: watch::Sender<Serving>,
    /// The latest one, and those before it that have spans left.
    exporters: Mutex<Vec<Exporter>>,
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
        Self::start_with(app, &Passed::default())
    }

    /// The same with the sockets that were handed over.
    ///
    /// # Errors
    /// As for [`Self::start`], or if a socket is asked for and none was handed over.
    pub fn start_with(app: &Arc<App>, passed: &Passed) -> io::Result<Self> {
        let Ready { serving, exporter, to_the_app } = serving(app, None).map_err(io::Error::other)?;
        serving.connector.places().allow(to_the_app);
        let (serve, served) = watch::channel(serving);
        let admin = app.config.admin.map(|address| Admin::start(&served, address)).transpose()?;
        let Places { shares, first: place, redirect, files } = listen::bind(&app.config.listen, passed)?;
        let (stopping, stop) = watch::channel(false);
        let orders = Orders { stop, serve: served };
        let workers = shares
            .into_iter()
            .enumerate()
            .map(|(number, shares)| thread::start(number, shares, orders.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            place,
            redirect,
            stopping,
            serving: serve,
            exporters: Mutex::new(exporter.into_iter().collect()),
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

    /// Makes ready to serve with `app`, and with the certificates as they are in their files. Nothing has changed yet.
    ///
    /// # Errors
    /// If a file that the configuration names cannot be used.
    pub fn prepare(&self, app: &Arc<App>) -> Result<Ready, Problems> {
        let before = self.serving.borrow().clone();
        serving(app, Some(&before))
    }

    /// Serves with what is ready from now on. Requests that have begun end as they began, and open connections stay.
    pub fn apply(&self, ready: Ready) {
        let Ready { serving, exporter, to_the_app } = ready;
        let app = Arc::clone(&serving.app);
        serving.connector.places().allow(to_the_app);
        self.serving.send_replace(serving);
        app.sessions.take_over();
        let mut exporters = self.exporters.lock().unwrap_or_else(PoisonError::into_inner);
        exporters.retain(|exporter| !exporter.is_done());
        exporters.extend(exporter);
    }

    /// Serves connections that are made from now on with the certificates as they are in their files, under the same
    /// configuration.
    ///
    /// # Errors
    /// If one of the files cannot be used; then nothing has changed.
    pub fn renew_certificates(&self) -> Result<(), Problems> {
        let mut serving = self.serving.borrow().clone();
        serving.tls = serving.app.config.tls.as_ref().map(Tls::load).transpose()?;
        self.serving.send_replace(serving);
        Ok(())
    }

    /// What clients would not take of the certificates, in one line each.
    pub fn dangers(&self) -> Vec<String> {
        let serving = self.serving.borrow();
        let (config, now) = (&serving.app.config, serving.app.clock.now());
        serving.tls.as_ref().map_or_else(Vec::new, |tls| tls.dangers(&config.public.authority, now))
    }

    /// Says that nobody new should be sent here; everything is answered as before.
    pub fn announce_end(&self) {
        self.metrics.begin_draining();
    }

    /// Takes no new connections, tells those that are open to end, lets running requests finish within
    /// `limits.drain`, and returns when every worker has ended. Blocks the calling thread.
    pub fn stop(self) {
        self.announce_end();
        let _ = self.stopping.send(true);
        for worker in self.workers {
            if worker.join().is_err() {
                tracing::error!("a worker ended by a panic");
            }
        }
        // The last way by which spans could still come; the rest the admin listener has as well.
        self.serving.send_modify(|serving| serving.tracing = None);
        for exporter in self.exporters.into_inner().unwrap_or_else(PoisonError::into_inner) {
            exporter.finish();
        }
    }
}

/// What can be served with at once.
pub struct Ready {
    serving: Serving,
    exporter: Option<Exporter>,
    /// Connections to the app that there may be.
    to_the_app: usize,
}

/// What the workers need of an application, in place of what they had `before`.
fn serving(app: &Arc<App>, before: Option<&Serving>) -> Result<Ready, Problems> {
    let config = &app.config;
    let tls = config.tls.as_ref().map(Tls::load).transpose()?;
    let room = files::make_room(config.limits.connections, config.listen.workers);
    // What leads to the app under the configuration before counts too.
    let places = before.map_or_else(Arc::default, |before| Arc::clone(before.connector.places()));
    let connector = Connector::new(&config.upstream.tls)?.within(places);
    let (tracing, exporter) = Exporter::start(app)?.unzip();
    let most = room.clients;
    let (of_one, uncounted) = (config.limits.connections_per_address, config.uncounted.clone());
    let instances = Arc::new(match before {
        Some(before) => Instances::after(&config.upstream, (&before.instances, &before.app.config.upstream)),
        None => Instances::new(&config.upstream),
    });
    let rounds = Rounds::begin(&config.upstream, &connector, &instances, &app.office);
    let serving = Serving {
        app: Arc::clone(app),
        connector,
        instances,
        _rounds: Arc::new(rounds),
        tls,
        crowd: match before {
            Some(before) => before.crowd.under(most, of_one, uncounted),
            None => Crowd::new(most, of_one, uncounted),
        },
        tracing,
    };
    Ok(Ready { serving, exporter, to_the_app: room.to_the_app })
}
