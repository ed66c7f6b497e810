//! Sockets to the app: TCP, TLS or a socket in the file system.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::host::bare;
use crate::config::problem::Problems;
use crate::config::upstream::{Protocol, Target, UpstreamTls};
use crate::http::pipe::End;
use crate::proxy::pem;

/// Makes connections to the app. Clones share what was read.
#[derive(Clone)]
pub struct Connector {
    /// For each [`Offer`].
    tls: [TlsConnector; 4],
    /// Who the app shows to be; the host that it is reached at, without.
    name: Option<ServerName<'static>>,
    places: Arc<Places>,
}

/// How many connections to the app there may be, over all workers and configurations, and how many there are.
pub struct Places {
    most: AtomicUsize,
    taken: AtomicUsize,
}

impl Default for Places {
    fn default() -> Self {
        Self { most: AtomicUsize::new(usize::MAX), taken: AtomicUsize::new(0) }
    }
}

impl Places {
    /// So many from now on.
    pub fn allow(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Counts one. `None` if there are too many.
    fn take(self: &Arc<Self>) -> Option<Taken> {
        let taken = Taken(Arc::clone(self));
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        (before < self.most.load(Ordering::Relaxed)).then_some(taken)
    }

    /// Whether three of four are taken.
    fn are_few(&self) -> bool {
        let (taken, most) = (self.taken.load(Ordering::Relaxed), self.most.load(Ordering::Relaxed));
        taken > most / 4 * 3
    }
}

/// One connection, counted as long as this is kept.
struct Taken(Arc<Places>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether it is we who can make no further connection, rather than the app that takes none.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    // Not EADDRNOTAVAIL: where there is no IPv6, every address of it says so.
    const OURS: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.kind() == io::ErrorKind::QuotaExceeded
        || Errno::from_io_error(error).is_some_and(|error| OURS.contains(&error))
}

/// What is offered by ALPN (RFC 7301), where TLS is spoken.
#[derive(Clone, Copy)]
pub(super) enum Offer {
    /// Nothing: whoever knows no ALPN speaks HTTP/1.1.
    Nothing,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/2, and HTTP/1.1 for an app that does not speak it.
    Either,
}

impl Offer {
    /// What suits an app that this is spoken to.
    pub(super) fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http1 => Self::Nothing,
            Protocol::H2 | Protocol::H2c => Self::Http2,
            Protocol::Auto => Self::Either,
        }
    }

    const ALL: [Self; 4] = [Self::Nothing, Self::Http1, Self::Http2, Self::Either];

    fn names(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Nothing => &[],
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[H2],
            Self::Either => &[H2, b"http/1.1"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

/// HTTP/2 in ALPN.
const H2: &[u8] = b"h2";

impl Connector {
    /// Reads the files that TLS towards the app needs.
    ///
    /// # Errors
    /// Every file that cannot be used.
    pub fn new(config: &UpstreamTls) -> Result<Self, Problems> {
        const CLIENT: &str = "upstream.client_certificate";
        let mut problems = Problems::default();
        let roots = match &config.ca_file {
            Some(file) => problems.take(pem::authorities(file, "upstream.ca_file")),
            None => Some(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()),
        };
        let own = config.client.as_ref().and_then(|files| {
            let chain = problems.take(pem::chain(&files.certificate, CLIENT));
            chain.zip(problems.take(pem::key(&files.key, "upstream.client_key")))
        });
        let name = config.server_name.as_ref().and_then(|name| {
            let unusable = |_| {
                let what = format!("{name} is neither the name of a host nor an address");
                Problems::one("upstream.server_name", what, "write what the app's certificate is for")
            };
            problems.take(ServerName::try_from(name.clone()).map_err(unusable))
        });
        let roots = problems.none_or(roots.unwrap_or_else(RootCertStore::empty))?;
        let trouble = |error: rustls::Error| {
            Problems::one(CLIENT, error.to_string(), "name the certificate that belongs to `client_key`")
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(trouble)?
            .with_root_certificates(roots);
        let client = match own {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(trouble)?,
            None => builder.with_no_client_auth(),
        };
        let tls = Offer::ALL.map(|offer| {
            let mut client = client.clone();
            client.alpn_protocols = offer.names();
            TlsConnector::from(Arc::new(client))
        });
        Ok(Self { tls, name, places: Arc::default() })
    }

    /// The same, whose connections have these places.
    #[must_use]
    pub fn within(self, places: Arc<Places>) -> Self {
        Self { places, ..self }
    }

    /// The places of its connections.
    pub fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// Whether so many connections are made that none should be kept for later.
    pub(super) fn is_short(&self) -> bool {
        self.places.are_few()
    }

    /// A new connection to `target`.
    ///
    /// # Errors
    /// If there is nobody, or not who the certificate says.
    pub async fn open(&self, target: &Target) -> io::Result<Stream> {
        self.uncounted(target, Offer::Nothing).await
    }

    /// The same, with this offered by ALPN, if there is a place for it.
    ///
    /// # Errors
    /// As for [`Self::open`]; [`io::ErrorKind::QuotaExceeded`] if there is none.
    pub(super) async fn offering(&self, target: &Target, offer: Offer) -> io::Result<Stream> {
        let full = || io::Error::new(io::ErrorKind::QuotaExceeded, "too many connections");
        let place = self.places.take().ok_or_else(full)?;
        let stream = self.uncounted(target, offer).await?;
        Ok(Stream { _place: Some(place), ..stream })
    }

    /// The same, whatever other connections there are.
    pub(super) async fn uncounted(&self, target: &Target, offer: Offer) -> io::Result<Stream> {
        let (host, port, tls) = match target {
            Target::Unix(path) => return Ok(Kind::Unix(UnixStream::connect(path).await?).into()),
            Target::Tcp { host, port, tls } => (host.as_str(), *port, *tls),
        };
        let host = bare(host);
        let stream = match host.parse::<IpAddr>() {
            Ok(address) => TcpStream::connect(SocketAddr::new(address, port)).await?,
            Err(_) => TcpStream::connect((host, port)).await?,
        };
        stream.set_nodelay(true)?;
        if !tls {
            return Ok(Kind::Tcp(stream).into());
        }
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
        };
        let tls = &self.tls[offer as usize];
        Ok(Kind::Tls(Box::new(tls.connect(name, stream).await?)).into())
    }
}

/// A socket to the app.
pub struct Stream {
    kind: Kind,
    /// Its place, unless it needs none.
    _place: Option<Taken>,
}

enum Kind {
    /// Over the network, or the loopback interface.
    Tcp(TcpStream),
    /// Through the file system.
    Unix(UnixStream),
    /// Over the network, encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

impl From<Kind> for Stream {
    fn from(kind: Kind) -> Self {
        Self { kind, _place: None }
    }
}

impl Stream {
    /// Whether TLS is spoken.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self.kind, Kind::Tls(_))
    }

    /// Whether HTTP/2 was agreed on.
    pub(super) fn agreed_on_http2(&self) -> bool {
        matches!(&self.kind, Kind::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(H2))
    }

    /// What can be read and written through a pipe, if it can.
    pub(super) fn end(&self) -> Option<End<'_>> {
        match &self.kind {
            Kind::Tcp(stream) => Some(End::Tcp(stream)),
            Kind::Unix(stream) => Some(End::Unix(stream)),
            Kind::Tls(_) => None,
        }
    }

    /// Whether what it takes may be sent only once it is flushed.
    pub(super) fn holds_back(&self) -> bool {
        self.is_encrypted()
    }

    /// Whether the app closed an idle connection, or spoke without being asked.
    pub(super) fn spoiled(&mut self) -> bool {
        let mut byte = [0];
        let polled = match &mut self.kind {
            Kind::Tcp(stream) => stream.try_read(&mut byte),
            Kind::Unix(stream) => stream.try_read(&mut byte),
            // Nothing short of reading tells whether a record is one that matters.
            Kind::Tls(stream) => {
                let mut read = ReadBuf::new(&mut byte);
                return Pin::new(&mut **stream)
                    .poll_read(&mut Context::from_waker(Waker::noop()), &mut read)
                    .is_ready();
            }
        };
        !matches!(polled, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Does the same on every kind of socket.
macro_rules! each {
    ($socket:expr, $stream:ident => $body:expr) => {
        match &mut $socket.get_mut().kind {
            Kind::Tcp($stream) => {
                let $stream = Pin::new($stream);
                $body
            }
            Kind::Unix($stream) => {
                let $stream = Pin::new($stream);
                $body
            }
            Kind::Tls($stream) => {
                let $stream = Pin::new(&mut **$stream);
                $body
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_5_there_are_so_many_places_and_most_of_them_are_not_kept_idle() {
        let places = Arc::<Places>::default();
        let unbounded = places.take();
        places.allow(8);
        let mut taken: Vec<_> = (0..5).map(|_| places.take().expect("a place")).collect();
        assert!(!places.are_few());
        taken.push(places.take().expect("a place"));
        assert!(places.are_few(), "seven of eight");
        taken.push(places.take().expect("a place"));
        assert!(places.take().is_none() && places.take().is_none());
        drop(unbounded);
        assert!(places.take().is_some() && places.take().is_some(), "it was given back");
        drop(taken);
        assert_eq!(places.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_we_are_short_of_is_told_from_an_app_that_takes_no_connection() {
        use rustix::io::Errno;
        for (code, shortage) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::ADDRNOTAVAIL, false),
            (Errno::CONNREFUSED, false),
            (Errno::HOSTUNREACH, false),
        ] {
            assert_eq!(is_shortage(&code.into()), shortage, "{code}");
        }
        assert!(is_shortage(&io::ErrorKind::QuotaExceeded.into()));
        assert!(!is_shortage(&io::ErrorKind::TimedOut.into()));
    }
}
