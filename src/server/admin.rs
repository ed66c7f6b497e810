//! The admin listener: whether we live, whether we are ready, what was counted, which version this is.
//!
//! It has a port of its own, so that nothing of it can be reached where the app is, and runs in the office, so
//! that it costs the workers nothing.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::app::App;
use crate::config::host::bare;
use crate::config::listen::Place;
use crate::metrics::text;
use crate::proxy::instances::Instances;
use crate::server::read::host_name;
use crate::server::tls::Tls;
use crate::server::unbound;
use crate::server::worker::Serving;

mod active;
mod numbers;
mod places;

use active::Active;
use places::{Guest, Places};

/// How long a connection may last.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the head of a question may take: silence must not keep probes out.
const HEAD_PATIENCE: Duration = Duration::from_secs(2);
/// How long the store may take to answer before it counts as down.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// The running listener; it ends when this is dropped.
pub(super) struct Admin {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Admin {
    /// Binds and answers from now on.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub(super) fn start(serving: &watch::Receiver<Serving>, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)
            .map_err(|error| unbound::named("admin.address", &Place::Tcp(address), &error))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let office = serving.borrow().app.office.clone();
        let serving = serving.clone();
        let task = office.spawn(async move {
            if let Err(error) = accept(listener, serving).await {
                tracing::error!(%error, "the admin listener has ended");
            }
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, serving: watch::Receiver<Serving>) -> io::Result<()> {
    let near = listener.local_addr()?.ip().is_loopback();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut places = Places::default();
    let active = Arc::<Active>::default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of something: to try again at once would only burn the processor.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        places.make_room().await;
        places.seat(|guest| attend(stream, near, serving.clone(), Arc::clone(&active), guest));
    }
}

/// Answers what is asked on one connection.
async fn attend(
    stream: TcpStream,
    near: bool,
    serving: watch::Receiver<Serving>,
    active: Arc<Active>,
    guest: Guest,
) {
    let service = service_fn(|request| {
        let (app, tls, instances) = {
            let serving = serving.borrow();
            (Arc::clone(&serving.app), serving.tls.clone(), Arc::clone(&serving.instances))
        };
        let (active, guest) = (Arc::clone(&active), guest.clone());
        async move {
            let answer = if is_for_us(&request, near) {
                guest.while_busy(answer(&app, (tls.as_ref(), &instances, &active), &request)).await
            } else {
                plain(StatusCode::MISDIRECTED_REQUEST, "text/plain", "not here\n".to_owned())
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever asks asks again.
    let _ = timeout(PATIENCE, connection).await;
}

/// Whether the question can be meant for this listener. On loopback no other name leads here but one that a page of
/// somebody else's was made to resolve to it, so that its scripts could read the answer.
fn is_for_us(request: &Request<Incoming>, near: bool) -> bool {
    let ours = |host: &HeaderValue| {
        let name = host.to_str().ok().and_then(host_name).unwrap_or_default();
        let plain = bare(name);
        plain.eq_ignore_ascii_case("localhost") || plain.parse::<IpAddr>().is_ok()
    };
    !near || request.headers().get_all(HOST).iter().all(ours)
}

async fn answer(
    app: &App,
    (tls, instances, active): (Option<&Tls>, &Instances, &Active),
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/healthz" | "/ping" => plain(StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/readyz" | "/ready" => ready(app).await,
        "/metrics" => {
            let text = numbers::write(app, tls, (instances, active)).await;
            plain(StatusCode::OK, text::CONTENT_TYPE, text)
        }
        "/version" => {
            let version = json!({ "name": "sidegate", "version": env!("CARGO_PKG_VERSION") });
            plain(StatusCode::OK, "application/json", version.to_string())
        }
        _ => plain(StatusCode::NOT_FOUND, "text/plain", "not here\n".to_owned()),
    }
}

/// Whether somebody new should be sent here. Whether the app and the providers answer is no part of it: to take
/// us away would help none of them.
async fn ready(app: &App) -> Response<Full<Bytes>> {
    let store = match timeout(STORE_PATIENCE, app.store.ping()).await {
        Ok(Ok(())) => true,
        Ok(Err(fault)) => {
            tracing::warn!("not ready: {fault}");
            false
        }
        Err(_) => {
            tracing::warn!("not ready: the store does not answer within {STORE_PATIENCE:?}");
            false
        }
    };
    let serving = !app.metrics.draining();
    let ready = store && serving;
    let word = |so| if so { "ok" } else { "failed" };
    let body = json!({
        "status": if ready { "ready" } else { "not ready" },
        "checks": { "store": word(store), "serving": if serving { "ok" } else { "draining" } },
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    plain(status, "application/json", body.to_string())
}

fn plain(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
