//! The engine: workers that carry traffic, each with a runtime, a share of the listener and connections of
//! its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::app::App;
use crate::config::tls::Unusable;
use crate::proxy::connect::Connector;
use crate::proxy::instances::Instances;
use tls::Tls;
use worker::Shared;

mod connection;
mod front;
mod http1;
mod http2;
pub mod listen;
pub(crate) mod read;
mod recognise;
mod reply;
pub mod tls;
mod worker;

/// A server that is running.
pub struct Server {
    address: SocketAddr,
    tls: Option<Tls>,
    stopping: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
}

impl Server {
    /// Binds and starts all workers. Connections are taken when this returns.
    ///
    /// # Errors
    /// If a certificate cannot be used, the address cannot be bound or a thread cannot be started.
    pub fn start(app: &Arc<App>) -> io::Result<Self> {
        let upstream = &app.config.upstream;
        let tls = app.config.tls.clone().map(Tls::load).transpose().map_err(io::Error::other)?;
        let shared = Shared {
            app: Arc::clone(app),
            tls: tls.clone(),
            connector: Connector::new(&upstream.tls).map_err(io::Error::other)?,
            instances: Arc::new(Instances::new(upstream.targets.len(), upstream.rest)),
        };
        let listen = &app.config.listen;
        let listeners = listen::bind(listen.address, listen.workers.max(1))?;
        let address = listeners.first().map_or(Ok(listen.address), std::net::TcpListener::local_addr)?;
        let (stopping, stop) = watch::channel(false);
        let workers = listeners
            .into_iter()
            .enumerate()
            .map(|(number, listener)| worker::start(number, shared.clone(), listener, stop.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { address, tls, stopping, workers })
    }

    /// Where it listens: the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
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
