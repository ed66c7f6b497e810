//! Plain http, answered with the way to https: one request for the site's own name, and nothing else.

use std::fmt::Write as _;
use std::io;
use std::rc::Rc;

use bytes::BytesMut;
use http::StatusCode;
use http::header::HOST;
use http::uri::PathAndQuery;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::config::Config;
use crate::http::client::Peer;
use crate::http::fields::Fields;
use crate::http::grammar::{self, Unlike};
use crate::http::head::{Search, Unfit, skip_empty_lines};
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
    let (mut search, mut head) = (Search::default(), BytesMut::with_capacity(1024));
    let answer = loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if search.at_first_line() {
            skip_empty_lines(&mut head);
        }
        match search.take(&mut head, config.limits.head) {
            Ok(Some(head)) => break answer(head, config),
            Ok(None) => {}
            Err(Unfit::Line) => break refusal(StatusCode::BAD_REQUEST),
            Err(Unfit::FirstLine | Unfit::Size) => {
                break refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            }
        }
    };
    stream.write_all(answer.as_bytes()).await?;
    Ok(stream)
}

/// The answer to the request with this head.
fn answer(mut head: BytesMut, config: &Config) -> String {
    let Some(line) = grammar::request_line(&head) else { return refusal(StatusCode::BAD_REQUEST) };
    let places = match grammar::fields(&mut head, line.end, config.limits.headers) {
        Ok((places, _)) => places,
        Err(Unlike::Fields) => return refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Err(Unlike::Rule) => return refusal(StatusCode::BAD_REQUEST),
    };
    let fields = Fields::new(head, places);
    match location(&fields.share(line.target), &fields, config) {
        Ok(location) => message(StatusCode::PERMANENT_REDIRECT, &format!("Location: {location}\r\n")),
        Err(status) => refusal(status),
    }
}

/// Where the same thing is by https.
fn location(target: &[u8], fields: &Fields, config: &Config) -> Result<String, StatusCode> {
    let mut hosts = fields.get_all(&HOST);
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().and_then(read::host_name),
        _ => None,
    };
    let host = host.ok_or(StatusCode::BAD_REQUEST)?;
    // Browsers come to another port than that of https.
    if !read::host_name(&config.public.authority).is_some_and(|ours| ours.eq_ignore_ascii_case(host)) {
        return Err(StatusCode::MISDIRECTED_REQUEST);
    }
    let target = str::from_utf8(target).ok().filter(|target| target.starts_with('/'));
    let target = target.ok_or(StatusCode::BAD_REQUEST)?;
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
