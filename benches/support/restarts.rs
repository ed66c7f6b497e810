//! Apps on threads of their own that can be started anew: all their connections end, and for a while nobody is there.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::Notify;

use crate::ordeal::now;

/// How long nobody is there.
const AWAY: Duration = Duration::from_millis(300);
/// Until everybody who met that has heard of it.
const LATER: Duration = Duration::from_secs(1);

/// An app that can be started anew.
pub(crate) struct Restarts {
    pub(crate) address: SocketAddr,
    stop: Arc<Notify>,
    back: Mutex<Receiver<()>>,
    /// When it was away, and until when if it is not any more.
    away: Mutex<Vec<(Instant, Option<Instant>)>>,
}

impl Restarts {
    /// Starts an app that serves each connection as `serve` does; it ends with this process.
    pub(crate) fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let (stop, (sender, back)) = (Arc::new(Notify::new()), channel());
        let stopped = Arc::clone(&stop);
        thread::Builder::new().name("app".to_owned()).spawn(move || {
            let mut listener = Some(listener);
            loop {
                let Some(ready) = listener.take().or_else(|| TcpListener::bind(address).ok()) else {
                    thread::sleep(Duration::from_millis(10));
                    continue;
                };
                // Who asked for it may have gone.
                let _: Result<(), _> = Sender::send(&sender, ());
                if live(ready, &serve, &stopped).is_err() {
                    return;
                }
                thread::sleep(AWAY);
            }
        })?;
        let _ = back.recv();
        Ok(Self { address, stop, back: Mutex::new(back), away: Mutex::default() })
    }

    /// Ends it with all of its connections and starts it anew; returns when it is there again.
    pub(crate) fn again(&self) {
        self.times().push((now(), None));
        self.stop.notify_one();
        let _ = self.back.lock().unwrap_or_else(PoisonError::into_inner).recv();
        if let Some((_, end)) = self.times().last_mut() {
            *end = Some(now());
        }
    }

    /// Whether it was away since then, or shortly before.
    pub(crate) fn was_away(&self, since: Instant) -> bool {
        self.times().iter().any(|(_, end)| end.is_none_or(|end| end + LATER > since))
    }

    /// How often it was started anew.
    pub(crate) fn count(&self) -> usize {
        self.times().len()
    }

    fn times(&self) -> MutexGuard<'_, Vec<(Instant, Option<Instant>)>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves until it is told to stop; what has not ended by then is cut off with the runtime.
fn live<F>(listener: TcpListener, serve: &impl Fn(TcpStream) -> F, stop: &Notify) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let accept = async {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    let _ = stream.set_nodelay(true);
                    let served = serve(stream);
                    #[expect(clippy::disallowed_methods, reason = "an app has one runtime and no office")]
                    tokio::spawn(async move { served.await.ok() });
                }
            }
        };
        tokio::select! {
            () = accept => {}
            () = stop.notified() => {}
        }
        Ok(())
    })
}
