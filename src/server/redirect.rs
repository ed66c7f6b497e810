//! Plain http, answered with the way to https: one request for the site's own name, and nothing else.

use std::fmt::Write as _;
use std::io;
use std::rc::Rc;

use http::StatusCode;
use http::uri::PathAndQuery;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::config::Config;
use crate::config::limits::MOST_HEADERS;
use crate::http::client::Peer;
use crate::http::path::Path;
use crate::server::crowd::Limit;
use crate::server::linger::linger;
use crate::server::seats::Seat;
use crate::server::worker::Worker;
use crate::server::{connection, proxy_protocol, read};

/// Serves one connection to its end.
pub(super) async fn serve(worker: Rc<Worker>, stream: TcpStream, peer: Peer, seat: Rc<Seat>) {
    let config = &worker.app.config;
    let patience = config.limits.head_timeout;
    match connection::in_time(&worker, patience, answered(stream, peer, &worker, &seat)).await {
        Some(Ok(stream)) => linger(stream).await,
        Some(Err(error)) => {
            tracing::debug!(peer = %peer.address, %error, "a redirect that did not come about");
        }
        None => tracing::debug!(peer = %peer.address, "a request for a redirect took too long"),
    }
}

async fn answered(mut stream: TcpStream, from: Peer, worker: &Worker, seat: &Seat) -> io::Result<TcpStream> {
    let config = &worker.app.config;
    let peer = proxy_protocol::peer(&mut stream, from, config).await?;
    if peer.ip() != from.ip() && !seat.is_for(peer.ip()) {
        worker.turn_away(peer.ip(), Limit::OfOneAddress);
        return Err(io::Error::other("too many connections for one client"));
    }
    let mut head = Vec::with_capacity(1024);
    let answer = loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match answer(&head, config) {
            Some(answer) => break answer,
            None if head.len() > config.limits.head => {
                break refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            }
            None => {}
        }
    };
    stream.write_all(answer.as_bytes()).await?;
    Ok(stream)
}

/// The answer to the request whose head this is; `None` while it is not complete.
fn answer(head: &[u8], config: &Config) -> Option<String> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut fields[..config.limits.headers.min(MOST_HEADERS)]);
    match request.parse(head) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => {
            return Some(refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
        Err(_) => return Some(refusal(StatusCode::BAD_REQUEST)),
    }
    Some(match location(&request, config) {
        Ok(location) => {
            let status = StatusCode::PERMANENT_REDIRECT;
            message(status, &format!("Location: {location}\r\n"))
        }
        Err(status) => refusal(status),
    })
}

/// Where the same thing is by https.
fn location(request: &httparse::Request<'_, '_>, config: &Config) -> Result<String, StatusCode> {
    let mut hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => str::from_utf8(host.value).ok().and_then(read::host_name),
        _ => None,
    };
    let host = host.ok_or(StatusCode::BAD_REQUEST)?;
    // Browsers come to another port than that of https.
    if !read::host_name(&config.public.authority).is_some_and(|ours| ours.eq_ignore_ascii_case(host)) {
        return Err(StatusCode::MISDIRECTED_REQUEST);
    }
    let target = request.path.filter(|path| path.starts_with('/')).ok_or(StatusCode::BAD_REQUEST)?;
    if target.len() > config.limits.target {
        return Err(StatusCode::URI_TOO_LONG);
    }
    let path = target.parse::<PathAndQuery>().ok().filter(|parsed| parsed.as_str() == target);
    let path = Path::parse(path.ok_or(StatusCode::BAD_REQUEST)?).map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(format!("{}{}", config.public.origin, path.target()))
}

fn refusal(status: StatusCode) -> String {
    message(status, "")
}

fn message(status: StatusCode, fields: &str) -> String {
    let mut text = String::new();
    let reason = status.canonical_reason().unwrap_or_default();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "HTTP/1.1 {} {reason}\r\n{fields}Content-Length: 0\r\nConnection: close\r\n\r\n",
        status.as_u16()
    );
    text
}
