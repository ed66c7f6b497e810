//! An app for load that is long, by HTTP/2: gRPC in all four shapes, answers small and large, events.

use std::io;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpStream;

use crate::app::{EVENTS, PAUSE};
use crate::pattern;
use crate::restarts::Restarts;

/// Messages that a call for many is answered with.
pub(crate) const MANY: usize = 20;

/// Starts it on a thread of its own; it ends with this process.
///
/// * `/soak.Soak/Unary`, `/soak.Soak/Both`: say back what they are told, at the end or at once
/// * `/soak.Soak/Up`: one message, the sum of what came
/// * `/soak.Soak/Down`: what came, many times
/// * `/large?n`, `/events?n`, and anything else: as the app by HTTP/1.1
pub(crate) fn start() -> io::Result<Restarts> {
    Restarts::start(serve)
}

async fn serve(stream: TcpStream) -> io::Result<()> {
    let mut server = h2::server::Builder::new()
        .max_concurrent_streams(1000)
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(io::Error::other)?;
    while let Some(Ok((request, reply))) = server.accept().await {
        #[expect(clippy::disallowed_methods, reason = "an app has one runtime and no office")]
        tokio::spawn(async move { answer(request, reply).await.ok() });
    }
    Ok(())
}

/// A message of gRPC (Length-Prefixed-Message).
pub(crate) fn message(body: &[u8]) -> Bytes {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], &length[..], body].concat().into()
}

/// All of a body.
pub(crate) async fn collect(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    Ok(all)
}

async fn answer(request: Request<RecvStream>, mut reply: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let user = head.headers.get("x-user-id").cloned().unwrap_or(HeaderValue::from_static("nobody"));
    let name = user.to_str().unwrap_or("?");
    let target = head.uri.path_and_query().map_or("?", |target| target.as_str());
    if let Some(shape) = target.strip_prefix("/soak.Soak/") {
        let started = Response::builder().header("content-type", "application/grpc").body(());
        let mut way = reply.send_response(started.unwrap_or_default(), false)?;
        let sent = call(shape, &mut body, &mut way).await?;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("x-said", user.clone());
        trailers.insert("x-sent", HeaderValue::from(sent));
        return way.send_trailers(trailers);
    }
    let came = collect(&mut body).await?;
    let mut way = reply
        .send_response(Response::builder().header("x-said", name).body(()).unwrap_or_default(), false)?;
    if target.starts_with("/large") {
        return way.send_data(Bytes::from_static(pattern::large(pattern::number(target))), true);
    }
    if target.starts_with("/events") {
        for number in 0..EVENTS {
            way.send_data(pattern::event(target, name, number).into(), false)?;
            tokio::time::sleep(PAUSE).await;
        }
        return way.send_data(Bytes::new(), true);
    }
    way.send_data(pattern::said(target, name, &came).into(), true)
}

/// Sends what is to be said; how many bytes.
async fn call(shape: &str, body: &mut RecvStream, way: &mut SendStream<Bytes>) -> Result<usize, h2::Error> {
    let mut sent = 0;
    if shape == "Both" {
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            sent += data.len();
            way.send_data(data, false)?;
        }
        return Ok(sent);
    }
    let came = collect(body).await?;
    let (said, times) = match shape {
        "Unary" => (Bytes::from(came), 1),
        "Up" => (message(pattern::sum(&came).as_bytes()), 1),
        _ => (Bytes::from(came), MANY),
    };
    for _ in 0..times {
        sent += said.len();
        way.send_data(said.clone(), false)?;
    }
    Ok(sent)
}
