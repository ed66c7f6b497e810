//! Small servers on loopback ports: what the demo's app and its identity provider have in common.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

/// What is answered: small bodies, known at once.
pub(super) type Reply = Response<Full<Bytes>>;

/// A loopback port of the system's choice.
///
/// # Errors
/// If none can be bound.
pub(super) async fn bind() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Answers whoever connects, for as long as the runtime of `office` lives.
pub(super) async fn accept<F, A>(office: Handle, listener: TcpListener, answer: F)
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Reply> + Send + 'static,
{
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the demo cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let answer = answer(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection =
            http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        office.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection within the demo broke");
            }
        });
    }
}

/// A page or what belongs to it; it may load from its own server only.
pub(super) fn file(kind: &'static str, text: impl Into<Bytes>) -> Reply {
    let mut reply = reply(StatusCode::OK, kind, text.into());
    let policy =
        "default-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    reply.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    reply
}

/// A JSON body.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    reply(status, "application/json", serde_json::to_vec(body).unwrap_or_default().into())
}

/// What went wrong, for a program.
pub(super) fn problem(status: StatusCode, message: &str) -> Reply {
    json(status, &serde_json::json!({ "message": message }))
}

/// An answer that nobody keeps.
pub(super) fn reply(status: StatusCode, kind: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
