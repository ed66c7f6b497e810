//! One worker: a thread with a runtime of its own that accepts, serves and drains its share of the connections.
//!
//! **Invariant:** a worker never computes a password hash, never runs a query and never resolves a name while a request waits for
//! another; it only awaits the office.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, watch};

use crate::app::App;
use crate::proxy::Proxy;
use crate::proxy::ticker::Ticker;
use crate::server::connection;
use crate::session::cache::Near;

/// How long to wait after the system ran out of something, at first and at most.
const SHORTAGE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What the connections of one worker share.
pub(super) struct Worker {
    pub(super) app: Arc<App>,
    pub(super) proxy: Proxy,
    pub(super) near: RefCell<Near>,
    pub(super) ticker: Ticker,
    /// Connections that are open.
    open: Cell<usize>,
    /// Told whenever one has ended.
    one_less: Notify,
}

/// Counts one open connection.
pub(super) struct Seat(Rc<Worker>);

impl Seat {
    fn take(worker: &Rc<Worker>) -> Self {
        worker.open.set(worker.open.get() + 1);
        Self(Rc::clone(worker))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.one_less.notify_one();
    }
}

/// Starts a worker on its own thread.
pub(super) fn start(
    number: usize,
    app: Arc<App>,
    (listener, stop): (TcpListener, watch::Receiver<bool>),
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "a worker's runtime cannot be started");
                return;
            }
        };
        if let Err(error) = runtime.block_on(run(app, listener, stop)) {
            tracing::error!(%error, "a worker cannot listen");
        }
    })
}

async fn run(app: Arc<App>, listener: TcpListener, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let ticker = Ticker::default();
    let worker = Rc::new(Worker {
        proxy: Proxy::new(Arc::clone(&app.config), ticker.clone(), Arc::clone(&app.sessions.live)),
        near: RefCell::default(),
        ticker: ticker.clone(),
        open: Cell::new(0),
        one_less: Notify::new(),
        app,
    });
    let swept = Rc::clone(&worker);
    tokio::task::spawn_local(ticker.run(move || {
        swept.proxy.sweep();
        swept.near.borrow_mut().sweep(swept.app.clock.now());
    }));
    let for_connections = stop.clone();
    tokio::select! {
        () = accept(&worker, &listener, &for_connections) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    drop(listener);
    let drained = async {
        while worker.open.get() > 0 {
            worker.one_less.notified().await;
        }
    };
    if tokio::time::timeout(worker.app.config.limits.drain, drained).await.is_err() {
        tracing::warn!(connections = worker.open.get(), "connections were cut at the end of the drain time");
    }
    Ok(())
}

async fn accept(worker: &Rc<Worker>, listener: &tokio::net::TcpListener, stop: &watch::Receiver<bool>) {
    let config = &worker.app.config;
    let most = (config.limits.connections / config.listen.workers.max(1)).max(1);
    let mut wait = SHORTAGE.0;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                wait = SHORTAGE.0;
                if worker.open.get() < most {
                    let seat = Seat::take(worker);
                    let connection = connection::serve(Rc::clone(worker), (stream, peer), stop.clone());
                    tokio::task::spawn_local(async move {
                        connection.await;
                        drop(seat);
                    });
                }
            }
            // The client went away before it was its turn.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            // Out of file descriptors or memory: accepting again at once would only burn the processor.
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(SHORTAGE.1);
            }
        }
    }
}
