//! The engine: workers that carry traffic, each with a runtime, a share of the listener and connections of
//! its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::app::App;

mod connection;
mod front;
mod head_scan;
pub mod listen;
pub(crate) mod read;
mod recognise;
mod worker;

/// A server that is running.
pub struct Server {
    address: SocketAddr,
    stopping: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
}

impl Server {
    /// Binds and starts all workers. Connections are taken when this returns.
    ///
    /// # Errors
    /// If the address cannot be bound or a thread cannot be started.
    pub fn start(app: &Arc<App>) -> io::Result<Self> {
        let listen = &app.config.listen;
        let listeners = listen::bind(listen.address, listen.workers.max(1))?;
        let address = listeners.first().map_or(Ok(listen.address), std::net::TcpListener::local_addr)?;
        let (stopping, stop) = watch::channel(false);
        let workers = listeners
            .into_iter()
            .enumerate()
            .map(|(number, listener)| worker::start(number, Arc::clone(app), listener, stop.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { address, stopping, workers })
    }

    /// Where it listens: the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
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
