//! The one client for everything that a provider is asked: HTTP/1.1, a deadline, a limit, and no way elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST,
};
use http::header::{HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, crypto};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::address;
use super::failure::{Outage, Step};
use crate::config::provider::{Provider as Configured, Reach, is_loopback};
use crate::metrics::{ANSWERED, ProviderRequests};
use crate::time::Moment;

/// How long one request may take in all.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long one address of several may take to be connected to.
const CONNECT: Duration = Duration::from_secs(3);
/// Largest head of an answer, in bytes.
const HEAD: usize = 64 * 1024;

/// What we call ourselves; GitHub refuses whoever does not say.
const AGENT: &str = concat!("sidegate/", env!("CARGO_PKG_VERSION"));

/// Speaks with the hosts of one provider.
pub(super) struct Client {
    tls: TlsConnector,
    reach: Reach,
    /// Its id, under which requests are counted.
    provider: String,
    counts: Arc<ProviderRequests>,
}

/// What is asked.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    /// What it is part of.
    pub(super) step: Step,
    /// Where.
    pub(super) url: &'a Url,
    /// `Authorization`, whole.
    pub(super) authorization: Option<&'a str>,
    /// A form to be posted; without it, GET.
    pub(super) form: Option<&'a str>,
    /// Largest body of the answer, in bytes.
    pub(super) most: usize,
}

/// An answer that is neither a redirect nor an outage.
pub(super) struct Answer {
    /// 2xx or 4xx.
    pub(super) status: StatusCode,
    /// May hold tokens.
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Client {
    /// # Panics
    /// Never: the cryptography that is named has the protocol versions that are named.
    pub(super) fn new(provider: &Configured, counts: Arc<ProviderRequests>) -> Self {
        let mut roots = RootCertStore::empty();
        if provider.authorities.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        } else {
            roots.add_parsable_certificates(provider.authorities.iter().cloned());
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs has TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            tls: TlsConnector::from(Arc::new(config)),
            reach: provider.reach,
            provider: provider.id.clone(),
            counts,
        }
    }

    /// Asks once. Redirects are not followed: where a provider is was configured.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Answer, Outage> {
        let begun = Moment::now();
        // Boxed, for every flow that might ask would hold the room for TLS and HTTP otherwise.
        let answer = timeout(DEADLINE, Box::pin(self.unhurried(ask))).await.unwrap_or(Err(Outage::Timeout));
        let outcome = match &answer {
            Ok(answer) if answer.status.is_success() => ANSWERED,
            Ok(_) => "refused",
            Err(outage) => outage.kind(),
        };
        self.counts.note(&self.provider, ask.step.key(), outcome, begun.elapsed());
        answer
    }

    async fn unhurried(&self, ask: Ask<'_>) -> Result<Answer, Outage> {
        let plain = match ask.url.scheme() {
            "https" => false,
            "http" if self.reach != Reach::Internet && is_loopback(ask.url) => true,
            _ => return Err(Outage::Scheme),
        };
        let request = request(ask)?;
        let socket = self.connect(ask.url, plain).await?;
        if plain {
            return exchange(socket, request, ask.most).await;
        }
        let name = match ask.url.host() {
            Some(Host::Domain(name)) => ServerName::try_from(name.to_owned()).map_err(|_| Outage::Tls)?,
            Some(Host::Ipv4(ip)) => ServerName::from(std::net::IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => ServerName::from(std::net::IpAddr::V6(ip)),
            None => return Err(Outage::Scheme),
        };
        let socket = self.tls.connect(name, socket).await.map_err(|_| Outage::Tls)?;
        exchange(socket, request, ask.most).await
    }

    /// Connects to an address that was looked at, so that no second look-up can lead elsewhere; without TLS,
    /// to this machine only, whatever its name.
    async fn connect(&self, url: &Url, plain: bool) -> Result<TcpStream, Outage> {
        let port = url.port_or_known_default().unwrap_or(443);
        let found: Vec<SocketAddr> = match url.host().ok_or(Outage::Scheme)? {
            Host::Ipv4(ip) => vec![SocketAddr::from((ip, port))],
            Host::Ipv6(ip) => vec![SocketAddr::from((ip, port))],
            Host::Domain(name) => lookup_host((name, port)).await.map_err(|_| Outage::Resolve)?.collect(),
        };
        let mut outage = if found.is_empty() { Outage::Resolve } else { Outage::PrivateAddress };
        let allowed = |address: &SocketAddr| {
            address::allowed(self.reach, address.ip())
                && (!plain || address.ip().to_canonical().is_loopback())
        };
        for address in found.into_iter().filter(allowed) {
            match timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(error)) => outage = Outage::Connect(error.kind()),
                Err(_) => outage = Outage::Timeout,
            }
        }
        Err(outage)
    }
}

fn request(ask: Ask<'_>) -> Result<Request<Full<Bytes>>, Outage> {
    let url = ask.url;
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let host = url.host_str().ok_or(Outage::Scheme)?;
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let mut request = Request::builder()
        .method(if ask.form.is_some() { Method::POST } else { Method::GET })
        .uri(target)
        .header(HOST, host)
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "identity")
        .header(CONNECTION, "close")
        .header(USER_AGENT, AGENT);
    if ask.form.is_some() {
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    if let Some(text) = ask.authorization {
        let mut value = HeaderValue::from_str(text).map_err(|_| Outage::Broken)?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let body = ask.form.map_or_else(Bytes::new, |form| Bytes::copy_from_slice(form.as_bytes()));
    request.body(Full::new(body)).map_err(|_| Outage::Broken)
}

/// One request and its answer on a connection of its own.
async fn exchange<S>(socket: S, request: Request<Full<Bytes>>, most: usize) -> Result<Answer, Outage>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEAD).handshake(TokioIo::new(socket)).await.map_err(broken)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(Outage::Redirect);
        }
        if status.is_server_error() || status.is_informational() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Outage::Status(status.as_u16()));
        }
        let coded = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
        if response.headers().get_all(CONTENT_ENCODING).iter().any(coded) {
            return Err(Outage::Compressed);
        }
        let body = Limited::new(response.into_body(), most).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { Outage::TooLarge } else { Outage::Broken }
        })?;
        Ok(Answer { status, body: Zeroizing::new(body.to_bytes().to_vec()) })
    };
    // The connection is driven beside the exchange; that it ends first does not end the exchange, for which
    // it may have left everything that is still to be read.
    let driven = async {
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        never = driven => never,
    }
}

fn broken(_: hyper::Error) -> Outage {
    Outage::Broken
}

#[cfg(test)]
mod tests;
